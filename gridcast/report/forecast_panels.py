"""Forecasts beside the truth, in the article's four panels.

A frame of ``forecasts`` is the long table of :mod:`gridcast.evaluation.forecasts`, of those
contestants that are drawn.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.measure import LABELS, NMAE, SMAPE, percent_errors
from gridcast.report.drawing import (
    INK,
    TICK_SIZE,
    cell_colour,
    format_percent,
    new_figure,
    style_axes,
)

_DAY, _TIME = "%d %b", "%H:%M"
DATE_FORMATS: Final = {  # for a step of years, months, days, hours, minutes, seconds
    "formats": ["%Y", "%b %Y", _DAY, _TIME, _TIME, "%S"],
    "zero_formats": ["", "%Y", _DAY, _DAY, _TIME, _TIME],
}


class Panel(NamedTuple):
    """One of the article's four pictures; regions count from 1 in alphabetical order."""

    model: int  # index into the models drawn
    region_number: int
    first: bool  # the first hours of the test part, or the last
    num_hours: int


ARTICLE_PANELS: Final = (
    Panel(model=0, region_number=1, first=False, num_hours=100),
    Panel(model=0, region_number=9, first=False, num_hours=50),
    Panel(model=0, region_number=5, first=True, num_hours=50),
    Panel(model=-1, region_number=7, first=True, num_hours=100),
)


def draw_panels(
    forecasts: pd.DataFrame,
    models: Sequence[Contestant],
    *,
    norms: Mapping[str, float] | None = None,
) -> Figure:
    """The article's four panels of predicted against actual load, with real dates in UTC.

    Further than one step ahead they show whole forecasts, one beginning where another has ended:
    each is what was said at one time, which a line of one lead never was. ``norms`` is what errors
    are told in percent of (MW, by region); none: each hour's own load.
    """
    figure = new_figure(6.6)
    regions = sorted(map(str, forecasts["region"].unique()))
    seen = []
    for axes, panel in zip(figure.subplots(2, 2).flat, ARTICLE_PANELS, strict=True):
        model = models[panel.model]
        region = regions[(panel.region_number - 1) % len(regions)]
        is_own = (forecasts["contestant"] == model.name) & (forecasts["region"] == region)
        paths = whole_paths(forecasts[is_own], panel.num_hours, first=panel.first)
        seen.append(
            _draw_panel(axes, paths, panel, model, region, (norms or {}).get(region, np.nan))
        )
    figure.set_label(f"Predicted and actual load in four panels. {'; '.join(seen)}.")
    return figure


def whole_paths(rows: pd.DataFrame, num_hours: int, *, first: bool) -> list[pd.DataFrame]:
    """About ``num_hours`` of one contestant's rows in one region, the first ones or the last.

    One step ahead that is one piece. Further ahead a piece is all that was forecast at one issue
    time, and the pieces do not overlap; at least one.
    """
    rows = rows.sort_values(["issue_time", "lead"], ignore_index=True)
    horizon = int(rows["lead"].max())
    if horizon == 1:
        return [rows.head(num_hours) if first else rows.tail(num_hours)]
    ends = rows.groupby("issue_time")["timestamp"].max()
    issued, ended = ends.index, pd.DatetimeIndex(ends)
    place, places = (0 if first else len(ends) - 1), list[int]()
    while 0 <= place < len(ends) and len(places) < max(1, num_hours // horizon):
        places.append(place)
        if first:
            place = int(issued.searchsorted(ended[place], side="left"))
        else:
            place = int(ended.searchsorted(issued[place], side="right")) - 1
    return [rows[rows["issue_time"] == issued[place]] for place in sorted(places)]


def _draw_panel(
    axes: Axes,
    paths: Sequence[pd.DataFrame],
    panel: Panel,
    model: Contestant,
    region: str,
    norm: float,
) -> str:
    rows, label = pd.concat(paths), LABELS[SMAPE if np.isnan(norm) else NMAE]
    axes.plot(_hours(rows), rows["y_true"], color=INK, linewidth=2.0, label="actual")
    for number, path in enumerate(paths):
        axes.plot(
            _hours(path), path["y_pred"], "o-", color=cell_colour(model.cell or ""), linewidth=0.9,
            markersize=3.4, label=None if number else "predicted",
        )  # fmt: skip
    known = rows.dropna(subset=["y_pred"])
    error = format_percent(
        float(np.mean(percent_errors(known["y_true"].to_numpy(), known["y_pred"].to_numpy(), norm)))
    )
    title = f"{region} · {model.label} · {label} {error}"
    which = _which(paths, first=panel.first)
    days = f"{rows['timestamp'].iloc[0]:%d %b} to {rows['timestamp'].iloc[-1]:%d %b %Y}"
    x_label = f"{which}, {days} (UTC)"
    style_axes(axes, title=title, x_label=x_label, y_label="Load (MW)", grid=True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))
    axes.xaxis.set_major_locator(locator := AutoDateLocator(tz=dt.UTC, minticks=4, maxticks=9))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, tz=dt.UTC, show_offset=False, **DATE_FORMATS)  # type: ignore[no-untyped-call]
    )
    axes.legend(fontsize=TICK_SIZE, frameon=False, labelcolor=INK)
    return f"{region}, {which}, {model.label}: {label} {error}"


def _hours(rows: pd.DataFrame) -> NDArray[np.datetime64]:
    hours: NDArray[np.datetime64] = rows["timestamp"].dt.tz_localize(None).to_numpy()
    return hours


def _which(paths: Sequence[pd.DataFrame], *, first: bool) -> str:
    place, horizon = ("first" if first else "last"), int(paths[0]["lead"].max())
    if horizon == 1:
        return f"{place} {len(paths[0])} test hours"
    if len(paths) == 1:
        return f"{place} forecast of {horizon} h"
    return f"{place} {len(paths)} forecasts of {horizon} h"
