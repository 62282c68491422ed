"""One rival's training, in the rivals' own environment: a library, a network, some steps.

``benchmarks/rivals.py`` starts it with that environment's Python and a task in JSON; the last line
that it prints is a row in JSON. It imports nothing of gridcast, which need not be there.

Both libraries get the same regions: the steps up to the end of each region's training part, the
scaled load as the series and gridcast's other inputs as covariates, in float32. Their settings are
the fastest that train the same network: no logger, bar, summary, checkpoint or validation;
``neuralforecast`` without its scaler (the data are scaled) and with one linear layer as decoder;
``darts`` with float32 series (float64 is what it would train in otherwise). Loss at the last step
is ``GRU(recurrent=False)`` and ``BlockRNNModel``, loss at every step ``GRU(recurrent=True)`` and
``RNNModel``. neuralforecast's LSTM has no such form of the same network and gets the loss at the
last step. Adam, MSE, no clipping.

Legend: ``T`` steps of a region, ``F`` features.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.turns import Clock, forget_peak, peak_bytes, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

_LIGHTNING_PRECISION = {
    "fp32": "32-true",
    "tf32": "32-true",
    "fp16": "16-mixed",
    "bf16": "bf16-mixed",
}

Json = dict[str, Any]
Regions = dict[str, np.ndarray]  # name → (T, F) float32, the scaled load first


@dataclass(frozen=True)
class Task:
    """What to train; the fields of the JSON."""

    library: str
    cell: str
    hidden_size: int
    num_layers: int
    dropout: float
    lookback: int
    warmup: int  # steps of a window without loss
    batch_size: int  # windows
    series_a_step: int  # of neuralforecast: regions whose windows a step draws from
    stride: int  # of neuralforecast: steps between the windows that it draws from
    num_workers: int  # of darts: processes that put batches together
    precision: str
    device: str
    warm_steps: int
    steps: int
    data: str  # .npz of regions

    @property
    def has_loss_at_every_step(self) -> bool:
        """After the warm-up; the article's window has it at the last step alone."""
        return self.warmup < self.lookback - 1


@dataclass(frozen=True)
class Fitted:
    """The network that was trained, and the bytes of what it was trained on."""

    module: torch.nn.Module
    data_bytes: int
    labels_a_window: int


def main() -> None:
    """Train as the task says, print the row."""
    task = Task(**json.loads(sys.argv[1]))
    fit = {"neuralforecast": with_neuralforecast, "darts": with_darts}[task.library]
    _load(task.library)
    if task.precision == "fp32":  # PyTorch's own setting is TF32 in recurrent layers
        torch.backends.cudnn.allow_tf32 = False
    before = resident_bytes()
    clock = Clock(torch.device(task.device), warm_steps=task.warm_steps, steps=task.steps)
    begun = perf_counter()
    fitted = fit(task, read_regions(Path(task.data)), clock)
    recurrent = [each for each in fitted.module.modules() if isinstance(each, torch.nn.RNNBase)]
    seconds = clock.step_seconds()
    on_cuda = task.device.startswith("cuda")
    row = {
        "version": version(task.library),
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "step_seconds": seconds,
        "step_cpu_seconds": clock.step_cpu_seconds(),
        "windows_per_second": task.batch_size / seconds,
        "wall_seconds": perf_counter() - begun,
        "num_parameters": sum(each.numel() for each in fitted.module.parameters()),
        "num_inputs": recurrent[0].input_size,
        "labels_a_window": fitted.labels_a_window,
        "data_bytes": fitted.data_bytes,
        "peak_over_imports_bytes": peak_bytes() - before,
        "peak_device_bytes": torch.cuda.max_memory_reserved() if on_cuda else 0,
    }
    print(json.dumps(row))


def read_regions(path: Path) -> Regions:
    """As ``benchmarks/rivals.py`` leaves them."""
    with np.load(path) as kept:
        return {name: kept[name] for name in kept.files}


def _load(library: str) -> None:
    """Import before memory is looked at; what the imports took at their peak is forgotten."""
    __import__(library)
    __import__({"neuralforecast": "neuralforecast.models", "darts": "darts.models"}[library])
    forget_peak()


def trainer_settings(task: Task, clock: Clock) -> Json:
    """Of Lightning's trainer, the same for both."""
    return {
        "max_steps": task.warm_steps + task.steps,
        "accelerator": "gpu" if task.device.startswith("cuda") else "cpu",
        "devices": 1,
        "precision": _LIGHTNING_PRECISION[task.precision],
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "callbacks": [pl.callbacks.LambdaCallback(on_train_batch_end=lambda *_: clock.tick())],
    }


# -- neuralforecast --------------------------------------------------------------------------------


def with_neuralforecast(task: Task, regions: Regions, clock: Clock) -> Fitted:
    """Bytes: the table, the step's padded copy of its series, and all of their windows at once."""
    from neuralforecast import NeuralForecast, models  # noqa: PLC0415 - one library a process

    covariates = [f"x{number}" for number in range(1, _num_features(regions))]
    # Its LSTM with loss at every step is another network: projected to a state of one unit.
    at_every_step = task.has_loss_at_every_step and task.cell == "gru"
    windows: Json = {"input_size": task.lookback, "recurrent": False, "hist_exog_list": covariates}
    if at_every_step:  # they are `input_size + h_train` steps long
        windows = {"input_size": task.warmup, "h_train": task.lookback - task.warmup}
        windows |= {"recurrent": True, "futr_exog_list": covariates}
    settings = {
        "h": 1,
        **windows,
        "encoder_n_layers": task.num_layers,
        "encoder_hidden_size": task.hidden_size,
        "encoder_dropout": task.dropout,
        "decoder_layers": 1,
        "loss": _neuralforecast_mse(),
        "batch_size": task.series_a_step,
        "windows_batch_size": task.batch_size,
        "step_size": task.stride,
        "scaler_type": "identity",
        **trainer_settings(task, clock),
    }
    kind = {"gru": models.GRU, "lstm": models.LSTM}[task.cell]
    seen = _Windows(kind)
    forecast = NeuralForecast(models=[kind(**settings)], freq=1)
    forecast.fit(_long_table(regions), val_size=0)
    table = forecast.dataset.temporal
    return Fitted(
        forecast.models[0],
        data_bytes=table.numel() * table.element_size() + seen.num_bytes,
        labels_a_window=windows.get("h_train", 1),
    )


def _neuralforecast_mse() -> torch.nn.Module:
    from neuralforecast.losses.pytorch import MSE  # noqa: PLC0415

    loss: torch.nn.Module = MSE()
    return loss


class _Windows:
    """Looks at what each step cuts: the padded series, and the windows of them all.

    At the class: neuralforecast trains a copy of the model that it is given.
    """

    def __init__(self, kind: Any) -> None:  # noqa: ANN401 - untyped library
        self.num_bytes = 0
        cut: Callable[..., tuple[torch.Tensor, ...]] = kind._create_windows  # noqa: SLF001

        def look(model: object, batch: Json, step: str) -> tuple[torch.Tensor, ...]:
            made = cut(model, batch, step)
            num_bytes = _storage_bytes(batch["temporal"]) + _storage_bytes(made[0])
            self.num_bytes = max(self.num_bytes, num_bytes)
            return made

        kind._create_windows = look  # noqa: SLF001


def _storage_bytes(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _long_table(regions: Regions) -> pd.DataFrame:
    """One row a region and step, as neuralforecast wants it; the steps are numbered."""
    parts = []
    for name, x_TF in regions.items():
        columns = {f"x{number}": x_TF[:, number] for number in range(1, x_TF.shape[1])}
        steps = np.arange(len(x_TF))
        parts.append(pd.DataFrame({"unique_id": name, "ds": steps, "y": x_TF[:, 0], **columns}))
    return pd.concat(parts, ignore_index=True)


# -- darts -----------------------------------------------------------------------------------------


def with_darts(task: Task, regions: Regions, clock: Clock) -> Fitted:
    """Bytes: series, covariates, the shuffled order of a pass and a batch."""
    from darts import TimeSeries  # noqa: PLC0415
    from darts.models import BlockRNNModel, RNNModel  # noqa: PLC0415

    series = [TimeSeries.from_values(x_TF[:, :1]) for x_TF in regions.values()]
    covariates = [TimeSeries.from_values(x_TF[:, 1:]) for x_TF in regions.values()]
    settings = {
        "model": task.cell.upper(),
        "hidden_dim": task.hidden_size,
        "n_rnn_layers": task.num_layers,
        "dropout": task.dropout,
        "batch_size": task.batch_size,
        "n_epochs": 10**6,  # max_steps ends it
        "pl_trainer_kwargs": trainer_settings(task, clock),
    }
    if task.has_loss_at_every_step:
        length = {"input_chunk_length": task.warmup, "training_length": task.lookback}
        model, kind, labels = RNNModel(**settings, **length), "future_covariates", task.lookback
    else:
        length = {"input_chunk_length": task.lookback, "output_chunk_length": 1}
        model, kind, labels = BlockRNNModel(**settings, **length), "past_covariates", 1
    workers = {"num_workers": task.num_workers, "persistent_workers": True}
    model.fit(
        series,
        **{kind: covariates},
        dataloader_kwargs=workers if task.num_workers else {},
        verbose=False,
    )
    values = sum(each.values(copy=False).nbytes for each in (*series, *covariates))
    return Fitted(
        model.model,
        data_bytes=values + _darts_order_bytes(task, regions) + _batch_bytes(task, regions),
        labels_a_window=labels,
    )


def _darts_order_bytes(task: Task, regions: Regions) -> int:
    """The shuffling sampler's order, 8 bytes a window (as a list of Python's it takes more)."""
    longest = max(len(x_TF) for x_TF in regions.values())
    return 8 * len(regions) * (longest - task.lookback)


def _batch_bytes(task: Task, regions: Regions) -> int:
    return 4 * task.batch_size * (task.lookback + 1) * _num_features(regions)


def _num_features(regions: Regions) -> int:
    return int(next(iter(regions.values())).shape[1])


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
