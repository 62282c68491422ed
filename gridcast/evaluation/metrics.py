"""Errors of forecasts. All take arrays of one shape, in MW; labels without a forecast are NaN-free.

sMAPE has several definitions (utilsforecast: 0 to 1; fev: 0 to 2). Ours is the article's stated
formula, in percent, from 0 to 200. The article's code divides the quotient by two instead of the
denominator, so what it prints is a quarter of this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


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
