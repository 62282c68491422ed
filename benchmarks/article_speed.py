"""The article's way to train against ours: windows a second, and memory.

``make bench-seed``, or ``python benchmarks/article_speed.py``. Both train the same network, from
the same weights, on the same windows (profile ``seed``); each contestant is a process of its own,
so that its peak memory is its own, and they take turns.

- ``article``: all windows materialised on the host as float64 ``(N, L, F)``, a region at a time and
  then joined; ``TensorDataset`` and a shuffling ``DataLoader``; each batch to the device and to
  float32; forward, loss, backward and Adam eagerly; the loss is read each step. PyTorch's own
  settings.
- ``ours``: ``gridcast.training.step.TrainingStep`` on an index.

Reading the CSVs, the first steps and making the shuffle are left out for both. A turn's speed is
that of all its steps on a GPU, and that of its fastest step on a CPU, which other work on the
machine can only slow down. Bars: on a GPU at least 6 times the speed; on a CPU at least the same
speed; on both at most a twentieth of the memory for the data that train.

Legend: ``N`` windows, ``B`` batch, ``L`` lookback, ``F`` features.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import (
    PRECISIONS,
    RESULTS,
    check_counts,
    envelope,
    slug,
    write_kept,
)
from benchmarks.regions import batches_of, on_device, read_features
from gridcast.config import Cell, Config
from gridcast.features.columns import feature_columns
from gridcast.features.splits import TEST
from gridcast.features.windows import train_starts
from gridcast.kernels.engine import engine_of
from gridcast.networks.forecaster import RecurrentForecaster
from gridcast.training.data import TrainingData, training_data
from gridcast.training.loop import gradient_of
from gridcast.training.stack import ForecasterStack
from gridcast.training.step import TrainingStep
from tasks.train.training_process import peak_memory_bytes, set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

CONTESTANTS = ("article", "ours")
# Of speed, by kind of device, and of the bytes of the data that train.
SPEED_BARS = {"cpu": 1.0, "cuda": 6.0}
DATA_BAR = 20.0
_FRAME, _SCALES = "features.parquet", "scales.json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Trainer:
    """One contestant, ready: a step, and what the data that it trains on take."""

    step: Callable[[], object]
    data_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Let the contestants take turns; print and keep the result."""
    options = _options(arguments)
    if options.contestant:
        print(json.dumps(_contest(options)))
        return 0
    on_cuda = options.device.startswith("cuda") or (
        options.device == "auto" and torch.cuda.is_available()
    )
    device = torch.device("cpu" if not on_cuda else options.device.replace("auto", "cuda"))
    steps = options.steps or (200 if on_cuda else 4)
    warmup = options.warmup or (10 if on_cuda else 1)
    repetitions = options.repetitions or (3 if on_cuda else 2)
    precision = options.precision.replace("auto", "fp16" if on_cuda else "fp32")
    kept = envelope("article-speed", device)
    with tempfile.TemporaryDirectory() as folder:
        _hand_over(Path(folder))
        for cell in options.cells:
            for repetition in range(repetitions):
                for contestant in CONTESTANTS:
                    row = _in_own_process(
                        f"--contestant={contestant}",
                        f"--folder={folder}",
                        f"--device={device}",
                        f"--steps={steps}",
                        f"--warmup={warmup}",
                        f"--precision={precision}",
                        f"--cells={cell}",
                    )
                    kept["rows"].append({**row, "repetition": repetition})
                    print(_line(kept["rows"][-1]), flush=True)
    print()
    for cell in options.cells:
        rows = [row for row in kept["rows"] if row["cell"] == cell]
        print(comparison(rows, device.type))
    path = Path(options.output) / f"article-speed-{slug(device)}.json"
    write_kept(path, kept)
    print(path)
    return 0


def comparison(rows: Sequence[Json], device_type: str) -> str:
    """Medians of both, their ratio, and whether it meets the bars."""
    cell, fields = rows[0]["cell"].upper(), ("windows_per_second", "data_bytes", "peak_host_bytes")
    middle = {
        name: {
            field: median(row[field] for row in rows if row["contestant"] == name)
            for field in (*fields, "peak_device_bytes")
        }
        for name in CONTESTANTS
    }
    article, ours = middle["article"], middle["ours"]
    speed = ours["windows_per_second"] / article["windows_per_second"]
    less = {
        field: article[field] / ours[field]
        for field in (*fields[1:], "peak_device_bytes")
        if ours[field]
    }
    speed_bar = SPEED_BARS[device_type]

    def line(name: str, field: str, note: str) -> str:
        values = (f"{middle[each][field] / 2**20:10,.0f} MiB" for each in CONTESTANTS)
        return f"{name:14s}{''.join(values)}{less[field]:8.1f} × less ({note})"

    windows_per_second = "".join(
        f"{middle[each]['windows_per_second']:14,.0f}" for each in CONTESTANTS
    )
    lines = [
        f"{cell:14s}{'article':>14s}{'ours':>14s}   medians",
        f"{'windows/s':14s}{windows_per_second}{speed:8.2f} × faster (bar {speed_bar:g}: "
        + _met(speed, speed_bar)
        + ")",
        line(
            "training data",
            "data_bytes",
            f"bar {DATA_BAR:g}: " + _met(less["data_bytes"], DATA_BAR),
        ),
        line("whole process", "peak_host_bytes", "no bar: Python, PyTorch and activations too"),
    ]
    if device_type == "cuda":
        lines.append(line("on the GPU", "peak_device_bytes", "no bar: ours holds the data there"))
    return "\n".join([*lines, ""])


def _met(ratio: float, bar: float) -> str:
    return "met" if ratio >= bar else "NOT MET"


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:8,.0f} MiB"


def _line(row: Json) -> str:
    return (
        f"{row['contestant']:8s}{row['cell']:5s}{row['precision']:8s}"
        f"{row['windows_per_second']:10,.0f} windows/s, {1000 * row['step_seconds']:8.2f} ms a step"
        f", data{_mib(row['data_bytes'])}, process{_mib(row['peak_host_bytes'])}, "
        f"GPU{_mib(row['peak_device_bytes'])}, prepared in {row['prepare_seconds']:.1f} s"
    )


def _hand_over(folder: Path) -> None:
    """Both contestants begin with the same table of features, read once."""
    config = Config.load("seed")
    table = read_features(config)
    check_counts(on_device(table, torch.device("cpu")), config)
    table.frame.to_parquet(folder / _FRAME)
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in table.scales.items()}
    (folder / _SCALES).write_text(json.dumps(scales), encoding="utf-8")


def _in_own_process(*options: str) -> Json:
    command = [sys.executable, str(Path(__file__).resolve()), *options]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if run.returncode:
        sys.exit(f"ERROR: {' '.join(command)} ended with status {run.returncode}")
    row: Json = json.loads(run.stdout.splitlines()[-1])
    return row


# -- in a process of its own -----------------------------------------------------------------------


def _contest(options: argparse.Namespace) -> Json:
    """Prepare, warm up, then time the steps of one contestant."""
    device, (cell,) = torch.device(options.device), options.cells
    is_ours = options.contestant == "ours"
    precision = options.precision if is_ours else "fp32"
    overrides = (f"training.precision={precision}", "training.passes=1")
    config = Config.load("seed", overrides=overrides)
    frame = pd.read_parquet(Path(options.folder) / _FRAME)
    scales = json.loads((Path(options.folder) / _SCALES).read_text(encoding="utf-8"))
    begun = perf_counter()
    if is_ours:
        set_fp32_precision(device, precision)
        data = training_data(frame, scales, device)
        trainer = _ours(data, config, cell, options.warmup + options.steps)
    else:
        torch.manual_seed(0)
        num_features = len(feature_columns(frame.columns))
        forecaster = RecurrentForecaster(
            config.model, cell=cell, num_features=num_features, horizon=config.windows.horizon
        ).to(device)
        forecaster.train()
        trainer = _article(forecaster, frame, config, device)
    prepare_seconds = perf_counter() - begun
    for _ in range(options.warmup):
        trainer.step()
    _wait_for(device)
    ends = [perf_counter()]
    for _ in range(options.steps):
        trainer.step()
        ends.append(perf_counter())
    _wait_for(device)
    seconds = (perf_counter() - ends[0]) / options.steps
    if device.type == "cpu":  # each step has ended when it returns
        seconds = min(end - begun for begun, end in pairwise(ends))
    on_cuda = device.type == "cuda"
    return {
        "contestant": options.contestant,
        "cell": cell,
        "precision": precision if is_ours else "default",
        "steps": options.steps,
        "step_seconds": seconds,
        "windows_per_second": config.training.batch_size / seconds,
        "prepare_seconds": prepare_seconds,
        "data_bytes": trainer.data_bytes,
        "peak_host_bytes": peak_memory_bytes(torch.device("cpu")),
        "peak_device_bytes": torch.cuda.max_memory_reserved(device) if on_cuda else 0,
    }


def _ours(data: TrainingData, config: Config, cell: Cell, num_steps: int) -> Trainer:
    engine = engine_of(config, data.x_TF.device, cells=[cell])
    stack = ForecasterStack(data, config, cell=cell, seeds=[0], engine=engine)
    update = TrainingStep(stack, gradient_of(stack, data, config), config, num_steps)
    batches = batches_of(data, config)
    update.begin_pass()
    # The series on the device, the index of all windows, and the pass's order of it, twice.
    index = train_starts(data.steps, config.windows).nbytes
    return Trainer(lambda: update(next(batches)), data.num_bytes + 3 * index)


def _article(
    forecaster: RecurrentForecaster, frame: pd.DataFrame, config: Config, device: torch.device
) -> Trainer:
    windows_NLF, labels_N1, held_out = _materialise(frame, config.windows.lookback)
    dataset = TensorDataset(torch.from_numpy(windows_NLF), torch.from_numpy(labels_N1))
    loader = DataLoader(
        dataset, batch_size=config.training.batch_size, shuffle=True, drop_last=True
    )
    batches = iter(loader)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(forecaster.parameters(), lr=config.training.learning_rate)
    state: tuple[Tensor, ...] | None = None

    def step() -> float:
        nonlocal state
        x_BLF, label_B1 = next(batches)
        optimizer.zero_grad()
        y_B11, new_state = forecaster.run(
            x_BLF.to(device).float(), None, config.windows.warmup, state
        )
        loss = criterion(y_B11[:, 0], label_B1.to(device).float())
        loss.backward()
        optimizer.step()
        state = tuple(each.detach() for each in new_state)
        return float(loss.item()) + 0 * len(held_out)  # they live as long as the training does

    # What trains; the copies that stay alive with the test windows are in the process's peak alone.
    return Trainer(step, windows_NLF.nbytes + labels_N1.nbytes)


def _materialise(
    frame: pd.DataFrame, lookback: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """All windows as float64, a region after another, and the test windows (views, as there)."""
    names = feature_columns(frame.columns)
    train_x, train_y = np.zeros((0, lookback, len(names))), np.zeros((0, 1))
    held_out = []
    for _, region in frame.groupby("region", observed=True):
        values, target = region[names].to_numpy("float64"), region["target"].to_numpy("float64")
        num_windows = len(values) - lookback
        windows_NFL = sliding_window_view(values[:-1], lookback, axis=0)
        windows_NLF = np.ascontiguousarray(windows_NFL.transpose(0, 2, 1))
        labels_N1 = target[lookback:, None]
        num_train = num_windows - int((region["part"] == TEST).sum())
        train_x = np.concatenate([train_x, windows_NLF[:num_train]])
        train_y = np.concatenate([train_y, labels_N1[:num_train]])
        held_out += [windows_NLF[num_train:], labels_N1[num_train:]]
    return train_x, train_y, held_out


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--steps", type=int, default=0, help="timed steps a turn (200; on a CPU 4)")
    add("--warmup", type=int, default=0, help="steps before them (10; on a CPU 1)")
    add("--repetitions", type=int, default=0, help="turns of each (3; on a CPU 2)")
    add("--cells", nargs="+", choices=get_args(Cell), default=["gru"])
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--precision", choices=("auto", *PRECISIONS), default="auto", help="ours; auto: see above")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    add("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    add("--folder", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
