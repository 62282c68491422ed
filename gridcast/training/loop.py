"""Fits forecasters: the data once on the device, each batch a gather, loss at every origin.

Legend: ``T`` steps, ``F`` features, ``N`` windows, ``B`` batch, ``L`` lookback, ``O`` origins,
``H`` horizon, ``S`` seeds, ``R`` regions.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.errors import NotFiniteError
from gridcast.features.splits import VALIDATION
from gridcast.features.windows import count_phases, cut_pass, plan_passes, train_starts
from gridcast.training.clock import Clock, Progress
from gridcast.training.prediction import plan_scoring, score_planned
from gridcast.training.stack import ForecasterStack, fused_type
from gridcast.training.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridcast.config import Cell, Config
    from gridcast.training.data import TrainingData
    from gridcast.training.forecaster import RecurrentForecaster

_SIDE_BY_SIDE = 2  # trainings on one GPU: more gain nothing
_MOST_SEEDS = 16  # of one pass: the memory of its states grows with them


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
        for cell, seeds in _stacks(models, most=most_seeds_of_a_pass(config, data.x_TF.device))
    ]
    outcomes = {}
    for first in range(0, len(waiting), at_once):
        run_together(waiting[first : first + at_once])
    for training in waiting:
        for seed, outcome in training.outcomes.items():
            outcomes[training.cell, seed] = outcome
    return outcomes


def most_seeds_of_a_pass(config: Config, device: torch.device) -> int:
    """How many seeds of a cell are trained in one pass, at most."""
    return _MOST_SEEDS if fused_type(config, device) is not None else 1


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
        self._clock = Clock(len(self._passes), num_steps, self._seeds, on_progress)

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
