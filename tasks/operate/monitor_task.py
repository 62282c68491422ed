"""Monitor forecasts as a step of a flow: figures on Prefect's pages, each new alarm as an event."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from gridcast.config import Config
from gridcast.operation.clock import asked_instant
from tasks.operate.monitor_forecasts import monitor_forecasts
from tasks.operate.publish_page import publish_page
from tasks.promote.prefect_events import tell_alarm

_log = logging.getLogger("gridcast.monitor")


@task(name="monitor", cache_policy=NO_CACHE)
def keep_monitoring(
    data: str | None, artifacts: str, profile: str, overrides: list[str], as_of: str | None
) -> str:
    """Store, newest snapshot and promises → figures and alarms; their folder."""
    config = Config.load(profile, overrides=tuple(overrides))
    instant = asked_instant(as_of, flow_run.scheduled_start_time, config.operation.clock)
    folder = None if data is None else Path(data).resolve()
    looked = monitor_forecasts(Path(artifacts).resolve(), config, as_of=instant, folder=folder)
    publish_page(Path(artifacts).resolve(), config, looked, folder=folder)
    for alarm in looked.monitored.alarms:
        tell_alarm(alarm, dataset=looked.record.dataset)
    table = looked.monitored.by_region.round(2).reset_index()
    create_table_artifact(
        key="monitoring",
        table={str(name): list(column) for name, column in table.items()},
        description=f"The last {looked.record.window_days} days at {looked.record.at}: percent, "
        f"{len(looked.monitored.alarms)} new alarms",
    )
    return str(looked.folder)
