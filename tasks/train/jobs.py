"""Train each job in a process of its own, which its Prefect task owns."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture

from gridcast.errors import TooLongError, TrainingJobError
from gridcast.kernels.engine import why_no_loops
from gridcast.training.counts import estimate_cpu_seconds
from tasks.machine.devices import (
    Devices,
    devices_beside,
    find_devices,
    leading_devices,
    placed_jobs,
    resolve_precision,
    threads_of_a_job,
)
from tasks.machine.owned_process import Work, is_interrupted, run_owned
from tasks.machine.progress import board, describe
from tasks.machine.slots import jobs_per_device, slots
from tasks.runs.cached_state import unchanged
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import has_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.places import kept
from tasks.runs.storage import read_json, write_json
from tasks.train.records import Features, Job, TrainedJob

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from uuid import UUID

    from gridcast.config import Config
    from tasks.runs.run import Run

PROCESS = "tasks.train.training_process"
_PYTORCH_TRAINS = "PyTorch's own layers train instead (on a CPU up to 25 times as long)"
_log = logging.getLogger("gridcast.train")


@task(name="plan-jobs", cache_policy=NO_CACHE)
def plan_jobs(run: Run, features: Features) -> list[Job]:
    """One job a cell and seed, the devices and the CPU's threads shared out between them."""
    devices = find_devices(run.profile, run.overrides)
    config = resolve_precision(run.config, devices.device_type)
    if devices.device_type == "cpu":
        warn_of_missing_loops(config)
        _require_patience(run, config, features, num_cores=devices.num_cores)
    return _plan(run, config, features, devices)


def warn_of_missing_loops(config: Config) -> None:
    """Say so where our loops for a CPU do not know what is asked for, unless they are unwanted."""
    reason = "" if config.training.recurrence == "library" else why_no_loops(config)
    if reason:
        _log.warning("%s; %s", reason, _PYTORCH_TRAINS)


@task(name="plan-trial", cache_policy=NO_CACHE)
def plan_trial(
    run: Run, features: Features, *, device: str | None = None, at_once: int = 1
) -> list[Job]:
    """One of ``at_once`` trials: its jobs on one device, which score the validation part alone."""
    found = find_devices(run.profile, run.overrides)
    first = device or found.names[0]
    beside = devices_beside(first, split_over=run.config.training.split_over)
    devices = Devices((first, *beside), max(1, found.num_cores // at_once))
    config = resolve_precision(run.config, devices.device_type)
    return _plan(run, config, features, devices, scored=("validation",))


def _plan(
    run: Run,
    config: Config,
    features: Features,
    devices: Devices,
    *,
    scored: tuple[str, ...] = ("validation", "test"),
) -> list[Job]:
    from importlib.metadata import version

    threads = threads_of_a_job(config, devices)
    jobs = []
    for cell, seed, device in placed_jobs(config, devices):
        parts = {
            "features": features.key,
            "file": features.file_sha256,
            "config": config.keyed("windows", "model", "training"),
            "cell": cell,
            "seed": seed,
            "device": devices.device_type,
            "scored": list(scored),
            "torch": version("torch"),
            "numba": _numba_version() if devices.device_type == "cpu" else None,
            "code": code_sha256(PROCESS),
        }
        key = key_of(**parts)
        name = f"{cell}-seed{seed}"
        folder = run.artifacts / "jobs" / f"{name}-{key[:12]}"
        job = Job(name=name, cell=cell, seed=seed, device=device, threads=threads, key=key,
                  folder=str(folder), parts=parts, scored=scored)  # fmt: skip
        spec = job.model_dump() | {
            "features": features.model_dump(mode="json"),
            "config": config.model_dump(mode="json"),
        }
        if run.fresh or _already_trained(job) is None:  # else it is the record of that training
            write_json(folder / "job.json", kept(spec, run.artifacts))
        jobs.append(job)
    return jobs


def _numba_version() -> str | None:
    """None where it is not installed: PyTorch trains then."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("numba")
    except PackageNotFoundError:
        return None


def share_devices(run: Run, jobs: list[Job]) -> list[list[Job]]:
    """The jobs of each GPU that are still to be done, where there are several: for one process."""
    to_do = [job for job in jobs if run.fresh or _already_trained(job) is None]
    devices = dict.fromkeys(job.device for job in to_do)
    groups = [[job for job in to_do if job.device == device] for device in devices]
    return [group for group in groups if len(group) > 1 and group[0].device != "cpu"]


@task(name="train-together", cache_policy=NO_CACHE)
def train_together(run: Run, jobs: list[Job]) -> dict[str, str]:
    """Own one process for all ``jobs`` of a GPU, which share its time better than processes do.

    Gives the jobs that ended here, by name, with the reason of those that failed by themselves
    (else empty). If the process dies, the others are left to :func:`train_model`, one by one.
    """
    names = ", ".join(job.name for job in jobs)
    _log.info("%s: training together on %s", names, jobs[0].device)
    failed: dict[str, str] = {}
    with ExitStack() as alone:
        for job in sorted(jobs, key=lambda job: job.folder):  # in one order: none waits in a circle
            alone.enter_context(_held(run, job))
        to_do = [job for job in jobs if run.fresh or _already_trained(job) is None]
        for job in to_do:
            (Path(job.folder) / "result.json").unlink(missing_ok=True)
        try:
            if to_do:
                limit_seconds = run.config.training.time_limit_seconds
                failed = _run_process(to_do, limit_seconds=limit_seconds)
        except TrainingJobError as error:
            _log.warning("%s; what it left undone is done job by job", error)
        ended = {job.name: "" for job in to_do if _already_trained(job) is not None}
    return ended | failed


def outcomes_of(shared: list[PrefectFuture[dict[str, str]]]) -> dict[str, str]:
    """What all of ``train_together`` gave."""
    return {name: reason for each in shared for name, reason in each.result().items()}


@task(name="train-model", task_run_name="train-{job.name}", cache_policy=NO_CACHE)
def train_model(run: Run, job: Job, tried: dict[str, str] | None = None) -> TrainedJob:
    """Own the job's process: start it, relay its progress, enforce its limit, survive its death.

    ``tried`` tells what became of jobs that were trained together in this run.

    Raises:
        TrainingJobError: the process failed, was killed, or ran past its limit.
    """
    reason = None if tried is None else tried.get(job.name)
    if reason:
        raise TrainingJobError(job.name, reason=reason, log=_log_of(job))
    is_new = reason is not None
    if (is_new or not run.fresh) and (trained := _already_trained(job)) is not None:
        if is_new:
            return _told(trained)
        _log.info("%s: already trained, nothing has changed", job.name)
        return unchanged(trained)
    devices = find_devices(run.profile, run.overrides)
    at_once = jobs_per_device(run.config.training, devices)
    leading = leading_devices(devices, split_over=run.config.training.split_over)
    with _held(run, job):  # another run may have trained it meanwhile
        if not run.fresh and (trained := _already_trained(job)) is not None:
            return unchanged(trained)
        with slots.held(leading, jobs_per_device=at_once) as device:
            job = _placed(job, device)
            _log.info("%s: training on %s, CPU threads: %d", job.name, job.device, job.threads)
            (Path(job.folder) / "result.json").unlink(missing_ok=True)
            _run_process([job], limit_seconds=run.config.training.time_limit_seconds)
        trained = _already_trained(job)
    if trained is None:
        raise TrainingJobError(job.name, reason="it left no whole result", log=_log_of(job))
    return _told(trained)


@task(name="record-jobs", cache_policy=NO_CACHE)
def record_jobs(run: Run, failed: dict[str, str]) -> None:
    """Leave which jobs failed, and why, for the summary."""
    for reason in failed.values():
        _log.error("%s", reason)
    run.leave("jobs", {"failed_jobs": failed})


def _held(run: Run, job: Job) -> AbstractContextManager[None]:
    """Hold a job's folder: who needs the same job waits, and takes what came of it."""
    subject = f"job-{Path(job.folder).name}"
    return held(run.artifacts, subject, is_cancelled=is_interrupted)


def _placed(job: Job, device: str) -> Job:
    """The job on the device where there was a place for it, in its file too."""
    path = Path(job.folder) / "job.json"
    write_json(path, {**(read_json(path) or {}), "device": device})
    return job.model_copy(update={"device": device})


def _already_trained(job: Job) -> TrainedJob | None:
    result = read_json(Path(job.folder) / "result.json")
    if result is None:
        return None
    trained = TrainedJob.model_validate(result | {"job": job, "cached": True})
    if not all(has_sha256(trained.file(name), sha) for name, sha in trained.files.items()):
        return None
    return trained


def _told(trained: TrainedJob) -> TrainedJob:
    _log.info("%s: trained in %.1f s", trained.job.name, trained.train_seconds)
    return trained.model_copy(update={"cached": False})


def _log_of(job: Job) -> Path:
    return Path(job.folder) / "log.txt"


def _run_process(jobs: list[Job], *, limit_seconds: float) -> dict[str, str]:
    """Train the jobs in one process; those of several that failed by themselves, and why."""
    artifacts = {job.name: _ProgressArtifact(job) for job in jobs}
    failed: dict[str, str] = {}

    def show(event: dict[str, Any]) -> None:
        # A trial has given its only job another name than stands in its folder.
        name = event.get("job", "") if len(jobs) > 1 else jobs[0].name
        if event["event"] == "progress":
            board.update(name, event)
            artifacts[name].update(event)
        elif event["event"] == "fallback":
            names = ", ".join(job.name for job in jobs)
            _log.warning("%s: %s; %s", names, event["reason"], _PYTORCH_TRAINS)
        elif event["event"] == "failed":
            failed[name] = event["reason"].removeprefix("ERROR ")

    try:
        run_owned(_work(jobs, limit_seconds), on_event=show)
    finally:
        for job in jobs:
            board.close(job.name)
    return failed


def _work(jobs: list[Job], limit_seconds: float) -> Work:
    first, *others = jobs
    return Work(
        name=", ".join(job.name for job in jobs),
        module=PROCESS,
        folder=Path(first.folder),
        beside=tuple(Path(job.folder) for job in others),
        threads=first.threads,
        limit_seconds=limit_seconds * len(jobs),
        limit_setting="training.time_limit_seconds",
    )


class _ProgressArtifact:
    """The job's progress in Prefect's pages, once a pass."""

    def __init__(self, job: Job) -> None:
        self._id: UUID | None = None
        if TaskRunContext.get() is not None:
            key = f"train-{job.name}".lower()
            made = create_progress_artifact(0.0, key=key, description=f"Training {job.name}")
            self._id = cast("UUID", made)  # a coroutine only where it is awaited

    def update(self, progress: dict[str, Any]) -> None:
        if self._id is not None and progress["validation_smape"] is not None:
            percent = 100.0 * progress["step"] / progress["num_steps"]
            update_progress_artifact(self._id, progress=percent, description=describe(progress))


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
