"""Errors of forecasts. All take arrays of one shape, in MW; labels without a forecast are NaN-free.

sMAPE has several definitions (utilsforecast: 0 to 1; fev: 0 to 2). Ours is the article's stated
formula, in percent, from 0 to 200. The article's code divides the quotient by two instead of the
denominator, so what it prints is a quarter of this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
NUM_STRETCHES = 8
_LONG_HOURS = 48.0  # a stretch of these hangs little together with the next one


def smape(y_true: Floats, y_pred: Floats) -> float:
    """Symmetric mean absolute percentage error: ``mean(|F - A| / ((|F| + |A|) / 2)) * 100``.

    From 0 (exact) to 200 percent; 0/0 counts as 0; a NaN anywhere gives NaN; no labels give NaN.

    >>> smape(np.array([100.0, 0.0]), np.array([110.0, 0.0]))
    4.761904761904762
    """
    if y_true.size == 0:
        return float("nan")
    return float(100 * np.mean(relative_errors(y_true, y_pred)))


def relative_errors(y_true: Floats, y_pred: Floats) -> Floats:
    """Each label's part of ``smape``: ``|F - A| / ((|F| + |A|) / 2)``, from 0 to 2; 0/0 is 0.

    >>> relative_errors(np.array([100.0, 0.0]), np.array([300.0, 0.0]))
    array([1., 0.])
    """
    half_sum = (np.abs(y_true) + np.abs(y_pred)) / 2
    error = np.abs(y_pred - y_true)
    relative: Floats = error / np.where(half_sum == 0, 1.0, half_sum)
    return relative


def mae(y_true: Floats, y_pred: Floats) -> float:
    """Mean absolute error, MW; no labels give NaN.

    >>> mae(np.array([100.0, 200.0]), np.array([110.0, 180.0]))
    15.0
    """
    return float(np.mean(np.abs(y_pred - y_true))) if y_true.size else float("nan")


def rmse(y_true: Floats, y_pred: Floats) -> float:
    """Root of the mean squared error, MW; no labels give NaN.

    >>> rmse(np.array([100.0, 200.0]), np.array([103.0, 204.0]))
    3.5355339059327378
    """
    return float(np.sqrt(np.mean((y_pred - y_true) ** 2))) if y_true.size else float("nan")


def mase(y_true: Floats, y_pred: Floats, *, naive_mae: float) -> float:
    """Mean absolute scaled error (Hyndman and Koehler 2006): ``mae / naive_mae``.

    ``naive_mae`` (MW) is the in-sample error of the seasonal naive forecast, from
    :func:`seasonal_naive_mae`. Below 1 is better than that; a scale of 0 gives infinity.

    >>> mase(np.array([100.0, 200.0]), np.array([110.0, 180.0]), naive_mae=30.0)
    0.5
    """
    return mae(y_true, y_pred) / naive_mae if naive_mae else float("inf")


def seasonal_naive_mae(load_mw: Floats, *, season_length: int) -> float:
    """In-sample MAE (MW) of "as one season ago" over the ``T`` steps of a training part.

    NaN steps are left out together with the steps that would be forecast from them.

    >>> seasonal_naive_mae(np.array([1.0, 2.0, 3.0, 5.0]), season_length=2)
    2.5
    """
    change = np.abs(load_mw[season_length:] - load_mw[:-season_length])
    return float(np.nanmean(change)) if np.isfinite(change).any() else float("nan")


def errors_of_gain(
    gain_BK: np.ndarray, region_B: np.ndarray, hour_B: np.ndarray, *, num_regions: int
) -> np.ndarray:
    """Standard error of the mean gain over the leads from each on, ``(R, K)``.

    Errors of neighbouring hours hang together, and forecasts of many leads overlap: 400 of them are
    worth far fewer. So they are cut into a few stretches of time ``P`` (batch means, Law and
    Kelton), and how much these differ among each other tells how sure their mean is.

    In the unit of the gain; infinite where a stretch would have less than two origins. Where
    stretches are shorter than two days, they count as if there were as many fewer.

    Args:
        gain_BK: how much smaller an error is than the other one; NaN: the truth is not known.
        region_B: number of the origin's region.
        hour_B: when it was.
        num_regions: of which there are regions.
    """
    is_known_BK = ~np.isnan(gain_BK)
    sum_BK, num_BK = (
        np.cumsum(each[:, ::-1], axis=1)[:, ::-1]
        for each in (np.where(is_known_BK, gain_BK, 0.0), is_known_BK.astype(float))
    )
    found_RK = np.full((num_regions, gain_BK.shape[1]), np.inf)
    for region in np.unique(region_B):
        own = np.flatnonzero(region_B == region)
        own = own[np.argsort(hour_B[own], kind="stable")]
        if len(own) >= 2 * NUM_STRETCHES:
            begins = np.arange(NUM_STRETCHES) * len(own) // NUM_STRETCHES
            sum_PK, num_PK = (
                np.add.reduceat(each[own], begins, axis=0) for each in (sum_BK, num_BK)
            )
            hours = (hour_B[own[-1]] - hour_B[own[0]] + 1) / NUM_STRETCHES
            fewer = max(1.0, _LONG_HOURS / hours)
            found_RK[region] = np.sqrt(fewer) * _error_of_mean(sum_PK, num_PK)
    return found_RK


def _error_of_mean(sum_PK: np.ndarray, num_PK: np.ndarray) -> np.ndarray:
    """Infinite at leads of which a stretch knows nothing."""
    mean_PK = sum_PK / np.maximum(num_PK, 1)
    error_K = mean_PK.std(axis=0, ddof=1) / np.sqrt(len(mean_PK))
    return np.where((num_PK > 0).all(axis=0), error_K, np.inf)
