"""`gridcast run --plan` and `train --plan`: what a run will need, before anything is trained."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.config import Config
from gridcast.errors import RegionRefusedError, UsageError
from gridcast.features.table import labelled_steps, names_of_features
from gridcast.features.windows import Steps
from gridcast.layouts.kept import load_of
from gridcast.readings.quality import flag_readings
from gridcast.readings.required import broken_rule
from gridcast.training.counts import DataCounts, count_data, sized_config
from gridcast.training.requirements import Plan, make_plan, plan_job
from tasks.ingest.snapshots import read_current
from tasks.machine.device_places import jobs_per_device
from tasks.machine.devices import placed_jobs, resolve, threads_of_a_job
from tasks.runs.keys import require_sha256
from tasks.train.measure_training import measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gridcast.config import Labels
    from tasks.fetch.records import SourceFile, Sources
    from tasks.machine.devices import Devices

_FILES_FOR_A_POOL = 40  # below that, starting processes takes longer than they save
_COLUMNS = ["timestamp", "local_label", "load_mw", "flag"]


def plan_run(sources: Sources, *, profile: str, overrides: tuple[str, ...]) -> Plan:
    """What a run on these CSVs will need; they are read, and nothing is published.

    Raises:
        MeasuringError: a short training of the network failed.
        UsageError: no region passes, or the series are too short to train on.
    """
    config, devices = resolve(profile, overrides)
    read = partial(_steps_of_file, config=config, labels=sources.labels)
    counts = count_data(_known(_each(read, sources.files)), config.windows)
    return _plan(counts, config, devices, profile=profile, prepares_data=True)


def plan_training(
    artifacts: Path, data: Path | None, *, profile: str, overrides: tuple[str, ...]
) -> Plan:
    """What a training on the published regions will need.

    Raises:
        MeasuringError: a short training of the network failed.
        UsageError: nothing is published, or the series are too short to train on.
    """
    config, devices = resolve(profile, overrides)
    store = artifacts / "data"
    current = read_current(store, folder=data)
    if current is None:
        raise UsageError(
            store, found="nothing published", expected="published regions; run `gridcast ingest`"
        )
    regions = sorted(current.snapshot.regions.keys() - current.refused.keys())
    steps = (
        _steps_of_table(
            name, store, current.snapshot.regions[name].path,
            current.snapshot.regions[name].file_sha256, config,
        )
        for name in regions
    )  # fmt: skip
    counts = count_data(steps, config.windows)
    return _plan(counts, config, devices, profile=profile, prepares_data=False)


def _plan(
    counts: DataCounts, config: Config, devices: Devices, *, profile: str, prepares_data: bool
) -> Plan:
    if not counts.num_regions:
        raise UsageError(where="data", found="no region that passes", expected="at least one")
    config = sized_config(config, num_windows=counts.windows.train)
    num_features = len(names_of_features(config.features, config.covariates))
    placed, threads = placed_jobs(config, devices), threads_of_a_job(config, devices)
    its_share = config.training.batch_size // config.training.split_over
    shared = config.with_values(
        {"training.batch_size": its_share, "training.split_over": 1}, where=profile
    )
    num_jobs = Counter((job.cell, job.device) for job in placed)
    measured = {
        cell: measure(
            shared, counts, cell=cell, device=placed[0].device, threads=threads,
            num_seeds=max(num for (of_cell, _), num in num_jobs.items() if of_cell == cell),
        )
        for cell in config.model.cells
    }  # fmt: skip
    jobs = [
        plan_job(
            counts, measured[cell], config, cell=cell, seed=seed, device=device,
            num_features=num_features,
        )
        for cell, seed, device in placed
    ]  # fmt: skip
    at_once = jobs_per_device(config.training, devices)
    return make_plan(
        counts, jobs, measured, profile=profile, at_once=at_once, prepares_data=prepares_data
    )


# -- regions ---------------------------------------------------------------------------------------


def _each(read: partial[Steps | None], files: Sequence[SourceFile]) -> Iterator[Steps | None]:
    """The steps of each file in order; many files are read on all cores."""
    if len(files) < _FILES_FOR_A_POOL:
        yield from map(read, files)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(read, files, chunksize=8)


def _known(regions: Iterable[Steps | None]) -> Iterator[Steps]:
    return (steps for steps in regions if steps is not None)


def _steps_of_file(file: SourceFile, *, config: Config, labels: Labels) -> Steps | None:
    """The steps of a CSV; None where a run would set it aside."""
    reading = config.ingestion.of(file.region).reading(labels)
    try:
        load = load_of(
            file.path.read_bytes(), region=file.region, file=str(file.path), config=reading
        )
    except RegionRefusedError:
        return None
    rules = config.rules.of(file.region)
    frame = load.frame.assign(flag=flag_readings(load.frame["load_mw"], rules.flagged))
    return None if broken_rule(frame, rules.required) else _steps(file.region, frame, config)


def _steps_of_table(region: str, store: Path, path: str, sha256: str, config: Config) -> Steps:
    require_sha256(store / path, sha256)
    return _steps(region, pd.read_parquet(store / path, columns=_COLUMNS), config)


def _steps(region: str, readings: pd.DataFrame, config: Config) -> Steps:
    steps = labelled_steps(region, readings, config)
    region_T = pd.Series(0, index=steps.index, dtype="int32").to_numpy()
    return Steps(region_T, steps["part"].to_numpy(), steps["is_input"].to_numpy())


# -- what is printed -------------------------------------------------------------------------------
