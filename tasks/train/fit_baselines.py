"""Fit each baseline of ``baselines.fitted`` in a process of its own, beside the networks."""

from __future__ import annotations

import logging
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import ConfigError, TrainingJobError
from tasks.machine.devices import find_devices
from tasks.machine.owned_process import Work, is_interrupted, run_owned
from tasks.runs.cached_state import unchanged
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import has_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.places import kept
from tasks.runs.storage import read_json, write_json
from tasks.train.records import BaselineJob, Features, FittedBaseline

if TYPE_CHECKING:
    from gridcast.config import Config, Fitted
    from tasks.runs.run import Run

_PROCESS = "tasks.train.fitting_process"
_PACKAGES: dict[Fitted, str] = {
    "linear": "scikit-learn",
    "histogram_boosting": "scikit-learn",
    "lightgbm": "lightgbm",
}
_log = logging.getLogger("gridcast.baselines")


def require_fittable(config: Config, *, profile: str) -> None:
    """Refuse what could not be fitted, before anything is trained.

    Raises:
        ConfigError: a baseline is not installed, or cannot forecast what is asked for.
    """
    fitted, expected = config.baselines.fitted, ""
    if "lightgbm" in fitted and find_spec("lightgbm") is None:
        expected = "lightgbm only where it is installed: pip install 'gridcast[boosting]'"
    elif fitted and config.windows.horizon > 1:
        expected = "none where windows.horizon is above 1: they forecast one hour"
    elif fitted and config.features.kind != "base":
        expected = "none where features.kind is not base: they need its calendar"
    if expected:
        raise ConfigError(
            where=profile, key="baselines.fitted", found=list(fitted), expected=expected
        )


@task(name="plan-baselines", cache_policy=NO_CACHE)
def plan_baselines(run: Run, features: Features, *, num_beside: int) -> list[BaselineJob]:
    """One job a baseline; on a CPU they share the cores with ``num_beside`` jobs of networks.

    Raises:
        ConfigError: one is not installed, or cannot forecast what this profile asks for.
    """
    kinds = run.config.baselines.fitted
    require_fittable(run.config, profile=run.profile)
    devices = find_devices(run.profile, run.overrides)
    num_sharing = len(kinds) + (num_beside if devices.device_type == "cpu" else 0)
    threads = run.config.training.threads or max(1, devices.num_cores // max(1, num_sharing))
    jobs = [_job(run, features, kind, threads) for kind in kinds]
    for job in jobs:
        if run.fresh or _already_fitted(job) is None:  # else it is the record of that fit
            spec = job.model_dump() | {
                "features": features.model_dump(mode="json"),
                "config": run.config.model_dump(mode="json"),
            }
            write_json(Path(job.folder) / "job.json", kept(spec, run.artifacts))
    return jobs


@task(name="fit-baseline", task_run_name="fit-{job.kind}", cache_policy=NO_CACHE)
def fit_baseline(run: Run, job: BaselineJob) -> FittedBaseline:
    """Own the job's process, as of a network's.

    Raises:
        TrainingJobError: the process failed, was killed, or ran past its limit.
    """
    if not run.fresh and (fitted := _already_fitted(job)) is not None:
        _log.info("%s: already fitted, nothing has changed", job.name)
        return unchanged(fitted)
    _log.info("%s: fitting, CPU threads: %d", job.name, job.threads)
    work = Work(
        name=job.name,
        module=_PROCESS,
        folder=Path(job.folder),
        threads=job.threads,
        limit_seconds=run.config.training.time_limit_seconds,
        limit_setting="training.time_limit_seconds",
    )
    with held(
        run.artifacts, f"job-{Path(job.folder).name}", is_cancelled=is_interrupted
    ):  # another run may have fitted it meanwhile
        if not run.fresh and (fitted := _already_fitted(job)) is not None:
            return unchanged(fitted)
        (Path(job.folder) / "result.json").unlink(missing_ok=True)
        run_owned(work, on_event=lambda _: None)
        fitted = _already_fitted(job)
    if fitted is None:
        raise TrainingJobError(job.name, reason="it left no whole result", log=work.log)
    _log.info("%s: fitted in %.1f s", job.name, fitted.train_seconds)
    return fitted.model_copy(update={"cached": False})


def _job(run: Run, features: Features, kind: Fitted, threads: int) -> BaselineJob:
    parts = {
        "features": features.key,
        "file": features.file_sha256,
        "config": run.config.keyed("windows"),
        "kind": kind,
        "package": f"{_PACKAGES[kind]} {version(_PACKAGES[kind])}",
        "code": code_sha256(_PROCESS),
    }
    key = key_of(**parts)
    folder = run.artifacts / "jobs" / f"{kind}-{key[:12]}"
    return BaselineJob(kind=kind, threads=threads, key=key, folder=str(folder), parts=parts)


def _already_fitted(job: BaselineJob) -> FittedBaseline | None:
    result = read_json(Path(job.folder) / "result.json")
    if result is None:
        return None
    fitted = FittedBaseline.model_validate(result | {"job": job, "cached": True})
    if not all(has_sha256(fitted.file(name), sha) for name, sha in fitted.files.items()):
        return None
    return fitted
