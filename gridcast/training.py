"""Fits one forecaster: the data once on the device, each batch a gather, loss at every origin.

Legend: ``T`` steps, ``F`` features, ``N`` windows, ``B`` batch, ``L`` lookback, ``O`` origins,
``H`` horizon.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.errors import NotFiniteError
from gridcast.features import FEATURE_PREFIX
from gridcast.models import RecurrentForecaster
from gridcast.optimization import TrainingStep
from gridcast.scoring import score
from gridcast.splits import TRAIN, VALIDATION
from gridcast.windows import Steps, count_phases, cut_pass, pass_rng, plan_passes, train_starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

    from gridcast.config import Cell, Config

_REPORT_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The steps of all regions, end to end, on one device."""

    steps: Steps
    x_TF: Tensor  # scaled features, float32
    target_T: Tensor  # scaled load, float32
    is_train_T: Tensor  # float32: 1 where the step is a training label
    load_mw_T: np.ndarray  # MW, NaN where missing
    offset_mw_R: np.ndarray  # MW, of each region
    scale_mw_R: np.ndarray  # MW, of each region

    @property
    def num_bytes(self) -> int:
        """Memory of what lies on the device."""
        tensors = (self.x_TF, self.target_T, self.is_train_T)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def training_data(
    frame: pd.DataFrame, scales: Mapping[str, tuple[float, float]], device: torch.device
) -> TrainingData:
    """``FeatureTable.frame`` on a device; ``scales`` is each region's offset and scale (MW)."""
    return collect_training_data([frame], scales, device, num_steps=len(frame))


def collect_training_data(
    frames: Iterable[pd.DataFrame],
    scales: Mapping[str, tuple[float, float]],
    device: torch.device,
    *,
    num_steps: int,
) -> TrainingData:
    """The same of a table that comes piece by piece: at no time is there more of it than a piece.

    The pieces are in order; ``num_steps`` is their length in all.
    """
    regions = sorted(scales)
    region_T, part_T = np.empty(num_steps, np.int32), np.empty(num_steps, np.int8)
    is_input_T, load_mw_T = np.empty(num_steps, np.bool_), np.empty(num_steps)
    target_T, x_TF = np.empty(num_steps, np.float32), np.empty((num_steps, 0), np.float32)
    end = 0
    for frame in frames:
        names = [name for name in frame.columns if name.startswith(FEATURE_PREFIX)]
        if not end:
            x_TF = np.empty((num_steps, len(names)), np.float32)
        begin, end = end, end + len(frame)
        region_T[begin:end] = frame["region"].cat.set_categories(regions).cat.codes
        part_T[begin:end], is_input_T[begin:end] = frame["part"], frame["is_input"]
        load_mw_T[begin:end], target_T[begin:end] = frame["load_mw"], frame["target"]
        for number, name in enumerate(names):
            x_TF[begin:end, number] = frame[name]
    scale_R2 = np.array([scales[region] for region in regions])
    return TrainingData(
        steps=Steps(region_T, part_T, is_input_T),
        x_TF=torch.from_numpy(x_TF).to(device),
        target_T=torch.from_numpy(target_T).to(device),
        is_train_T=torch.from_numpy((part_T == TRAIN).astype(np.float32)).to(device),
        load_mw_T=load_mw_T,
        offset_mw_R=scale_R2[:, 0],
        scale_mw_R=scale_R2[:, 1],
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands. ``validation_smape`` (percent) comes at the end of each pass."""

    pass_number: int
    num_passes: int
    step: int
    num_steps: int
    loss: float
    steps_per_second: float
    seconds_left: float
    elapsed_seconds: float
    pass_seconds: float  # training alone, of this pass so far
    validation_smape: float | None = None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A fitted forecaster and what fitting it cost (s; the passes alone)."""

    forecaster: RecurrentForecaster
    history: tuple[Progress, ...]
    train_seconds: float
    num_steps: int


def train_model(
    data: TrainingData,
    *,
    config: Config,
    cell: Cell,
    seed: int,
    on_progress: Callable[[Progress], None],
) -> TrainedModel:
    """Fit one forecaster on the training part; ``on_progress`` hears about once a second.

    Raises:
        NotFiniteError: the loss is NaN or infinite, naming the model, the seed and the step.
        UsageError: the training part is too short for a batch in each pass.
    """
    torch.manual_seed(seed)
    device, windows, training = data.x_TF.device, config.windows, config.training
    forecaster = RecurrentForecaster(
        config.model, cell=cell, num_features=data.x_TF.shape[1], horizon=windows.horizon
    ).to(device)
    starts_N = train_starts(data.steps, windows)
    passes = plan_passes(count_phases(starts_N, windows), windows, training, seed=seed)
    num_steps = min(sum(passes), training.max_steps or sum(passes))
    update = TrainingStep(forecaster, data, config, num_steps)
    clock = _Clock(len(passes), num_steps, on_progress)
    for pass_number, num_batches in enumerate(passes, start=1):
        forecaster.train()
        update.begin_pass()
        order = cut_pass(starts_N, windows, pass_rng(seed, pass_number))
        order_N = torch.as_tensor(order, device=device)
        for batch in range(min(num_batches, num_steps - clock.step)):
            first = batch * training.batch_size
            clock.tick(pass_number, update(order_N[first : first + training.batch_size]))
        value = clock.finish_pass(cell=cell, seed=seed)
        clock.validated(pass_number, value, _validation_smape(forecaster, data, config))
        if clock.step >= num_steps:
            break
    return TrainedModel(forecaster, tuple(clock.history), clock.train_seconds, clock.step)


def _validation_smape(
    forecaster: RecurrentForecaster, data: TrainingData, config: Config
) -> float | None:
    scored = score(forecaster, data, VALIDATION, config)
    return scored.mean_smape() if len(scored.origins_O) else None


class _Clock:
    """Counts steps, times the passes (without validation) and tells how long it will take."""

    def __init__(
        self, num_passes: int, num_steps: int, on_progress: Callable[[Progress], None]
    ) -> None:
        self.step = 0
        self.history: list[Progress] = []
        self.train_seconds = 0.0
        self._num_passes, self._num_steps, self._tell = num_passes, num_steps, on_progress
        self._begun = self._resumed = self._told = time.perf_counter()
        self._pass_seconds = 0.0
        self._losses: list[Tensor] = []

    def tick(self, pass_number: int, loss: Tensor) -> None:
        self.step += 1
        self._losses.append(loss)
        now = time.perf_counter()
        if now - self._told >= _REPORT_EVERY_SECONDS:
            self._told = now
            self._pass_seconds = now - self._resumed
            self._tell(self._progress(pass_number, float(self._losses[-1]), now))

    def finish_pass(self, *, cell: str, seed: int) -> float:
        """The pass's mean loss; waits for the device, so that the time is true."""
        losses = torch.stack(self._losses).cpu()
        self._losses.clear()
        now = time.perf_counter()
        self._pass_seconds = now - self._resumed
        self.train_seconds += self._pass_seconds
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            first = int((~finite).nonzero()[0])
            step = self.step - len(losses) + first + 1
            raise NotFiniteError(cell=cell, seed=seed, step=step, loss=float(losses[first]))
        return float(losses.mean())

    def validated(self, pass_number: int, loss: float, validation_smape: float | None) -> None:
        self._resumed = self._told = time.perf_counter()
        self.history.append(self._progress(pass_number, loss, self._resumed, validation_smape))
        self._tell(self.history[-1])

    def _progress(
        self, pass_number: int, loss: float, now: float, validation_smape: float | None = None
    ) -> Progress:
        elapsed = now - self._begun
        rate = self.step / elapsed if elapsed > 0 else 0.0
        left = (self._num_steps - self.step) / rate if rate else 0.0
        return Progress(
            pass_number=pass_number,
            num_passes=self._num_passes,
            step=self.step,
            num_steps=self._num_steps,
            loss=loss,
            steps_per_second=rate,
            seconds_left=left,
            elapsed_seconds=elapsed,
            pass_seconds=self._pass_seconds,
            validation_smape=validation_smape,
        )
