"""How good a model is, and how wrong it has been lately: who forecasts a region, and its bands.

Legend: ``R`` regions, ``K`` leads, ``B`` origins of all regions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.evaluation.blending import best_weights
from gridcast.evaluation.measure import norms_of, percent_errors
from gridcast.evaluation.metrics import errors_of_gain
from gridcast.features.splits import VALIDATION
from gridcast.forecasting.backtest import score_hindcast
from gridcast.forecasting.hindcast import (
    Hindcast,
    bands_on,
    first_learned,
    forecast_contestants,
    hindcast,
    num_leads_of,
    unseen_since,
)
from gridcast.forecasting.model import NETWORK
from gridcast.forecasting.rolling import RollingTable, can_forecast, rolling_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.evaluation.backtest_scores import Backtest
    from gridcast.features.load_scale import LoadScale
    from gridcast.forecasting.bands import BandState
    from gridcast.forecasting.model import Blend, Contestants

# Of `FeatureTable.frame`, beside the features: what origins and truth are told by.
CALIBRATED_ON = (
    "region", "timestamp", "load_mw", "input_mw", "is_imputed", "part", "is_input",
)  # fmt: skip
_DAY, _EVERY_HOURS = 24, 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one contestant: its error by region and lead on the validation part, and its bands.

    In percent, as its model's errors are told (``LoadScale.norm_mw``); without labels NaN.
    ``gain_error_RK``, of what may stand in for a network: the standard error of how much better it
    is over the leads from each on, in the same percent (see :func:`errors_of_gain`); None: not
    known, as in models of older versions.
    """

    error_RK: np.ndarray
    bands: BandState
    gain_error_RK: np.ndarray | None = None


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
        chosen.append(_spread(own, table.issue_times(own).astype(np.int64), num_origins))
    return np.concatenate(chosen)


def _spread(step_N: np.ndarray, hours_N: np.ndarray, num_wanted: int) -> np.ndarray:
    """Some of the steps, about ``num_wanted``; all where there are no more.

    ``hours_N``, since 1970: at which one issues.
    """
    if len(step_N) <= num_wanted:
        return step_N
    is_fifth_N = hours_N % _EVERY_HOURS == 0
    if is_fifth_N.sum() >= num_wanted:
        step_N, hours_N = step_N[is_fifth_N], hours_N[is_fifth_N]
    days_D, day_N = np.unique(hours_N // _DAY, return_inverse=True)
    num_days = -(-len(days_D) * num_wanted // len(step_N))
    kept_D = ((np.arange(num_days) + 0.5) * len(days_D) / num_days).astype(np.int64)
    return step_N[np.isin(day_N, kept_D)]


def error_by_lead(
    frame: pd.DataFrame, origins_B: np.ndarray, forecast_BK: np.ndarray, norm_R: np.ndarray
) -> np.ndarray:
    """Of forecasts (MW) from origins of the validation part, percent, ``(R, K)``.

    Hours without a trusted reading (no label) do not count.
    """
    truth_BK, region_B = _truth(frame, origins_B, num_leads=forecast_BK.shape[1])
    return error_of(truth_BK, forecast_BK, region_B, norm_R)


def _truth(
    frame: pd.DataFrame, origins_B: np.ndarray, *, num_leads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The labels (MW; NaN: none) after each origin, ``(B, K)``, and the origin's region."""
    ahead_BK = origins_B[:, None] + np.arange(1, num_leads + 1)
    is_label_BK = frame["part"].to_numpy()[ahead_BK] == VALIDATION
    truth_BK = np.where(is_label_BK, frame["load_mw"].to_numpy()[ahead_BK], np.nan)
    return truth_BK, frame["region"].cat.codes.to_numpy()[origins_B]


def gain_errors(
    frame: pd.DataFrame,
    origins_B: np.ndarray,
    network_BK: np.ndarray,
    other_BK: np.ndarray,
    norm_R: np.ndarray,
) -> np.ndarray:
    """How sure it is that the other's forecasts (MW) are better than the network's, ``(R, K)``.

    See :func:`errors_of_gain`; the arguments are those of :func:`error_by_lead`.
    """
    truth_BK, region_B = _truth(frame, origins_B, num_leads=network_BK.shape[1])
    norm_B1 = norm_R[region_B][:, None]
    network, other = (percent_errors(truth_BK, each, norm_B1) for each in (network_BK, other_BK))
    return errors_of_gain(network - other, region_B, origins_B, num_regions=len(norm_R))


def error_of(
    truth_BK: np.ndarray, forecast_BK: np.ndarray, region_B: np.ndarray, norm_R: np.ndarray
) -> np.ndarray:
    """By region and lead, percent, ``(R, K)``; NaN where no truth is known.

    ``norm_R`` is what errors are held against, see :func:`gridcast.evaluation.measure.norms_of`.
    """
    percent_BK = percent_errors(truth_BK, forecast_BK, norm_R[region_B][:, None])
    error_RK = np.full((len(norm_R), truth_BK.shape[1]), np.nan)
    for region in np.unique(region_B):
        own_BK = percent_BK[region_B == region]
        num_K = (~np.isnan(own_BK)).sum(axis=0)
        total_K = np.nansum(own_BK, axis=0)
        error_RK[region] = np.where(num_K > 0, total_K / np.maximum(num_K, 1), np.nan)
    return error_RK


@dataclass(frozen=True, slots=True)
class Learned:
    """What the validation part and the last weeks tell of contestants.

    ``calibrations``: by contestant, then ``NETWORK`` or the name of the stand-in; the bands are
    those of ``day``, the one (UTC) in which the data end. ``past`` holds the errors behind them
    and behind the bands since ``first``, the first day of a backtest. ``norms`` as the model has
    them; ``blends`` have weights of all leads.
    """

    calibrations: Mapping[str, Mapping[str, Calibration]]
    past: Hindcast
    first: np.datetime64
    day: np.datetime64
    norms: Mapping[str, float]
    blends: Mapping[str, Blend] = field(default_factory=dict)

    def backtest(self, config: Config, regions: Sequence[str]) -> Backtest | None:
        """All contestants lived through the last days (``evaluation.backtest_days``).

        Bands are those of what is kept; what stands in has none here.

        None where no days are asked for, or no hour of them has a truth that is new to the models.
        """
        own = config.forecasting
        return score_hindcast(
            self.past, own, regions, first=self.first, end=self.day, horizon=own.horizon,
            norms=self.norms, banded=self.calibrations,
        )  # fmt: skip


def learn_errors(
    contestants: Contestants,
    frame: pd.DataFrame,
    scales: Mapping[str, LoadScale],
    config: Config,
    *,
    covariates: Mapping[str, Covariates] | None = None,
) -> Learned:
    """Of each contestant and of what may stand in for it.

    ``frame`` is ``FeatureTable.frame``. The past goes back as far as the bands of the first day of
    ``evaluation.backtest_days`` need.
    """
    num_leads = num_leads_of(config.forecasting)
    table = rolling_table(frame, scales, config, num_leads=num_leads, covariates=covariates)
    origins = origins_of(
        frame, table, lookback=config.windows.lookback, num_leads=num_leads,
        num_origins=config.forecasting.calibration_origins,
    )  # fmt: skip
    apart = forecast_contestants(replace(contestants, blends={}), table, origins, config)
    norm_R = norms_of(scales[name] for name in frame["region"].cat.categories)
    contestants = _weighed(contestants, frame, origins, apart, norm_R)
    forecasts = {
        name: contestants.blends[name].of(each, apart[contestants.blends[name].linear])
        if name in contestants.blends
        else each
        for name, each in apart.items()
    }
    newest = frame["timestamp"].max().tz_localize(None).ceil("h") + pd.Timedelta(hours=1)
    day = np.datetime64(newest, "D")
    first = _days_before(day, config.evaluation.backtest_days)
    past = hindcast(
        contestants, table, frame, unseen_since(frame, first_part=VALIDATION), config,
        first=first_learned(first, config.forecasting), end=day,
    )  # fmt: skip
    bands = bands_on(past, config.forecasting)
    found = {
        name: Calibration(error_by_lead(frame, origins, each, norm_R), bands[name])
        for name, each in forecasts.items()
    }
    calibrations = {
        name: {NETWORK: found[name]}
        | {
            kind: _beside(found[kind], frame, origins, (forecasts[name], forecasts[kind]), norm_R)
            for kind in contestants.stand_ins
        }
        for name in contestants.members
    }
    norms = {name: each.norm_mw for name, each in scales.items() if each.norm_mw is not None}
    return Learned(calibrations, past, first, day, norms, contestants.blends)


def _beside(
    own: Calibration,
    frame: pd.DataFrame,
    origins_B: np.ndarray,
    network_and_own: tuple[np.ndarray, np.ndarray],
    norm_R: np.ndarray,
) -> Calibration:
    """That of what may stand in for a network, with how sure it is that it is better."""
    error_RK = gain_errors(frame, origins_B, *network_and_own, norm_R)
    return replace(own, gain_error_RK=error_RK)


def _weighed(
    contestants: Contestants,
    frame: pd.DataFrame,
    origins_B: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    norm_R: np.ndarray,
) -> Contestants:
    """With weights of blends at all leads: those that are known, then the best of these origins."""
    blends = {}
    for name, blend in contestants.blends.items():
        networks_BK, linear_BK = forecasts[name], forecasts[blend.linear]
        truth_BK, region_B = _truth(frame, origins_B, num_leads=networks_BK.shape[1])
        lead_BK = np.broadcast_to(np.arange(networks_BK.shape[1]), networks_BK.shape)
        region_BK = np.broadcast_to(region_B[:, None], networks_BK.shape)
        found_K = np.zeros(networks_BK.shape[1])
        labels = (truth_BK, networks_BK, linear_BK, region_BK, lead_BK, norm_R[region_BK])
        best_K = best_weights(*(each.reshape(-1) for each in labels))
        found_K[: len(best_K)] = best_K
        num_known = min(len(blend.weight_K), len(found_K))
        found_K[:num_known] = blend.weight_K[:num_known]
        blends[name] = replace(blend, weight_K=found_K)
    return replace(contestants, blends=blends)


def _days_before(day: np.datetime64, num: int) -> np.datetime64:
    return day - np.timedelta64(num, "D")
