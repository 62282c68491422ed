"""Issue a forecast as a step of a flow, with its outcome on Prefect's pages."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from gridcast.config import Config
from gridcast.errors import ForecastDoubtError
from gridcast.operation.clock import asked_instant
from tasks.forecast.issue_forecast import current_snapshot, issue_forecast
from tasks.promote.prefect_events import tell_forecast

_log = logging.getLogger("gridcast.forecast")


@task(name="issue-forecast", cache_policy=NO_CACHE)
def store_forecast(
    data: str | None, artifacts: str, profile: str, overrides: list[str], as_of: str | None
) -> str:
    """Newest snapshot and recommended model → rows in the store; their path.

    Raises:
        ForecastDoubtError: a region has a naive forecast or none for want of data; the rows of all
            others, and of it, are kept.
    """
    config = Config.load(profile, overrides=tuple(overrides))
    instant = asked_instant(as_of, flow_run.scheduled_start_time, config.operation.clock)
    folder = None if data is None else Path(data).resolve()
    issued = issue_forecast(Path(artifacts).resolve(), config, as_of=instant, folder=folder)
    rows = issued.rows[issued.rows["lead"] <= 1]
    table = rows.assign(timestamp=rows["timestamp"].astype(str), issue_time=str(issued.issue_time))
    create_table_artifact(
        key="next-hour",
        table={str(name): list(column) for name, column in table.round(1).items()},
        description=f"The next hour of each region, issued {issued.issue_time} by {issued.model}",
    )
    _log.info("Forecast: %s", issued.stored)
    dataset = current_snapshot(Path(artifacts).resolve(), folder).dataset
    tell_forecast(dataset, issue_time=issued.issue_time.isoformat(), model=issued.model)
    if doubts := issued.missing | issued.doubts:
        raise ForecastDoubtError(doubts, stored=issued.stored)
    return str(issued.stored)
