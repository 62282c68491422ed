"""Whether one forecaster's errors are smaller than another's on the same labels, or by chance.

Diebold and Mariano (1995) on the differences of the losses, with a variance that knows how hours
hang together (Newey and West 1987), the correction of Harvey, Leybourne and Newbold (1997) and
Holm's (1979) for asking in many regions at once.

Legend: ``N`` issue times, ``R`` regions.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import AliasChoices, Field

from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gridcast.config import PromotionConfig

EVERY_REGION = "*"  # the mean over the regions


class Difference(Record):
    """One forecaster against another in one region, or in the mean of all (``EVERY_REGION``).

    ``error`` and ``other_error`` in percent; ``change`` in percent of the other's, below 0: the one
    is better; ``most`` is the upper end of its confidence interval. ``p_value`` is two-sided,
    ``p_adjusted`` the same after Holm's correction over the regions; the mean is asked by itself.
    """

    num_hours: int
    error: float = Field(validation_alias=AliasChoices("error", "smape"))
    other_error: float = Field(validation_alias=AliasChoices("other_error", "other_smape"))
    change: float
    most: float
    p_value: float
    p_adjusted: float


class _Tested(NamedTuple):
    mean: float
    error: float  # its standard error
    p_value: float


def differences(
    own: pd.DataFrame, other: pd.DataFrame, config: PromotionConfig, *, horizon: int
) -> dict[str, Difference]:
    """How much better or worse ``own`` is than ``other``, by region and in the mean of them.

    Args:
        own: losses (percent) by issue time, in their order, a column a region; NaN: not known.
        other: the same of the other, with the same rows and columns.
        config: lags, significance.
        horizon: leads over which a loss is the mean.

    Hours that only one of the two has do not count; a region that has fewer than
    ``promotion.min_hours`` is left out, and without any the answer is empty.
    """
    own, other = own.where(other.notna()), other.where(own.notna())
    counts = own.notna().sum()
    regions = [str(name) for name in own.columns if counts[name] >= config.min_hours]
    if not regions:
        return {}
    pairs = {
        EVERY_REGION: (own[regions].mean(axis=1), other[regions].mean(axis=1)),
        **{name: (own[name], other[name]) for name in regions},
    }
    known = {name: _known(*pair) for name, pair in pairs.items()}
    tested = {
        name: difference_test(*pair, lags=config.hac_lags, horizon=horizon)
        for name, pair in known.items()
    }
    p_values = [tested[name].p_value for name in regions]
    adjusted = [tested[EVERY_REGION].p_value, *holm(p_values)]
    return {
        name: _difference(*known[name], tested[name], p_adjusted, config)
        for name, p_adjusted in zip(tested, adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction for their number, in the same order.

    Statsmodels' ``multipletests`` gives the same, and collects garbage for a tenth of a second.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return adjusted.tolist()


def _known(own: pd.Series[float], other: pd.Series[float]) -> tuple[np.ndarray, np.ndarray]:
    is_known = (own.notna() & other.notna()).to_numpy()
    return own.to_numpy()[is_known], other.to_numpy()[is_known]


def difference_test(own_N: np.ndarray, other_N: np.ndarray, *, lags: int, horizon: int) -> _Tested:
    """The mean of ``own_N - other_N``, its standard error, and the two-sided p-value of no mean.

    Losses in the order of time; the same losses twice are no difference.
    """
    mean = float(np.mean(own_N - other_N))
    if np.array_equal(own_N, other_N):
        return _Tested(0.0, 0.0, 1.0)
    from statsmodels.tsa.stattools import diebold_mariano_test  # noqa: PLC0415 - a second

    found = diebold_mariano_test(
        np.zeros(len(own_N)), own_N, other_N, lags=min(lags, len(own_N) - 1), horizon=horizon,
        criterion=lambda _, loss: loss, harvey_adj=True,
    )  # fmt: skip
    statistic, p_value = float(found.statistic), float(found.pvalue)
    if not np.isfinite(statistic) or statistic == 0.0:
        return _Tested(mean, float("inf"), 1.0)
    return _Tested(mean, abs(mean / statistic), p_value)


def _difference(
    own_N: np.ndarray,
    other_N: np.ndarray,
    tested: _Tested,
    p_adjusted: float,
    config: PromotionConfig,
) -> Difference:
    scale = 100 / max(float(np.mean(other_N)), np.finfo(float).tiny)
    reach = NormalDist().inv_cdf(1 - config.significance) * min(tested.error, 1e3)
    return Difference(
        num_hours=len(own_N),
        error=float(np.mean(own_N)),
        other_error=float(np.mean(other_N)),
        change=scale * tested.mean,
        most=scale * (tested.mean + reach),
        p_value=tested.p_value,
        p_adjusted=p_adjusted,
    )
