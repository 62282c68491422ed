"""Fits each region's scale: on what is handed over, and on nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcast.features.load_scale import LoadScale

if TYPE_CHECKING:
    import numpy as np

    from gridcast.config import ScalingConfig


def fit_scale(load_mw: np.ndarray, config: ScalingConfig) -> LoadScale:
    """Fit scikit-learn's scaler on the ``N`` loads handed over, and on nothing else.

    What is handed over decides about leakage: the training part, or (the article) everything.
    """
    from sklearn.preprocessing import MinMaxScaler, StandardScaler  # noqa: PLC0415 - a second

    column = load_mw.reshape(-1, 1)
    if config.method == "minmax":
        minmax = MinMaxScaler().fit(column)
        return LoadScale(float(minmax.data_min_[0]), float(1.0 / minmax.scale_[0]))
    standard = StandardScaler().fit(column)
    return LoadScale(float(standard.mean_[0]), float(standard.scale_[0]))
