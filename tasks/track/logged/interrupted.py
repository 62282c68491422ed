"""Tell MLflow of trainings that were interrupted: a run each, as far as it came, KILLED."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gridcast.errors import GridcastError
from gridcast.evaluation.measure import validation_of
from tasks.machine.progress import ProgressReader
from tasks.runs.locks import held
from tasks.track.logged.contestant_runs import client_of, experiment_of, uri_of
from tasks.track.logged_contestant import OF_PASS
from tasks.track.mlflow_client import told_as_tracking_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.runs.run import Run

_SECONDS_TO_WAIT = 5.0  # for who logs a model just now
_log = logging.getLogger("gridcast.track")


@contextmanager
def logged_if_interrupted(run: Run) -> Iterator[None]:
    """Where what is inside is interrupted (Ctrl-C, SIGTERM), log the trainings that it broke off.

    What MLflow does not take is lost: a run that is told to end does not wait for a server. A
    training that goes on from its checkpoint becomes a run of its own once it is done.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):  # a failure is told as one
            _log_interrupted(run)
        raise


def _log_interrupted(run: Run) -> None:
    deadline = time.monotonic() + _SECONDS_TO_WAIT
    waiting = held(run.artifacts, "mlflow", is_cancelled=lambda: time.monotonic() > deadline)
    try:
        with told_as_tracking_error(uri_of(run)), waiting:
            for job, passes in _broken_off(run).items():
                _log_job(run, job, passes)
    except GridcastError as error:
        _log.warning("MLflow was not told what was interrupted (%s)", str(error).splitlines()[0])


def _broken_off(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Of each job that has not come to its end what it told, in order."""
    told: dict[str, list[dict[str, Any]]] = {}
    for job, progress in ProgressReader(run.live).news():
        if progress:
            told.setdefault(job, []).append(progress)
    return {job: each for job, each in told.items() if each[-1]["step"] < each[-1]["num_steps"]}


def _log_job(run: Run, job: str, told: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric

    client, now, last = client_of(run), int(time.time() * 1000), told[-1]
    tags = {"contestant": job, "pipeline_run": run.run_id, "interrupted": "true"}
    made = client.create_run(
        experiment_of(run, client), run_name=job, tags=tags,
        start_time=now - int(1000 * last["elapsed_seconds"]),
    )  # fmt: skip
    metrics = [Metric("step", float(last["step"]), now, 0)]
    metrics += [
        Metric(metric, each[name], now, each["pass_number"])
        for each in told
        for name, metric in OF_PASS.items()
        if validation_of(each)[1] is not None and each.get(name) is not None
    ]
    client.log_batch(made.info.run_id, metrics=metrics[-1000:])  # a server takes no more at once
    client.set_terminated(made.info.run_id, "KILLED")
    _log.info("%s: MLflow run %s, KILLED", job, made.info.run_id)
