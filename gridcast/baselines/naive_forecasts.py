"""Naive forecasts: what any model has to beat.

Legend: ``T`` steps, ``N`` labels.
"""

from __future__ import annotations

import numpy as np

# Name → how many steps ago. The hour wanted must have been known when the forecast is made, so a
# longer horizon goes back further by whole periods.
NAIVE_LAGS = {"persistence": 1, "same_hour_yesterday": 24, "same_hour_last_week": 168}


def naive_forecasts(
    input_mw_T: np.ndarray, region_T: np.ndarray, step_N: np.ndarray, lead_N: np.ndarray
) -> dict[str, np.ndarray]:
    """Each naive forecast (MW) for the labels at ``step_N``, made ``lead_N`` steps before.

    Where the hour wanted is not known, or lies before the region's first, the last known load
    stands in for it.
    """
    origin_N = step_N - lead_N
    last_known = input_mw_T[origin_N]
    forecasts = {}
    for name, lag in NAIVE_LAGS.items():
        back = lag * np.ceil(lead_N / lag).astype("int64")
        source = step_N - back
        known = (source >= 0) & (region_T[np.maximum(source, 0)] == region_T[origin_N])
        value = np.where(known, input_mw_T[np.maximum(source, 0)], np.nan)
        forecasts[name] = np.where(np.isnan(value), last_known, value)
    return forecasts
