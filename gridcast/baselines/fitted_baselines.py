"""Fitted baselines: linear models (``linear_baselines``) and boosting on lags and calendar.

They are what a forecaster would otherwise take. They forecast from the same labels and the same
known hours as the networks, as a change from the last known load: boosting the next hour, linear
models all leads that a network is asked for.

Legend: ``T`` steps, ``N`` labels, ``F`` features, ``O`` origins, ``K`` leads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pandas as pd

from gridcast.baselines.linear_baselines import LinearForecasts, fit_linear
from gridcast.covariates.inputs import AHEAD_PREFIX, PAST_PREFIX
from gridcast.features.columns import FEATURE_PREFIX, LOAD_FEATURE
from gridcast.features.load_scale import to_mw
from gridcast.features.splits import PARTS, TEST, TRAIN, VALIDATION
from gridcast.features.windows import scored_origins, steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import Fitted, WindowsConfig

# Hours before the label: the last day, then the neighbourhood of the same hour of earlier days.
LAGS = (
    *range(1, 26), 47, 48, 49, 71, 72, 73, 95, 96, 97, 120, 144, 167, 168, 169, 192,
    335, 336, 337,
)  # fmt: skip
CYCLES = ("hour", "weekday", "day_of_year")
_COVARIATES = (AHEAD_PREFIX, PAST_PREFIX)
_ROUNDS = 600


class Regressor(Protocol):
    """What scikit-learn and LightGBM have in common."""

    def fit(self, x_NF: np.ndarray, y_N: np.ndarray) -> object:
        """Fit to ``N`` labels."""

    def predict(self, x_NF: np.ndarray) -> np.ndarray:
        """Shape ``(N,)``."""


def lag_features(frame: pd.DataFrame) -> np.ndarray:
    """What is known of each step as a label, shape ``(T, F)``, float32; NaN where a lag is not.

    49 features of lags and calendar: the scaled load of the 43 ``LAGS`` hours before, each but the
    first less the last one, and sine and cosine of the label's hour, weekday and day of the year
    (the networks' own, of the step before), and theirs of covariates. Then the region's number.
    ``frame`` is ``FeatureTable.frame`` with ``features.kind: base``.
    """
    load_T = frame[LOAD_FEATURE].where(frame["is_input"]).to_numpy()
    region_T = frame["region"].cat.codes.to_numpy()
    last_T = _before(load_T, region_T, 1)
    columns = [last_T]
    columns += [_before(load_T, region_T, lag) - last_T for lag in LAGS[1:]]
    calendar = [f"{FEATURE_PREFIX}{cycle}_{part}" for cycle in CYCLES for part in ("sin", "cos")]
    covariates = [str(name) for name in frame.columns if str(name).startswith(_COVARIATES)]
    columns += [_before(frame[name].to_numpy(), region_T, 1) for name in (*calendar, *covariates)]
    return np.stack([*columns, region_T.astype("float32")], axis=1).astype("float32")


class Baseline(Protocol):
    """A baseline that was fitted."""

    def forecast(self, step_N: np.ndarray) -> np.ndarray:
        """The scaled load of the labels at ``step_N`` of the table, shape ``(N,)``."""


@dataclass(frozen=True, slots=True)
class Regression:
    """One regression for all regions: it forecasts the change from the last load."""

    model: Regressor
    x_TF: np.ndarray  # :func:`lag_features`

    def forecast(self, step_N: np.ndarray) -> np.ndarray:
        """The scaled load of the labels at ``step_N``, whose last hour is known."""
        if not len(step_N):
            return np.empty(0)
        x_NF = self.x_TF[step_N]
        return np.asarray(x_NF[:, 0] + self.model.predict(x_NF))


def fit_baseline(kind: Fitted, frame: pd.DataFrame, *, threads: int, seed: int = 0) -> Baseline:
    """Fit ``kind`` to the training labels of ``frame``, which is ``FeatureTable.frame``.

    Raises:
        ModuleNotFoundError: ``lightgbm`` is asked for and not installed.
    """
    if kind == "linear":
        return fit_linear(frame, with_neighbours=False)
    if kind == "linear_neighbours":
        return fit_linear(frame, with_neighbours=True)
    x_TF = lag_features(frame)
    train_T = (frame["part"].to_numpy() == TRAIN) & ~np.isnan(x_TF[:, 0])
    change_N = frame["target"].to_numpy()[train_T] - x_TF[train_T, 0]
    model = _regressor(kind, threads=threads, seed=seed)
    model.fit(x_TF[train_T], change_N)
    return Regression(model, x_TF)


def forecast_parts(
    baseline: Baseline,
    frame: pd.DataFrame,
    *,
    scales: Mapping[str, tuple[float, float]],
    windows: WindowsConfig,
) -> pd.DataFrame:
    """The forecasts that a network is asked for too, validation and test, in MW.

    Args:
        baseline: from :func:`fit_baseline`.
        frame: ``FeatureTable.frame``.
        scales: region to offset and scale (MW).
        windows: they say of which labels enough is known.

    Returns:
        A row a label and lead: ``step`` of ``frame``, ``lead``, ``part`` and ``y_pred``.
    """
    steps, codes = steps_of(frame), frame["region"].cat.categories
    offset_R, scale_R = np.array([scales[region] for region in codes], dtype="float64").T
    tables = []
    for part in (VALIDATION, TEST):
        origin_O = scored_origins(steps, part, windows)
        region_O1 = steps.region_T[origin_O][:, None]
        y_pred_OK = to_mw(
            _leads_of(baseline, origin_O, windows.horizon),
            offset_mw=offset_R[region_O1], scale_mw=scale_R[region_O1],
        )  # fmt: skip
        lead_K = np.arange(1, windows.horizon + 1)
        tables.append(
            pd.DataFrame(
                {
                    "step": (origin_O[:, None] + lead_K).reshape(-1),
                    "lead": np.tile(lead_K.astype("int16"), len(origin_O)),
                    "part": PARTS[part],
                    "y_pred": y_pred_OK.reshape(-1),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _leads_of(baseline: Baseline, origin_O: np.ndarray, num_leads: int) -> np.ndarray:
    """The scaled loads after each origin, ``(O, K)``; boosting knows the next hour alone."""
    if isinstance(baseline, LinearForecasts):
        return baseline.forecast_leads(origin_O, num_leads=num_leads)
    return baseline.forecast(origin_O + 1)[:, None]


def _before(values_T: np.ndarray, region_T: np.ndarray, lag: int) -> np.ndarray:
    """``out[t] = values[t - lag]`` within a region, else NaN."""
    out = np.full(len(values_T), np.nan, dtype="float32")
    same = region_T[lag:] == region_T[:-lag]
    out[lag:][same] = values_T[:-lag][same]
    return out


def _regressor(
    kind: Literal["histogram_boosting", "lightgbm"], *, threads: int, seed: int
) -> Regressor:
    if kind == "histogram_boosting":  # it takes its threads from OMP_NUM_THREADS
        from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - half a second

        boosting: Regressor = HistGradientBoostingRegressor(
            loss="squared_error", max_iter=_ROUNDS, learning_rate=0.1, max_leaf_nodes=127,
            min_samples_leaf=50, early_stopping=False, random_state=seed,
        )  # fmt: skip
        return boosting
    from lightgbm import LGBMRegressor  # noqa: PLC0415 - an option, not a dependency

    light: Regressor = LGBMRegressor(
        n_estimators=_ROUNDS, learning_rate=0.1, num_leaves=127, min_child_samples=50,
        random_state=seed, n_jobs=threads, deterministic=True, force_col_wise=True, verbosity=-1,
    )  # fmt: skip
    return light
