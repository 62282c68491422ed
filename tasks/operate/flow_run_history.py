"""Let Prefect forget flow runs that ended long ago, by its own interface."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from httpx import HTTPError
from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ObjectNotFound, PrefectException

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

_AT_ONCE = 200  # as many as Prefect's server tells in one answer
_SECONDS_FOR_LOGS = 60.0
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_FOR_LOCK = 1.0
_log = logging.getLogger("gridcast.prefect")


class Forgotten(NamedTuple):
    """How many flow runs, and before when they ended."""

    num_runs: int
    before: datetime


def forget_flow_runs(days: int, *, is_dry_run: bool = False) -> Forgotten:
    """Delete the flow runs that ended more than ``days`` ago, with their tasks, states and logs.

    Raises:
        httpx.HTTPError, PrefectException: the server does not answer or refuses.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    with get_client(sync_client=True) as client:
        if is_dry_run:
            return Forgotten(_count(client, before), before)
        forgotten: list[UUID] = []
        while found := client.read_flow_runs(flow_run_filter=_ended(before), limit=_AT_ONCE):
            for each in found:
                _delete(client, each.id)
            forgotten += [each.id for each in found]
        _wait_for_logs(client, forgotten)
    return Forgotten(len(forgotten), before)


@task(name="forget-flow-runs", cache_policy=NO_CACHE)
def forget_old_flow_runs(days: int) -> int:
    """Prefect's server → the same without old flow runs; how many there were.

    A run does not fail for it.
    """
    try:
        forgotten = forget_flow_runs(days)
    except (HTTPError, PrefectException) as error:
        _log.warning("Prefect forgets no flow runs now (%s)", error)
        return 0
    _log.info("Prefect forgot %d flow runs of before %s", *forgotten)
    return forgotten.num_runs


def _ended(before: datetime) -> FlowRunFilter:
    return FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
    )


def _count(client: SyncPrefectClient, before: datetime) -> int:
    num = 0
    while found := client.read_flow_runs(
        flow_run_filter=_ended(before), limit=_AT_ONCE, offset=num
    ):
        num += len(found)
    return num


def _delete(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    try:
        client.delete_flow_run(flow_run_id)
    except ObjectNotFound:  # somebody else forgets too
        _log.info("Prefect's server does not know the flow run %s any more", flow_run_id)


def _wait_for_logs(client: SyncPrefectClient, ids: list[UUID]) -> None:
    """Prefect's server deletes logs after it has answered: it is not to be ended before."""
    deadline = time.monotonic() + _SECONDS_FOR_LOGS
    for begin in range(0, len(ids), _AT_ONCE):
        own = LogFilter(flow_run_id=LogFilterFlowRunId(any_=ids[begin : begin + _AT_ONCE]))
        while client.read_logs(log_filter=own, limit=1) and time.monotonic() < deadline:
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def give_back_space(database: Path) -> str:
    """Make an SQLite file as small as what is in it; why that was left undone, empty if it was not.

    Nobody may have it open for writing: Prefect's server is to have ended.
    """
    if not database.is_file():
        return "there is no such file"
    try:
        with closing(sqlite3.connect(database, timeout=_SECONDS_FOR_LOCK)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("VACUUM")
    except sqlite3.Error as error:
        return f"it is in use, or damaged ({error})"
    return ""
