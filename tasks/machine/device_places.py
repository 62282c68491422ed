"""Places on the devices: at most so many jobs at a time on each, the next on the freest.

A place is a lock on a file, which the kernel releases when its owner dies: all runs whose artifacts
are in one folder share the places of a machine. Prefect's concurrency limits live in its server,
which a run can do without.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridcast.config import TrainingConfig
    from tasks.machine.devices import Devices

_AT_A_TIME_ON_A_GPU = 2  # one job reads, counts and scores while the other has the GPU
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """So many jobs at a time on each of ``devices``; the locks are in ``folder``."""

    folder: Path
    devices: tuple[str, ...]
    jobs_per_device: int

    @property
    def of_this_machine(self) -> Path:
        """A device's name means another one on each machine that shares the folder."""
        return self.folder / socket.gethostname()


@contextmanager
def held_place(places: Places, *, on_full: Callable[[], None]) -> Iterator[str]:
    """Wait until a device has a place, and hold it: on the device that has the fewest jobs.

    ``on_full`` is called again and again while there is none; what it raises ends the waiting.
    """
    while (taken := _take(places)) is None:
        on_full()
        time.sleep(_POLL_SECONDS)
    device, lock = taken
    try:
        yield device
    finally:
        lock.release()


def _take(places: Places) -> tuple[str, FileLock] | None:
    """One looks at a time, or two would each see the places that the other tries."""
    folder = places.of_this_machine
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "look.lock", timeout=1.0):
            free = {each: _free(places, each) for each in places.devices}
            return _freest({each: locks for each, locks in free.items() if locks})
    except Timeout:
        return None


def _free(places: Places, device: str) -> list[FileLock]:
    """The places of the device that this run may still use, held."""
    folder, name = places.of_this_machine, lock_name(device)
    own = {folder / f"{name}.{number}.lock" for number in range(places.jobs_per_device)}
    known = sorted(own | set(folder.glob(f"{name}.*.lock")))  # other runs may have more
    free = [lock for path in known if (lock := _held(path)) is not None]
    num_left = max(0, places.jobs_per_device - (len(known) - len(free)))
    for lock in free[num_left:]:
        lock.release()
    return free[:num_left]


def lock_name(device: str) -> str:
    """The device as all processes of the machine call it, whichever of them each may see.

    Who places jobs (Ray, Slurm) shows each the GPUs that are its own, which then begin at 0.
    """
    kind, _, number = device.partition(":")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if kind == "cuda" and number and int(number) < len(visible):
        number = visible[int(number)].strip() or number
    return f"{kind}-{number}".rstrip("-").replace("/", "_")


def _freest(free: dict[str, list[FileLock]]) -> tuple[str, FileLock] | None:
    """Keep one place of the device that has the most; the first of such devices."""
    if not free:
        return None
    device = max(free, key=lambda each: len(free[each]))
    kept, *_ = free[device]
    for lock in (each for locks in free.values() for each in locks if each is not kept):
        lock.release()
    return device, kept


def _held(path: Path) -> FileLock | None:
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def jobs_per_device(training: TrainingConfig, devices: Devices) -> int:
    """``training.jobs_per_device``, or what it comes to: on a GPU 2, on a CPU its cores."""
    if training.jobs_per_device is not None:
        return training.jobs_per_device
    return devices.num_cores if devices.device_type == "cpu" else _AT_A_TIME_ON_A_GPU
