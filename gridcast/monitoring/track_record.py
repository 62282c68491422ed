"""How forecasts did, as they were issued, once the truth is known: figures of a window.

Legend: ``N`` rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.evaluation.forecasts import levels_of, quantile_column
from gridcast.evaluation.measure import norms_by_row, percent_errors, sizes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY = pd.Timedelta(days=1)
_HOURS = 24
FIGURES = ("error", "bias", "coverage", "width", "naive_error")


def with_truth(rows: pd.DataFrame, readings: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows whose hour has been read without a flag: beside their ``y_true`` (MW).

    ``naive_mw`` is the load of the same hour of the day before, NaN where it is not known.

    Args:
        rows: as they were issued (see ``rows_by_maker``).
        readings: as known by now, by region.
    """
    tables = []
    for region, own in rows.groupby("region", sort=False):
        if str(region) not in readings:
            continue
        known = readings[str(region)]
        clean = known[known["flag"] == ""].set_index("timestamp")["load_mw"].astype(float)
        truth = clean.reindex(pd.DatetimeIndex(own["timestamp"])).to_numpy()
        naive = clean.reindex(pd.DatetimeIndex(own["timestamp"] - _DAY)).to_numpy()
        joined = own.assign(y_true=truth, naive_mw=naive)
        tables.append(joined[~np.isnan(truth)])
    if not tables:
        return rows.iloc[:0].assign(y_true=np.nan, naive_mw=np.nan)
    return pd.concat(tables, ignore_index=True)


def row_figures(joined: pd.DataFrame, norms: Mapping[str, float]) -> pd.DataFrame:
    """Of each row in percent: ``error``, ``bias``, ``coverage``, ``width``, ``naive_error``.

    Bias is the forecast less the load; width that of the outer band; coverage 100 where the load
    lies in it, else 0. In percent of the load, or of ``norms`` (MW, by region; see
    ``evaluation.measure``).
    """
    truth, forecast = joined["y_true"].to_numpy(), joined["load_mw"].to_numpy()
    levels = levels_of(joined.columns)
    low, high = (joined[quantile_column(levels[place])].to_numpy() for place in (0, -1))
    norm_N = norms_by_row(joined["region"], norms)
    size = sizes_of(truth, norm_N)
    return joined[["region", "issue_time", "timestamp", "lead"]].assign(
        error=percent_errors(truth, forecast, norm_N),
        bias=100 * (forecast - truth) / size,
        coverage=100.0 * ((low <= truth) & (truth <= high)),
        width=100 * (high - low) / size,
        naive_error=percent_errors(truth, joined["naive_mw"].to_numpy(), norm_N),
    )


def figures_by_region(joined: pd.DataFrame, norms: Mapping[str, float]) -> pd.DataFrame:
    """The means over the rows of a window, by region; ``num_hours`` counts its hours."""
    each = row_figures(joined, norms)
    found = each.groupby("region", sort=True)[list(FIGURES)].mean()
    found["num_hours"] = each.groupby("region")["timestamp"].nunique()
    found["peak_error"] = peak_errors(joined, norms).reindex(found.index)
    return found


def figures_by_lead(joined: pd.DataFrame, norms: Mapping[str, float]) -> pd.DataFrame:
    """The same means by region and lead."""
    each = row_figures(joined, norms)
    return each.groupby(["region", "lead"], sort=True)[list(FIGURES)].mean().reset_index()


def figures_by_day(joined: pd.DataFrame, norms: Mapping[str, float]) -> pd.DataFrame:
    """The same means by region and day (UTC) of the hour that was forecast."""
    each = row_figures(joined, norms)
    day = each["timestamp"].dt.floor("D").rename("day")
    return each.groupby(["region", day], sort=True)[list(FIGURES)].mean().reset_index()


def peak_errors(joined: pd.DataFrame, norms: Mapping[str, float]) -> pd.Series[float]:
    """How far the highest forecast of the next 24 hours is from the highest load, percent.

    The mean by region over the issue times of which all 24 hours are known.
    """
    day = joined[joined["lead"] <= _HOURS]
    each = day.groupby(["region", "issue_time"]).agg(
        num=("lead", "size"), forecast=("load_mw", "max"), truth=("y_true", "max")
    )
    whole = each[each["num"] == _HOURS]
    regions = whole.index.get_level_values("region").to_series()
    size = sizes_of(whole["truth"].to_numpy(), norms_by_row(regions, norms))
    error = 100 * (whole["forecast"] - whole["truth"]).abs() / size
    found: pd.Series[float] = error.groupby("region").mean()
    return found
