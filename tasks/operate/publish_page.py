"""Write the operator's page after a look at the forecasts: one file, beside the figures."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.evaluation.measure import LABELS
from gridcast.monitoring.track_record import figures_by_day, with_truth
from gridcast.report.operator_page import AlarmRow, FeedRow, OperatorFacts, operator_page
from tasks.forecast.forecast_store import read_issued
from tasks.forecast.issue_forecast import current_snapshot, published_readings
from tasks.operate.monitor_forecasts import Looked, read_alarms
from tasks.promote.promotion_files import read_log
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gridcast.config import Config
    from gridcast.monitoring.alarms import Alarm
    from gridcast.operation.promotion_log import PromotionLog

_HOUR, _DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
_SHOWN_DAYS, _SHOWN_LOADS = 60, 3 * _DAY
_LEADS = 24
_EXPORTS = "window.vegaEmbed = vegaEmbed;"


def publish_page(
    artifacts: Path, config: Config, looked: Looked, *, folder: Path | None = None
) -> Path:
    """The page of the last look: ``monitoring/<data set>/index.html``.

    Raises:
        UsageError: nothing is published.
        IntegrityError: a file of the snapshot was changed.
    """
    at, dataset = looked.monitored.at, looked.record.dataset
    current = current_snapshot(artifacts, folder)
    regions = list(current.snapshot.regions)
    readings = {
        name: own[own["timestamp"] < at]
        for name, own in published_readings(artifacts, current, regions).items()
    }
    issued = read_issued(
        artifacts, dataset, first=at - _SHOWN_DAYS * _DAY, end=at + pd.Timedelta(seconds=1)
    )
    newest = issued[issued["issue_time"] == issued["issue_time"].max()] if len(issued) else issued
    joined = with_truth(issued[issued["lead"] <= _LEADS], readings) if len(issued) else issued
    page = operator_page(
        _facts(artifacts, config, looked, readings),
        newest,
        _loads(readings, at),
        figures_by_day(joined, looked.norms) if len(joined) else pd.DataFrame(),
        vega_js=_vega(artifacts),
        timezone=config.ingestion.timezone,
    )
    path = looked.folder / "index.html"
    write_bytes(path, page.encode())
    return path


def _facts(
    artifacts: Path, config: Config, looked: Looked, readings: Mapping[str, pd.DataFrame]
) -> OperatorFacts:
    at, dataset = looked.monitored.at, looked.record.dataset
    own, log = config.operation.monitoring, read_log(artifacts, dataset)
    since = at - own.quiet_days * _DAY
    alarms = [e for e in read_alarms(artifacts, dataset) if since < pd.Timestamp(e.at) <= at]
    entries = log.in_force(at)
    return OperatorFacts(
        dataset=dataset,
        at=f"{at:%Y-%m-%d %H:%M} UTC",
        champion=_in_charge(log, looked, at),
        reason=entries[0].reason if entries else "",
        window_days=own.window_days,
        alarms=[_alarm(each) for each in reversed(alarms)],
        feeds=[
            _feed(name, each, looked)
            for name, each in sorted(readings.items())
            if len(each) and each["timestamp"].iloc[-1] >= at - own.watched_days * _DAY
        ],
        promotions=[(each.since, each.to.short) for each in entries],
        operator=[each.text for each in looked.record.operator],
        error=LABELS[looked.record.measure],
    )  # fmt: skip


def _alarm(each: Alarm) -> AlarmRow:
    at = f"{pd.Timestamp(each.at):%Y-%m-%d %H:%M}"
    return AlarmRow(at, each.severity, each.region or "all", each.message)


def _in_charge(log: PromotionLog, looked: Looked, at: pd.Timestamp) -> str:
    champion = log.champion_at(at)
    return champion.short if champion else f"{looked.record.model}, of the newest run"


def _feed(region: str, readings: pd.DataFrame, looked: Looked) -> FeedRow:
    newest, figures = readings["timestamp"].iloc[-1], looked.monitored.by_region
    told = ["", "", "", ""]
    if region in figures.index:
        known = figures.loc[region, ["error", "bias", "coverage", "peak_error"]].to_numpy(float)
        told = ["" if np.isnan(each) else f"{each:.2f}" for each in known]
    stale = int((looked.monitored.at.floor("h") - newest) / _HOUR) - 1
    return FeedRow(region, f"{newest:%Y-%m-%d %H:%M}", stale, *told)


def _loads(readings: Mapping[str, pd.DataFrame], at: pd.Timestamp) -> pd.DataFrame:
    begin = at - _SHOWN_LOADS
    own = [
        each[each["timestamp"] >= begin][["timestamp", "load_mw"]].assign(region=name)
        for name, each in readings.items()
    ]
    return pd.concat(own, ignore_index=True)


def _vega(artifacts: Path) -> str:
    """Vega's scripts, put together once for all pages: that takes seconds."""
    path = artifacts / "monitoring" / f"vega-{version('vl-convert-python')}.js"
    if not path.is_file():
        from vl_convert import javascript_bundle

        write_bytes(path, javascript_bundle(_EXPORTS).encode())
    return path.read_text(encoding="utf-8")
