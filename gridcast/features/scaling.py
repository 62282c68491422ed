"""Each region's load on a common scale: ``scaled = (load_mw - offset_mw) / scale_mw``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.preprocessing import MinMaxScaler, StandardScaler

if TYPE_CHECKING:
    import numpy as np

    from gridcast.config import ScalingConfig


@dataclass(frozen=True, slots=True)
class LoadScale:
    """One region's affine scale (MW)."""

    offset_mw: float
    scale_mw: float

    def scale(self, load_mw: np.ndarray) -> np.ndarray:
        """MW to scaled, any shape."""
        return (load_mw - self.offset_mw) / self.scale_mw


def fit_scale(load_mw: np.ndarray, config: ScalingConfig) -> LoadScale:
    """Fit scikit-learn's scaler on the ``N`` loads handed over, and on nothing else.

    What is handed over decides about leakage: the training part, or (the article) everything.
    """
    column = load_mw.reshape(-1, 1)
    if config.method == "minmax":
        minmax = MinMaxScaler().fit(column)
        return LoadScale(float(minmax.data_min_[0]), float(1.0 / minmax.scale_[0]))
    standard = StandardScaler().fit(column)
    return LoadScale(float(standard.mean_[0]), float(standard.scale_[0]))
