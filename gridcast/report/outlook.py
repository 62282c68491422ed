"""A picture of hours to come: each region's last days, its forecast, and the bands around it."""

from __future__ import annotations

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from gridcast.evaluation.forecasts import levels_of, quantile_column

_COLUMNS = 3
_DAYS_BEFORE = 3
_WIDTH, _HEIGHT = 4.6, 2.3  # inches of a panel
_KNOWN, _FORECAST = "#222222", "#0b6aa2"


def draw_outlook(rows: pd.DataFrame, loads: pd.DataFrame, *, timezone: str) -> Figure:
    """A panel a region; the bands are its quantiles, the outermost and those within.

    Args:
        rows: of :func:`gridcast.forecasting.issue.forecast_rows`, of one issue time.
        loads: the last known hours of each (``region``; ``timestamp``, UTC; ``load_mw``).
        timezone: of the time axis.
    """
    regions = sorted(rows["region"].unique())
    num_columns = min(_COLUMNS, len(regions))
    num_rows = -(-len(regions) // num_columns)
    figure = Figure(figsize=(_WIDTH * num_columns, _HEIGHT * num_rows + 0.5), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    levels = levels_of(rows.columns)
    pairs = [(levels[k], levels[-1 - k]) for k in range(len(levels) // 2)]
    for axis, region in zip(axes, regions, strict=False):
        own = rows[rows["region"] == region]
        hours = own["timestamp"].dt.tz_convert(timezone)
        for low, high in pairs:
            lower, upper = own[quantile_column(low)], own[quantile_column(high)]
            axis.fill_between(hours, lower, upper, color=_FORECAST, alpha=0.18, lw=0)
        axis.plot(hours, own["load_mw"], color=_FORECAST, lw=1.4)
        before = own["issue_time"].iloc[0] - pd.Timedelta(days=_DAYS_BEFORE)
        known = loads[(loads["region"] == region) & (loads["timestamp"] >= before)]
        axis.plot(known["timestamp"].dt.tz_convert(timezone), known["load_mw"], color=_KNOWN, lw=1)
        axis.set_title(f"{region}, MW", loc="left", fontsize=10)
        locator = AutoDateLocator(tz=timezone, maxticks=6)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        form = ConciseDateFormatter(locator, tz=timezone)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_formatter(form)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(regions) :]:
        axis.set_visible(False)
    shares = ", ".join(f"{100 * (high - low):.0f} %" for low, high in pairs)
    issue_time = rows["issue_time"].iloc[0].tz_convert(timezone)
    figure.suptitle(
        f"Issued {issue_time:%Y-%m-%d %H:%M} ({timezone}); bands of {shares}", fontsize=10
    )
    return figure
