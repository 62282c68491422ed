"""Forecasts as paths with bands: the hours to come, and past ones beside their truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from gridcast.evaluation.forecasts import levels_of, quantile_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_COLUMNS = 3
_DAYS_BEFORE = 3
_WIDTH, _HEIGHT = 4.6, 2.3  # inches of a panel
_WIDE = 10.0  # inches of a panel by itself
_KNOWN, _FORECAST = "#222222", "#0b6aa2"


def draw_outlook(rows: pd.DataFrame, loads: pd.DataFrame, *, timezone: str) -> Figure:
    """A panel a region; the bands are its quantiles, the outermost and those within.

    Args:
        rows: of :func:`gridcast.forecasting.makers.rows_by_maker`, of one issue time.
        loads: the last known hours of each (``region``; ``timestamp``, UTC; ``load_mw``).
        timezone: of the time axis.
    """
    regions = sorted(rows["region"].unique())
    num_columns = min(_COLUMNS, len(regions))
    num_rows = -(-len(regions) // num_columns)
    figure = Figure(figsize=(_WIDTH * num_columns, _HEIGHT * num_rows + 0.5), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    pairs = _pairs(levels_of(rows.columns))
    for axis, region in zip(axes, regions, strict=False):
        own = rows[rows["region"] == region]
        _draw_path(axis, own, own["load_mw"], pairs, timezone=timezone)
        before = own["issue_time"].iloc[0] - pd.Timedelta(days=_DAYS_BEFORE)
        known = loads[(loads["region"] == region) & (loads["timestamp"] >= before)]
        axis.plot(known["timestamp"].dt.tz_convert(timezone), known["load_mw"], color=_KNOWN, lw=1)
        _style(axis, region, timezone=timezone)
    for axis in axes[len(regions) :]:
        axis.set_visible(False)
    issue_time = rows["issue_time"].iloc[0].tz_convert(timezone)
    figure.suptitle(
        f"Issued {issue_time:%Y-%m-%d %H:%M} ({timezone}); bands of {_shares(pairs)}", fontsize=10
    )
    return figure


def draw_paths(paths: pd.DataFrame, *, timezone: str) -> Figure:
    """A panel a region: whole forecasts with their bands, one after the other, and the truth.

    ``paths``: see :func:`gridcast.serving.backtest_files.read_backtest`.
    """
    regions = list(dict.fromkeys(paths["region"]))
    figure = Figure(figsize=(_WIDE, _HEIGHT * len(regions) + 0.5), layout="constrained")
    axes = figure.subplots(len(regions), 1, squeeze=False).ravel()
    pairs = _pairs(levels_of(paths.columns))
    for axis, region in zip(axes, regions, strict=True):
        own = paths[paths["region"] == region]
        for issue_time, path in own.groupby("issue_time"):
            _draw_path(axis, path, path["y_pred"], pairs, timezone=timezone)
            axis.axvline(issue_time, color=_KNOWN, lw=0.6, ls=":")
        truth = own.sort_values("timestamp")
        hours = truth["timestamp"].dt.tz_convert(timezone)
        axis.plot(hours, truth["y_true"], color=_KNOWN, lw=1)
        _style(axis, region, timezone=timezone)
    num_issued, horizon = paths["issue_time"].nunique(), int(paths["lead"].max())
    title = f"{num_issued} forecasts of {horizon} hours, each issued where a dotted line stands"
    figure.suptitle(f"{title}; bands of {_shares(pairs)}; black: the load", fontsize=10)
    figure.set_label(
        f"Lines of {num_issued} whole forecasts of {horizon} hours with bands of {_shares(pairs)} "
        f"beside the load, of {', '.join(regions)}."
    )
    return figure


def _draw_path(
    axis: Axes,
    rows: pd.DataFrame,
    load_mw: pd.Series[float],
    pairs: Sequence[tuple[float, float]],
    *,
    timezone: str,
) -> None:
    """One forecast, in the bands between its quantiles."""
    hours = rows["timestamp"].dt.tz_convert(timezone)
    for low, high in pairs:
        lower, upper = rows[quantile_column(low)], rows[quantile_column(high)]
        axis.fill_between(hours, lower, upper, color=_FORECAST, alpha=0.18, lw=0)
    axis.plot(hours, load_mw, color=_FORECAST, lw=1.4)


def _pairs(levels: Sequence[float]) -> list[tuple[float, float]]:
    """The outermost two, then those within."""
    return [(levels[k], levels[-1 - k]) for k in range(len(levels) // 2)]


def _shares(pairs: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{100 * (high - low):.0f} %" for low, high in pairs)


def _style(axis: Axes, region: str, *, timezone: str) -> None:
    axis.set_title(f"{region}, MW", loc="left", fontsize=10)
    locator = AutoDateLocator(tz=timezone, maxticks=6)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    form = ConciseDateFormatter(locator, tz=timezone)  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_formatter(form)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
