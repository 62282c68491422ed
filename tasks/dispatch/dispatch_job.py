"""A job that a worker does: what was done is taken, anything else is given out and waited for."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import NotDoneError, TrainingJobError
from tasks.dispatch.assignments import JobAssignment
from tasks.dispatch.flow_runs import done_elsewhere
from tasks.runs.cached_state import unchanged
from tasks.train.job_owner import begin_anew, found_result, known_result, new
from tasks.train.records import Done, FittedBaseline, NetworkJob, TrainedJob

if TYPE_CHECKING:
    from tasks.runs.run import Run
    from tasks.train.records import BaselineJob, Features

D = TypeVar("D", bound=Done[Any])
_log = logging.getLogger("gridcast.dispatch")


@task(name="dispatch-job", task_run_name="dispatch-{job.name}", cache_policy=NO_CACHE)
def dispatch_job(
    run: Run, features: Features, job: NetworkJob | BaselineJob
) -> TrainedJob | FittedBaseline:
    """Have a worker train or fit it, and take what it left.

    Raises:
        TrainingJobError: it failed there, or those that did it died too often.
    """
    if isinstance(job, NetworkJob):
        return _done(run, features, job, TrainedJob)
    return _done(run, features, job, FittedBaseline)


def _done(run: Run, features: Features, job: NetworkJob | BaselineJob, kind: type[D]) -> D:
    if run.fresh:
        begin_anew(run, job)
    elif (found := known_result(run, job, kind)) is not None:
        _log.info("%s: already %s, nothing has changed", job.name, job.verb[1])
        return unchanged(found)
    assignment = JobAssignment(name=job.name, job=job, features=features)
    result = partial(found_result, job, kind, is_reported=False)
    try:
        done = done_elsewhere(
            run, assignment, queue="cpu" if job.device == "cpu" else "gpu", result=result
        )
    except NotDoneError as error:
        log = job.file("log.txt")
        raise TrainingJobError(job.name, reason=error.reason, log=log) from error
    return new(done)
