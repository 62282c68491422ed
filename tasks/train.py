"""Train each job in a process of its own, which its Prefect task owns."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

import gridcast
from gridcast.errors import TooLongError, TrainingJobError
from gridcast.planning import estimate_cpu_seconds
from tasks.devices import find_devices, resolve_precision
from tasks.progress import board, describe
from tasks.records import Features, Job, TrainedJob
from tasks.slots import jobs_per_device, slots
from tasks.states import unchanged
from tasks.storage import code_sha256, has_sha256, key_of, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from gridcast.config import Config
    from tasks.runs import Run

_CODE = (
    "gridcast.metrics",
    "gridcast.models",
    "gridcast.kernels",
    "gridcast.optimization",
    "gridcast.recurrence",
    "gridcast.scoring",
    "gridcast.training",
    "gridcast.windows",
    "tasks.training_process",
)
_SECONDS_TO_DIE = 10.0
_live: set[subprocess.Popen[str]] = set()
_live_lock = threading.Lock()
_interrupted = threading.Event()
_log = logging.getLogger("gridcast.train")


@task(name="plan-jobs", cache_policy=NO_CACHE)
def plan_jobs(run: Run, features: Features) -> list[Job]:
    """One job a cell and seed, the devices and the CPU's threads shared out between them."""
    from importlib.metadata import version

    devices = find_devices(run.profile, run.overrides)
    config = resolve_precision(run.config, devices.device_type)
    if devices.device_type == "cpu":
        _require_patience(run, config, features, num_cores=devices.num_cores)
    pairs = [(cell, seed) for seed in config.training.seeds for cell in config.model.cells]
    threads = config.training.threads or max(1, devices.num_cores // len(pairs))
    jobs = []
    for number, (cell, seed) in enumerate(pairs):
        device = devices.names[number % len(devices.names)]
        parts = {
            "features": features.key,
            "file": features.file_sha256,
            "config": _what_matters(config),
            "cell": cell,
            "seed": seed,
            "device": devices.device_type,
            "torch": version("torch"),
            "code": code_sha256(*_CODE),
        }
        key = key_of(**parts)
        name = f"{cell}-seed{seed}"
        folder = run.artifacts / "jobs" / f"{name}-{key[:12]}"
        job = Job(name=name, cell=cell, seed=seed, device=device, threads=threads, key=key,
                  folder=str(folder), parts=parts)  # fmt: skip
        spec = job.model_dump() | {
            "features": features.model_dump(mode="json"),
            "config": config.model_dump(mode="json"),
        }
        if run.fresh or _already_trained(job) is None:  # else it is the record of that training
            write_json(folder / "job.json", spec)
        jobs.append(job)
    return jobs


@contextmanager
def owned_processes() -> Iterator[None]:
    """End all training processes when what is inside is interrupted (Ctrl-C, SIGTERM).

    The threads that wait for them hear no signal, and Prefect does not end before its threads do.
    """
    _interrupted.clear()
    try:
        yield
    except BaseException:
        with _live_lock:
            _interrupted.set()
            for process in _live:
                _kill(process)
        raise


@task(name="train-model", task_run_name="train-{job.name}", cache_policy=NO_CACHE)
def train_model(run: Run, job: Job) -> TrainedJob:
    """Own the job's process: start it, relay its progress, enforce its limit, survive its death.

    Raises:
        TrainingJobError: the process failed, was killed, or ran past its limit.
    """
    if not run.fresh and (trained := _already_trained(job)) is not None:
        _log.info("%s: already trained, nothing has changed", job.name)
        return unchanged(trained)
    devices = find_devices(run.profile, run.overrides)
    at_once = jobs_per_device(run.config.training, devices)
    with slots.held(devices.names, jobs_per_device=at_once) as device:
        job = _placed(job, device)
        _log.info("%s: training on %s, CPU threads: %d", job.name, job.device, job.threads)
        (Path(job.folder) / "result.json").unlink(missing_ok=True)
        _run_process(job, limit_seconds=run.config.training.time_limit_seconds)
    trained = _already_trained(job)
    if trained is None:
        raise TrainingJobError(job.name, reason="it left no whole result", log=_log_path(job))
    _log.info("%s: trained in %.1f s", job.name, trained.train_seconds)
    return trained.model_copy(update={"cached": False})


@task(name="record-jobs", cache_policy=NO_CACHE)
def record_jobs(run: Run, failed: dict[str, str]) -> None:
    """Leave which jobs failed, and why, for the summary."""
    for reason in failed.values():
        _log.error("%s", reason)
    run.leave("jobs", {"failed_jobs": failed})


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


def _run_process(job: Job, *, limit_seconds: float) -> None:
    root = Path(gridcast.__file__).resolve().parent.parent
    command = [sys.executable, "-m", "tasks.training_process", job.folder]
    environment = os.environ | {"OMP_NUM_THREADS": str(job.threads), "PYTHONPATH": str(root)}
    with _log_path(job).open("wb") as log, _live_lock:
        if _interrupted.is_set():
            raise TrainingJobError(job.name, reason="the run was interrupted", log=_log_path(job))
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=root, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        _live.add(process)
    timed_out = threading.Event()

    def stop_at_limit() -> None:
        timed_out.set()
        _kill(process)

    timer = threading.Timer(limit_seconds, stop_at_limit)
    timer.start()
    try:
        error = _relay(job, process.stdout or ())
        code = process.wait(timeout=_SECONDS_TO_DIE)
    finally:
        timer.cancel()
        with _live_lock:
            _live.discard(process)
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        board.close(job.name)
    if timed_out.is_set():
        error = f"stopped at its limit of {limit_seconds:.0f} s (training.time_limit_seconds)"
    elif _interrupted.is_set():
        error = "stopped, for the run was interrupted"
    elif code < 0:
        error = f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    elif code and not error:
        error = f"its process ended with status {code}"
    if error:
        raise TrainingJobError(job.name, reason=error.removeprefix("ERROR "), log=_log_path(job))


def _relay(job: Job, lines: Iterable[str]) -> str:
    """Pass the process's progress on until it closes its output; its error, if it told one."""
    error, artifact = "", _ProgressArtifact(job)
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "progress":
            board.update(job.name, event)
            artifact.update(event)
        elif event["event"] == "error":
            error = event["reason"]
    return error


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


def _what_matters(config: Config) -> dict[str, Any]:
    """The part of the configuration on which a job's result depends."""
    return config.model_dump(
        mode="json",
        include={
            "windows": True,
            "model": config.model.__class__.model_fields.keys() - {"cells"},
            "training": config.training.__class__.model_fields.keys()
            - {
                "device",
                "seeds",
                "threads",
                "jobs_per_device",
                "time_limit_seconds",
                "confirm_above_hours",
            },
        },
    )


def _log_path(job: Job) -> Path:
    return Path(job.folder) / "log.txt"


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
