"""Which processors training may use, found without importing torch where there is no GPU."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from gridcast.config import Cell, Config
from gridcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a run (``cpu``, or ``cuda:0`` and so on) and the CPU's cores."""

    names: tuple[str, ...]
    num_cores: int

    @property
    def device_type(self) -> Literal["cpu", "cuda"]:
        """What kind they are."""
        return "cpu" if self.names == ("cpu",) else "cuda"


class Resolved(NamedTuple):
    """The configuration as a run works by it, and the devices that it asks for."""

    config: Config
    devices: Devices


def resolve(profile: str, overrides: tuple[str, ...]) -> Resolved:
    """What a run decides once, at its beginning: its devices, and all that depends on them.

    Raises:
        ConfigError: an unknown profile, key or value, or a GPU that is not there.
    """
    asked = Config.load(profile, overrides=overrides)
    is_local = asked.execution.executor == "local"
    devices = find_devices(asked, where=profile) if is_local else devices_elsewhere(asked)
    config = Config.load(profile, overrides=overrides, device_type=devices.device_type)
    return Resolved(resolve_precision(config, devices.device_type), devices)


def find_devices(config: Config, *, where: str) -> Devices:
    """The devices that ``training.device`` asks for; ``where`` is what an error calls ``config``.

    Raises:
        ConfigError: it asks for a GPU that is not there.
    """
    wanted = config.training.device
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    num_cuda = 0 if wanted == "cpu" else num_cuda_devices()
    if wanted == "cpu" or (wanted == "auto" and num_cuda == 0):
        return Devices(("cpu",), num_cores or 1)
    index = int(wanted.partition(":")[2] or 0)
    if index >= num_cuda:
        raise ConfigError(
            where=where,
            key="training.device",
            found=wanted,
            expected=f"one of the {num_cuda} CUDA devices of this machine, cpu, or auto",
        )
    names = [f"cuda:{number}" for number in range(num_cuda)]
    return Devices(tuple(names if ":" not in wanted else [wanted]), num_cores or 1)


def devices_elsewhere(config: Config) -> Devices:
    """The devices by which a run plans whose jobs other machines do: a core, or a GPU, for each.

    This machine may have no GPU, so ``training.device`` has to ask for theirs; each job then finds
    those of its machine (:func:`devices_of_kind`).
    """
    training = config.training
    num_jobs = len(training.seeds) * len(config.model.cells)
    if training.device in {"auto", "cpu"}:
        return Devices(("cpu",), num_jobs)
    return Devices(tuple(f"cuda:{number}" for number in range(training.split_over)), num_jobs)


def devices_of_kind(config: Config, kind: str) -> Devices:
    """Those of this machine, of the kind that a run elsewhere planned by.

    Raises:
        ConfigError: it has none.
    """
    training = config.training.model_copy(update={"device": kind})
    return find_devices(config.model_copy(update={"training": training}), where="this machine")


def leading_devices(devices: Devices, *, split_over: int) -> tuple[str, ...]:
    """The devices to which jobs are given; each leads the ``split_over - 1`` that come after it.

    Raises:
        ConfigError: there are fewer GPUs than are to share a batch.
    """
    num_gpus = 0 if devices.device_type == "cpu" else len(devices.names)
    if 1 < split_over > num_gpus:
        raise ConfigError(
            where="configuration",
            key="training.split_over",
            found=split_over,
            expected=f"at most the number of GPUs, here {num_gpus}, or 1",
        )
    return devices.names[: len(devices.names) - split_over + 1 : split_over]


def spread_over_devices(num_seeds: int, num_cells: int, devices: Sequence[str]) -> list[str]:
    """The device of each job: all cells of the first seed, then of the second, and so on.

    Where the seeds come out even, each device has all cells of its seeds. Dealt out by cell, the
    article's eight jobs took 1.13 times as long on four H200s: the LSTMs keep the others waiting,
    and two cells side by side leave less of a GPU idle than two seeds of one.
    """
    by_seed = num_seeds % len(devices) == 0
    numbers = [
        seed if by_seed else seed * num_cells + cell
        for seed in range(num_seeds)
        for cell in range(num_cells)
    ]
    return [devices[number % len(devices)] for number in numbers]


class Placed(NamedTuple):
    """A job, and where it is to be trained."""

    cell: Cell
    seed: int
    device: str


def placed_jobs(config: Config, devices: Devices) -> list[Placed]:
    """One job a cell and seed, dealt out to the devices.

    Raises:
        ConfigError: as :func:`leading_devices`.
    """
    cells, training = config.model.cells, config.training
    leading = leading_devices(devices, split_over=training.split_over)
    pairs = ((cell, seed) for seed in training.seeds for cell in cells)
    given = spread_over_devices(len(training.seeds), len(cells), leading)
    return [Placed(*pair, device) for pair, device in zip(pairs, given, strict=True)]


def threads_of_a_job(config: Config, devices: Devices) -> int:
    """CPU threads: ``training.threads``, or the cores shared out between the jobs."""
    num_jobs = len(config.training.seeds) * len(config.model.cells)
    return config.training.threads or max(1, devices.num_cores // num_jobs)


def devices_sharing(device: str, *, split_over: int) -> list[str]:
    """Those that share each batch with ``device``: the next ones."""
    kind, _, number = device.partition(":")
    return [f"{kind}:{int(number) + more}" for more in range(1, split_over)]


@cache
def num_cuda_devices() -> int:
    """How many CUDA devices torch can use; 0 at once where the machine has no CUDA driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve_precision(config: Config, device_type: str) -> Config:
    """``precision: auto`` as it will be: bf16 on a GPU, fp32 on a CPU."""
    if config.training.precision != "auto":
        return config
    precision = "bf16" if device_type == "cuda" else "fp32"
    training = config.training.model_copy(update={"precision": precision})
    return config.model_copy(update={"training": training})
