"""A look at the forecasts of the last days, at an instant: figures, and alarms that are new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.monitoring.alarms import (
    Alarm,
    Promise,
    data_alarms,
    forecast_alarms,
    level_alarms,
    missing_forecast_alarm,
    outlier_alarms,
    raised,
)
from gridcast.monitoring.level import level_scores
from gridcast.monitoring.track_record import figures_by_lead, figures_by_region, with_truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import MonitoringConfig

MOST_LEADS = 24  # of which figures are taken
_DAY, _HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
_LONGEST = 168 * _HOUR  # of a forecast


@dataclass(frozen=True, slots=True)
class Monitored:
    """What was seen at ``at``.

    ``by_region`` and ``by_lead`` have the figures of ``track_record.FIGURES`` (percent) over the
    window; ``alarms`` those that are new.
    """

    at: pd.Timestamp
    by_region: pd.DataFrame
    by_lead: pd.DataFrame
    alarms: tuple[Alarm, ...]


def first_issue_time(config: MonitoringConfig, *, at: pd.Timestamp) -> pd.Timestamp:
    """Of the oldest rows that have a say in a look at ``at``."""
    return at - max(
        config.window_days * _DAY + _LONGEST,
        (config.window_days + config.level_history_days) * _DAY,
    )


def monitor(
    rows: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    promise: Promise | None,
    config: MonitoringConfig,
    *,
    at: pd.Timestamp,
    known: Sequence[Alarm] = (),
    is_due: bool = True,
) -> Monitored:
    """Hold what was forecast against what came, and both against what was promised.

    Args:
        rows: as they were issued, since ``first_issue_time``.
        readings: by region, sorted by time; hours that had not ended at ``at`` do not exist.
        promise: of the model in charge; None: no model ever was, and data alone are watched.
        config: window and limits.
        at: the instant (UTC).
        known: alarms that were raised before.
        is_due: whether a forecast of the hour of ``at`` is to be there.
    """
    first = first_issue_time(config, at=at) - _DAY
    recent = {
        name: own[(own["timestamp"] >= first) & (own["timestamp"] + _HOUR <= at)]
        for name, own in readings.items()
    }
    found = data_alarms(recent, config, at=at)
    if is_due:
        issue_times = rows["issue_time"].drop_duplicates().tolist() if len(rows) else []
        found += missing_forecast_alarm(issue_times, config, at=at)
    joined = _joined(rows, recent, config, at=at)
    norms = promise.norms if promise else {}
    found += outlier_alarms(joined, recent, config, at=at, norms=norms)
    by_region, by_lead = figures_by_region(joined, norms), figures_by_lead(joined, norms)
    if promise is not None:
        found += forecast_alarms(by_region, promise, config, at=at)
        own = rows[rows["issue_time"] < at] if len(rows) else joined
        found += level_alarms(level_scores(own, recent, norms), promise, config, at=at)
    return Monitored(at, by_region, by_lead, tuple(raised(found, known, config)))


def _joined(
    rows: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    config: MonitoringConfig,
    *,
    at: pd.Timestamp,
) -> pd.DataFrame:
    if rows.empty:
        columns = ["region", "issue_time", "timestamp", "lead", "load_mw", "q05", "q95"]
        return pd.DataFrame(columns=[*columns, "y_true", "naive_mw"])
    begin = at - config.window_days * _DAY
    own = rows[(rows["timestamp"] >= begin) & (rows["timestamp"] < at)]
    return with_truth(own[own["lead"] <= MOST_LEADS], readings)
