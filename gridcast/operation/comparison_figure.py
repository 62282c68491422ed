"""The drawing of a replay beside plain retraining: what each way is off by, week after week."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gridcast.evaluation.measure import LABELS, MeasureName
from gridcast.report.drawing import (
    FITTED_COLOURS,
    INK,
    NAIVE_GREYS,
    OTHER_COLOURS,
    TEXT_SIZE,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

_COLOURS = (NAIVE_GREYS[1], *FITTED_COLOURS[:2], OTHER_COLOURS[1])
_HEIGHT_INCHES = 3.8
_WEEK = pd.Timedelta(days=7)


def draw_comparison(
    errors: Mapping[str, pd.Series[float]],
    trained: Mapping[str, pd.DatetimeIndex],
    measure: MeasureName,
) -> Figure:
    """A line a way: the error (percent) by week of the issue time; a mark for each training.

    Args:
        errors: by issue time (UTC), of each way; the first is the replay's own.
        trained: when each way has trained.
        measure: in what the errors are told.
    """
    figure = new_figure(_HEIGHT_INCHES)
    axes = figure.subplots()
    for (name, own), colour in zip(errors.items(), (INK, *_COLOURS), strict=False):
        first = pd.DatetimeIndex(own.index)[0]
        weekly = own.groupby(_begin_of_week(pd.DatetimeIndex(own.index), first)).mean()
        is_own = colour == INK
        axes.plot(
            weekly.index.to_numpy(), weekly.to_numpy(), color=colour, label=name,
            linewidth=2.2 if is_own else 1.3, zorder=3 if is_own else 2,
        )  # fmt: skip
        marked = weekly[weekly.index.isin(_begin_of_week(trained[name], first))]
        axes.plot(marked.index.to_numpy(), marked.to_numpy(), "o", color=colour, markersize=4)
    label = f"{LABELS[measure]} (%)"
    style_axes(axes, title="Day ahead, by week; dots: trainings", y_label=label, grid=True)
    axes.set_ylim(bottom=0)
    figure.legend(
        loc="outside lower center", ncols=len(errors), fontsize=TEXT_SIZE, frameon=False,
        labelcolor=INK,
    )  # fmt: skip
    means = ", ".join(f"{name} {own.mean():.2f} %" for name, own in errors.items())
    figure.set_label(f"The error by week of each way of retraining; on average: {means}.")
    return figure


def _begin_of_week(times: pd.DatetimeIndex, first: pd.Timestamp) -> pd.DatetimeIndex:
    """When the week begins in which each lies, by weeks that are counted from ``first`` on."""
    return first + (times - first) // _WEEK * _WEEK
