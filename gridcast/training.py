"""Fits forecasters: the data once on the device, each batch a gather, loss at every origin.

Legend: ``T`` steps, ``F`` features, ``N`` windows, ``B`` batch, ``L`` lookback, ``O`` origins,
``H`` horizon, ``S`` seeds, ``R`` regions.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.errors import NotFiniteError
from gridcast.features import FEATURE_PREFIX
from gridcast.optimization import TrainingStep
from gridcast.scoring import plan_scoring, score_planned
from gridcast.splits import TRAIN, VALIDATION
from gridcast.stack import ForecasterStack, fused_type
from gridcast.windows import Steps, count_phases, cut_pass, plan_passes, train_starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from gridcast.config import Cell, Config
    from gridcast.models import RecurrentForecaster

_REPORT_EVERY_SECONDS = 1.0
_SIDE_BY_SIDE = 2  # trainings on one GPU: more gain nothing
_MOST_SEEDS = 16  # of one pass: the memory of its states grows with them


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The steps of all regions, end to end, on one device."""

    steps: Steps
    x_TF: Tensor  # scaled features, float32
    target_T: Tensor  # scaled load, float32
    is_train_T: Tensor  # float32: 1 where the step is a training label
    first_step_R: Tensor  # int64: where each region begins
    load_mw_T: np.ndarray  # MW, NaN where missing
    offset_mw_R: np.ndarray  # MW, of each region
    scale_mw_R: np.ndarray  # MW, of each region

    @property
    def num_bytes(self) -> int:
        """Memory of what lies on the device."""
        tensors = (self.x_TF, self.target_T, self.is_train_T)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def num_regions(self) -> int:
        """How many regions there are."""
        return len(self.first_step_R)

    def on(self, device: torch.device) -> TrainingData:
        """The same on another device."""
        tensors = ("x_TF", "target_T", "is_train_T", "first_step_R")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def region_of(self, steps: Tensor) -> Tensor:
        """The number of the region in which each step lies."""
        return torch.bucketize(steps, self.first_step_R, right=True) - 1


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
    first_step_R = np.searchsorted(region_T, np.arange(len(regions)))
    return TrainingData(
        steps=Steps(region_T, part_T, is_input_T),
        x_TF=torch.from_numpy(x_TF).to(device),
        target_T=torch.from_numpy(target_T).to(device),
        is_train_T=torch.from_numpy((part_T == TRAIN).astype(np.float32)).to(device),
        first_step_R=torch.from_numpy(first_step_R).to(device),
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
    """A fitted forecaster and what fitting it cost (s; the passes alone).

    ``num_together`` forecasters shared that time: the seeds of its stack.
    """

    forecaster: RecurrentForecaster
    last_step: RecurrentForecaster  # the same but where `training.average_last` averages weights
    history: tuple[Progress, ...]
    train_seconds: float
    num_steps: int
    num_together: int = 1


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
    training = Training(
        data,
        config=config,
        cell=cell,
        seeds=(seed,),
        on_progress=lambda _, progress: on_progress(progress),
    )
    run_together([training])
    outcome = training.outcomes[seed]
    if isinstance(outcome, NotFiniteError):
        raise outcome
    return outcome


def train_models(
    data: TrainingData,
    *,
    config: Config,
    models: Sequence[tuple[Cell, int]],
    on_progress: Callable[[Cell, int, Progress], None],
    beside: Sequence[torch.device] = (),
) -> dict[tuple[Cell, int], TrainedModel | NotFiniteError]:
    """Fit several forecasters (cell, seed) on one device, as many at a time as pays.

    With our GPU kernels the seeds of a cell share one pass, and the cells run side by side. Without
    them each is trained by itself, two side by side where the library's dropout, which draws from
    PyTorch's own generator, is not used. Whatever the company, each comes out as it does alone (to
    rounding, with our kernels). Devices ``beside`` share each batch with that of the data; cells
    are then trained one after the other.

    Raises:
        UsageError: the training part is too short for a batch in each pass.
    """
    is_fused = fused_type(config, data.x_TF.device) is not None
    has_own_chance = is_fused or config.model.dropout == 0 or config.model.num_layers == 1
    can_share = data.x_TF.device.type == "cuda" and has_own_chance and not beside
    at_once = _SIDE_BY_SIDE if can_share else 1
    replicas = [data.on(device) for device in beside]
    waiting = [
        Training(
            data,
            config=config,
            cell=cell,
            seeds=seeds,
            on_progress=partial(on_progress, cell),
            beside=replicas,
        )
        for cell, seeds in _stacks(models, most=_MOST_SEEDS if is_fused else 1)
    ]
    outcomes = {}
    for first in range(0, len(waiting), at_once):
        run_together(waiting[first : first + at_once])
    for training in waiting:
        for seed, outcome in training.outcomes.items():
            outcomes[training.cell, seed] = outcome
    return outcomes


def _stacks(models: Sequence[tuple[Cell, int]], *, most: int) -> list[tuple[Cell, list[int]]]:
    """Each cell's seeds, ``most`` at a time; the first of each cell, then the second, and so on."""
    seeds_of: dict[Cell, list[int]] = {}
    for cell, seed in models:
        seeds_of.setdefault(cell, []).append(seed)
    longest = max(len(seeds) for seeds in seeds_of.values())
    return [
        (cell, seeds[first : first + most])
        for first in range(0, longest, most)
        for cell, seeds in seeds_of.items()
        if first < len(seeds)
    ]


def run_together(trainings: Sequence[Training]) -> None:
    """Run trainings side by side, a step of each in turn; on a GPU each has a stream of its own."""
    running = [
        (each, each.steps(), _stream_for(each.device, place))
        for place, each in enumerate(trainings)
    ]
    while running:
        still = []
        for training, steps, stream in running:
            before = training.validation_seconds
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                if next(steps, _ENDED) is not _ENDED:
                    still.append((training, steps, stream))
            for other, _, _ in running:
                if other is not training:
                    other.wait(training.validation_seconds - before)
        running = still


_ENDED = object()


def _stream_for(device: torch.device, place: int) -> torch.cuda.Stream | None:
    if device.type != "cuda":
        return None
    stream = _stream(device, place)
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream


@cache
def _stream(device: torch.device, place: int) -> torch.cuda.Stream:  # noqa: ARG001 - a key
    """The same one for every training in that place: cuBLAS keeps a workspace for each stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Training:
    """The training of one cell with one or more seeds, all in one pass.

    ``beside`` is the data on further devices, which share each batch with that of ``data``.

    ``outcomes`` has each seed's model, or why there is none: a loss that is not finite ends the
    training of its seed alone.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        config: Config,
        cell: Cell,
        seeds: Sequence[int],
        on_progress: Callable[[int, Progress], None],
        beside: Sequence[TrainingData] = (),
    ) -> None:
        self.outcomes: dict[int, TrainedModel | NotFiniteError] = {}
        self.device = data.x_TF.device
        self.validation_seconds = 0.0
        self.cell = cell
        self._data, self._config, self._seeds = data, config, tuple(seeds)
        self._beside = tuple(beside)
        self._starts_N = train_starts(data.steps, config.windows)
        self._validation = plan_scoring(data, VALIDATION, config)
        self._passes = plan_passes(
            count_phases(self._starts_N, config.windows), config.windows, config.training
        )
        num_steps = min(sum(self._passes), config.training.max_steps or sum(self._passes))
        self._clock = _Clock(len(self._passes), num_steps, self._seeds, on_progress)

    def steps(self) -> Iterator[None]:
        """Train, giving way after each step."""
        data, config, clock = self._data, self._config, self._clock
        stack = ForecasterStack(data, config, cell=self.cell, seeds=self._seeds)
        others = [
            (ForecasterStack(each, config, cell=self.cell, seeds=self._seeds, share=share), each)
            for share, each in enumerate(self._beside, start=1)
        ]
        update = TrainingStep(stack, data, config, clock.num_steps, others)
        size = config.training.batch_size
        for pass_number, num_batches in enumerate(self._passes, start=1):
            update.begin_pass()
            order_SN = self._order(pass_number)
            for batch in range(min(num_batches, clock.num_steps - clock.step)):
                clock.tick(pass_number, update(order_SN[:, batch * size : (batch + 1) * size]))
                yield
            loss_S, begun = self._finish_pass(), time.perf_counter()
            validation_S = self._validate(stack)
            self.validation_seconds += time.perf_counter() - begun
            clock.validated(pass_number, loss_S, validation_S)
            if clock.step >= clock.num_steps or len(self.outcomes) == len(self._seeds):
                break
        for number, seed in enumerate(self._seeds):
            if seed not in self.outcomes:
                self.outcomes[seed] = TrainedModel(
                    stack.forecaster(number), stack.forecaster(number, last_step=True),
                    tuple(clock.histories[number]), clock.train_seconds, clock.step,
                    len(self._seeds),
                )  # fmt: skip

    def wait(self, seconds: float) -> None:
        """Leave out of its time what another training's validation took while this one waited."""
        self._clock.wait(seconds)

    def _order(self, pass_number: int) -> Tensor:
        """The windows of a pass, each seed in its own order: ``(S, N)``."""
        orders = [
            cut_pass(self._starts_N, self._config.windows, pass_number=pass_number, seed=seed)
            for seed in self._seeds
        ]
        return torch.as_tensor(np.stack(orders), device=self.device)

    def _finish_pass(self) -> list[float]:
        """Each seed's mean loss of the pass; one that was not finite has ended its training."""
        loss_BS = self._clock.finish_pass()
        is_finite_BS = torch.isfinite(loss_BS)
        for number, seed in enumerate(self._seeds):
            if seed not in self.outcomes and not bool(is_finite_BS[:, number].all()):
                first = int((~is_finite_BS[:, number]).nonzero()[0])
                step = self._clock.step - len(loss_BS) + first + 1
                loss = float(loss_BS[first, number])
                self.outcomes[seed] = NotFiniteError(
                    cell=self.cell, seed=seed, step=step, loss=loss
                )
        return [float(loss) for loss in loss_BS.mean(0)]

    def _validate(self, stack: ForecasterStack) -> list[float | None]:
        """Each seed's sMAPE on the validation part (percent), None where there is none."""
        found: list[float | None] = []
        for number, seed in enumerate(self._seeds):
            if seed in self.outcomes:
                found.append(None)
                continue
            scored = score_planned(
                stack.forecaster(number), self._data, self._validation, self._config
            )
            found.append(scored.mean_smape() if len(scored.origins_O) else None)
        return found


class _Clock:
    """Counts steps, times the passes (without validation) and tells how long it will take."""

    def __init__(
        self,
        num_passes: int,
        num_steps: int,
        seeds: Sequence[int],
        on_progress: Callable[[int, Progress], None],
    ) -> None:
        self.step, self.num_steps = 0, num_steps
        self.histories: list[list[Progress]] = [[] for _ in seeds]
        self.train_seconds = 0.0
        self._num_passes, self._seeds, self._tell = num_passes, seeds, on_progress
        self._begun = self._resumed = self._told = time.perf_counter()
        self._pass_seconds = 0.0
        self._losses: list[Tensor] = []

    def tick(self, pass_number: int, loss_S: Tensor) -> None:
        self.step += 1
        self._losses.append(loss_S)
        now = time.perf_counter()
        if now - self._told >= _REPORT_EVERY_SECONDS:
            self._told = now
            self._pass_seconds = now - self._resumed
            for seed, loss in zip(self._seeds, loss_S.tolist(), strict=True):
                self._tell(seed, self._progress(pass_number, loss, now))

    def wait(self, seconds: float) -> None:
        self._resumed += seconds

    def finish_pass(self) -> Tensor:
        """The losses of the pass, a row a batch; waits for the device, so that the time is true."""
        loss_BS = torch.stack(self._losses).cpu()
        self._losses.clear()
        self._pass_seconds = time.perf_counter() - self._resumed
        self.train_seconds += self._pass_seconds
        return loss_BS

    def validated(
        self, pass_number: int, loss_S: Sequence[float], validation_S: Sequence[float | None]
    ) -> None:
        self._resumed = self._told = time.perf_counter()
        for number, (loss, validation) in enumerate(zip(loss_S, validation_S, strict=True)):
            if not isfinite(loss):
                continue
            progress = self._progress(pass_number, loss, self._resumed, validation)
            self.histories[number].append(progress)
            self._tell(self._seeds[number], progress)

    def _progress(
        self, pass_number: int, loss: float, now: float, validation_smape: float | None = None
    ) -> Progress:
        elapsed = now - self._begun
        rate = self.step / elapsed if elapsed > 0 else 0.0
        left = (self.num_steps - self.step) / rate if rate else 0.0
        return Progress(
            pass_number=pass_number,
            num_passes=self._num_passes,
            step=self.step,
            num_steps=self.num_steps,
            loss=loss,
            steps_per_second=rate,
            seconds_left=left,
            elapsed_seconds=elapsed,
            pass_seconds=self._pass_seconds,
            validation_smape=validation_smape,
        )
