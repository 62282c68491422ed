"""The page for who operates the forecasts: today and tomorrow, errors over time, alarms, feeds.

One HTML file that asks for nothing else: Vega's scripts are in it, and a content security policy
forbids every request. Whatever comes from files or configuration is escaped.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from gridcast.evaluation.forecasts import levels_of, quantile_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name: nothing is fetched
_INK, _ACCENT, _BAND = "#1f2937", "#b4541a", "#e8c9b3"


class AlarmRow(NamedTuple):
    """An alarm in words."""

    at: str
    severity: str
    region: str
    message: str


class FeedRow(NamedTuple):
    """A region: its newest hour, and the figures of the window in percent (empty: none)."""

    region: str
    newest: str
    stale_hours: int
    error: str
    bias: str
    coverage: str
    peak_error: str


class OperatorFacts(NamedTuple):
    """What the page tells, beside its tables of rows."""

    dataset: str
    at: str
    champion: str
    reason: str
    window_days: int
    alarms: Sequence[AlarmRow]
    feeds: Sequence[FeedRow]
    promotions: Sequence[tuple[str, str]]  # since (ISO), who
    operator: Sequence[str] = ()  # ours and the system operator's own, in words
    error: str = "sMAPE"  # how errors are told


def operator_page(
    facts: OperatorFacts,
    rows: pd.DataFrame,
    loads: pd.DataFrame,
    days: pd.DataFrame,
    *,
    vega_js: str,
    timezone: str,
) -> str:
    """The page.

    Args:
        facts: what stands in words.
        rows: the newest forecast (see ``rows_by_maker``).
        loads: the last days' loads: ``region``, ``timestamp`` (UTC), ``load_mw``.
        days: figures by ``region`` and ``day`` (percent): ``error``, ``naive_error``, ``coverage``.
        vega_js: Vega's scripts, which give ``vegaEmbed``.
        timezone: IANA zone in which hours are shown.
    """
    folder = Path(__file__).parent
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(loader=loader, autoescape=True)
    return environment.get_template("operator_page.html.jinja").render(
        facts=facts,
        css=(folder / "report.css").read_text(encoding="utf-8"),
        vega_js=vega_js,
        outlook=_embedded(outlook_spec(rows, loads, timezone=timezone)),
        errors=_embedded(errors_spec(days, facts.promotions, error=facts.error)),
        bands=_embedded(bands_spec(days, facts.promotions)),
    )


def _embedded(spec: dict[str, Any]) -> str:
    """JSON that ends no script, whatever names are in it."""
    return json.dumps(spec, allow_nan=False).replace("<", "\\u003c")


def outlook_spec(rows: pd.DataFrame, loads: pd.DataFrame, *, timezone: str) -> dict[str, Any]:
    """Truth, forecast and band of the region that is chosen, as a chart of Vega-Lite."""
    levels = levels_of(rows.columns)
    low, high = (quantile_column(levels[place]) for place in (0, -1)) if levels else ("", "")
    values: list[dict[str, Any]] = [
        {"region": str(region), "t": _local(time, timezone), "load": _round(load)}
        for region, time, load in zip(
            loads["region"], loads["timestamp"], loads["load_mw"], strict=True
        )
    ]
    values += [
        {
            "region": str(row["region"]), "t": _local(row["timestamp"], timezone),
            "forecast": _round(row["load_mw"]), "low": _round(row[low]), "high": _round(row[high]),
        }
        for row in rows.to_dict("records")
    ]  # fmt: skip
    regions = sorted({str(each["region"]) for each in values})
    x = {"field": "t", "type": "temporal", "title": f"hour ({timezone})"}
    y = {"type": "quantitative", "title": "MW", "scale": {"zero": False}}
    return {
        "$schema": _SCHEMA, "width": "container", "height": 260, "data": {"values": values},
        "params": [{
            "name": "shown", "value": regions[0] if regions else "",
            "bind": {"input": "select", "options": regions, "name": "Region "},
        }],
        "transform": [{"filter": "datum.region == shown"}],
        "encoding": {"x": x},
        "layer": [
            {"mark": {"type": "area", "color": _BAND},
             "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}}},
            {"mark": {"type": "line", "color": _ACCENT, "tooltip": True},
             "encoding": {"y": {**y, "field": "forecast"}}},
            {"mark": {"type": "line", "color": _INK, "tooltip": True},
             "encoding": {"y": {**y, "field": "load"}}},
        ],
    }  # fmt: skip


def errors_spec(
    days: pd.DataFrame, promotions: Sequence[tuple[str, str]], *, error: str = "sMAPE"
) -> dict[str, Any]:
    """Errors by day, the mean of the regions; promotions since as upright lines."""
    colors = {"naive_error": "#9ca3af", "error": _INK}
    return _by_day(days, promotions, f"{error}, %", colors)


def bands_spec(days: pd.DataFrame, promotions: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The share of hours that bands held, by day, as errors are shown."""
    return _by_day(days, promotions, "band held, %", {"coverage": _INK})


def _by_day(
    days: pd.DataFrame,
    promotions: Sequence[tuple[str, str]],
    title: str,
    colors: Mapping[str, str],
) -> dict[str, Any]:
    """A line a column of ``days``, as wide as there is room."""
    means = days.groupby("day")[list(colors)].mean() if len(days) else days
    values = [
        {"day": f"{day:%Y-%m-%d}", **{name: _round(own[name]) for name in colors}}
        for day, own in means.iterrows()
    ]
    x = {"field": "day", "type": "temporal", "title": None}
    layer: list[dict[str, Any]] = [
        {"mark": {"type": "line", "color": color, "tooltip": True},
         "encoding": {"x": x, "y": {"field": name, "type": "quantitative", "title": title}}}
        for name, color in colors.items()
    ]  # fmt: skip
    oldest = min((str(each["day"]) for each in values), default="")
    marks = [{"day": s[:10], "who": who} for s, who in promotions if s[:10] >= oldest]
    if marks:  # of none Vega says that it finds no extent
        layer.append({
            "data": {"values": marks},
            "mark": {"type": "rule", "color": _ACCENT, "strokeDash": [4, 3], "tooltip": True},
            "encoding": {"x": x, "tooltip": {"field": "who", "type": "nominal"}},
        })  # fmt: skip
    return {
        "$schema": _SCHEMA, "width": "container", "height": 130, "data": {"values": values},
        "layer": layer,
    }  # fmt: skip


def _local(time: pd.Timestamp, timezone: str) -> str:
    return f"{time.tz_convert(timezone):%Y-%m-%dT%H:%M:%S}"


def _round(value: float) -> float | None:
    """To a tenth, of small values to five figures: a house has thousandths of a MW."""
    if math.isnan(value) or value == 0:
        return None if math.isnan(value) else 0.0
    return round(float(value), max(1, 4 - math.floor(math.log10(abs(value)))))
