"""The drawing of a study: how the search went, and what came of each setting's values."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from gridcast.config.space import Range
from gridcast.evaluation.measure import LABELS
from gridcast.report.drawing import (
    FAINT,
    INK,
    PAPER,
    TEXT_SIZE,
    TICK_SIZE,
    format_percent,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gridcast.config.space import Search, Space
    from gridcast.evaluation.search import TrialRecord

TRAINED, BEST, GIVEN_UP = "#0072b2", "#d55e00", "#7a7a7a"  # Okabe and Ito, and a grey
_COLUMNS: Final = 3
_HISTORY_INCHES, _ROW_INCHES = 3.4, 2.7
# A bad trial may be twenty times as bad as a good one: it is marked at the edge.
_SPANS_SHOWN: Final = 4.0


def draw_study(trials: Sequence[TrialRecord], space: Space, *, study: str) -> Figure:
    """The validation error of each trial, in their order and against each setting's values."""
    shown = [each for each in trials if each.validation_error is not None]
    trained = [each for each in shown if each.state == "trained"]
    best = min(trained, key=lambda each: (each.validation_error, each.number))
    num_rows = ceil(len(space) / _COLUMNS)
    figure = new_figure(_HISTORY_INCHES + _ROW_INCHES * num_rows)
    heights = [_HISTORY_INCHES, *[_ROW_INCHES] * num_rows]
    grid = figure.add_gridspec(1 + num_rows, _COLUMNS, height_ratios=heights)
    history = figure.add_subplot(grid[0, :])
    _draw_history(history, shown, trained, best)
    for number, (setting, search) in enumerate(space.items()):
        axes = figure.add_subplot(grid[1 + number // _COLUMNS, number % _COLUMNS], sharey=history)
        _draw_setting(axes, setting, search, shown, best)
    _limit(history, shown, trained)
    figure.legend(
        *history.get_legend_handles_labels(), loc="outside lower center", ncols=5,
        fontsize=TEXT_SIZE, frameon=False, labelcolor=INK,
    )  # fmt: skip
    figure.set_label(
        f"Study {study}: {len(trained)} trials trained to their end, {len(shown) - len(trained)} "
        f"given up. Best: trial {best.number}, validation {LABELS[best.measure]} "
        f"{format_percent(best.validation_error or 0.0)}."
    )
    figure.suptitle(f"Study {study}", fontsize=TICK_SIZE, color=INK, x=0.99, ha="right")
    return figure


def _draw_history(
    axes: Axes, shown: Sequence[TrialRecord], trained: Sequence[TrialRecord], best: TrialRecord
) -> None:
    numbers = [each.number for each in trained]
    _scatter(axes, [float(each.number) for each in shown], shown, best)
    so_far = np.minimum.accumulate([each.validation_error or np.inf for each in trained])
    axes.step([*numbers, shown[-1].number], [*so_far, so_far[-1]], where="post", color=TRAINED,
              linewidth=1.2, label="best so far")  # fmt: skip
    value = format_percent(best.validation_error or 0.0)
    title = f"Best: trial {best.number}, validation {LABELS[best.measure]} {value}"
    style_axes(
        axes,
        title=title,
        x_label="Trial",
        y_label=f"Validation {LABELS[best.measure]} (%)",
        grid=True,
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(shown[0].number - 0.5, shown[-1].number + 0.5)


def _draw_setting(
    axes: Axes, setting: str, search: Search, shown: Sequence[TrialRecord], best: TrialRecord
) -> None:
    if isinstance(search, Range):
        _scatter(axes, [float(each.settings[setting]) for each in shown], shown, best)
        if search.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xticks(_ticks(search))
            axes.set_xlim(search.low / 1.1, search.high * 1.1)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    else:
        places = [float(search.values.index(each.settings[setting])) for each in shown]
        _scatter(axes, places, shown, best)
        axes.set_xticks(range(len(search.values)), [_short(value) for value in search.values])
        axes.set_xlim(-0.5, len(search.values) - 0.5)
    style_axes(axes, title=setting, grid=True)
    axes.tick_params(labelleft=axes.get_subplotspec().is_first_col())  # type: ignore[union-attr]


def _scatter(
    axes: Axes, x: Sequence[float], shown: Sequence[TrialRecord], best: TrialRecord
) -> None:
    """Each trial at its place: dots, crosses for those given up, a ring around the best."""
    error, places = np.array([each.validation_error for each in shown]), np.array(x)
    is_trained = np.array([each.state == "trained" for each in shown])
    is_best = np.array([each is best for each in shown])
    axes.scatter(places[~is_trained], error[~is_trained], s=26, marker="x", color=GIVEN_UP,
                 linewidths=1.2, label="given up, as it was then", zorder=2)  # fmt: skip
    axes.scatter(places[is_trained], error[is_trained], s=34, color=TRAINED, edgecolors=PAPER,
                 linewidths=0.6, label="trained", zorder=3)  # fmt: skip
    axes.scatter(places[is_best], error[is_best], s=90, color=BEST, edgecolors=PAPER,
                 linewidths=0.8, label="best", zorder=4)  # fmt: skip


def _limit(axes: Axes, shown: Sequence[TrialRecord], trained: Sequence[TrialRecord]) -> None:
    """From the best to a few times as far as the middle one; what lies above is marked."""
    values = np.array([each.validation_error for each in shown], dtype=float)
    good = np.array([each.validation_error for each in trained], dtype=float)
    low = float(good.min())
    span = max(float(np.median(good)) - low, 0.01 * low)
    high = min(float(values.max()), low + _SPANS_SHOWN * span)
    margin = 0.08 * (high - low) or 0.05 * low
    axes.set_ylim(low - margin, high + margin)
    above = [float(each.number) for each, value in zip(shown, values, strict=True)
             if value > high + margin]  # fmt: skip
    if above:
        axes.scatter(above, np.full(len(above), high + 0.4 * margin), s=30, marker="^",
                     color=FAINT, edgecolors=GIVEN_UP, label="above")  # fmt: skip


def _ticks(search: Range) -> list[float]:
    """The ends of a logarithmic range, and its middle."""
    middle = float(np.sqrt(search.low * search.high))
    return [search.low, round(middle) if search.whole else float(f"{middle:.1g}"), search.high]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
