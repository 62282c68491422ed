"""How honest and how narrow bands are: coverage, width, Winkler score, pinball loss, CRPS.

The formulas are those of `scoringrules`, to which tests hold them: that library itself is not used
here, since its import compiles for five seconds in each process. Figures of a region are relative
to its mean load, since a band of 100 MW is wide for one and narrow for another.

Legend: ``N`` labels, ``Q`` quantiles, ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.evaluation.forecasts import quantile_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.evaluation.metrics import Floats

BAND_METRICS = ("coverage", "width", "winkler", "crps")


@dataclass(frozen=True, slots=True)
class BandScores:
    """``BAND_METRICS`` and ``num_labels`` in each table; all but the last in percent.

    ``coverage`` is of the labels, ``width``, ``winkler`` and ``crps`` are of the region's mean
    absolute load. ``overall`` has one row, the mean over the regions; ``by_region`` a row a
    ``region``; ``by_lead`` and ``by_hour`` a row a ``lead`` or ``local_hour``, the mean over the
    regions that have such labels. ``by_quantile`` is the calibration: a row a ``level``, the
    percentage of labels ``below`` it and its ``pinball`` loss, both the mean over the regions.
    """

    overall: pd.DataFrame
    by_region: pd.DataFrame
    by_lead: pd.DataFrame
    by_hour: pd.DataFrame
    by_quantile: pd.DataFrame


def score_bands(rows: pd.DataFrame, levels: Sequence[float]) -> BandScores:
    """The scores of bands that stand beside their truth.

    Args:
        rows: ``region`` (category), ``lead``, ``local_hour``, ``y_true`` (MW) and the column of
            each quantile (MW, see :func:`quantile_column`). Rows without truth or bands (NaN) do
            not count.
        levels: ascending; the outer two are the band.
    """
    y_N = rows["y_true"].to_numpy(dtype=float)
    quantile_NQ = rows[[quantile_column(each) for each in levels]].to_numpy(dtype=float)
    known = ~(np.isnan(y_N) | np.isnan(quantile_NQ).any(axis=1))
    y_N, quantile_NQ, rows = y_N[known], quantile_NQ[known], rows[known]
    region_N = rows["region"].cat.codes.to_numpy().astype(np.int64)
    num_regions = len(rows["region"].cat.categories)
    mean_R = np.bincount(region_N, np.abs(y_N), num_regions) / np.maximum(
        np.bincount(region_N, minlength=num_regions), 1
    )
    unit_N, level_Q = mean_R[region_N], np.asarray(levels)
    lower_N, upper_N = quantile_NQ[:, 0], quantile_NQ[:, -1]
    share = levels[-1] - levels[0]
    columns = {
        "coverage": is_covered(y_N, lower_N, upper_N).astype(float),
        "width": (upper_N - lower_N) / unit_N,
        "winkler": winkler(y_N, lower_N, upper_N, level=share) / unit_N,
        "crps": quantile_crps(y_N, quantile_NQ, level_Q) / unit_N,
    }
    none_N = np.zeros(len(y_N), dtype=np.int64)
    by_region = _means(columns, region_N, none_N)
    regions = rows["region"].cat.categories.to_numpy()[by_region.pop("region")]
    del by_region["key"]
    return BandScores(
        overall=_mean_over_regions(columns, region_N, none_N, "one").drop(columns="one"),
        by_region=pd.DataFrame({"region": regions, **by_region}),
        by_lead=_mean_over_regions(columns, region_N, rows["lead"].to_numpy(), "lead"),
        by_hour=_mean_over_regions(columns, region_N, rows["local_hour"].to_numpy(), "local_hour"),
        by_quantile=_by_quantile(y_N, quantile_NQ, level_Q, region_N, unit_N),
    )


def worst_coverage(day_N: np.ndarray, is_covered_N: np.ndarray, *, num_days: int) -> float:
    """The smallest share covered in any ``num_days`` days in a row; NaN where there are none such.

    Of the labels of one region: ``day_N`` numbers their days. Stretches with less than four fifths
    of the labels that the fullest has do not count.

    >>> worst_coverage(np.array([0, 1, 1, 2]), np.array([True, True, False, False]), num_days=2)
    0.3333333333333333
    """
    if not len(day_N):
        return float("nan")
    day_N = day_N - day_N.min()
    num_D = np.cumsum(np.bincount(day_N))
    in_D = np.cumsum(np.bincount(day_N, is_covered_N))
    num, inside = (
        each[num_days - 1 :] - np.concatenate([[0], each[:-num_days]]) for each in (num_D, in_D)
    )
    full = num >= 0.8 * num.max(initial=1)
    return float((inside[full] / num[full]).min(initial=np.inf)) if full.any() else float("nan")


def is_covered(y_true: Floats, lower: Floats, upper: Floats) -> np.ndarray:
    """Whether each label lies in its band, ends included.

    >>> is_covered(np.array([1.0, 2.0, 9.0]), np.zeros(3), np.full(3, 2.0))
    array([ True,  True, False])
    """
    return (lower <= y_true) & (y_true <= upper)


def winkler(y_true: Floats, lower: Floats, upper: Floats, *, level: float) -> Floats:
    """The interval score (Winkler 1972) of each label, in its unit: width plus penalties.

    ``level`` is the share that the band is to hold (0.9): a label outside costs its distance times
    ``2 / (1 - level)``. From 0 on; smaller is better.

    >>> winkler(np.array([1.0, 3.0]), np.zeros(2), np.full(2, 2.0), level=0.5)
    array([2., 6.])
    """
    outside = np.maximum(lower - y_true, 0.0) + np.maximum(y_true - upper, 0.0)
    return np.asarray(upper - lower + 2.0 / (1.0 - level) * outside)


def pinball(y_true: Floats, quantile: Floats, level: Floats | float) -> Floats:
    """The quantile loss of each label: ``level`` times what it lies above, ``1 - level`` below.

    >>> pinball(np.array([1.0, 3.0]), np.full(2, 2.0), 0.75)
    array([0.25, 0.75])
    """
    above = y_true - quantile
    return np.asarray(np.maximum(level * above, (level - 1) * above))


def quantile_crps(y_N: Floats, quantile_NQ: Floats, level_Q: Floats) -> Floats:
    """The continuous ranked probability score from quantiles: twice their mean pinball loss.

    With evenly spaced levels it comes to the CRPS as they become many; of a few it compares bands
    of the same levels alone.
    """
    return np.asarray(2 * pinball(y_N[:, None], quantile_NQ, level_Q).mean(axis=1))


def _by_quantile(
    y_N: Floats, quantile_NQ: Floats, level_Q: Floats, region_N: np.ndarray, unit_N: Floats
) -> pd.DataFrame:
    none_N = np.zeros(len(y_N), dtype=np.int64)
    tables = []
    for level, own_N in zip(level_Q, quantile_NQ.T, strict=True):
        columns = {
            "below": (y_N < own_N).astype(float),
            "pinball": pinball(y_N, own_N, float(level)) / unit_N,
        }
        tables.append(_mean_over_regions(columns, region_N, none_N, "level").assign(level=level))
    return pd.concat(tables, ignore_index=True)


def _means(
    columns: Mapping[str, np.ndarray], region_N: np.ndarray, key_N: np.ndarray
) -> dict[str, np.ndarray]:
    """Of each ``region`` and ``key``: the means in percent, and ``num_labels``."""
    num_keys = int(key_N.max(initial=0)) + 1
    group_N = region_N * num_keys + key_N.astype(np.int64)
    num_G = np.bincount(group_N)
    found = np.flatnonzero(num_G)
    means = {
        name: 100 * np.bincount(group_N, each)[found] / num_G[found]
        for name, each in columns.items()
    }
    region, key = np.divmod(found, num_keys)
    return {"region": region, "key": key, **means, "num_labels": num_G[found]}


def _mean_over_regions(
    columns: Mapping[str, np.ndarray], region_N: np.ndarray, key_N: np.ndarray, name: str
) -> pd.DataFrame:
    table = pd.DataFrame(_means(columns, region_N, key_N)).drop(columns="region")
    groups = table.groupby("key")
    means = groups.mean().assign(num_labels=groups["num_labels"].sum())
    return means.rename_axis(name).reset_index()
