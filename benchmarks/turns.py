"""What a contestant's turn tells: the time of its steps, and the memory of its process.

Only torch is needed: the rivals' environment imports it too.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATUS = Path("/proc/self/status")


class Clock:
    """Ticks when a step has ended; the first steps warm up and are not timed."""

    def __init__(self, device: torch.device, *, warm_steps: int, steps: int) -> None:
        self._device, self._first, self._last = device, warm_steps, warm_steps + steps
        self._num, self._ends, self._used = 0, list[float](), list[float]()

    def tick(self) -> None:
        """A step has been given to the device; waits for it where timing begins and ends."""
        self._num += 1
        if self._device.type == "cuda" and self._num in {self._first, self._last}:
            torch.cuda.synchronize(self._device)
        if self._num >= self._first:
            self._ends.append(perf_counter())
            self._used.append(process_time())

    def step_seconds(self) -> float:
        """The mean of all timed steps on a GPU; their median on a CPU, which others disturb."""
        if self._device.type == "cuda":
            return (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        return _median_step(self._ends)

    def step_cpu_seconds(self) -> float:
        """Of all the process's threads, the median of the timed steps."""
        return _median_step(self._used)


def _median_step(ends: Sequence[float]) -> float:
    return median(end - begun for begun, end in pairwise(ends))


def resident_bytes() -> int:
    """What the process has in memory now."""
    return _status("VmRSS:")


def peak_bytes() -> int:
    """The most that it had since ``forget_peak``."""
    return _status("VmHWM:")


def forget_peak() -> None:
    """Let the peak begin anew, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
