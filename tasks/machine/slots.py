"""Places on the devices: at most so many jobs at a time on each, the next on the freest.

They are those of this process: a run holds its artifacts folder alone, and all its jobs begin here.
Prefect's concurrency limits live in its server, which a run can do without.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridcast.config import TrainingConfig
    from tasks.machine.devices import Devices

_AT_A_TIME_ON_A_GPU = 2  # one job reads, counts and scores while the other has the GPU


class Slots:
    """Which devices have how many jobs now; safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_jobs: Counter[str] = Counter()

    @contextmanager
    def held(self, devices: Sequence[str], *, jobs_per_device: int) -> Iterator[str]:
        """Wait until one of ``devices`` has a place; the one that has the fewest jobs."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_jobs[self._freest(devices)] < jobs_per_device)
            device = self._freest(devices)
            self._num_jobs[device] += 1
        try:
            yield device
        finally:
            with self._changed:
                self._num_jobs[device] -= 1
                self._changed.notify_all()

    def _freest(self, devices: Sequence[str]) -> str:
        return min(devices, key=self._num_jobs.__getitem__)


def jobs_per_device(training: TrainingConfig, devices: Devices) -> int:
    """``training.jobs_per_device``, or what it comes to: on a GPU 2, on a CPU its cores."""
    if training.jobs_per_device is not None:
        return training.jobs_per_device
    return devices.num_cores if devices.device_type == "cpu" else _AT_A_TIME_ON_A_GPU


slots = Slots()
