"""How wrong forecasts were at each lead on the validation part: errors, and the bands they give.

Legend: ``O`` origins of a region, ``K`` leads, ``Q`` quantiles, ``B`` origins of all regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridcast.evaluation.metrics import relative_errors
from gridcast.evaluation.naive_forecasts import naive_forecasts
from gridcast.features.columns import calendar_columns, feature_columns
from gridcast.features.neighbours import signals_of
from gridcast.features.splits import VALIDATION
from gridcast.features.windows import scored_origins, steps_of
from gridcast.forecasting.direct import forecast_ahead, steps_ahead
from gridcast.forecasting.intervals import error_quantiles
from gridcast.forecasting.recursion import Known, steps_of_load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from gridcast.config import Config
    from gridcast.networks.building import Forecaster

_SEED = 0  # of the choice of origins


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one contestant, by region: its errors' quantiles, and its sMAPE by lead (percent)."""

    levels: tuple[float, ...]
    error_mw_KQ: dict[str, np.ndarray]  # truth minus forecast, MW
    smape_K: dict[str, np.ndarray]


def origins_of(
    frame: pd.DataFrame, config: Config, *, num_leads: int, num_origins: int
) -> np.ndarray:
    """Steps of the validation part from which is forecast, at most ``num_origins`` a region.

    Each has ``num_leads`` steps of its region's validation part ahead of it and ``lookback`` known
    ones up to it. Drawn at random (always the same ones), so that all hours of the day are there.
    """
    lookback = config.windows.lookback
    windows = config.windows.model_copy(update={"warmup": lookback - 1, "horizon": 1})
    steps = steps_of(frame)
    first = scored_origins(steps, VALIDATION, windows)
    ends = first + num_leads
    inside = ends < len(frame)
    first, ends = first[inside], ends[inside]
    region_T = steps.region_T
    first = first[(region_T[first] == region_T[ends]) & (steps.part_T[ends] == VALIDATION)]
    rng, chosen = np.random.default_rng(_SEED), []
    for region in np.unique(region_T):
        own = first[region_T[first] == region]
        chosen.append(np.sort(rng.choice(own, min(num_origins, len(own)), replace=False)))
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


def forecast_origins(
    forecasters: Sequence[Forecaster],
    frame: pd.DataFrame,
    scales: Mapping[str, tuple[float, float]],
    origins_B: np.ndarray,
    config: Config,
    *,
    num_leads: int,
) -> np.ndarray:
    """The mean of the forecasters' forecasts (MW) from each origin, shape ``(B, K)``.

    ``frame`` is ``FeatureTable.frame``, ``scales`` has each region's offset and scale (MW).
    """
    names = feature_columns(frame.columns)
    x_TF = frame[names].to_numpy(dtype=np.float32)
    region_B = frame["region"].cat.codes.to_numpy()[origins_B].astype(np.int64)
    scale_B2 = np.array([scales[name] for name in frame["region"].cat.categories])[region_B]
    offset_B, scale_B = scale_B2[:, :1], scale_B2[:, 1:]
    back = np.arange(-steps_of_load(config.features) + 1, 1)
    source_BT = np.maximum(origins_B[:, None] + back, 0)
    load_BT = (frame["input_mw"].to_numpy()[source_BT] - offset_B) / scale_B
    load_BT[frame["region"].cat.codes.to_numpy()[source_BT] != region_B[:, None]] = np.nan
    columns = calendar_columns(names)
    steps_BL = origins_B[:, None] + np.arange(-config.windows.lookback + 1, 1)
    ahead = np.arange(1, 1 + steps_ahead(config, num_leads=num_leads))
    ahead_BK = np.minimum(origins_B[:, None] + ahead, len(frame) - 1)
    signals_BLW = None
    if config.model.neighbour_units:
        signals = signals_of(frame)
        signals_BLW = signals.values_GW[signals.hour_T[steps_BL]]
    known = Known(x_TF[steps_BL], load_BT, x_TF[ahead_BK][:, :, columns], region_B, signals_BLW)
    each = [forecast_ahead(one, known, config, num_leads=num_leads) for one in forecasters]
    return np.asarray(np.mean(each, axis=0) * scale_B + offset_B)


def naive_origins(
    frame: pd.DataFrame, origins_B: np.ndarray, kind: str, *, num_leads: int
) -> np.ndarray:
    """A naive forecast (MW) from each origin, shape ``(B, K)``."""
    ahead_BK = np.broadcast_to(np.arange(1, num_leads + 1), (len(origins_B), num_leads))
    step_N, ahead_N = (origins_B[:, None] + ahead_BK).reshape(-1), ahead_BK.reshape(-1)
    region_T = frame["region"].cat.codes.to_numpy()
    found = naive_forecasts(frame["input_mw"].to_numpy(), region_T, step_N, ahead_N)[kind]
    return found.reshape(ahead_BK.shape)


def calibrate(
    frame: pd.DataFrame,
    origins_B: np.ndarray,
    forecast_BK: np.ndarray,
    *,
    levels: Sequence[float],
) -> Calibration:
    """Hold forecasts (MW) from origins of the validation part against the truth.

    Hours without a trusted reading (no label) do not count.
    """
    num_leads = forecast_BK.shape[1]
    ahead_BK = origins_B[:, None] + np.arange(1, num_leads + 1)
    is_label_BK = frame["part"].to_numpy()[ahead_BK] == VALIDATION
    truth_BK = np.where(is_label_BK, frame["load_mw"].to_numpy()[ahead_BK], np.nan)
    region_B = frame["region"].cat.codes.to_numpy()[origins_B]
    quantiles, smapes = {}, {}
    for number, name in enumerate(map(str, frame["region"].cat.categories)):
        own = region_B == number
        quantiles[name] = error_quantiles(truth_BK[own] - forecast_BK[own], levels)
        relative = 100 * relative_errors(truth_BK[own], forecast_BK[own])
        num_K = np.maximum((~np.isnan(relative)).sum(axis=0), 1)
        smapes[name] = np.where(
            np.isnan(relative).all(axis=0), np.nan, np.nansum(relative, axis=0) / num_K
        )
    return Calibration(tuple(levels), quantiles, smapes)
