"""Train networks and fit baselines: each job in a process of its own, which its task owns.

In a network's process runs ``tasks.train.training_process``, in a baseline's
``tasks.train.fitting_process``; how a process is looked after stands in ``job_owner.py``.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from httpx import HTTPError
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException
from prefect.futures import PrefectFuture

from gridcast.errors import TrainingJobError
from gridcast.evaluation.measure import validation_of
from gridcast.summary import FailedJobs
from tasks.machine.progress import ProgressWriter, describe
from tasks.runs.cached_state import unchanged
from tasks.train.job_owner import (
    PYTORCH_TRAINS,
    found_result,
    held,
    keep_results,
    known_result,
    new,
    places_of,
    result_of,
    run_process,
)
from tasks.train.records import (
    BaselineJob,
    Done,
    Features,
    FittedBaseline,
    NetworkJob,
    TrainedJob,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from tasks.machine.owned_process import OnEvent
    from tasks.runs.run import Run

D = TypeVar("D", bound=Done[Any])
_log = logging.getLogger("gridcast.train")


def share_devices(run: Run, jobs: list[NetworkJob]) -> list[list[NetworkJob]]:
    """The jobs of each GPU that are still to be done, where there are several: for one process."""
    if run.config.execution.executor != "local":
        return []  # who has a GPU elsewhere is told of one job at a time
    to_do = _to_do(run, jobs)
    devices = dict.fromkeys(job.device for job in to_do)
    groups = [[job for job in to_do if job.device == device] for device in devices]
    return [group for group in groups if len(group) > 1 and group[0].device != "cpu"]


@task(name="train-group", cache_policy=NO_CACHE)
def train_group(run: Run, features: Features, jobs: list[NetworkJob]) -> dict[str, str]:
    """Own one process for all ``jobs`` of a GPU, which share its time better than processes do.

    Gives the jobs that came to an end, by name, with the reason of those that failed by themselves
    (else empty). If the process dies, the others are left to :func:`train_model`, one by one.
    """
    failed: dict[str, str] = {}
    ended: dict[str, str] = {}
    places = places_of(run, (jobs[0].device,))
    with held(run, jobs), _shown(run, jobs, failed) as on_event:
        if left := _to_do(run, jobs):
            try:
                run_process(run, features, left, places=places, on_event=on_event)
            except TrainingJobError as error:
                _log.warning("%s; what it left undone is done job by job", error)
            ended = {job.name: "" for job in left if found_result(job, TrainedJob) is not None}
            keep_results(run, left)
    return ended | failed


def _to_do(run: Run, jobs: list[NetworkJob]) -> list[NetworkJob]:
    return [job for job in jobs if known_result(run, job, TrainedJob, is_reported=False) is None]


def outcomes_of(shared: list[PrefectFuture[dict[str, str]]]) -> dict[str, str]:
    """What all of ``train_group`` gave."""
    return {name: reason for each in shared for name, reason in each.result().items()}


@task(name="train-model", task_run_name="train-{job.name}", cache_policy=NO_CACHE)
def train_model(
    run: Run, features: Features, job: NetworkJob, tried: dict[str, str] | None = None
) -> TrainedJob:
    """Own the job's process: start it, relay its progress, enforce its limit, survive its death.

    ``tried`` tells what became of jobs that were trained together in this run.

    Raises:
        TrainingJobError: the process failed, was killed, or ran past its limit.
    """
    reason = None if tried is None else tried.get(job.name)
    if reason:
        raise TrainingJobError(job.name, reason=reason, log=job.file("log.txt"))
    if reason is not None and (trained := found_result(job, TrainedJob)) is not None:
        return new(trained)
    with _shown(run, [job], {}) as on_event:
        result = result_of(run, features, job, TrainedJob, places=places_of(run), on_event=on_event)
    return _ended(result)


@task(name="fit-baseline", task_run_name="fit-{job.name}", cache_policy=NO_CACHE)
def fit_baseline(run: Run, features: Features, job: BaselineJob) -> FittedBaseline:
    """Own the job's process, as of a network's; it needs no place of theirs.

    Raises:
        TrainingJobError: the process failed, was killed, or ran past its limit.
    """
    result = result_of(run, features, job, FittedBaseline, places=None, on_event=lambda _: None)
    return _ended(result)


@task(name="record-jobs", cache_policy=NO_CACHE)
def record_jobs(run: Run, failed: dict[str, str]) -> None:
    """Leave which jobs failed, and why, for the summary."""
    for reason in failed.values():
        _log.error("%s", reason)
    run.leave(FailedJobs(failed_jobs=failed))


def _ended(result: D) -> D:
    return unchanged(result) if result.cached else result


@contextmanager
def _shown(run: Run, jobs: Sequence[NetworkJob], failed: dict[str, str]) -> Iterator[OnEvent]:
    """What hears the events of the jobs' process, and shows them; ``failed`` by themselves, why."""
    writers = {job.name: ProgressWriter(run.live, job.name) for job in jobs}
    artifacts: dict[str, _ProgressArtifact] = {}

    def show(event: dict[str, Any]) -> None:
        name = event.get("job", "")
        if event["event"] == "progress":
            writers[name].write(event)
            if name not in artifacts:
                artifacts[name] = _ProgressArtifact(name)
            artifacts[name].update(event)
        elif event["event"] == "fallback":
            names = ", ".join(writers)
            _log.warning("%s: %s; %s", names, event["reason"], PYTORCH_TRAINS)
        elif event["event"] == "notice":
            _log.warning("%s", event["text"])
        elif event["event"] == "failed":
            failed[name] = event["reason"].removeprefix("ERROR ")

    try:
        yield show
    finally:
        for writer in writers.values():
            writer.close()


class _ProgressArtifact:
    """The job's progress in Prefect's pages, once a pass; a server that is gone costs nothing."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._id: UUID | None = None

    def update(self, progress: dict[str, Any]) -> None:
        if TaskRunContext.get() is None or validation_of(progress)[1] is None:
            return
        percent = 100.0 * progress["step"] / progress["num_steps"]
        try:
            if self._id is None:
                key, description = f"train-{self._job}".lower(), f"Training {self._job}"
                made = create_progress_artifact(0.0, key=key, description=description)
                self._id = cast("UUID", made)  # a coroutine only where it is awaited
            update_progress_artifact(self._id, progress=percent, description=describe(progress))
        except (HTTPError, PrefectException) as error:
            _log.info("%s: Prefect does not hear of its progress (%s)", self._job, error)
