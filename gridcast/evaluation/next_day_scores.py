"""The next day as it is planned: issued once a day, of each hour of the next calendar day.

A market asks for it at a fixed local hour; who plans units and lines asks how high the peak will
be, when it comes, and whether the load was taken for less than it became.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field

from gridcast.evaluation.measure import norms_by_row, percent_errors
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LAST_HOUR = 23
_DAY = ["contestant", "region", "issue_time"]
_FIGURES = ["error", "peak", "peak_hours", "under"]
COLUMNS = ["contestant", "region", *_FIGURES, "num_days"]


class NextDayFigures(Record):
    """Of one contestant, the means over the regions.

    ``error`` (percent, as its backtest's ``measure`` has it) is of the day's hours; ``peak`` the
    error of its highest load, in percent of it or of the norm; ``peak_hours`` how many hours beside
    the true one the peak was expected; ``under`` the share of hours (percent) whose load was taken
    for less than it became.
    """

    error: float = Field(validation_alias=AliasChoices("error", "smape"))
    peak: float
    peak_hours: float
    under: float


class NextDay(Record):
    """Of ``num_days`` days that were forecast at ``issue_hour`` (local) of the day before."""

    issue_hour: int
    num_days: int
    contestants: dict[str, NextDayFigures]


def next_day_scores(
    rows: pd.DataFrame, *, timezone: str, issue_hour: int, norms: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """A row a contestant and region that has a whole day: ``COLUMNS``; ``num_days`` of them.

    Args:
        rows: of a backtest, as ``Backtest.rows``.
        timezone: of the days.
        issue_hour: local hour (0 to 23) at which the next day is forecast. A day is whole if each
            of its hours was forecast and has a truth: from 9 o'clock that takes 39 hours, and 40
            where clocks go back.
        norms: what errors of each region are told in percent of (MW); none: each hour's own load.
    """
    hours = _hours_of_next_days(
        rows.assign(norm_mw=norms_by_row(rows["region"], norms or {})), timezone, issue_hour
    )
    if hours.empty:
        return pd.DataFrame(columns=COLUMNS)
    truth, forecast, norm = (hours[name].to_numpy() for name in ("y_true", "y_pred", "norm_mw"))
    hours = hours.assign(
        error=percent_errors(truth, forecast, norm), under=100.0 * (forecast < truth)
    )
    means = hours.groupby(_DAY, observed=True)[["error", "under"]].mean()
    days = means.join(_peaks(hours)).reset_index()
    by_region = days.groupby(["contestant", "region"], observed=True)
    found = by_region[_FIGURES].mean().assign(num_days=by_region.size())
    return found.reset_index()[COLUMNS]


def _hours_of_next_days(rows: pd.DataFrame, timezone: str, issue_hour: int) -> pd.DataFrame:
    """Those of days that were forecast at that hour of the day before.

    A day that is not whole says nothing of its peak.
    """
    code_N, times = pd.factorize(rows["issue_time"])  # of a year's rows, 8760
    is_due = pd.DatetimeIndex(times).tz_convert(timezone).hour == issue_hour
    own: pd.DataFrame = rows[is_due[code_N]]
    issued, local = (
        own[name].dt.tz_convert(timezone).dt.tz_localize(None).dt.normalize()
        for name in ("issue_time", "timestamp")
    )
    own = own[local - issued == pd.Timedelta(days=1)]
    days = own.groupby(_DAY, observed=True)
    first, last, num = (days["lead"].transform(each) for each in ("min", "max", "count"))
    ends = days["local_hour"].transform("max") == _LAST_HOUR
    begins = days["local_hour"].transform("min") <= 1  # where clocks go forward at midnight
    return own[(last - first + 1 == num) & begins & ends]


def _peaks(hours: pd.DataFrame) -> pd.DataFrame:
    """By contestant, region and issue time, how the expected peak differs from the true one."""
    found = {}
    for name in ("y_true", "y_pred"):
        at = hours.groupby(_DAY, observed=True)[name].idxmax()
        found[name] = hours.loc[at.to_numpy(), [*_DAY, name, "lead", "norm_mw"]].set_index(_DAY)
    true, expected = found["y_true"], found["y_pred"]
    own = np.where(true["y_true"] > 0, true["y_true"], np.nan)
    size = true["norm_mw"].fillna(pd.Series(own, true.index)).to_numpy()
    return pd.DataFrame(
        {
            "peak": 100 * np.abs(expected["y_pred"] - true["y_true"]) / size,
            "peak_hours": np.abs(expected["lead"].astype(int) - true["lead"].astype(int)),
        }
    )


def next_day_of(scores: pd.DataFrame, names: Sequence[str], *, issue_hour: int) -> NextDay | None:
    """The figures of some contestants; None where no day was whole."""
    own = scores[scores["contestant"].isin(names)]
    if own.empty:
        return None
    means = own.groupby("contestant", observed=True)[_FIGURES].mean()
    return NextDay(
        issue_hour=issue_hour,
        num_days=int(own["num_days"].max()),
        contestants={
            str(name): NextDayFigures(**{key: float(row[key]) for key in _FIGURES})
            for name, row in means.iterrows()
        },
    )
