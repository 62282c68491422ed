"""Day-ahead figures of a span that was lived through: by month, and by the hour of issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcast.monitoring.track_record import row_figures, with_truth
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

MOST_LEADS = 24


class MonthFigures(Record):
    """Day-ahead figures of a month (percent): the mean over regions and the leads 1 to 24."""

    month: str
    num_rows: int
    smape: float
    naive_smape: float
    bias: float
    coverage: float
    width: float


def month_figures(rows: pd.DataFrame, readings: Mapping[str, pd.DataFrame]) -> list[MonthFigures]:
    """Figures by the month (UTC) of the hour that was forecast; of rows whose truth is known."""
    joined = with_truth(rows[rows["lead"] <= MOST_LEADS], readings)
    each = row_figures(joined)
    each["month"] = each["timestamp"].dt.strftime("%Y-%m")
    found = []
    for month, own in each.groupby("month", sort=True):
        means = own.groupby("region")[["smape", "naive_smape", "bias", "coverage", "width"]].mean()
        figures = {str(name): float(value) for name, value in means.mean().items()}
        found.append(MonthFigures(month=str(month), num_rows=len(own), **figures))
    return found


def mean_of_months(months: Sequence[MonthFigures], name: str) -> float:
    """Each month by its number of rows."""
    total = sum(each.num_rows for each in months)
    return float(sum(getattr(each, name) * each.num_rows for each in months) / max(total, 1))


def hourly_errors(rows: pd.DataFrame, readings: Mapping[str, pd.DataFrame]) -> pd.Series[float]:
    """By issue time: the sMAPE (percent) of leads 1 to 24, the mean over the regions."""
    each = row_figures(with_truth(rows[rows["lead"] <= MOST_LEADS], readings))
    by_region = each.groupby(["issue_time", "region"], sort=True)["smape"].mean()
    found: pd.Series[float] = by_region.groupby("issue_time").mean()
    return found
