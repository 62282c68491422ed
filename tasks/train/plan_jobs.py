"""Plan the jobs of a run or a trial: what each is to do, on which device, and its key."""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import ConfigError, TooLongError
from gridcast.features.neighbours import MOST_REGIONS
from gridcast.kernels.engine import why_no_loops
from gridcast.training.counts import estimate_cpu_seconds
from tasks.machine.devices import (
    Devices,
    devices_sharing,
    placed_jobs,
    threads_of_a_job,
)
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of
from tasks.train.job_owner import PYTORCH_TRAINS
from tasks.train.records import BaselineJob, Features, FeaturesFile, NetworkJob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridcast.config import Config, Fitted
    from tasks.runs.run import Run

_PACKAGES: dict[Fitted, str] = {
    "linear": "numpy",
    "linear_neighbours": "numpy",
    "histogram_boosting": "scikit-learn",
    "lightgbm": "lightgbm",
}
_LINEAR: tuple[Fitted, ...] = ("linear", "linear_neighbours")
_log = logging.getLogger("gridcast.train")


# -- networks --------------------------------------------------------------------------------------


@task(name="plan-jobs", cache_policy=NO_CACHE)
def plan_jobs(run: Run, features: Features) -> list[NetworkJob]:
    """One job a cell and seed, the devices and the CPU's threads shared out between them."""
    devices, config = run.devices, run.config
    _require_few_regions(config, len(features.scales))
    if devices.device_type == "cpu":
        warn_of_missing_loops(config)
        _require_patience(run, config, features, num_cores=devices.num_cores)
    return _plan(run, features, devices)


@task(name="plan-trial", cache_policy=NO_CACHE)
def plan_trial(
    run: Run, features: Features, *, device: str | None = None, at_once: int = 1
) -> list[NetworkJob]:
    """One of ``at_once`` trials: its jobs on one device, which score the validation part alone."""
    found = run.devices
    first = device or found.names[0]
    sharing = devices_sharing(first, split_over=run.config.training.split_over)
    devices = Devices((first, *sharing), max(1, found.num_cores // at_once))
    return _plan(run, features, devices, scored=("validation",))


def _require_few_regions(config: Config, num_regions: int) -> None:
    if config.model.neighbour_units and num_regions > MOST_REGIONS:
        raise ConfigError(
            where=f"{num_regions} regions", key="model.neighbour_units",
            found=config.model.neighbour_units,
            expected=f"0 with more than {MOST_REGIONS}: each would read the past of all",
        )  # fmt: skip


def warn_of_missing_loops(config: Config) -> None:
    """Say so where our loops for a CPU do not know what is asked for, unless they are unwanted."""
    wants_none = config.training.recurrence == "library" or config.model.head == "by_lead"
    reason = "" if wants_none else why_no_loops(config)
    if reason:
        _log.warning("%s; %s", reason, PYTORCH_TRAINS)


def _plan(
    run: Run,
    features: Features,
    devices: Devices,
    *,
    scored: tuple[str, ...] = ("validation", "test"),
) -> list[NetworkJob]:
    config = run.config
    threads = threads_of_a_job(config, devices)
    common = {
        "features": features.key,
        "file": features.file_sha256,
        "described": FeaturesFile.of(features).described,
        "config": config.keyed("windows", "model", "training"),
        "device": devices.device_type,
        "scored": list(scored),
        "torch": version("torch"),
        "numba": _numba_version() if devices.device_type == "cpu" else None,
        "code": code_sha256(NetworkJob.process),
    }
    jobs = []
    for cell, seed, device in placed_jobs(config, devices):
        parts = {**common, "cell": cell, "seed": seed}
        name, key = f"{cell}-seed{seed}", key_of(**parts)
        jobs.append(
            NetworkJob(
                name=name, cell=cell, seed=seed, device=device, threads=threads, scored=scored,
                limit_seconds=config.training.time_limit_seconds,
                key=key, folder=_folder(run, name, key), parts=parts,
            )
        )  # fmt: skip
    return jobs


def _numba_version() -> str | None:
    """None where it is not installed: PyTorch trains then."""
    try:
        return version("numba")
    except PackageNotFoundError:
        return None


def _folder(run: Run, name: str, key: str) -> str:
    return str(run.artifacts / "jobs" / f"{name}-{key[:12]}")


def _require_patience(run: Run, config: Config, features: Features, *, num_cores: int) -> None:
    limit_hours = config.training.confirm_above_hours
    seconds = estimate_cpu_seconds(
        config,
        num_features=len(features.feature_names),
        num_windows=features.windows.train,
        num_cores=num_cores,
    )
    if limit_hours is not None and seconds > limit_hours * 3600:
        raise TooLongError(profile=run.profile, hours=seconds / 3600, limit_hours=limit_hours)


# -- baselines -------------------------------------------------------------------------------------


def require_fittable(config: Config, *, profile: str) -> None:
    """Refuse what could not be fitted, before anything is trained.

    Raises:
        ConfigError: a baseline is not installed, or cannot forecast what is asked for.
    """
    fitted = config.baselines.fitted or ()
    expected = _why_none(config, fitted)
    if "lightgbm" in fitted and find_spec("lightgbm") is None:
        expected = "lightgbm only where it is installed: pip install 'gridcast[boosting]'"
    if fitted and expected:
        raise ConfigError(
            where=profile, key="baselines.fitted", found=list(fitted), expected=expected
        )


def _why_none(config: Config, kinds: Iterable[Fitted]) -> str:
    """Why these baselines cannot be fitted with these settings; empty where they can."""
    boosted = [kind for kind in kinds if kind not in _LINEAR]
    if config.windows.horizon > 1 and boosted:
        one_hour = f"{', '.join(boosted)}: they forecast one hour"
        return f"the linear ones alone where windows.horizon is above 1, not {one_hour}"
    if config.features.kind != "base":
        return "none where features.kind is not base: they need its calendar"
    return ""


def kinds_to_fit(config: Config, *, num_windows: int, num_regions: int) -> tuple[Fitted, ...]:
    """Those of ``baselines.fitted``; where it is null the linear ones, if they can be had cheaply.

    ``num_windows`` train. A single region has no neighbours.
    """
    if config.baselines.fitted is not None:
        return config.baselines.fitted
    if _why_none(config, _LINEAR) or num_windows > config.baselines.cheap_windows:
        return ()
    return _LINEAR if num_regions > 1 else _LINEAR[:1]


@task(name="plan-baselines", cache_policy=NO_CACHE)
def plan_baselines(run: Run, features: Features, *, num_concurrent: int) -> list[BaselineJob]:
    """One job a baseline; on a CPU they share the cores with ``num_concurrent`` jobs of networks.

    Raises:
        ConfigError: one is not installed, or cannot forecast what this profile asks for.
    """
    kinds = kinds_to_fit(
        run.config, num_windows=features.windows.train, num_regions=len(features.scales)
    )
    require_fittable(run.config, profile=run.profile)
    devices = run.devices
    num_sharing = len(kinds) + (num_concurrent if devices.device_type == "cpu" else 0)
    threads = run.config.training.threads or max(1, devices.num_cores // max(1, num_sharing))
    return [_baseline(run, features, kind, threads) for kind in kinds]


def _baseline(run: Run, features: Features, kind: Fitted, threads: int) -> BaselineJob:
    parts = {
        "features": features.key,
        "file": features.file_sha256,
        "described": FeaturesFile.of(features).described,
        "config": run.config.keyed("windows"),
        "kind": kind,
        "package": f"{_PACKAGES[kind]} {version(_PACKAGES[kind])}",
        "code": code_sha256(BaselineJob.process),
    }
    key = key_of(**parts)
    return BaselineJob(
        name=kind, kind=kind, threads=threads, limit_seconds=run.config.training.time_limit_seconds,
        key=key, folder=_folder(run, kind, key), parts=parts,
    )  # fmt: skip
