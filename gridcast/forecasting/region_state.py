"""What is known of each region at an issue time, as arrays: what a forecast of it is made from.

The hours that are read of a region take no table of their own: of ten thousand regions the tables
would cost more than the networks.

Legend: ``T`` steps, ``S`` regions side by side, ``L`` steps of each, ``C`` features of the
calendar, ``F`` all features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gridcast.baselines.linear_inputs import PAST_HOURS
from gridcast.covariates.inputs import AHEAD_PREFIX, PAST_PREFIX
from gridcast.covariates.regional import RegionalInputs
from gridcast.features.columns import calendar_columns
from gridcast.features.grid_hours import grid_hours
from gridcast.features.neighbours import regional_signals
from gridcast.features.series import bridge_gaps
from gridcast.features.table import lagged_holidays, load_features, names_of_features
from gridcast.forecasting.recursion import steps_of_load
from gridcast.forecasting.rolling import (
    RollingTable,
    calendar_numbers,
    calendars_of,
    hours_of_calendar,
    scale_arrays,
    timezones_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from gridcast.config import Config, RepairedRules
    from gridcast.covariates.values import Covariates
    from gridcast.features.load_scale import LoadScale

_HOUR = np.timedelta64(1, "h")
_DAY, _WEEK = 24, 168


@dataclass(frozen=True, slots=True)
class RegionState:
    """One region as it is known at the issue time: its last steps, the oldest first.

    ``stale_hours`` lie between its last known hour and the issue time; ``doubt`` says why its
    network's forecast cannot be made or trusted (empty: it can).
    """

    region: str
    timestamp_T: np.ndarray  # datetime64[h], UTC, hour of the grid
    load_mw_T: np.ndarray  # as read; NaN where it is missing
    input_mw_T: np.ndarray  # wrong and missing ones filled; NaN where the gap is too long
    stale_hours: int
    doubt: str = ""
    minutes_early: int = 0  # its hours begin so long before the grid's


def hours_back(config: Config) -> int:
    """How many hours up to the last known one have a say in a forecast."""
    rules = [config.rules.default, *config.rules.regions.values()]
    reach_of_fill = max(each.repaired.fill_weeks for each in rules) * _WEEK + _WEEK
    return max(config.windows.lookback + _DAY + steps_of_load(config) + reach_of_fill, PAST_HOURS)


def region_state(
    region: str,
    readings: pd.DataFrame,
    config: Config,
    *,
    issue_time: pd.Timestamp,
    max_stale_hours: int,
) -> RegionState | None:
    """What is known of ``region`` before ``issue_time``; None where nothing is.

    Args:
        region: its name.
        readings: as published (see ``RegionLoad.frame``, with ``flag``).
        config: of the model.
        issue_time: first hour to forecast, UTC.
        max_stale_hours: an older region is doubtful.
    """
    issue_hour = np.datetime64(issue_time.tz_convert("UTC").tz_localize(None), "h")
    timestamp_N = readings["timestamp"].to_numpy("datetime64[us]")
    hour_N = grid_hours(timestamp_N)
    end = int(np.searchsorted(hour_N, issue_hour))
    if end == 0:
        return None
    last = hour_N[end - 1]
    begin = int(np.searchsorted(hour_N, last - hours_back(config) * _HOUR, side="right"))
    timestamp_T, load_mw_T, input_mw_T = _filled_steps(
        readings.iloc[begin:end], hour_N[begin:end], config.rules.of(region).repaired,
        unit=config.windows.unit,
    )  # fmt: skip
    stale = int((issue_hour - last) / _HOUR) - 1
    hour_of_issue = int((last + _HOUR).astype(np.int64)) % _DAY
    doubt = _doubt(
        input_mw_T, last, stale=stale, max_stale_hours=max_stale_hours,
        num_read=config.windows.lookback + hour_of_issue,
    )  # fmt: skip
    early = int((hour_N[end - 1] - timestamp_N[end - 1]) / np.timedelta64(1, "m"))
    return RegionState(region, timestamp_T, load_mw_T, input_mw_T, stale, doubt, early)


def _filled_steps(
    readings: pd.DataFrame, hour_N: np.ndarray, rules: RepairedRules, *, unit: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hour, load as read and as filled of each step, as ``to_steps`` gives them."""
    load_N = readings["load_mw"].to_numpy(dtype=float)
    is_wrong_N = readings["flag"].isin(rules.replaced_flags).to_numpy(dtype=bool)
    usable_N = np.where(is_wrong_N, np.nan, load_N)
    if unit == "hours":
        step_N = (hour_N - hour_N[0]).astype(np.int64)
        hour_T = hour_N[0] + np.arange(step_N[-1] + 1)
        load_T, usable_T = (np.full(len(hour_T), np.nan) for _ in range(2))
        load_T[step_N], usable_T[step_N] = load_N, usable_N
    else:
        hour_T, load_T, usable_T = hour_N, load_N, usable_N
    bridged_T = bridge_gaps(usable_T, rules)
    return hour_T, load_T, np.where(np.isnan(bridged_T), load_T, bridged_T)


def _doubt(
    input_mw_T: np.ndarray,
    last: np.datetime64,
    *,
    stale: int,
    max_stale_hours: int,
    num_read: int,
) -> str:
    if stale > max_stale_hours:
        time = str(last.astype("datetime64[m]")).replace("T", " ")
        return f"its newest hour is {time} UTC, {stale} hours before the issue time"
    if len(input_mw_T) < num_read:
        return f"{len(input_mw_T)} hours are known, {num_read} are needed"
    if np.isnan(input_mw_T[-num_read:]).any():
        return f"a gap in its last {num_read} hours is too long to be filled"
    return ""


def table_of_states(
    states: Sequence[RegionState],
    scales: Mapping[str, LoadScale],
    config: Config,
    *,
    num_leads: int,
    covariates: Mapping[str, Covariates] | None = None,
) -> RollingTable:
    """The table of what is known of some regions, as :func:`rolling_table` makes it of all steps.

    A region's last step is the last of its rows. Of steps that no network reads the features are
    not there (NaN).

    Args:
        states: of which regions.
        scales: of all regions of the model, in the order of their numbers.
        config: of the model.
        num_leads: hours that are forecast from the last steps.
        covariates: of regions that have some.
    """
    kept = _kept(states, list(scales), config)
    offset_R, scale_R = scale_arrays(scales.values())
    region_S1 = kept.region_S[:, None]
    load_SL = (kept.input_mw_SL - offset_R[region_S1]) / scale_R[region_S1]
    load_T, region_T = load_SL[kept.is_step_SL], np.repeat(kept.region_S, kept.num_S)
    hour_T = kept.timestamp_T.astype(np.int64)
    hour_T = hour_T - hour_T.min()
    num_hours = int(hour_T.max()) + 1 + hours_of_calendar(config, num_leads=num_leads)
    names = names_of_features(config.features, config.covariates)
    inputs = RegionalInputs.of(covariates or {}, scales, config.covariates)
    calendar_ZGC = calendars_of(kept.timestamp_T.min(), num_hours, names, config, list(scales))
    calendar_R = calendar_numbers(config, list(scales))
    hour_SL = np.zeros(load_SL.shape, dtype=np.int64)
    hour_SL[kept.is_step_SL] = hour_T
    x_SLF = _features(
        load_SL, calendar_ZGC[calendar_R[region_S1], hour_SL], kept.is_step_SL, names, config
    )
    if config.covariates.columns:
        _add_covariates(x_SLF[:, -config.windows.lookback - _DAY :], inputs, kept, names)
    signals_GW = None
    if config.model.neighbour_units:
        signals_GW = regional_signals(
            np.nan_to_num(load_T).astype(np.float32), ~np.isnan(load_T), region_T,
            kept.timestamp_T, num_regions=len(scales),
        ).values_GW  # fmt: skip
    return RollingTable(
        kept.timestamp_T, region_T, np.repeat(np.cumsum(kept.num_S) - kept.num_S, kept.num_S),
        hour_T, x_SLF[kept.is_step_SL], load_T, calendar_ZGC, calendar_R,
        timezones_of(config, list(scales)), signals_GW, inputs, offset_R, scale_R,
    )  # fmt: skip


def _add_covariates(
    x_SLF: np.ndarray, inputs: RegionalInputs, kept: _Kept, names: Sequence[str]
) -> None:
    """What was known of covariates when each step ended, in place: of its hour, and of the next."""
    last_S = kept.timestamp_T[np.cumsum(kept.num_S) - 1].astype(np.int64)
    hour_SL = last_S[:, None] + np.arange(1 - x_SLF.shape[1], 1)
    ahead, past = ([place for place, name in enumerate(names) if name.startswith(prefix)]
                   for prefix in (AHEAD_PREFIX, PAST_PREFIX))  # fmt: skip
    for place, region in enumerate(kept.region_S):
        own = inputs.regions[region]
        x_SLF[place][:, ahead] = own.ahead(hour_SL[place] + 1, 1)[:, 0]
        x_SLF[place][:, past] = own.past(hour_SL[place])


class _Kept(NamedTuple):
    """The steps of each region that have a say, aligned at the last one; NaN before the first."""

    region_S: np.ndarray
    num_S: np.ndarray
    input_mw_SL: np.ndarray
    is_step_SL: np.ndarray
    timestamp_T: np.ndarray  # of those that are there


def _kept(states: Sequence[RegionState], regions: Sequence[str], config: Config) -> _Kept:
    # Networks read what regions did at the hours of the one that is the latest; what may stand in
    # looks back four weeks.
    num_kept = max(config.windows.lookback + _DAY + steps_of_load(config), PAST_HOURS)
    num_kept += max(each.stale_hours for each in states)
    number_of = {name: number for number, name in enumerate(regions)}
    num_S = np.array([min(num_kept, len(each.input_mw_T)) for each in states])
    return _Kept(
        region_S=np.array([number_of[each.region] for each in states]),
        num_S=num_S,
        input_mw_SL=np.stack([_last(each.input_mw_T, num_kept) for each in states]),
        is_step_SL=np.arange(num_kept) >= num_kept - num_S[:, None],
        timestamp_T=np.concatenate([each.timestamp_T[-num_kept:] for each in states]),
    )


def _last(values_T: np.ndarray, num: int) -> np.ndarray:
    """The last ``num``, NaN before the first."""
    if len(values_T) >= num:
        return values_T[-num:]
    return np.concatenate([np.full(num - len(values_T), np.nan), values_T])


def _features(
    load_SL: np.ndarray,
    calendar_SLC: np.ndarray,
    is_step_SL: np.ndarray,
    names: Sequence[str],
    config: Config,
) -> np.ndarray:
    """What networks may read at the last steps, ``(S, L, F)``; NaN before."""
    num_read = config.windows.lookback + _DAY
    x_SLF = np.full((*load_SL.shape, len(names)), np.nan, np.float32)
    of_load = load_features(load_SL, config.features, last=num_read)
    for name, values_SL in of_load.items():
        x_SLF[:, -num_read:, names.index(name)] = np.nan_to_num(values_SL)
    columns = calendar_columns(names)
    x_SLF[:, -num_read:, columns] = calendar_SLC[:, -num_read:]
    if config.features.holidays is not None:
        holiday = columns.index(names.index("x_holiday"))
        is_holiday_SL = np.where(is_step_SL, calendar_SLC[..., holiday], 0.0)
        lagged = lagged_holidays(is_holiday_SL, config.features, last=num_read)
        for name, values_SL in lagged.items():
            x_SLF[:, -num_read:, names.index(name)] = values_SL
    return x_SLF
