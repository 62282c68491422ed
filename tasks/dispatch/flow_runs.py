"""Assignments of a run as flow runs of a Prefect work pool: given out, watched, given out again.

What counts is the result on the shared disk; what Prefect's server tells says only whether to go on
waiting for it. So a server that is gone for a while costs nothing.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from httpx import HTTPError, HTTPStatusError
from prefect import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed

from gridcast.errors import NotDoneError, UsageError
from tasks.dispatch.assignments import Assignment, ask, file_of
from tasks.dispatch.signs_of_life import CRASHED, Silence, last_sign, verdict
from tasks.runs.killed_runs import crash_flow_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, State

    from tasks.runs.run import Run

T = TypeVar("T")
DEPLOYMENT: Final = "assigned"  # the name of each such flow's deployment
_POLL_SECONDS: Final = 1.0
_TOLD_AFTER_SECONDS: Final = 60.0  # that no worker has taken it
_TIMES_TO_START: Final = 5.0  # so much longer is waited for the first sign: Python has to start
_CALLED_OFF: Final = "the run that asked for it was interrupted"
_LOST: Final = "Who did it died, or gave no sign of life: it is given to another"
_log = logging.getLogger("gridcast.dispatch")


class _Lost(NamedTuple):
    """Why nobody does an assignment any more that was given out."""

    reason: str


def require_server() -> str:
    """The address of the server that all machines report to.

    Raises:
        UsageError: none is named; the embedded one answers this machine alone.
    """
    url = PREFECT_API_URL.value()
    if not url:
        where = "execution.executor"
        raise UsageError(
            where, found="no Prefect server for it",
            expected="one that all machines reach, named by PREFECT_API_URL; or executor: local",
        )  # fmt: skip
    return str(url)


def require_deployments(kinds: Iterable[type[Assignment]]) -> None:
    """Refuse to begin where nobody could be given anything.

    Raises:
        UsageError: no server is named, or it has not the deployments.
    """
    url = require_server()
    with get_client(sync_client=True) as client:
        for kind in kinds:
            name = f"{kind.flow}/{DEPLOYMENT}"
            try:
                client.read_deployment_by_name(name)
            except ObjectNotFound:
                expected = "it, from `prefect deploy --all`; docs/scale.md has the steps"
                raise UsageError(url, found=f"no deployment {name}", expected=expected) from None


def done_elsewhere(
    run: Run, assignment: Assignment, *, queue: str, result: Callable[[], T | None]
) -> T:
    """Have a worker do it, and another where one dies; ``result`` looks for what was left.

    Raises:
        NotDoneError: it failed, was called off, or those that did it died too often.
    """
    ask(run, assignment)
    lost, attempts = _Lost(""), run.config.execution.attempts
    for attempt in range(1, attempts + 1):
        flow_run = _given_out(run, assignment, queue, attempt)
        _log.info("%s: given to the queue %s (%d of %d)", assignment.name, queue, attempt, attempts)
        done = _awaited(run, assignment, flow_run, result)
        if not isinstance(done, _Lost):
            return done
        lost = done
        _log.warning("%s: %s", assignment.name, lost.reason)
    raise NotDoneError(assignment.name, f"given out {attempts} times, the last time {lost.reason}")


def _given_out(run: Run, assignment: Assignment, queue: str, attempt: int) -> FlowRun:
    parameters = {
        "artifacts": str(run.artifacts),
        "run_id": run.run_id,
        "assignment": assignment.name,
    }
    while True:
        try:
            made = run_deployment(
                f"{assignment.flow}/{DEPLOYMENT}", parameters=parameters, timeout=0,
                flow_run_name=assignment.name, work_queue_name=queue,
                idempotency_key=f"{run.run_id}-{assignment.name}-{attempt}",
            )  # fmt: skip
            return cast("FlowRun", made)  # a coroutine only where it is awaited
        except HTTPError as error:
            if not _is_passing(error):
                raise NotDoneError(assignment.name, str(error).splitlines()[0]) from error
            _require_going(run, assignment)
            time.sleep(_POLL_SECONDS)


def _is_passing(error: HTTPError) -> bool:
    """Whether a server may answer otherwise soon: it is gone, or has a fault of its own."""
    refused = isinstance(error, HTTPStatusError) and error.response.is_client_error
    return not refused


def _awaited(
    run: Run, assignment: Assignment, flow_run: FlowRun, result: Callable[[], T | None]
) -> T | _Lost:
    lost_seconds = run.config.execution.lost_seconds
    sign, silence, begun = file_of(run, f"{flow_run.id}.sign"), Silence(), time.monotonic()
    is_told = False
    while (done := result()) is None:
        if run.stop_file.exists():
            _cancel(flow_run.id)
            _require_going(run, assignment)
        state = _state_of(flow_run.id)
        kind = None if state is None else state.type.value
        number = last_sign(sign)
        silent = silence.seconds((kind, number))
        patience = lost_seconds * (1.0 if number else _TIMES_TO_START)
        match verdict(kind, silent_seconds=silent, lost_seconds=patience):
            case "failed":
                raise NotDoneError(assignment.name, _reason_of(state))
            case "lost":
                _crash(flow_run.id)
                return _Lost(_reason_of(state) if kind == CRASHED else f"silent for {silent:.0f} s")
        if kind == "SCHEDULED" and not is_told and time.monotonic() - begun > _TOLD_AFTER_SECONDS:
            _log.warning(
                "%s: no worker has taken it yet; is one up for its queue?", assignment.name
            )
            is_told = True
        time.sleep(_POLL_SECONDS)
    return done


def _require_going(run: Run, assignment: Assignment) -> None:
    if run.stop_file.exists():
        raise NotDoneError(assignment.name, _CALLED_OFF)


def _state_of(flow_run_id: UUID) -> State | None:
    """None where the server does not answer now."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run_id).state
    except ObjectNotFound:
        return Crashed(message="it is gone from Prefect's server")
    except (HTTPError, PrefectException):
        return None


def _cancel(flow_run_id: UUID) -> None:
    """Nobody is to begin it. Who does it already, sees the run's stop file too."""
    with suppress(HTTPError, PrefectException), get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Cancelled(message=_CALLED_OFF), force=True)


def _crash(flow_run_id: UUID) -> None:
    """It counts no longer as running; a server that is gone now hears nothing."""
    with suppress(HTTPError, PrefectException):
        crash_flow_runs([str(flow_run_id)], reason=_LOST)


def _reason_of(state: State | None) -> str:
    """What the flow's error said, in one line and without what it was raised for."""
    message = " ".join(((state.message if state else None) or "").split())
    return re.sub(r"^.*?ERROR (?:[\w-]+: )?", "", message) or "it ended without a result"
