"""How long a training will take and how much memory, before it is begun.

Windows and steps are counted from the data. The memory of the data follows from their number, by
what the training process keeps of a step; what one step of training takes is measured.

Legend: ``S`` phases of the stride.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from gridcast.features.neighbours import NUM_SIGNALS
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.windows import (
    WindowsRecord,
    plan_passes,
)
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import Cell, Config, ModelConfig
from gridcast.training.counts import DataCounts

# -- what the data come to -------------------------------------------------------------------------


# -- what a job takes ------------------------------------------------------------------------------

# Of a step in the training process: on the device each feature, the target and whether it trains;
# on the host its region, part, load and whether it is an input.
_DEVICE_FLOATS, _HOST_BYTES = 2, 4 + 1 + 8 + 1
# While windows are counted: two counts and three masks of each step.
_COUNTING_BYTES = 2 * 4 + 3
_INDEX_BYTES = 8
# Of a scored label: origin, region, truth, forecast, and as scaled; then its row in the file.
_LABEL_BYTES, _ROW_BYTES = 8 + 4 + 8 + 8 + 4, 8 + 2 + 8 + 16


# On disk, compressed: a reading; a step of the table of features; a forecast of a scored label.
_READING_BYTES, _FEATURES_BYTES, _FORECAST_BYTES = 5, 60, 13


class Measurement(Record):
    """What a short training of the real network took, in a process like that of training.

    ``idle_bytes`` is the process with its libraries between two steps, without the data (0 on a
    GPU), ``step_bytes`` what one step adds at most (on a GPU with weights and optimizer), and
    ``device_bytes`` all that the device has. ``first_seconds`` is what the first steps of a process
    took longer than later ones: on a GPU, compiling the kernels. A step is of ``seeds_per_pass``
    seeds, which shared a pass as they will in a run; ``tile_seconds`` are of one of them.
    """

    seeds_per_pass: int
    idle_bytes: int
    step_bytes: int
    device_bytes: int
    first_seconds: float
    step_seconds: float
    tile_seconds: float
    start_seconds: float


class JobPlan(Record):
    """What one job will take: steps, bytes, seconds.

    The ``seeds_per_pass`` seeds of a cell that share a pass have its peak and its ``train_seconds``
    once. ``shared_bytes`` is the part of the peak that all jobs of one process have once, and
    ``start_seconds`` are such a part of ``seconds``.
    """

    name: str
    cell: str
    seed: int
    device: str
    seeds_per_pass: int
    num_steps: int
    data_bytes: int
    peak_memory_bytes: int
    shared_bytes: int
    start_seconds: float
    train_seconds: float
    evaluation_seconds: float
    seconds: float


def data_bytes(num_steps: int, *, num_features: int) -> int:
    """Of the series on the device: ``TrainingData.num_bytes``."""
    return 4 * num_steps * (num_features + _DEVICE_FLOATS)


def regional_bytes(counts: DataCounts, model: ModelConfig) -> int:
    """What a head by lead has on the device beside the series (see ``TrainingData``).

    The hours that all regions share are about those of the longest one.
    """
    known = counts.num_steps if model.head == "by_lead" else 0
    if not model.neighbour_units:
        return known
    signals = 4 * counts.longest_region * counts.num_regions * NUM_SIGNALS
    return known + _INDEX_BYTES * counts.num_steps + signals


def held_bytes(
    counts: DataCounts,
    model: ModelConfig,
    *,
    num_features: int,
    device_type: Literal["cpu", "cuda"],
) -> int:
    """What a job holds from its first step to its last: the series, the windows, two orders."""
    held = data_bytes(counts.num_steps, num_features=num_features)
    held += regional_bytes(counts, model)
    held += 2 * _INDEX_BYTES * int(counts.num_by_phase_S.max())
    if device_type == "cuda":
        return held
    return held + _HOST_BYTES * counts.num_steps + _INDEX_BYTES * counts.windows.train


def passing_bytes(counts: DataCounts, horizon: int) -> int:
    """What a job has on the host for a moment between its steps, at most."""
    windows = counts.windows
    scored = _LABEL_BYTES * (windows.validation + windows.test) * horizon
    return max(
        _COUNTING_BYTES * counts.num_steps,
        (_INDEX_BYTES + 1) * windows.train,
        scored + _ROW_BYTES * max(windows.validation, windows.test) * horizon,
    )


def peak_memory_bytes(
    counts: DataCounts,
    measured: Measurement,
    config: Config,
    *,
    num_features: int,
    device_type: Literal["cpu", "cuda"],
) -> int:
    """Memory that a job will peak at: on a GPU the device's, on a CPU the process's."""
    held = held_bytes(counts, config.model, num_features=num_features, device_type=device_type)
    if device_type == "cuda":
        return held + measured.step_bytes
    passing = passing_bytes(counts, config.windows.horizon)
    # Both, though they do not come together: the heap does not give back all of the one.
    return measured.idle_bytes + held + measured.step_bytes + passing


# Of a step of the series, from the file to the device (benchmarks/size.py: 44 million in 22 s; on a
# CPU half of it), and at the end of the model's export.
_LOADING_SECONDS, _END_SECONDS = 5e-7, 1.0


def plan_job(
    counts: DataCounts,
    measured: Measurement,
    config: Config,
    *,
    cell: Cell,
    seed: int,
    device: str,
    num_features: int,
) -> JobPlan:
    """One job, from the counts and what was measured of its cell.

    Raises:
        UsageError: the training part is too short for a batch in each pass.
    """
    passes = plan_passes(counts.num_by_phase_S, config.windows, config.training)
    num_steps = min(sum(passes), config.training.max_steps or sum(passes))
    num_validations = int(np.searchsorted(np.cumsum(passes), num_steps)) + 1
    train_seconds = measured.first_seconds + num_steps * measured.step_seconds
    num_tiles = counts.num_tiles
    at_the_end = measured.tile_seconds * (num_tiles[VALIDATION] + num_tiles[TEST])
    between = measured.tile_seconds * num_tiles[VALIDATION] * num_validations
    device_type: Literal["cpu", "cuda"] = "cpu" if device == "cpu" else "cuda"
    start_seconds = measured.start_seconds + _LOADING_SECONDS * counts.num_steps
    return JobPlan(
        name=f"{cell}-seed{seed}",
        cell=cell,
        seed=seed,
        device=device,
        seeds_per_pass=measured.seeds_per_pass,
        num_steps=num_steps,
        data_bytes=data_bytes(counts.num_steps, num_features=num_features),
        peak_memory_bytes=peak_memory_bytes(
            counts, measured, config, num_features=num_features, device_type=device_type
        ),
        shared_bytes=held_bytes(
            counts, config.model, num_features=num_features, device_type=device_type
        ),
        start_seconds=start_seconds,
        train_seconds=train_seconds,
        evaluation_seconds=at_the_end,
        seconds=start_seconds + train_seconds + between + at_the_end + _END_SECONDS,
    )


# -- the whole -------------------------------------------------------------------------------------


class DevicePlan(Record):
    """A device: memory of the jobs that it trains at the same time, and what it has."""

    num_at_once: int
    peak_memory_bytes: int
    device_bytes: int


class Plan(Record):
    """What a run will need. ``seconds`` are those of its stages and ``total``.

    ``disk_bytes`` are of what grows with the data, by folder of the artifacts.
    """

    profile: str
    num_regions: int
    num_steps: int  # of the series
    windows: WindowsRecord
    jobs: list[JobPlan]
    devices: dict[str, DevicePlan]
    seconds: dict[str, float]
    disk_bytes: dict[str, int]


class _StageCost(NamedTuple):
    """Seconds of a stage, from what was measured on two cores of a server CPU."""

    once: float = 0.0
    a_row: float = 0.0
    a_region: float = 0.0
    a_label: float = 0.0  # of the test part
    a_model: float = 0.0


# Fitted to benchmarks/results/ingestion-cpu.json (12 to 321 regions) and main-job-cpu.json; what is
# of a region and of a label, to tables of 12 to 400 regions of a year. All grow linearly.
_STAGES = {
    "prepare_data": _StageCost(a_row=4.5e-6, a_region=0.05),
    "build_features": _StageCost(a_row=1.4e-6, a_region=0.008),
    "evaluate_models": _StageCost(once=0.2, a_label=1.5e-6, a_region=0.002),
    "track_models": _StageCost(once=0.5, a_model=2.5, a_label=2e-6),
    "report": _StageCost(once=1.5, a_model=0.5, a_label=2e-6),
}


def make_plan(
    counts: DataCounts,
    jobs: Sequence[JobPlan],
    measured: Mapping[Cell, Measurement],
    *,
    profile: str,
    at_once: int,
    prepares_data: bool,
) -> Plan:
    """All jobs and stages together, where a device trains ``at_once`` jobs at a time."""
    seconds = {
        name: cost.once
        + cost.a_row * counts.num_steps
        + cost.a_region * counts.num_regions
        + cost.a_label * counts.windows.test
        + cost.a_model * len(jobs)
        for name, cost in _STAGES.items()
        if prepares_data or name != "prepare_data"
    }
    devices = {}
    for name in dict.fromkeys(job.device for job in jobs):
        own = [job for job in jobs if job.device == name]
        has = max(each.device_bytes for each in measured.values())
        devices[name] = _device_plan(own, at_once=at_once if name == "cpu" else len(own), has=has)
    seconds["train_models"] = max(
        _makespan([job for job in jobs if job.device == name], at_once) for name in devices
    )
    order = ("prepare_data", "build_features", "train_models", *_STAGES)
    seconds = {name: seconds[name] for name in dict.fromkeys(order) if name in seconds}
    return Plan(
        profile=profile,
        num_regions=counts.num_regions,
        num_steps=counts.num_steps,
        windows=counts.windows,
        jobs=list(jobs),
        devices=devices,
        seconds={**seconds, "total": sum(seconds.values())},
        disk_bytes=_disk_bytes(counts, len(jobs)),
    )


def _disk_bytes(counts: DataCounts, num_jobs: int) -> dict[str, int]:
    """At most: noise is hard to compress, and the PJM data have half of it."""
    labels = counts.windows.validation + counts.windows.test
    return {
        "data": _READING_BYTES * counts.num_steps,
        "features": _FEATURES_BYTES * counts.num_steps,
        "jobs": _FORECAST_BYTES * labels * num_jobs,
    }


def _device_plan(jobs: Sequence[JobPlan], *, at_once: int, has: int) -> DevicePlan:
    """Memory of the largest jobs: on a CPU a process each, on a GPU one process for all."""
    if jobs[0].device == "cpu":
        largest = sorted((job.peak_memory_bytes for job in jobs), reverse=True)[:at_once]
        return DevicePlan(
            num_at_once=len(largest), peak_memory_bytes=sum(largest), device_bytes=has
        )
    own = sum(job.peak_memory_bytes - job.shared_bytes for job in _one_of_each_stack(jobs))
    peak = own + max(job.shared_bytes for job in jobs)
    return DevicePlan(num_at_once=len(jobs), peak_memory_bytes=peak, device_bytes=has)


def _one_of_each_stack(jobs: Sequence[JobPlan]) -> list[JobPlan]:
    """The first of each ``seeds_per_pass`` seeds of a cell, which share a pass."""
    num_of: Counter[str] = Counter()
    first = []
    for job in jobs:
        if num_of[job.cell] % job.seeds_per_pass == 0:
            first.append(job)
        num_of[job.cell] += 1
    return first


def _makespan(jobs: Sequence[JobPlan], at_once: int) -> float:
    """Seconds until the last job of a device has ended.

    On a CPU each has its own cores and process. On a GPU they share both; that cells are trained
    side by side there is taken to win nothing.
    """
    if any(job.device != "cpu" for job in jobs):
        training = sum(job.train_seconds for job in _one_of_each_stack(jobs))
        other = sum(job.seconds - job.start_seconds - job.train_seconds for job in jobs)
        return max(job.start_seconds for job in jobs) + training + other
    free = [0.0] * at_once
    for job in jobs:
        free[free.index(min(free))] += job.seconds
    return max(free)
