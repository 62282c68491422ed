"""Bands that stay honest: quantiles of a forecast's errors, learned from a span, adapted each day.

An error is told as a score: relative to the forecast, less what is usual at that local hour, over
how large errors are (`typical_errors`). Of the scores each quantile is followed by itself: at the
end of a day it moves up or down as more or fewer truths than its level lay below it *as issued*.
That is adaptive conformal inference (Gibbs and Candès 2021) on the quantile itself, the P of
conformal PID control (Angelopoulos, Candès and Tibshirani 2023): whatever the errors do, the share
below a quantile comes to its level in the long run, the sooner the higher the rate. It begins with
the split conformal quantiles of the span.

A state is in force for all forecasts issued in one day (UTC). It is made of errors of hours that
had ended when the day began: of nothing that is not known at the issue time.

Legend: ``R`` regions, ``K`` leads, ``H`` local hours (24), ``V`` hours of a day (UTC, 24), ``Q``
quantiles, ``P`` days whose state is kept (today's first), ``B`` forecasts, ``D`` days.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from gridcast.forecasting.error_days import HOURS, DayErrors, ErrorDays, Floats, Ints
from gridcast.forecasting.typical_errors import (
    TypicalErrors,
    at_hour,
    relative_errors,
    shift_and_scale,
    typical_errors,
    unit_mw,
    with_errors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import BandsConfig

_DAY = np.timedelta64(1, "D")
_OF_ALL_SCORES = 100.0  # what the quantile of all regions is worth beside one's own, in errors
_NORMAL = NormalDist(sigma=float(np.sqrt(np.pi / 2)))  # of scores: their mean absolute value is 1
_LEAST_GAP = 0.01  # between two quantiles, in typical errors: no band is without width


@dataclass(frozen=True, slots=True)
class BandState:
    """What is in force in one day, and what the next one is made of.

    Where nothing is known of any region, ``scale_PRKH`` is NaN, and so are offsets. The other
    arrays of ``P`` go as far back as the farthest lead was issued.
    """

    day: np.datetime64  # from its 00:00 UTC on
    level_Q: Floats
    typical: TypicalErrors
    shift_PRKH: Floats  # relative to the forecast
    scale_PRKH: Floats  # relative to the forecast
    quantile_PRKQ: Floats  # scores, ascending

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name, no object among them: :meth:`of` makes the state of it again."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        typical = own.pop("typical")
        return {"day": np.asarray(own.pop("day"))} | own | {
            each.name: getattr(typical, each.name) for each in fields(typical)
        }  # fmt: skip

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> BandState:
        """The state whose ``arrays`` these are."""
        typical = TypicalErrors(**{each.name: arrays[each.name] for each in fields(TypicalErrors)})
        own = {name: arrays[name] for name in ("level_Q", "shift_PRKH", "scale_PRKH")}
        return cls(
            day=np.datetime64(arrays["day"].item(), "D"),
            typical=typical,
            quantile_PRKQ=arrays["quantile_PRKQ"],
            **own,
        )


def first_state(days: ErrorDays, levels: Sequence[float], config: BandsConfig) -> BandState:
    """Learn from a span of days of which the forecaster knew nothing when it was fitted.

    The state is in force on the day after the last one. A region or lead with few errors leans on
    those of all, the fewer the more; one without any has their bands. Without a single error all
    are NaN.

    Args:
        days: at least one.
        levels: of the quantiles, ascending.
        config: how fast it adapts.
    """
    level_Q = np.asarray(levels, dtype=float)
    typical = typical_errors(days, config)
    shift_RKH, scale_RKH = shift_and_scale(typical, config)
    scores = [relative_errors(typical, each) / at_hour(scale_RKH, each.hour_V) for each in days]
    quantile_RKQ = _in_order(_conformal_quantiles(np.stack(scores), levels))
    num_kept = 1 - -(scale_RKH.shape[1] - 1) // HOURS
    shift_PRKH, scale_PRKH, quantile_PRKQ = (
        np.repeat(each[None], num_kept, axis=0) for each in (shift_RKH, scale_RKH, quantile_RKQ)
    )
    state = BandState(days.first_day, level_Q, typical, shift_PRKH, scale_PRKH, quantile_PRKQ)
    for errors in days:
        state = next_day(state, errors, config)
    return state


def next_day(state: BandState, errors: DayErrors, config: BandsConfig) -> BandState:
    """The state of the day after ``state.day``, at the end of which ``errors`` are known.

    What is not known (NaN) does not count: without any error all stays as it is.
    """
    relative_RVK = relative_errors(state.typical, errors)
    num_RK1 = (~np.isnan(relative_RVK)).sum(axis=1)[..., None]
    is_below_RVKQ = relative_RVK[..., None] < _issued_offsets(state, errors.hour_V)  # NaN: not
    below_RKQ = is_below_RVKQ.sum(axis=1) / np.maximum(num_RK1, 1)
    step_RKQ = config.rate * (num_RK1 / HOURS) * (state.level_Q - below_RKQ) / _densities(state)
    quantile_RKQ = _in_order(state.quantile_PRKQ[0] + step_RKQ)
    typical = with_errors(state.typical, errors, state.scale_PRKH[0], config)
    shift_RKH, scale_RKH = shift_and_scale(typical, config)
    return replace(
        state,
        day=state.day + _DAY,
        typical=typical,
        shift_PRKH=_pushed(state.shift_PRKH, shift_RKH),
        scale_PRKH=_pushed(state.scale_PRKH, scale_RKH),
        quantile_PRKQ=_pushed(state.quantile_PRKQ, quantile_RKQ),
    )


def offsets(
    state: BandState, forecast_BK: Floats, *, region_B: Ints, lead_BK: Ints, hour_BK: Ints
) -> Floats:
    """How far the quantiles lie above forecasts issued on ``state.day``: MW, ``(B, K, Q)``.

    They ascend, and are added to the forecast. Each depends on its own forecast alone.

    Args:
        state: of the day (UTC) in which the issue time lies.
        forecast_BK: MW.
        region_B: number of each forecast's region.
        lead_BK: hours from the issue time on, from 1; farther ones than were learned are taken for
            the farthest.
        hour_BK: local hour of the hours that are forecast, 0 to 23.
    """
    region_B1 = region_B[:, None]
    place_BK = np.minimum(lead_BK, state.scale_PRKH.shape[2]) - 1
    shift_BK = state.shift_PRKH[0, region_B1, place_BK, hour_BK]
    scale_BK = state.scale_PRKH[0, region_B1, place_BK, hour_BK]
    quantile_BKQ = state.quantile_PRKQ[0, region_B1, place_BK].astype(float)
    unit_BK = unit_mw(forecast_BK, state.typical.mean_mw_R[region_B1])
    relative_BKQ = shift_BK[..., None] + scale_BK[..., None] * quantile_BKQ
    return np.asarray(unit_BK[..., None] * relative_BKQ)


def offsets_by_day(
    state: BandState, days: ErrorDays, config: BandsConfig
) -> tuple[Floats, BandState]:
    """Live through days: the offsets (MW) as issued, ``(D, R, V, K, Q)``, and the state after them.

    ``state`` is that of the first day; what was issued before it has its bands too.
    """
    found = []
    for errors in days:
        mean_mw_R11 = state.typical.mean_mw_R[:, None, None]
        unit_RVK1 = unit_mw(errors.forecast_RVK, mean_mw_R11)[..., None]
        found.append((unit_RVK1 * _issued_offsets(state, errors.hour_V)).astype(np.float32))
        state = next_day(state, errors, config)
    return np.stack(found), state


def side_by_side(states: Sequence[BandState]) -> BandState:
    """The regions of several states of the same levels and leads in one, in their order.

    It is of the newest day: what was in force last in a region whose errors ended before still is.
    """
    newest = max(each.day for each in states)
    arrays = [_waited(each, newest).arrays() for each in states]
    shared = {name: arrays[0][name] for name in ("day", "level_Q")}
    by_region = {
        name: np.concatenate([each[name] for each in arrays], axis=int("_P" in name))
        for name in arrays[0].keys() - shared.keys()
    }
    return BandState.of(shared | by_region)


def _waited(state: BandState, day: np.datetime64) -> BandState:
    """The state on a later day if no error became known until then."""
    num_days, num_kept = int((day - state.day) / _DAY), len(state.scale_PRKH)
    place_P = np.maximum(np.arange(num_kept) - num_days, 0)
    return replace(
        state, day=day, shift_PRKH=state.shift_PRKH[place_P], scale_PRKH=state.scale_PRKH[place_P],
        quantile_PRKQ=state.quantile_PRKQ[place_P],
    )  # fmt: skip


def _issued_offsets(state: BandState, hour_V: Ints) -> Floats:
    """Of the hours of ``state.day``, as issued: relative to the forecast, ``(R, V, K, Q)``.

    The forecast of hour ``v`` with lead ``k`` was issued ``k - 1`` hours before: today or earlier.
    """
    lead_K = np.arange(state.scale_PRKH.shape[2])
    ago_VK = -((np.arange(HOURS)[:, None] - lead_K) // HOURS)
    shift_VKR = state.shift_PRKH[ago_VK, :, lead_K, hour_V[:, None]]
    scale_VKR = state.scale_PRKH[ago_VK, :, lead_K, hour_V[:, None]]
    quantile_VKRQ = state.quantile_PRKQ[ago_VK, :, lead_K]
    return np.moveaxis(shift_VKR[..., None] + scale_VKR[..., None] * quantile_VKRQ, 2, 0)


def _conformal_quantiles(score_DRVK: Floats, levels: Sequence[float]) -> Floats:
    """Split conformal quantiles of scores, ``(R, K, Q)``.

    The fewer errors a region and lead has, the more those of all regions at the lead count, and
    without these those of all leads; without any score they are those of a normal distribution.
    """
    num_days, num_regions, _, num_leads = score_DRVK.shape
    score_ORK = np.swapaxes(score_DRVK, 1, 2).reshape(num_days * HOURS, num_regions, num_leads)
    own_RKQ = error_quantiles(score_ORK.reshape(len(score_ORK), -1), levels)
    own_RKQ = own_RKQ.reshape(num_regions, num_leads, len(levels))
    all_KQ = error_quantiles(score_ORK.reshape(-1, num_leads), levels)
    every_1Q = error_quantiles(score_ORK.reshape(-1, 1), levels)
    for instead in (every_1Q, np.array([[_NORMAL.inv_cdf(each) for each in levels]])):
        all_KQ = np.where(np.isnan(all_KQ), instead, all_KQ)
    num_RK1 = (~np.isnan(score_ORK)).sum(axis=0)[..., None]
    weight_RK1 = num_RK1 / (num_RK1 + _OF_ALL_SCORES)
    return np.asarray(weight_RK1 * np.nan_to_num(own_RKQ) + (1 - weight_RK1) * all_KQ)


def error_quantiles(error_OK: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Of ``O`` errors (truth minus forecast, any unit) at each lead: ``(K, Q)``, NaN where none.

    Split conformal prediction (Vovk et al. 2005; Lei et al. 2018), each side by itself, with the
    correction for a finite sample: if hours to come are like those, a band holds its share of them.

    Below 0.5 a quantile is the ``floor(level (n + 1))``-th smallest error, above it the
    ``ceil(level (n + 1))``-th, so that the band holds at least its share of exchangeable errors;
    where there are too few for that, the smallest or the largest. NaN errors do not count.

    >>> error_quantiles(np.arange(1.0, 20.0)[:, None], [0.1, 0.5, 0.9])
    array([[ 2., 10., 18.]])
    """
    ordered_OK = np.sort(error_OK, axis=0)  # NaN last
    num_K = (~np.isnan(error_OK)).sum(axis=0)
    found_KQ = np.full((error_OK.shape[1], len(levels)), np.nan)
    for place, level in enumerate(levels):
        wanted_K = level * (num_K + 1)
        rank_K = np.floor(wanted_K + 1e-9) if level < 0.5 else np.ceil(wanted_K - 1e-9)  # noqa: PLR2004
        index_K = np.clip(rank_K.astype(int), 1, np.maximum(num_K, 1)) - 1
        found_KQ[:, place] = np.take_along_axis(ordered_OK, index_K[None], axis=0)[0]
    found_KQ[num_K == 0] = np.nan
    return found_KQ


def _densities(state: BandState) -> Floats:
    """How much of a normal distribution of scores lies around each quantile: the farther, the less.

    A quantile has to move by a share over it for that share to come below.
    """
    return np.array([_NORMAL.pdf(_NORMAL.inv_cdf(level)) for level in state.level_Q])


def _in_order(quantile_RKQ: Floats) -> Floats:
    """Ascending (Chernozhukov et al. 2010), no two closer than the least gap."""
    gap_Q = _LEAST_GAP * np.arange(quantile_RKQ.shape[-1])
    ordered_RKQ = np.maximum.accumulate(np.sort(quantile_RKQ, axis=-1) - gap_Q, axis=-1) + gap_Q
    return np.asarray(ordered_RKQ, dtype=np.float32)


def _pushed(values_PRK: Floats, newest_RK: Floats) -> Floats:
    """The newest before the others, the oldest left out."""
    return np.concatenate([newest_RK[None], values_PRK[:-1]])
