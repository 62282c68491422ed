"""What ``gridcast monitor`` prints: figures by region, new alarms, where all of it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridcast.config import Config
from gridcast.evaluation.measure import LABELS
from tasks.forecast.issue_forecast import end_of_data
from tasks.operate.monitor_forecasts import monitor_forecasts
from tasks.operate.publish_page import publish_page
from tasks.promote.prefect_events import tell_alarm
from tasks.show.show_forecast import instant_of

if TYPE_CHECKING:
    from tasks.operate.monitor_forecasts import Looked
    from tasks.show.show_champion import PromotionRequest

_WIDTH_OF_FILES = 140
_COLUMNS = {
    "num_hours": "hours", "error": "error %", "naive_error": "yesterday's %", "bias": "bias %",
    "coverage": "held %", "width": "width %", "peak_error": "peak off by %",
}  # fmt: skip


def monitor_and_show(asked: PromotionRequest) -> None:
    """Look at the last days and show what was seen; each new alarm is an event too.

    Raises:
        UsageError, ConfigError, IntegrityError: nothing could be looked at.
    """
    config = Config.load(asked.profile, overrides=asked.overrides)
    if asked.as_of is None:
        at = end_of_data(asked.artifacts, folder=asked.folder)
    else:
        at = instant_of(asked.as_of)
    looked = monitor_forecasts(asked.artifacts, config, as_of=at, folder=asked.folder)
    page = publish_page(asked.artifacts, config, looked, folder=asked.folder)
    for alarm in looked.monitored.alarms:
        tell_alarm(alarm, dataset=looked.record.dataset)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    console.print(_table(looked))
    for contest in looked.record.operator:
        console.print(contest.text, highlight=False, soft_wrap=True)
    for alarm in looked.monitored.alarms:
        region = alarm.region or "all regions"
        line = f"{alarm.severity.upper():9} {region}: {alarm.message} ({alarm.kind})"
        console.print(escape(line), highlight=False, soft_wrap=True)
    console.print(f"Alarms:    {len(looked.monitored.alarms)} new", highlight=False)
    console.print(f"Page:      {page}", highlight=False, soft_wrap=True)


def _table(looked: Looked) -> Table:
    record = looked.record
    title = f"{record.window_days} days to {record.at}, {record.dataset}, by {record.model}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("region")
    for name, column in _COLUMNS.items():
        title = f"{LABELS[record.measure]} %" if name == "error" else column
        table.add_column(title, justify="right")
    for region, own in looked.monitored.by_region.iterrows():
        figures = (f"{own[name]:,.{0 if name == 'num_hours' else 2}f}" for name in _COLUMNS)
        table.add_row(str(region), *figures)
    return table
