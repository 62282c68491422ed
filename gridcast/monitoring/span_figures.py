"""Day-ahead figures of a span that was lived through: by month, and by the hour of issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import AliasChoices, Field

from gridcast.monitoring.track_record import row_figures, with_truth
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

MOST_LEADS = 24
# Older reports call them by the only measure that there was.
ERROR = Field(validation_alias=AliasChoices("error", "smape"))
NAIVE_ERROR = Field(validation_alias=AliasChoices("naive_error", "naive_smape"))


class MonthFigures(Record):
    """Day-ahead figures of a month (percent): the mean over regions and the leads 1 to 24."""

    month: str
    num_rows: int
    error: float = ERROR
    naive_error: float = NAIVE_ERROR
    bias: float
    coverage: float
    width: float


def month_figures(
    rows: pd.DataFrame, readings: Mapping[str, pd.DataFrame], norms: Mapping[str, float]
) -> list[MonthFigures]:
    """Figures by the month (UTC) of the hour that was forecast; of rows whose truth is known.

    Args:
        rows: as they were issued.
        readings: by region; flagged hours are no truth.
        norms: MW, by region: in percent of what, where not of each hour's own load.
    """
    joined = with_truth(rows[rows["lead"] <= MOST_LEADS], readings)
    each = row_figures(joined, norms)
    each["month"] = each["timestamp"].dt.strftime("%Y-%m")
    found = []
    for month, own in each.groupby("month", sort=True):
        means = own.groupby("region")[["error", "naive_error", "bias", "coverage", "width"]].mean()
        figures = {str(name): float(value) for name, value in means.mean().items()}
        found.append(MonthFigures(month=str(month), num_rows=len(own), **figures))
    return found


def mean_of_months(months: Sequence[MonthFigures], name: str) -> float:
    """Each month by its number of rows."""
    total = sum(each.num_rows for each in months)
    return float(sum(getattr(each, name) * each.num_rows for each in months) / max(total, 1))


def hourly_errors(
    rows: pd.DataFrame, readings: Mapping[str, pd.DataFrame], norms: Mapping[str, float]
) -> pd.Series[float]:
    """By issue time: the error (percent) of leads 1 to 24, the mean over the regions."""
    each = row_figures(with_truth(rows[rows["lead"] <= MOST_LEADS], readings), norms)
    by_region = each.groupby(["issue_time", "region"], sort=True)["error"].mean()
    found: pd.Series[float] = by_region.groupby("issue_time").mean()
    return found
