"""Make up for forecasts that were missed as a step of a flow, before the newest one is issued."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from gridcast.config import Config
from gridcast.forecasting.issue import issue_time_of
from gridcast.operation.clock import asked_instant
from tasks.operate.backfill import make_up_missed

_log = logging.getLogger("gridcast.forecast")


@task(name="make-up-missed", cache_policy=NO_CACHE)
def make_up_forecasts(
    data: str | None, artifacts: str, profile: str, overrides: list[str], as_of: str | None
) -> int:
    """Newest snapshot and promotions → rows of the hours that were not forecast; how many hours."""
    config = Config.load(profile, overrides=tuple(overrides))
    instant = asked_instant(as_of, flow_run.scheduled_start_time, config.operation.clock)
    folder = None if data is None else Path(data).resolve()
    made = make_up_missed(
        Path(artifacts).resolve(), config, issue_time=issue_time_of(instant), folder=folder
    )
    if made:
        _log.warning("%d issue times had been missed, and are made up", made)
    return made
