"""What plain retraining would have given of the same span: by the calendar, whatever the figures.

A plain retraining takes over on the day it is made; nobody looks at alarms, and nobody judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd

from gridcast.evaluation.measure import LABELS, MeasureName
from gridcast.monitoring.operator_contest import interval_of_mean
from gridcast.monitoring.span_figures import MonthFigures, mean_of_months
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

Plain = Literal["never", "yearly", "monthly", "weekly"]
PLAIN: tuple[Plain, ...] = get_args(Plain)


class PlainRetraining(Record):
    """A span lived through with one way of plain retraining; percent, as in a month's figures.

    ``difference`` is its error less that of the replay, in points, on the issue times that both
    have; ``low`` and ``high`` hold it in 95 of 100 samples (a block bootstrap over the hours).
    """

    plain: Plain
    num_trainings: int
    error: float
    coverage: float
    months: tuple[MonthFigures, ...]
    difference: float
    low: float
    high: float


def training_days(plain: Plain, first: pd.Timestamp, end: pd.Timestamp) -> tuple[pd.Timestamp, ...]:
    """When it trains: at the begin, then each 1 January, 1st of a month, or Monday before ``end``.

    >>> first, end = (pd.Timestamp(each, tz="UTC") for each in ("2017-12-13", "2018-01-09"))
    >>> [f"{each:%m-%d}" for each in training_days("weekly", first, end)]
    ['12-13', '12-18', '12-25', '01-01', '01-08']
    >>> [f"{each:%m-%d}" for each in training_days("yearly", first, end)]
    ['12-13', '01-01']
    """
    days = pd.date_range(first, end, freq="D", inclusive="left")
    is_due = {
        "never": days < first,
        "yearly": (days.month == 1) & (days.day == 1),
        "monthly": days.day == 1,
        "weekly": days.day_of_week == 0,
    }[plain]
    return (first, *(each for each in days[is_due] if each > first))


def plain_retraining(
    plain: Plain,
    months: Sequence[MonthFigures],
    errors: pd.Series[float],
    own_errors: pd.Series[float],
    *,
    num_trainings: int,
) -> PlainRetraining:
    """The figures of one way, held against the replay's own.

    Args:
        plain: the way.
        months: its figures.
        errors: its errors (percent) by issue time, see ``monitoring.span_figures.hourly_errors``.
        own_errors: those of the replay.
        num_trainings: how many it took.
    """
    paired = pd.concat([errors, own_errors], axis=1, join="inner")
    difference = (paired.iloc[:, 0] - paired.iloc[:, 1]).to_numpy()
    low, high = interval_of_mean(difference)
    return PlainRetraining(
        plain=plain, num_trainings=num_trainings, error=mean_of_months(months, "error"),
        coverage=mean_of_months(months, "coverage"), months=tuple(months),
        difference=float(difference.mean()), low=low, high=high,
    )  # fmt: skip


def comparison_lines(
    compared: Sequence[PlainRetraining],
    months: Sequence[MonthFigures],
    *,
    num_trainings: int,
    measure: MeasureName,
) -> list[str]:
    """Markdown: the ways side by side, and month by month, the replay's own first."""
    error, coverage = (mean_of_months(months, name) for name in ("error", "coverage"))
    by_month = {each.plain: {m.month: m.error for m in each.months} for each in compared}
    return [
        f"| retraining | trainings | {LABELS[measure]} % | held % | points more than as decided |",
        "|---|--:|--:|--:|--:|",
        f"| as decided | {num_trainings} | {error:.2f} | {coverage:.1f} | |",
        *(
            f"| {each.plain} | {each.num_trainings} | {each.error:.2f} | {each.coverage:.1f}"
            f" | {each.difference:+.2f} ({each.low:+.2f} to {each.high:+.2f}) |"
            for each in compared
        ),
        "",
        f"| month | as decided | {' | '.join(by_month)} |",
        f"|---|--:|{'--:|' * len(by_month)}",
        *(
            f"| {m.month} | {m.error:.2f} | "
            + " | ".join(_cell(own.get(m.month)) for own in by_month.values()) + " |"
            for m in months
        ),
    ]  # fmt: skip


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
