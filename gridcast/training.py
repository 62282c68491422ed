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
from torch import Tensor, nn

from gridcast.errors import NotFiniteError, UsageError
from gridcast.models import RecurrentForecaster
from gridcast.scoring import score
from gridcast.splits import VALIDATION
from gridcast.windows import Steps, cut_pass, train_starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridcast.config import Cell, Config, TrainingConfig, WindowsConfig

_REPORT_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The steps of all regions, end to end, on one device."""

    steps: Steps
    x_TF: Tensor  # scaled features, float32
    target_T: Tensor  # scaled load, float32
    is_train_T: Tensor  # float32: 1 where the step is a training label
    load_mw_T: np.ndarray  # MW, NaN where missing
    offset_mw_T: np.ndarray  # MW, of the step's region
    scale_mw_T: np.ndarray  # MW, of the step's region

    @property
    def num_bytes(self) -> int:
        """Memory of what lies on the device."""
        tensors = (self.x_TF, self.target_T, self.is_train_T)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


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
    orders = _plan_passes(train_starts(data.steps, windows), windows, training, seed)
    num_steps = min(sum(len(order) for order in orders), training.max_steps or 2**62)
    optimizer, schedule = _optimizer(forecaster, training, num_steps)
    clock = _Clock(len(orders), num_steps, on_progress)
    for pass_number, order in enumerate(orders, start=1):
        forecaster.train()
        for starts_B in order[: num_steps - clock.step]:
            loss = _loss(forecaster, data, torch.as_tensor(starts_B, device=device), config)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            if training.clip_norm is not None:
                nn.utils.clip_grad_norm_(forecaster.parameters(), training.clip_norm)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            clock.tick(pass_number, loss)
        value = clock.finish_pass(pass_number, cell=cell, seed=seed)
        clock.validated(pass_number, value, _validation_smape(forecaster, data, config))
        if clock.step >= num_steps:
            break
    return TrainedModel(forecaster, tuple(clock.history), clock.train_seconds, clock.step)


def _plan_passes(
    starts_N: np.ndarray,
    windows: WindowsConfig,
    training: TrainingConfig,
    seed: int,
) -> list[list[np.ndarray]]:
    """The batches of each pass, as starts of windows."""

    def batches(order: np.ndarray) -> Iterator[np.ndarray]:
        size = training.batch_size
        end = len(order) - len(order) % size if training.drop_last else len(order)
        for first in range(0, end, size):
            yield order[first : first + size]

    passes = range(1, training.passes + 1)
    rngs = (np.random.default_rng([seed, number]) for number in passes)
    orders = [list(batches(cut_pass(starts_N, windows, rng))) for rng in rngs]
    if not all(orders):
        raise UsageError(
            "training",
            found=f"{len(starts_N)} places for a window, of which a pass has no batch",
            expected="longer series, or a smaller windows.stride or training.batch_size",
        )
    return orders


def _optimizer(
    forecaster: nn.Module, training: TrainingConfig, num_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR | None]:
    parameters = forecaster.parameters()
    optimizer: torch.optim.Optimizer
    if training.optimizer == "adamw":
        optimizer = torch.optim.AdamW(
            parameters, lr=training.learning_rate, weight_decay=training.weight_decay
        )
    else:
        optimizer = torch.optim.Adam(parameters, lr=training.learning_rate)
    if training.schedule == "constant":
        return optimizer, None
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=training.learning_rate, total_steps=num_steps + 1
    )
    return optimizer, cycle


def _loss(
    forecaster: RecurrentForecaster,
    data: TrainingData,
    starts_B: Tensor,
    config: Config,
) -> Tensor:
    """Mean loss over the training labels of one batch, on the scaled load."""
    windows, device = config.windows, starts_B.device
    steps_L = torch.arange(windows.lookback, device=device)
    ahead_H = torch.arange(1, windows.horizon + 1, device=device)
    x_BLF = data.x_TF[starts_B[:, None] + steps_L]
    labels_OH = steps_L[windows.warmup :, None] + ahead_H
    labels_BOH = starts_B[:, None, None] + labels_OH
    with torch.autocast(device.type, torch.bfloat16, enabled=config.training.precision == "bf16"):
        y_BOH = forecaster(x_BLF, windows.warmup)
    error = y_BOH.float() - data.target_T[labels_BOH]
    weight = data.is_train_T[labels_BOH]
    each = error.abs() if config.training.loss == "l1" else error.square()
    mean: Tensor = (each * weight).sum() / weight.sum()
    return mean


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
        self._losses: list[Tensor] = []

    def tick(self, pass_number: int, loss: Tensor) -> None:
        self.step += 1
        self._losses.append(loss.detach())
        now = time.perf_counter()
        if now - self._told >= _REPORT_EVERY_SECONDS:
            self._told = now
            self._tell(self._progress(pass_number, float(self._losses[-1]), now))

    def finish_pass(self, pass_number: int, *, cell: str, seed: int) -> float:
        """The pass's mean loss; waits for the device, so that the time is true."""
        losses = torch.stack(self._losses).cpu()
        self._losses.clear()
        now = time.perf_counter()
        self.train_seconds += now - self._resumed
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            first = int((~finite).nonzero()[0])
            step = self.step - len(losses) + first + 1
            raise NotFiniteError(cell=cell, seed=seed, step=step, loss=float(losses[first]))
        self.history.append(self._progress(pass_number, float(losses.mean()), now))
        return float(losses.mean())

    def validated(self, pass_number: int, loss: float, validation_smape: float | None) -> None:
        self.history.pop()
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
            pass_number, self._num_passes, self.step, self._num_steps, loss, rate, left, elapsed,
            validation_smape,
        )  # fmt: skip
