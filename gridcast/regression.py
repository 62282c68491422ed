"""Fitted baselines: a linear model and gradient boosting on lags and calendar.

They are what a forecaster would otherwise take. They forecast one hour ahead, from the same labels
and the same known hours as the networks, as a change from the last known load.

Legend: ``T`` steps, ``N`` labels, ``F`` features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gridcast.features import FEATURE_PREFIX, LOAD_FEATURE
from gridcast.splits import TRAIN

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["linear", "histogram_boosting", "lightgbm"]
# Hours before the label: the last day, then the neighbourhood of the same hour of earlier days.
LAGS = (*range(1, 25), 25, 47, 48, 49, 71, 72, 73, 96, 120, 144, 167, 168, 169, 192, 335, 336, 337)
_ROUNDS = 600


class Regressor(Protocol):
    """What scikit-learn and LightGBM have in common."""

    def fit(self, x_NF: np.ndarray, y_N: np.ndarray) -> object:
        """Fit to ``N`` labels."""

    def predict(self, x_NF: np.ndarray) -> np.ndarray:
        """Shape ``(N,)``."""


def lag_features(frame: pd.DataFrame) -> np.ndarray:
    """Features of each step as a label, shape ``(T, F)``, float32; NaN where a lag is not known.

    The scaled load of ``LAGS`` hours before, each less the last one; the calendar of the label (the
    networks' own, of the step before); the region's number. ``frame`` is ``FeatureTable.frame``
    with the profile ``base``.
    """
    load_T = frame[LOAD_FEATURE].where(frame["is_input"]).to_numpy()
    region_T = frame["region"].cat.codes.to_numpy()
    last_T = _before(load_T, region_T, 1)
    columns = [last_T]
    columns += [_before(load_T, region_T, lag) - last_T for lag in LAGS[1:]]
    calendar = [
        name
        for name in frame.columns
        if name.startswith(FEATURE_PREFIX) and name.endswith(("_sin", "_cos"))
    ]
    columns += [_before(frame[name].to_numpy(), region_T, 1) for name in calendar]
    return np.stack([*columns, region_T.astype("float32")], axis=1).astype("float32")


def fit_regression(kind: Kind, frame: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """Fit to the training labels; the scaled forecast of each step, shape ``(T,)``.

    NaN where the hour before is not known.

    Raises:
        ModuleNotFoundError: ``lightgbm`` is asked for and not installed.
    """
    x_TF = lag_features(frame)
    known_T = ~np.isnan(x_TF[:, 0])
    train_T = known_T & (frame["part"].to_numpy() == TRAIN)
    target_T = frame["target"].to_numpy()
    model = _regressor(kind, seed)
    if kind == "linear":
        x_TF = _one_hot(np.nan_to_num(x_TF).astype("float64"))
    model.fit(x_TF[train_T], target_T[train_T] - x_TF[train_T, 0])
    forecast_T = np.full(len(frame), np.nan)
    forecast_T[known_T] = x_TF[known_T, 0] + model.predict(x_TF[known_T])
    return forecast_T


def _before(values_T: np.ndarray, region_T: np.ndarray, lag: int) -> np.ndarray:
    """``out[t] = values[t - lag]`` within a region, else NaN."""
    out = np.full(len(values_T), np.nan, dtype="float32")
    same = region_T[lag:] == region_T[:-lag]
    out[lag:][same] = values_T[:-lag][same]
    return out


def _one_hot(x_TF: np.ndarray) -> np.ndarray:
    """The region's number as a column a region."""
    numbers = x_TF[:, -1].astype("int64")
    return np.concatenate([x_TF[:, :-1], np.eye(numbers.max() + 1)[numbers]], 1)


def _regressor(kind: Kind, seed: int) -> Regressor:
    if kind == "linear":
        model: Regressor = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
        return model
    if kind == "histogram_boosting":
        boosting: Regressor = HistGradientBoostingRegressor(
            loss="squared_error", max_iter=_ROUNDS, learning_rate=0.1, max_leaf_nodes=127,
            min_samples_leaf=50, early_stopping=False, random_state=seed,
        )  # fmt: skip
        return boosting
    from lightgbm import LGBMRegressor  # noqa: PLC0415 - an option, not a dependency

    light: Regressor = LGBMRegressor(
        n_estimators=_ROUNDS, learning_rate=0.1, num_leaves=127, min_child_samples=50,
        random_state=seed, verbosity=-1,
    )  # fmt: skip
    return light
