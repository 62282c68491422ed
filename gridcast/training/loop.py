"""Fits forecasters: the data once on the device, each batch a gather, loss at every origin.

Legend: ``T`` steps, ``F`` features, ``N`` windows, ``B`` batch, ``L`` lookback, ``O`` origins,
``H`` horizon, ``S`` seeds, ``R`` regions.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.engine import Engine
from gridcast.errors import NotFiniteError
from gridcast.features.splits import VALIDATION
from gridcast.features.windows import count_phases, cut_pass, plan_passes, train_starts
from gridcast.kernels.engine import engine_of
from gridcast.training.clock import Clock, Progress, Validation
from gridcast.training.counts import sized_config
from gridcast.training.gradients import BatchGradient
from gridcast.training.lead_windows import LeadGradient
from gridcast.training.prediction import plan_scoring, score_planned
from gridcast.training.stack import ForecasterStack, draws_at_random, max_seeds_per_pass, stacks_of
from gridcast.training.state import StateRecord, TrainingState, copied, errors_of, failures_of
from gridcast.training.step import TrainingStep, stream_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridcast.config import Cell, Config
    from gridcast.networks.building import Forecaster
    from gridcast.training.cpu_gradients import CompiledGradient
    from gridcast.training.data import TrainingData
    from gridcast.training.state import Watcher

_MAX_INTERLEAVED = 2  # trainings on one GPU: more gain nothing


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A fitted forecaster and what fitting it cost (s; the passes alone).

    ``seeds_per_pass`` forecasters shared that time: the seeds of its stack. ``engine`` ran it.
    """

    forecaster: Forecaster
    last_step: Forecaster  # the same but where `training.average_last` averages weights
    history: tuple[Progress, ...]
    train_seconds: float
    num_steps: int
    engine: Engine
    seeds_per_pass: int = 1


def train_model(
    data: TrainingData,
    *,
    config: Config,
    cell: Cell,
    seed: int,
    on_progress: Callable[[Progress], None],
) -> TrainedModel:
    """Fit one forecaster on the training part; ``on_progress`` hears about once a second.

    On the engine that fits its configuration and device.

    Raises:
        NotFiniteError: the loss is NaN or infinite, naming the model, the seed and the step.
        UsageError: the training part is too short for a batch in each pass.
    """
    training = Training(
        data,
        config=config,
        cell=cell,
        seeds=(seed,),
        engine=engine_of(config, data.x_TF.device, cells=[cell]),
        on_progress=lambda _, progress: on_progress(progress),
    )
    run_interleaved([training])
    outcome = training.outcomes[seed]
    if isinstance(outcome, NotFiniteError):
        raise outcome
    return outcome


def train_models(
    data: TrainingData,
    *,
    config: Config,
    models: Sequence[tuple[Cell, int]],
    engine: Engine,
    on_progress: Callable[[Cell, int, Progress], None],
    replica_devices: Sequence[torch.device] = (),
    stacks: Sequence[tuple[Cell, Sequence[int]]] = (),
    watcher: Watcher | None = None,
) -> dict[tuple[Cell, int], TrainedModel | NotFiniteError]:
    """Fit several forecasters (cell, seed) on one device, as many at a time as pays.

    With our GPU kernels the seeds of a cell share one pass, and the cells run side by side. Without
    them each is trained by itself, two side by side where none draws from PyTorch's own generator.
    Whatever the company, each comes out as it does alone (to rounding, with our kernels).
    ``replica_devices`` share each batch with that of the data; cells then come one after the other.
    ``stacks`` are cells with seeds that are to share a pass, if not those that pay. ``watcher``
    hears of each training that begins, and of its steps.

    Raises:
        UsageError: the training part is too short for a batch in each pass.
    """
    has_own_generator = engine.layers == "gpu-kernels" or not draws_at_random(config.model)
    can_share = data.x_TF.device.type == "cuda" and has_own_generator and not replica_devices
    at_once = _MAX_INTERLEAVED if can_share else 1
    replicas = [data.to(device) for device in replica_devices]
    waiting = [
        Training(
            data,
            config=config,
            cell=cell,
            seeds=seeds,
            engine=engine,
            on_progress=partial(on_progress, cell),
            replicas=replicas,
        )
        for cell, seeds in stacks or stacks_of(models, most=max_seeds_per_pass(engine))
    ]
    for first in range(0, len(waiting), at_once):
        run_interleaved(waiting[first : first + at_once], watcher)
    return {(each.cell, seed): end for each in waiting for seed, end in each.outcomes.items()}


def run_interleaved(trainings: Sequence[Training], watcher: Watcher | None = None) -> None:
    """Run trainings side by side, a step of each in turn; on a GPU each has a stream of its own."""
    for training in trainings:
        if watcher:
            watcher.begins(training)
    running = [
        (each, each.steps(), stream_for(each.device, place)) for place, each in enumerate(trainings)
    ]
    while running:
        still = []
        for training, steps, stream in running:
            before = training.validation_seconds
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                if next(steps, _ENDED) is not _ENDED:
                    still.append((training, steps, stream))
                    if watcher:
                        watcher.has_stepped(training)
                elif watcher:
                    watcher.has_ended(training)
            for other, _, _ in running:
                if other is not training:
                    other.wait(training.validation_seconds - before)
        running = still


_ENDED = object()


def gradient_of(
    stack: ForecasterStack,
    data: TrainingData,
    config: Config,
    *,
    share: int = 0,
    num_shares: int = 1,
) -> BatchGradient | CompiledGradient:
    """What derives a stack's losses: on a CPU compiled loops, its cell's equations, else PyTorch.

    Of ``num_shares`` devices that share a batch it is that of the ``share``-th.
    """
    if stack.engine.layers != "cpu-loops":
        kind = LeadGradient if config.model.head == "by_lead" else BatchGradient
        return kind(stack, data, config, share=share, num_shares=num_shares)
    from gridcast.kernels.cpu_kernels import KERNELS_OF_CELL
    from gridcast.training.cpu_gradients import CompiledGradient

    return CompiledGradient(
        stack, data, config, kernels=KERNELS_OF_CELL[stack.cell], share=share, num_shares=num_shares
    )


class Training:
    """The training of one cell with one or more seeds, all in one pass.

    ``replicas`` are the data on further devices, which share each batch with that of ``data``.

    ``outcomes`` has each seed's model, or why there is none: a loss that is not finite ends the
    training of its seed alone.

    Where it stands can be taken at any time between two steps, also by who hears of its progress,
    and put back, here or into another training of the same data, settings, seeds and devices: it
    ends with the same weights, byte for byte.
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        config: Config,
        cell: Cell,
        seeds: Sequence[int],
        engine: Engine,
        on_progress: Callable[[int, Progress], None],
        replicas: Sequence[TrainingData] = (),
    ) -> None:
        self.outcomes: dict[int, TrainedModel | NotFiniteError] = {}
        self.device = data.x_TF.device
        self.validation_seconds = 0.0
        self.cell, self._engine = cell, engine
        self._starts_N = train_starts(data.steps, config.windows)
        config = sized_config(config, num_windows=len(self._starts_N))
        self._data, self._config, self.seeds = data, config, tuple(seeds)
        self._replicas = tuple(replicas)
        self._validation = plan_scoring(data, VALIDATION, config)
        self._passes = plan_passes(
            count_phases(self._starts_N, config.windows), config.windows, config.training
        )
        num_steps = min(sum(self._passes), config.training.max_steps or sum(self._passes))
        self._clock = Clock(len(self._passes), num_steps, self.seeds, on_progress)
        self._pass_number, self._batch = 1, 0  # the batches of that pass that are done
        self._order: tuple[int, Tensor] | None = None  # of which pass, (S, N)
        self._update: TrainingStep | None = None  # while it trains: it takes memory
        self._state: TrainingState | None = None  # to go on from, before and after

    def steps(self) -> Iterator[None]:
        """Train on from where it stands, giving way after each step and after each validation."""
        update = self._begin()
        while not self._is_over():
            if self._batch < self._num_batches():
                self._train_batch(update)
            else:
                self._end_pass(update)
            yield
        self._finish(update)

    def take_state(self) -> TrainingState:
        """A copy of all that steps change. Waits for the device."""
        if self._update is not None:
            return self._copy_of(self._update)
        if self._state is None:
            self._state = self._copy_of(self._build())
        return self._state

    def put_state(self, state: TrainingState) -> None:
        """Go on from there; a training that has not begun, or has ended, does so as it begins.

        Raises:
            StateRefusedError: it is another training's (of some things one hears when it begins).
        """
        self._record().check_fits(state.record)
        self.outcomes = dict(errors_of(state.record))
        if self._update is None:
            self._state = state
        else:
            self._put(self._update, state)

    def _begin(self) -> TrainingStep:
        if self._update is None:
            self._clock.start()
            update = self._build()
            if self._state is not None:
                self._put(update, self._state)
            self._update, self._state = update, None
        return self._update

    def _build(self) -> TrainingStep:
        shares = enumerate((self._data, *self._replicas))
        (stack, gradient), *replicas = [self._share(data, share) for share, data in shares]
        return TrainingStep(stack, gradient, self._config, self._clock.num_steps, replicas)

    def _is_over(self) -> bool:
        has_steps = self._clock.step < self._clock.num_steps
        return self._batch == 0 and (not has_steps or len(self.outcomes) == len(self.seeds))

    def _num_batches(self) -> int:
        """Those of this pass: the last one may end early."""
        steps_before = self._clock.step - self._batch
        return min(self._passes[self._pass_number - 1], self._clock.num_steps - steps_before)

    def _train_batch(self, update: TrainingStep) -> None:
        if self._batch == 0:
            update.begin_pass()
        first = self._batch * self._config.training.batch_size
        starts_SB = self._order_of_pass()[:, first : first + self._config.training.batch_size]
        loss_S = update(starts_SB)
        self._batch += 1
        self._clock.tick(self._pass_number, loss_S)

    def _end_pass(self, update: TrainingStep) -> None:
        loss_S, begun = self._finish_pass(), time.perf_counter()
        validation_S = self._validate(update.stack)
        self.validation_seconds += time.perf_counter() - begun
        ended, self._pass_number, self._batch = self._pass_number, self._pass_number + 1, 0
        self._clock.validated(ended, loss_S, validation_S)

    def _finish(self, update: TrainingStep) -> None:
        """Give what was trained; what it was trained with is let go, its state kept."""
        self._state = self._copy_of(update)
        stack, clock = update.stack, self._clock
        for number, seed in enumerate(self.seeds):
            if seed not in self.outcomes:
                self.outcomes[seed] = TrainedModel(
                    stack.forecaster(number), stack.forecaster(number, last_step=True),
                    tuple(clock.histories[number]), clock.train_seconds, clock.step,
                    self._engine, len(self.seeds),
                )  # fmt: skip
        self._update = None

    def _record(self) -> StateRecord:
        pass_seconds, elapsed_seconds = self._clock.now()
        return StateRecord(
            cell=self.cell,
            seeds=self.seeds,
            num_passes=len(self._passes),
            num_steps=self._clock.num_steps,
            pass_number=self._pass_number,
            batch=self._batch,
            train_seconds=self._clock.train_seconds,
            pass_seconds=pass_seconds,
            elapsed_seconds=elapsed_seconds,
            histories=tuple(map(tuple, self._clock.histories)),
            failures=failures_of(self.outcomes),
        )

    def _copy_of(self, update: TrainingStep) -> TrainingState:
        update.wait()
        tensors = {**update.state_tensors(), "loss_BS": self._clock.losses()}
        return TrainingState(self._record(), copied(tensors))

    def _put(self, update: TrainingStep, state: TrainingState) -> None:
        update.wait()
        record = state.record
        step = sum(self._passes[: record.pass_number - 1]) + record.batch
        step = min(step, self._clock.num_steps)  # the last pass may have ended early
        tensors = dict(state.tensors)
        loss_BS = tensors.pop("loss_BS").to(self.device)
        update.put_state(tensors, num_done=step)
        self._clock.go_on_from(record, step, loss_BS)
        self._pass_number, self._batch = record.pass_number, record.batch
        update.wait()

    def _share(
        self, data: TrainingData, share: int
    ) -> tuple[ForecasterStack, BatchGradient | CompiledGradient]:
        """What one device has of the training: the weights, and what derives their losses."""
        config, num_shares = self._config, 1 + len(self._replicas)
        stack = ForecasterStack(
            data, config, cell=self.cell, seeds=self.seeds, engine=self._engine, share=share
        )
        return stack, gradient_of(stack, data, config, share=share, num_shares=num_shares)

    def wait(self, seconds: float) -> None:
        """Leave out of its time what another training's validation took while this one waited."""
        self._clock.wait(seconds)

    def _order_of_pass(self) -> Tensor:
        """The windows of this pass, each seed in its own order: ``(S, N)``."""
        if self._order is None or self._order[0] != self._pass_number:
            number = self._pass_number
            orders = [
                cut_pass(self._starts_N, self._config.windows, pass_number=number, seed=seed)
                for seed in self.seeds
            ]
            self._order = number, torch.as_tensor(np.stack(orders), device=self.device)
        return self._order[1]

    def _finish_pass(self) -> list[float]:
        """Each seed's mean loss of the pass; one that was not finite has ended its training."""
        loss_BS = self._clock.finish_pass()
        is_finite_BS = torch.isfinite(loss_BS)
        for number, seed in enumerate(self.seeds):
            if seed not in self.outcomes and not bool(is_finite_BS[:, number].all()):
                first = int((~is_finite_BS[:, number]).nonzero()[0])
                step = self._clock.step - len(loss_BS) + first + 1
                loss = float(loss_BS[first, number])
                self.outcomes[seed] = NotFiniteError(
                    cell=self.cell, seed=seed, step=step, loss=loss
                )
        return [float(loss) for loss in loss_BS.mean(0)]

    def _validate(self, stack: ForecasterStack) -> list[Validation]:
        """Each seed's errors on the validation part."""
        found: list[Validation] = []
        for number, seed in enumerate(self.seeds):
            if seed in self.outcomes:
                found.append(Validation())
                continue
            scored = score_planned(
                stack.forecaster(number), self._data, self._validation, self._config
            )
            found.append(scored.validation(self._data.norm_mw_R))
        return found
