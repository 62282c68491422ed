"""Whether a region's load has changed for good at one hour, as no model foresaw: a change of level.

Weather makes errors that begin small and grow, in all regions; a spike comes back. A change of
level is there at once, stays for a day, and the other regions know nothing of it. Four measures of
an issue time, in percent: the next hour's error; the sum of the next hours' errors of the last
hours, since what comes back from a spike is no change; and how far the hours soon after and later
on the same day are off, less the median of the other regions. The score is the least of the four.

The weights and the quantile were chosen by `benchmarks/level_alarms.py` on August 2015 to July
2017.

Legend: ``R`` regions, ``T`` issue times, hour by hour, ``K`` leads of ``LEADS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import MonitoringConfig

# Those of a day that have a say, the next hour first: all 24 say little more.
LEADS = (1, 2, 3, 4, 5, 6, 9, 12, 15, 18, 21, 24)
_SOON = 6  # of them are of the next hours
_BACK = 4  # next hours whose errors are summed
_WEIGHTS = (1.0, 1.5, 1.3, 2.0)  # of the four measures: later hours are less sure
_QUANTILE = 0.95  # of what the days of a region's past came to
_FEWEST_DAYS = 14  # a shorter past says nothing
_DAY = pd.Timedelta(days=1)


class LevelStep(NamedTuple):
    """A change of level at ``time``: by ``percent``, where ``score`` is above ``limit``."""

    region: str
    time: pd.Timestamp
    percent: float
    score: float
    limit: float


class LevelScores(NamedTuple):
    """By issue time (UTC, hour by hour) a column a region, percent.

    ``score`` is NaN where nothing can be said: too few hours of its day are known. ``step`` is by
    how much the day was off.
    """

    score: pd.DataFrame
    step: pd.DataFrame


def level_scores(
    rows: pd.DataFrame, readings: Mapping[str, pd.DataFrame], norms: Mapping[str, float]
) -> LevelScores:
    """How much each issue time looks like a change of level.

    Args:
        rows: as they were issued; of the leads ``LEADS`` at least.
        readings: by region; flagged hours, and those that are not there, say nothing.
        norms: MW, by region: in percent of what, where not of the forecast.
    """
    own = rows[rows["lead"].isin(LEADS)]
    regions = [name for name in sorted(own["region"].unique()) if name in readings]
    if not regions:
        empty = pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC"))
        return LevelScores(empty, empty)
    times = pd.date_range(own["issue_time"].min(), own["issue_time"].max(), freq="h")
    error_RTK = np.stack([
        _errors(own[own["region"] == name], readings[name], times, norms.get(name))
        for name in regions
    ])  # fmt: skip
    excess_RTK = error_RTK - _of_the_others(error_RTK)
    next_RT = error_RTK[:, :, 0]
    sign_RT = np.sign(next_RT)
    measures = (
        np.abs(next_RT),
        sign_RT * _sum_of_last(next_RT),
        sign_RT * _mean_of_half(excess_RTK[:, :, 1:_SOON]),
        sign_RT * _mean_of_half(excess_RTK[:, :, _SOON:]),
    )
    weighted = [weight * each for weight, each in zip(_WEIGHTS, measures, strict=True)]
    return LevelScores(
        pd.DataFrame(np.min(weighted, axis=0).T, times, regions),
        pd.DataFrame(_mean_of_half(excess_RTK).T, times, regions),
    )


def level_steps(
    scores: LevelScores,
    next_hour_error: Mapping[str, float],
    config: MonitoringConfig,
    *,
    at: pd.Timestamp,
) -> list[LevelStep]:
    """The largest change of level of each region in the window that ends at ``at``, if it is one.

    It has to be above ``level_percent``, above ``level_ratio`` times the promised error of the next
    hour, and above ``level_margin`` times what all but one of twenty days of the region's past came
    to. Of the window only issue times of which a whole day is known.

    Args:
        scores: of the window and of ``level_history_days`` before it.
        next_hour_error: as promised (percent), by region; others are not looked at.
        config: window and limits.
        at: the instant.
    """
    begin = at - config.window_days * _DAY
    score = scores.score
    times = pd.DatetimeIndex(score.index)
    window = score[(times >= begin) & (times <= at - _DAY)]
    is_past = (times >= begin - config.level_history_days * _DAY) & (times < begin)
    usual, known = _usual(score[is_past]), window.count() + score[is_past].count()
    found = []
    for region in map(str, score.columns):
        own_T = window[region].to_numpy(float)
        is_looked_at = region in next_hour_error and known[region] >= config.min_hours
        if not is_looked_at or np.isnan(own_T).all():
            continue
        place = int(np.nanargmax(own_T))
        time = pd.DatetimeIndex(window.index)[place]
        limit = max(
            config.level_percent,
            config.level_ratio * next_hour_error[region],
            config.level_margin * usual.get(region, 0.0),
        )
        if own_T[place] > limit:
            percent = scores.step[region].to_numpy(float)[times.get_loc(time)]
            found.append(LevelStep(region, time, float(percent), float(own_T[place]), limit))
    return found


def _usual(past: pd.DataFrame) -> dict[str, float]:
    """What the days of a region's past came to at most, but for the worst of them."""
    if past.empty:
        return {}
    days = past.groupby(pd.DatetimeIndex(past.index).floor("D")).max()
    known, quantile = days.count(), days.quantile(_QUANTILE)
    return {str(n): float(quantile[n]) for n in days.columns if known[n] >= _FEWEST_DAYS}


def _errors(
    rows: pd.DataFrame, readings: pd.DataFrame, times: pd.DatetimeIndex, norm_mw: float | None
) -> np.ndarray:
    """Logarithm of the load over its forecast, percent, ``(T, K)``; NaN: not known.

    With ``norm_mw`` the load less its forecast in percent of it: what passes zero has no ratio.
    """
    clean = readings[readings["flag"] == ""]
    load = pd.Series(clean["load_mw"].to_numpy(float), pd.DatetimeIndex(clean["timestamp"]))
    truth_N = load.reindex(pd.DatetimeIndex(rows["timestamp"])).to_numpy()
    forecast_N = rows["load_mw"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        if norm_mw is None:
            error_N = 100 * np.log(truth_N / forecast_N)
        else:
            error_N = 100 * (truth_N - forecast_N) / norm_mw
    error_TK = np.full((len(times), len(LEADS)), np.nan)
    place_N = times.get_indexer(pd.DatetimeIndex(rows["issue_time"]))
    error_TK[place_N, np.searchsorted(LEADS, rows["lead"].to_numpy())] = error_N
    error_TK[~np.isfinite(error_TK)] = np.nan
    return error_TK


def _of_the_others(error_RTK: np.ndarray) -> np.ndarray:
    """The median of all other regions; 0 where there is none."""
    common = np.zeros_like(error_RTK)
    for place in range(len(error_RTK)):
        other = np.sort(np.delete(error_RTK, place, axis=0), axis=0)  # NaN last
        if not len(other):
            continue
        num = (~np.isnan(other)).sum(axis=0)
        middle = (np.maximum(num - 1, 0) // 2, np.minimum(num // 2, len(other) - 1))
        low, high = (np.take_along_axis(other, at[None], axis=0)[0] for at in middle)
        common[place] = np.where(num > 0, (low + high) / 2, 0.0)
    return common


def _sum_of_last(next_RT: np.ndarray) -> np.ndarray:
    """The errors of the next hour, summed over the last issue times; unknown ones count as none."""
    known = np.nan_to_num(next_RT)
    total = known.copy()
    for back in range(1, _BACK):
        total[:, back:] += known[:, :-back]
    return np.asarray(total)


def _mean_of_half(excess_RTK: np.ndarray) -> np.ndarray:
    """The mean over the leads, of which half at least have to be known; else NaN."""
    is_known = ~np.isnan(excess_RTK)
    num_RT = is_known.sum(axis=2)
    total_RT = np.where(is_known, excess_RTK, 0.0).sum(axis=2)
    mean_RT = total_RT / np.maximum(num_RT, 1)
    return np.asarray(np.where(2 * num_RT >= excess_RTK.shape[2], mean_RT, np.nan))
