"""Replace what comes later in the data, and show that nothing that came before has moved."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.audit.leaks import (
    find_future_leak,
    find_linear_leak,
    find_training_leak,
    find_weights_leak,
    flagged,
    num_training_values,
    with_another_test_part,
)
from gridcast.audit.records import LeakCheck, LeakChecks
from gridcast.config import Config
from gridcast.errors import LeakFoundError
from gridcast.features.table import build_features
from tasks.covariates.stored_covariates import all_stored, read_stored
from tasks.runs.keys import require_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.audit.leaks import Readings
    from gridcast.readings.records import RegionRecord
    from tasks.runs.run import Run

_NEWEST_HOURS = 17_520  # of each region: two years show what ten would, in a fifth of the time
# Of each training, at most: one that saw other data differs from its first step on.
_STEPS, _BATCH, _UNITS = 10, 64, 16
_CUTS = 6  # of each region
_SEED = 20
_LEAKY_PROFILE = "seed"  # the article's: scaled on the whole region, its test part included
_log = logging.getLogger("gridcast.leaks")


@task(name="check-test-part", cache_policy=NO_CACHE)
def check_test_part(run: Run, regions: Mapping[str, RegionRecord]) -> list[LeakCheck]:
    """Other loads in the test part: scales, training rows and weights have to stay as they are."""
    readings, config = flagged(_read(regions), run.config), _short(run.config)
    covariates = all_stored(regions)
    ours = build_features(readings, config, covariates=covariates)
    changed = with_another_test_part(readings, ours, seed=_SEED, config=config)
    theirs = build_features(changed, config, covariates=covariates)
    done = f"other loads in the test part of {len(readings)} regions ({_hours(readings)})"
    compared = f"{len(ours.scales)} scales, {num_training_values(ours):,} values before it"
    checks = [_check("training data", done, compared, find_training_leak(theirs, ours))]
    torch.set_num_threads(1)  # on networks this small, threads only wait for each other
    for cell in config.model.cells:
        leak = find_weights_leak(theirs, ours, cell, config)
        trained = (
            f"{cell} of {config.model.hidden_size} units after {config.training.max_steps} steps"
        )
        checks.append(_check(f"weights {cell}", done, trained, leak))
    if config.features.kind == "base":
        fitted = "linear models of each hour of the day and lead"
        checks.append(_check("linear", done, fitted, find_linear_leak(theirs, ours)))
    return checks


@task(name="check-future", cache_policy=NO_CACHE)
def check_future(run: Run, regions: Mapping[str, RegionRecord]) -> list[LeakCheck]:
    """Other loads after random hours: no flag, filled value, feature or scale before may move."""
    config = _short(run.config)
    readings = flagged(_read(regions), config)
    leak = None
    for region, frame in readings.items():
        own = read_stored(regions[region])
        given = {} if own is None else {region: own}
        table = build_features({region: frame}, config, covariates=given)
        seeds = range(_SEED, _SEED + _CUTS)
        found = (
            find_future_leak(region, frame, table, seed=each, config=config, covariates=own)
            for each in seeds
        )
        leak = leak or next(filter(None, found), None)
        _log.info("%s: %d cuts, %s", region, _CUTS, "LEAK" if leak else "no leak")
    done = f"other loads after {_CUTS} random hours of {len(readings)} regions ({_hours(readings)})"
    if config.covariates.columns:
        done += ", and other values of what was issued later"
    compared = "flags, filled values, features and scales up to that hour"
    return [_check("future", done, compared, leak)]


@task(name="check-control", cache_policy=NO_CACHE)
def check_control(run: Run, regions: Mapping[str, RegionRecord]) -> list[LeakCheck]:
    """The first check again, where a leak is known to be: it has to be found."""
    leaky = Config.load(_LEAKY_PROFILE).scaling
    config = _short(run.config).model_copy(update={"scaling": leaky})
    readings = flagged(_read(regions), config)
    ours = build_features(readings, config)
    changed = with_another_test_part(readings, ours, seed=_SEED, config=config)
    leak = find_training_leak(build_features(changed, config), ours)
    done = f"as training data, scaled as in configs/{_LEAKY_PROFILE}.yaml: a known leak"
    return [_check("control", done, "the same, and it has to differ", leak, is_control=True)]


@task(name="record-leaks", cache_policy=NO_CACHE)
def record_leaks(run: Run, checks: list[LeakCheck]) -> str:
    """Leave all checks as ``leaks.json``; its path.

    Raises:
        LeakFoundError: a check found a leak, or the control did not find its own.
    """
    rows = [check.model_dump(mode="json") for check in checks]
    run.leave(LeakChecks(checks=tuple(checks)))
    create_table_artifact(key="leaks", table=rows, description=f"Leak checks of run {run.run_id}")
    for check in checks:
        if not check.is_passed:
            leak = (
                check.leak or "found no leak where one is known to be: the check itself is broken"
            )
            raise LeakFoundError(check.name, leak)
    return str(run.folder / "leaks.json")


def _read(regions: Mapping[str, RegionRecord]) -> Readings:
    """The newest readings of each region."""
    readings = {}
    for name, region in sorted(regions.items()):
        require_sha256(Path(region.path), region.file_sha256)
        newest = pd.read_parquet(region.path).tail(_NEWEST_HOURS)
        readings[name] = newest.reset_index(drop=True)
    return readings


def _short(config: Config) -> Config:
    """The same training of a smaller model on the CPU, stopped after its first steps."""
    training = config.training.model_copy(
        update={
            "max_steps": min(config.training.max_steps or _STEPS, _STEPS),
            "passes": 1,
            "batch_size": min(config.training.batch_size, _BATCH),
            "device": "cpu",
            "precision": "fp32",
        }
    )
    units = min(config.model.hidden_size, _UNITS)
    model = config.model.model_copy(update={"hidden_size": units})
    # which days are hidden depends on where the training part ends
    covariates = config.covariates.model_copy(update={"hidden_share": 0.0})
    return config.model_copy(
        update={"training": training, "model": model, "covariates": covariates}
    )


def _hours(readings: Readings) -> str:
    longest = max(len(frame) for frame in readings.values())
    return f"the newest {longest:,} hours of each" if longest == _NEWEST_HOURS else "all hours"


def _check(
    name: str, done: str, compared: str, leak: object, *, is_control: bool = False
) -> LeakCheck:
    leak_text = str(leak) if leak else ""
    check = LeakCheck(
        name=name, done=done, compared=compared, leak=leak_text, is_control=is_control
    )
    _log.info("%s: %s", name, leak_text or "nothing has moved")
    return check
