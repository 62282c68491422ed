"""What is known of each region when a forecast is issued, and the rows that come of it.

An hour is known once it has ended: at ``as_of`` the last one is that which began at least an hour
before. Whatever a table holds of later hours does not exist for the forecast.

Legend: ``B`` regions, ``L`` known steps, ``C`` calendar features, ``K`` leads, ``T`` steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.evaluation.naive_forecasts import naive_forecasts
from gridcast.features.columns import calendar_columns, feature_columns
from gridcast.features.neighbours import signals_of
from gridcast.features.table import calendar_features, region_features
from gridcast.forecasting.direct import steps_ahead
from gridcast.forecasting.recursion import Known, steps_of_load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import Config
    from gridcast.features.load_scale import LoadScale

_HOUR = pd.Timedelta(hours=1)
_WEEK = 168


@dataclass(frozen=True, slots=True)
class RegionState:
    """One region as it is known at the issue time.

    ``stale_hours`` lie between its last known hour and the issue time; ``doubt`` says why its
    network's forecast cannot be made or trusted (empty: it can).
    """

    region: str
    frame: pd.DataFrame  # of `region_features`, its last steps
    stale_hours: int
    doubt: str = ""


def issue_time_of(as_of: pd.Timestamp) -> pd.Timestamp:
    """The full hour (UTC) that has begun at ``as_of``: the first one that is forecast."""
    return as_of.tz_convert("UTC").floor("h")


def region_state(
    region: str,
    readings: pd.DataFrame,
    config: Config,
    *,
    regions: Sequence[str],
    scale: LoadScale,
    issue_time: pd.Timestamp,
    max_stale_hours: int,
) -> RegionState | None:
    """What is known of ``region`` before ``issue_time``; None where nothing is.

    Args:
        region: one of ``regions``, those that the model was trained on, in its order.
        readings: as published (see ``RegionLoad.frame``, with ``flag``).
        config: of the model.
        regions: see ``region``.
        scale: the region's, of the model.
        issue_time: first hour to forecast, UTC.
        max_stale_hours: an older region is doubtful.
    """
    known = readings[readings["timestamp"] < issue_time]
    if known.empty:
        return None
    last = known["timestamp"].iloc[-1]
    stale = int((issue_time - last) / _HOUR) - 1
    reach = config.windows.lookback + steps_of_load(config.features) + _reach_of_fill(config)
    recent = known[known["timestamp"] > last - reach * _HOUR]
    frame, _ = region_features(region, recent, config, regions=regions, scale=scale)
    doubt = ""
    if stale > max_stale_hours:
        doubt = f"its newest hour is {last:%Y-%m-%d %H:%M} UTC, {stale} hours before the issue time"
    elif len(frame) < config.windows.lookback:
        doubt = f"{len(frame)} hours are known, {config.windows.lookback} are needed"
    elif not frame["is_input"].to_numpy()[-config.windows.lookback :].all():
        doubt = f"a gap in its last {config.windows.lookback} hours is too long to be filled"
    return RegionState(region, frame, stale, doubt)


def _reach_of_fill(config: Config) -> int:
    """How far back a filled hour looks (hours)."""
    rules = [config.rules.default, *config.rules.regions.values()]
    return max(each.repaired.fill_weeks for each in rules) * _WEEK + _WEEK


def known_at(
    states: Sequence[RegionState],
    config: Config,
    *,
    num_leads: int,
    neighbours: Sequence[RegionState] = (),
) -> Known:
    """The states side by side, as :func:`forecast_ahead` takes them (none is in doubt).

    ``neighbours``: all regions of which something is known, these among them.
    """
    lookback, num_steps = config.windows.lookback, steps_of_load(config.features)
    names = feature_columns(states[0].frame.columns)
    x_BLF = np.stack([each.frame[names].to_numpy()[-lookback:] for each in states])
    load_BT = np.full((len(states), num_steps), np.nan)
    for row, each in enumerate(states):
        tail = each.frame["x_load"].to_numpy(dtype=float)[-num_steps:]
        load_BT[row, num_steps - len(tail) :] = tail
    num_steps_ahead = steps_ahead(config, num_leads=num_leads)
    calendar = [_calendar_ahead(each, config, num_steps=num_steps_ahead) for each in states]
    region_B = np.array([each.frame["region"].cat.codes.iloc[-1] for each in states])
    signals_BLW = _signals(states, neighbours, lookback) if config.model.neighbour_units else None
    return Known(x_BLF, load_BT, np.stack(calendar), region_B.astype(np.int64), signals_BLW)


def _signals(
    states: Sequence[RegionState], neighbours: Sequence[RegionState], lookback: int
) -> np.ndarray:
    """What all regions did in the last steps of each state, shape ``(B, lookback, W)``.

    Of an hour that a neighbour does not have yet nothing is known.
    """
    whole = pd.concat([each.frame for each in neighbours], ignore_index=True)
    signals = signals_of(whole)
    ends = np.cumsum([len(each.frame) for each in neighbours])
    end_of = {each.region: end for each, end in zip(neighbours, ends, strict=True)}
    hours_BL = [signals.hour_T[end_of[each.region] - lookback : end_of[each.region]]
                for each in states]  # fmt: skip
    return signals.values_GW[np.stack(hours_BL)]


def _calendar_ahead(state: RegionState, config: Config, *, num_steps: int) -> np.ndarray:
    """The calendar of the steps after the last known one, shape ``(num_steps, C)``."""
    names = feature_columns(state.frame.columns)
    columns = [names[place] for place in calendar_columns(names)]
    last, back = state.frame["timestamp"].iloc[-1], steps_of_load(config.features)
    hours = pd.date_range(last - back * _HOUR, periods=back + 2 + num_steps, freq="h")
    local = pd.Series((hours + _HOUR).tz_convert(config.ingestion.timezone))
    features = calendar_features(local, config.features)
    ahead = np.stack([features[name] for name in columns], axis=1)
    return ahead[back + 1 : back + 1 + num_steps]


def naive_ahead(state: RegionState, kind: str, *, num_leads: int) -> np.ndarray:
    """A naive forecast (MW) of the hours after the last known one, shape ``(K,)``."""
    input_mw = state.frame["input_mw"].to_numpy(dtype=float)
    ahead_N = np.arange(1, num_leads + 1)
    step_N = len(input_mw) - 1 + ahead_N
    longer = np.concatenate([input_mw, np.full(num_leads, np.nan)])
    region_T = np.zeros(len(longer), dtype=np.int64)
    return naive_forecasts(longer, region_T, step_N, ahead_N)[kind]


def forecast_rows(
    region: str,
    issue_time: pd.Timestamp,
    load_mw_K: np.ndarray,
    quantiles: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """One row a lead: ``region``, ``issue_time``, ``timestamp``, ``lead`` (h), MW, quantiles."""
    leads = np.arange(1, len(load_mw_K) + 1)
    return pd.DataFrame(
        {
            "region": region,
            "issue_time": issue_time,
            "timestamp": issue_time + pd.to_timedelta(leads - 1, unit="h"),
            "lead": leads,
            "load_mw": load_mw_K,
            **quantiles,
        }
    )
