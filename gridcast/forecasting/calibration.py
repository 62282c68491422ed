"""How wrong forecasts were at each lead on the validation part: errors, and the bands they give.

Legend: ``R`` regions, ``K`` leads, ``Q`` quantiles, ``B`` origins of all regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridcast.evaluation.metrics import relative_errors
from gridcast.features.splits import VALIDATION
from gridcast.forecasting.intervals import error_quantiles
from gridcast.forecasting.model import NETWORK, STAND_INS
from gridcast.forecasting.rolling import (
    RollingTable,
    can_forecast,
    forecast_origins,
    naive_origins,
    rolling_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from gridcast.config import Config
    from gridcast.features.load_scale import LoadScale
    from gridcast.networks.building import Forecaster

# Of `FeatureTable.frame`, beside the features: what origins and truth are told by.
CALIBRATED_ON = ("region", "timestamp", "load_mw", "input_mw", "part", "is_input")
_DAY, _EVERY_HOURS = 24, 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one contestant, by region: its errors' quantiles, and its sMAPE by lead (percent).

    Of a region without labels both are NaN.
    """

    levels: tuple[float, ...]
    error_mw_RKQ: np.ndarray  # truth minus forecast, MW
    smape_RK: np.ndarray

    def mean_smape(self, region: int) -> float:
        """The mean over the leads of a region's sMAPE; infinite where none is known."""
        known = self.smape_RK[region][~np.isnan(self.smape_RK[region])]
        return float(known.mean()) if len(known) else float("inf")


def origins_of(
    frame: pd.DataFrame,
    table: RollingTable,
    *,
    lookback: int,
    num_leads: int,
    num_origins: int,
) -> np.ndarray:
    """Steps of the validation part from which is forecast, at most ``num_origins`` a region.

    Each has ``num_leads`` steps of its region's validation part ahead of it, and all that a network
    reads up to it is known. Days spread evenly, of each every fifth hour, so that five days have
    all hours.
    """
    is_validation_T, region_T = frame["part"].to_numpy() == VALIDATION, table.region_T
    first = np.flatnonzero(is_validation_T) - 1
    ends = first + num_leads
    inside = (first >= 0) & (ends < len(frame))
    first, ends = first[inside], ends[inside]
    first = first[(region_T[first] == region_T[ends]) & is_validation_T[ends]]
    first = first[can_forecast(table, first, lookback=lookback)]
    chosen = [np.zeros(0, dtype=np.int64)]
    for region in np.unique(region_T):
        own = first[region_T[first] == region]
        chosen.append(_spread(own, table.timestamp_T[own], num_origins))
    return np.concatenate(chosen)


def _spread(step_N: np.ndarray, timestamp_N: np.ndarray, num_wanted: int) -> np.ndarray:
    """Some of the steps, about ``num_wanted``; all where there are no more."""
    if len(step_N) <= num_wanted:
        return step_N
    hours_N = timestamp_N.astype("datetime64[h]").astype(np.int64) + 1  # at which one issues
    is_fifth_N = hours_N % _EVERY_HOURS == 0
    if is_fifth_N.sum() >= num_wanted:
        step_N, hours_N = step_N[is_fifth_N], hours_N[is_fifth_N]
    days_D, day_N = np.unique(hours_N // _DAY, return_inverse=True)
    num_days = -(-len(days_D) * num_wanted // len(step_N))
    kept_D = ((np.arange(num_days) + 0.5) * len(days_D) / num_days).astype(np.int64)
    return step_N[np.isin(day_N, kept_D)]


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
    num_regions = len(frame["region"].cat.categories)
    error_mw_RKQ = np.full((num_regions, num_leads, len(levels)), np.nan)
    smape_RK = np.full((num_regions, num_leads), np.nan)
    relative_BK = 100 * relative_errors(truth_BK, forecast_BK)
    for region in np.unique(region_B):
        own = region_B == region
        error_mw_RKQ[region] = error_quantiles(truth_BK[own] - forecast_BK[own], levels)
        is_known_BK = ~np.isnan(relative_BK[own])
        total_K = np.where(is_known_BK, relative_BK[own], 0.0).sum(axis=0)
        num_K = is_known_BK.sum(axis=0)
        smape_RK[region] = np.where(num_K > 0, total_K / np.maximum(num_K, 1), np.nan)
    return Calibration(tuple(levels), error_mw_RKQ, smape_RK)


def calibrations_of(
    networks: Mapping[str, Forecaster],
    members: Mapping[str, Sequence[str]],
    frame: pd.DataFrame,
    scales: Mapping[str, LoadScale],
    config: Config,
) -> dict[str, dict[str, Calibration]]:
    """Of each contestant (its ``members`` are networks) and of what may stand in for it.

    By contestant, then ``NETWORK`` or the name of the stand-in; ``config.forecasting`` says how
    many leads and origins, and which quantiles. ``frame`` is ``FeatureTable.frame``.
    """
    own = config.forecasting
    num_leads = own.horizon + own.max_stale_hours
    table = rolling_table(frame, scales, config, num_leads=num_leads)
    origins = origins_of(
        frame, table, lookback=config.windows.lookback, num_leads=num_leads,
        num_origins=own.calibration_origins,
    )  # fmt: skip

    def calibrated(forecast_BK: np.ndarray) -> Calibration:
        return calibrate(frame, origins, forecast_BK, levels=own.quantiles)

    by_network = {
        name: forecast_origins([each], table, origins, config, num_leads=num_leads)
        for name, each in networks.items()
    }
    stand_ins = {
        kind: calibrated(naive_origins(table, origins, kind, num_leads=num_leads))
        for kind in STAND_INS
    }
    return {
        name: {NETWORK: calibrated(np.mean([by_network[each] for each in each_of], axis=0))}
        | stand_ins
        for name, each_of in members.items()
    }
