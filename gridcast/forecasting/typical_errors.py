"""How large a forecast's errors typically are, by region, lead and local hour; and now.

Errors are relative to the forecast: a region's errors grow with its load. Those of long ago fade.

Legend: ``R`` regions, ``K`` leads, ``H`` local hours (24), ``V`` hours of a day (UTC, 24), ``D``
days.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gridcast.forecasting.error_days import HOURS, DayErrors, ErrorDays, Floats, Ints

if TYPE_CHECKING:
    from gridcast.config import BandsConfig

# Errors are relative to the forecast, and to this share of the mean one where it is smaller.
_LEAST_UNIT = 0.2
# What an average is worth beside the errors that are known, in errors.
_OF_ALL_REGIONS, _OF_ALL_HOURS, _OF_NO_CHANGE, _OF_NO_SHIFT = 24.0, 5.0, 12.0, 10.0
_FARTHEST = 5.0  # typical errors; one beyond shifts what is usual no more than one there
_LEAST_SCALE = 1e-4  # relative: no band is without width


@dataclass(frozen=True, slots=True)
class TypicalErrors:
    """Sums over relative errors, those of long ago faded. Arrays alone."""

    mean_mw_R: Floats  # mean absolute forecast, MW
    num_RKH: Floats  # how many
    absolute_RKH: Floats  # how large
    signed_RKH: Floats  # with their sign
    recent_num_RK: Floats  # of the last days: how many ...
    recent_RK: Floats  # ... and how large against what is typical


def typical_errors(days: ErrorDays, config: BandsConfig) -> TypicalErrors:
    """Of a whole span, no day of it counting more; nothing is known yet of recent ones and signs.

    They weigh as much as those of an endless span would, at most.
    """
    num_regions, _, num_leads = days.error_DRVK.shape[1:]
    nothing_RKH = np.zeros((num_regions, num_leads, HOURS), np.float32)
    nothing_RK = nothing_RKH[..., 0]
    known = TypicalErrors(
        mean_mw(days.forecast_DRVK), nothing_RKH, nothing_RKH, nothing_RKH, nothing_RK, nothing_RK
    )
    for errors in days:
        absolute_RVK = np.abs(relative_errors(known, errors))
        known = replace(
            known,
            num_RKH=known.num_RKH + _by_hour(~np.isnan(absolute_RVK), errors.hour_V),
            absolute_RKH=known.absolute_RKH + _by_hour(np.nan_to_num(absolute_RVK), errors.hour_V),
        )
    most = 1 / (1 - _kept(config.scale_days))
    share_RKH = np.minimum(1, most / np.maximum(known.num_RKH, 1)).astype(np.float32)
    return replace(
        known, num_RKH=known.num_RKH * share_RKH, absolute_RKH=known.absolute_RKH * share_RKH
    )


def with_errors(
    known: TypicalErrors, errors: DayErrors, scale_RKH: Floats, config: BandsConfig
) -> TypicalErrors:
    """The same with a day's errors; what was there fades as far as new ones are known.

    ``scale_RKH``: how large errors were held to be on that day.
    """
    relative_RVK = relative_errors(known, errors)
    is_known_RVK = ~np.isnan(relative_RVK)
    num_RK = is_known_RVK.sum(axis=1)
    share_RK = (num_RK / HOURS).astype(np.float32)
    long_RK1 = (_kept(config.scale_days) ** share_RK)[..., None]
    recent_RK = _kept(config.recent_days) ** share_RK
    farthest_RVK = _FARTHEST * at_hour(scale_RKH, errors.hour_V)
    near_RVK = np.clip(relative_RVK, -farthest_RVK, farthest_RVK)
    absolute_RVK = np.nan_to_num(np.abs(relative_RVK))
    against_RVK = np.nan_to_num(absolute_RVK / at_hour(_typical(known), errors.hour_V))
    made_R = np.isfinite(errors.forecast_RVK).mean(axis=(1, 2))
    long_R = _kept(config.scale_days) ** made_R
    return TypicalErrors(
        known.mean_mw_R * long_R + mean_mw(errors.forecast_RVK[None]) * (1 - long_R),
        num_RKH=known.num_RKH * long_RK1 + _by_hour(is_known_RVK, errors.hour_V),
        absolute_RKH=known.absolute_RKH * long_RK1 + _by_hour(absolute_RVK, errors.hour_V),
        signed_RKH=known.signed_RKH * long_RK1 + _by_hour(np.nan_to_num(near_RVK), errors.hour_V),
        recent_num_RK=known.recent_num_RK * recent_RK + num_RK,
        recent_RK=known.recent_RK * recent_RK + against_RVK.sum(axis=1),
    )


def shift_and_scale(known: TypicalErrors, config: BandsConfig) -> tuple[Floats, Floats]:
    """What is usual at each local hour, and how large errors are now: relative, ``(R, K, H)``.

    Errors of far leads say much the same hour after hour, so it takes more of them for a shift.
    """
    lead_K1 = np.arange(1, known.num_RKH.shape[1] + 1)[:, None]
    shift_RKH = _smooth(known.signed_RKH / (known.num_RKH + _OF_NO_SHIFT * lead_K1))
    now_RK = (known.recent_RK + _OF_NO_CHANGE) / (known.recent_num_RK + _OF_NO_CHANGE)
    scale_RKH = _typical(known) * (now_RK**config.recent_weight)[..., None]
    scale_RKH = np.maximum(scale_RKH, _LEAST_SCALE)
    return shift_RKH.astype(np.float32), scale_RKH.astype(np.float32)


def relative_errors(known: TypicalErrors, errors: DayErrors) -> Floats:
    """Over the forecast, ``(R, V, K)``; NaN where one is not known."""
    return errors.error_RVK / unit_mw(errors.forecast_RVK, known.mean_mw_R[:, None, None])


def unit_mw(forecast_mw: Floats, mean_mw: Floats) -> Floats:
    """What an error is relative to, of one shape with the forecasts (MW); never 0."""
    unit = np.fmax(np.abs(forecast_mw), _LEAST_UNIT * mean_mw)
    return np.where(unit > 0, unit, 1.0)


def mean_mw(forecast_DRVK: Floats) -> Floats:
    """Of each region the mean absolute forecast (MW); 0 without any."""
    is_made_DRVK = np.isfinite(forecast_DRVK)
    total_R = np.where(is_made_DRVK, np.abs(forecast_DRVK), 0).sum(axis=(0, 2, 3), dtype=float)
    return np.asarray(total_R / np.maximum(is_made_DRVK.sum(axis=(0, 2, 3)), 1))


def at_hour(values_RKH: Floats, hour_V: Ints) -> Floats:
    """Of each hour of the day its local hour's value, ``(R, V, K)``."""
    return np.swapaxes(values_RKH[:, :, hour_V], 1, 2)


def _by_hour(values_RVK: np.ndarray, hour_V: Ints) -> Floats:
    """Sums by local hour, ``(R, K, H)``; in autumn one comes twice a day."""
    is_hour_VH = (hour_V[:, None] == np.arange(HOURS)).astype(np.float32)
    return np.asarray(np.swapaxes(values_RVK, 1, 2).astype(np.float32) @ is_hour_VH)


def _typical(known: TypicalErrors) -> Floats:
    """The mean absolute error (relative), ``(R, K, H)``; NaN where none is known of any region.

    Where few are known of an hour, a lead or a region, it leans on those of all.
    """
    num_RK, sum_RK = known.num_RKH.sum(axis=2), known.absolute_RKH.sum(axis=2)
    num_K, sum_K = num_RK.sum(axis=0), sum_RK.sum(axis=0)
    all_K = sum_K / np.where(num_K > 0, num_K, np.nan)
    all_K = np.where(num_K > 0, all_K, np.fmax.reduce(all_K))
    mean_RK1 = ((sum_RK + _OF_ALL_REGIONS * all_K) / (num_RK + _OF_ALL_REGIONS))[..., None]
    by_hour_RKH = known.absolute_RKH + _OF_ALL_HOURS * mean_RK1
    return np.maximum(_smooth(by_hour_RKH / (known.num_RKH + _OF_ALL_HOURS)), _LEAST_SCALE)


def _smooth(values_RKH: Floats) -> Floats:
    """Each hour with a quarter of both beside it, the last one beside the first."""
    before, after = np.roll(values_RKH, 1, axis=2), np.roll(values_RKH, -1, axis=2)
    return np.asarray(0.5 * values_RKH + 0.25 * (before + after))


def _kept(half_life: float) -> float:
    """The share of a sum that is kept a day."""
    return float(0.5 ** (1 / half_life))
