"""Where a training stands, and how long it will take.

Legend: ``B`` batches of a pass, ``S`` seeds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridcast.training.state import StateRecord

_REPORT_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands. ``validation_...`` (percent) comes at the end of each pass.

    The nMAE where errors are told by it (see ``evaluation.measure``).
    """

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
    validation_nmae: float | None = None


class Validation(NamedTuple):
    """Errors on the validation part, percent; None: there is none, or it is not told so."""

    smape: float | None = None
    nmae: float | None = None


_NOT_VALIDATED = Validation()


class Clock:
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
        self._num_passes, self._seeds, self._on_progress = num_passes, seeds, on_progress
        self._begun = self._resumed = self._last_report = time.perf_counter()
        self._pass_seconds = 0.0
        self._losses: list[Tensor] = []

    def start(self) -> None:
        """Time runs from now on: a training may wait for others before it begins."""
        self._begun = self._resumed = self._last_report = time.perf_counter()

    def now(self) -> tuple[float, float]:
        """Seconds of this pass so far, and since the training began."""
        now = time.perf_counter()
        return now - self._resumed, now - self._begun

    def losses(self) -> Tensor:
        """Those of this pass so far, ``(B, S)``."""
        if not self._losses:
            return torch.empty((0, len(self._seeds)))
        return torch.stack(self._losses)

    def go_on_from(self, record: StateRecord, step: int, loss_BS: Tensor) -> None:
        """As though all of that had been counted here, and no time had gone by since."""
        now = time.perf_counter()
        self.step, self.train_seconds = step, record.train_seconds
        self.histories = [list(history) for history in record.histories]
        self._resumed, self._begun = now - record.pass_seconds, now - record.elapsed_seconds
        self._last_report = now
        self._losses = list(loss_BS.unbind())

    def tick(self, pass_number: int, loss_S: Tensor) -> None:
        """A step was put on its way; who asked hears of it about once a second."""
        self.step += 1
        self._losses.append(loss_S)
        now = time.perf_counter()
        if now - self._last_report >= _REPORT_EVERY_SECONDS:
            self._last_report = now
            self._pass_seconds = now - self._resumed
            for seed, loss in zip(self._seeds, loss_S.tolist(), strict=True):
                self._on_progress(seed, self._progress(pass_number, loss, now))

    def wait(self, seconds: float) -> None:
        """Leave out so many seconds, in which another training had the device."""
        self._resumed += seconds

    def finish_pass(self) -> Tensor:
        """The losses of the pass, a row a batch; waits for the device, so that the time is true."""
        loss_BS = torch.stack(self._losses).cpu()
        self._losses.clear()
        self._pass_seconds = time.perf_counter() - self._resumed
        self.train_seconds += self._pass_seconds
        return loss_BS

    def validated(
        self, pass_number: int, loss_S: Sequence[float], validation_S: Sequence[Validation]
    ) -> None:
        """The pass is over: each seed's mean loss and validation error (percent)."""
        self._resumed = self._last_report = time.perf_counter()
        finished = [
            (number, self._progress(pass_number, loss, self._resumed, validation))
            for number, (loss, validation) in enumerate(zip(loss_S, validation_S, strict=True))
            if isfinite(loss)
        ]
        for number, progress in finished:
            self.histories[number].append(progress)
        for number, progress in finished:  # who is told may take the training's state
            self._on_progress(self._seeds[number], progress)

    def _progress(
        self, pass_number: int, loss: float, now: float, validation: Validation = _NOT_VALIDATED
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
            validation_smape=validation.smape,
            validation_nmae=validation.nmae,
        )
