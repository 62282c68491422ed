"""Issue a forecast: what is known of each region by then, who forecasts it, the rows.

An hour is known once it has ended: at ``as_of`` the last one is that which began at least an hour
before. Whatever a table holds of later hours does not exist for the forecast.

Legend: ``K`` leads, ``Q`` quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from gridcast.evaluation.forecasts import quantile_column
from gridcast.features.table import region_features
from gridcast.forecasting.bands import offsets
from gridcast.forecasting.model import NETWORK, STAND_INS
from gridcast.forecasting.recursion import steps_of_load
from gridcast.forecasting.rolling import (
    forecast_origins,
    naive_origins,
    rolling_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import Config
    from gridcast.features.load_scale import LoadScale
    from gridcast.forecasting.calibration import Calibration
    from gridcast.forecasting.model import ForecastModel

V = TypeVar("V")
OLDEST_HOURS = 14 * 24  # since a region's newest hour; of an older one nothing is forecast
_HOUR = pd.Timedelta(hours=1)
_DAY, _WEEK = 24, 168
_REGIONS_AT_ONCE = 256  # of a model whose regions do not read one another


@dataclass(frozen=True, slots=True)
class IssuedRows:
    """A forecast as it is issued, a row a region and hour (see :func:`forecast_rows`).

    ``missing`` tells why a region of the model has no rows, ``doubts`` why one has those of a naive
    forecast for want of data; ``loads`` has each region's last known hours, for pictures.
    """

    rows: pd.DataFrame
    missing: dict[str, str]
    doubts: dict[str, str]
    loads: dict[str, pd.DataFrame]


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
    recent = known[known["timestamp"] > last - hours_back(config) * _HOUR]
    frame, _ = region_features(region, recent, config, regions=regions, scale=scale)
    num_read = config.windows.lookback + (last + _HOUR).hour
    doubt = ""
    if stale > max_stale_hours:
        doubt = f"its newest hour is {last:%Y-%m-%d %H:%M} UTC, {stale} hours before the issue time"
    elif len(frame) < num_read:
        doubt = f"{len(frame)} hours are known, {num_read} are needed"
    elif not frame["is_input"].to_numpy()[-num_read:].all():
        doubt = f"a gap in its last {num_read} hours is too long to be filled"
    return RegionState(region, frame, stale, doubt)


def hours_back(config: Config) -> int:
    """How many hours up to the last known one have a say in a forecast."""
    rules = [config.rules.default, *config.rules.regions.values()]
    reach_of_fill = max(each.repaired.fill_weeks for each in rules) * _WEEK + _WEEK
    return config.windows.lookback + _DAY + steps_of_load(config) + reach_of_fill


def forecast_regions(
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    *,
    issue_time: pd.Timestamp,
    horizon: int,
    max_stale_hours: int,
    regions: Sequence[str] = (),
) -> IssuedRows:
    """Forecast the hours from ``issue_time`` on, from what was known by then.

    Args:
        model: of all regions or some.
        readings: as published, by region (see ``RegionLoad.frame``, with ``flag``).
        issue_time: first hour to forecast, UTC.
        horizon: hours to forecast.
        max_stale_hours: a region whose newest hour is older gets a naive forecast.
        regions: only these; none: all that the model knows.
    """
    wanted = [name for name in model.regions if not regions or name in regions]
    if model.config.model.neighbour_units:
        blocks = [model.regions]
    else:
        firsts = range(0, len(wanted), _REGIONS_AT_ONCE)
        blocks = [wanted[first : first + _REGIONS_AT_ONCE] for first in firsts]
    tables, loads = list[pd.DataFrame](), dict[str, pd.DataFrame]()
    missing, doubts = dict[str, str](), dict[str, str]()
    for block in blocks:
        states, unknown = _states(
            model, readings, block, issue_time=issue_time, max_stale_hours=max_stale_hours
        )
        missing |= unknown
        tables += _rows_of_states(model, states, wanted, issue_time=issue_time, horizon=horizon)
        doubts |= {each.region: each.doubt for each in states if each.doubt}
        loads |= {each.region: each.frame[["timestamp", "load_mw"]] for each in states}
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return IssuedRows(rows, _of(missing, wanted), _of(doubts, wanted), _of(loads, wanted))


def _of(by_region: Mapping[str, V], wanted: Sequence[str]) -> dict[str, V]:
    return {name: by_region[name] for name in wanted if name in by_region}


def _states(
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    regions: Sequence[str],
    *,
    issue_time: pd.Timestamp,
    max_stale_hours: int,
) -> tuple[list[RegionState], dict[str, str]]:
    """What is known of each region, and why nothing is of others."""
    states, missing = [], {}
    for name in regions:
        if name not in readings:
            missing[name] = "there are no readings of it"
            continue
        state = region_state(
            name, readings[name], model.config, regions=model.regions, scale=model.scales[name],
            issue_time=issue_time, max_stale_hours=max_stale_hours,
        )  # fmt: skip
        if state is None:
            missing[name] = f"it has no hour before {issue_time:%Y-%m-%d %H:%M} UTC"
        elif state.stale_hours > OLDEST_HOURS:
            missing[name] = f"{state.doubt}: too long ago for any forecast"
        else:
            states.append(state)
    return states, missing


def _rows_of_states(
    model: ForecastModel,
    states: Sequence[RegionState],
    wanted: Sequence[str],
    *,
    issue_time: pd.Timestamp,
    horizon: int,
) -> list[pd.DataFrame]:
    """The rows of each wanted region of the states; of the others the past alone is looked at."""
    if not states:
        return []
    most = horizon + max(each.stale_hours for each in states)
    frame = pd.concat([each.frame for each in states], ignore_index=True)
    table = rolling_table(frame, model.scales, model.config, num_leads=most)
    last_S = np.cumsum([len(each.frame) for each in states]) - 1
    number_of = {name: number for number, name in enumerate(model.regions)}
    makers = [_maker_of(each, number_of[each.region], model.calibrations) for each in states]
    load_mw_SK = np.full((len(states), most), np.nan)
    for name in (NETWORK, *STAND_INS):
        own = np.array([each.region in wanted and maker[0] == name
                        for each, maker in zip(states, makers, strict=True)])  # fmt: skip
        if not own.any():
            continue
        if name == NETWORK:
            load_mw_SK[own] = forecast_origins(
                model.forecasters, table, last_S[own], model.config, num_leads=most
            )
        else:
            load_mw_SK[own] = naive_origins(table, last_S[own], name, num_leads=most)
    return [
        _rows(
            state,
            maker,
            load_mw_K,
            model.calibrations[maker[0]],
            number_of[state.region],
            issue_time,
            horizon,
            model.config.ingestion.timezone,
        )
        for state, maker, load_mw_K in zip(states, makers, load_mw_SK, strict=True)
        if state.region in wanted
    ]


def _maker_of(
    state: RegionState, region: int, calibrations: Mapping[str, Calibration]
) -> tuple[str, str]:
    """Who forecasts the region, and why it is not the network (empty: it is)."""
    error = {name: each.mean_smape(region) for name, each in calibrations.items()}
    stand_in = min(STAND_INS, key=lambda name: error[name])
    if state.doubt:
        return stand_in, state.doubt
    if error[stand_in] < error[NETWORK]:
        errors_text = f"{error[stand_in]:.2f} % against {error[NETWORK]:.2f} %"
        return stand_in, f"on the validation part it is better than the network ({errors_text})"
    return NETWORK, ""


def _rows(
    state: RegionState,
    maker: tuple[str, str],
    load_mw_K: np.ndarray,
    calibration: Calibration,
    region: int,
    issue_time: pd.Timestamp,
    horizon: int,
    timezone: str,
) -> pd.DataFrame:
    """Hours between the last known one and the issue time are forecast too, and not told.

    So the first hour that is told has a lead of as many hours more.
    """
    (name, reason), first = maker, state.stale_hours
    own = load_mw_K[first : first + horizon]
    leads = np.arange(first + 1, first + horizon + 1)
    timestamps = issue_time + pd.to_timedelta(np.arange(horizon), unit="h")
    offset_KQ = offsets(
        calibration.bands, own[None], region_B=np.array([region]), lead_BK=leads[None],
        hour_BK=timestamps.tz_convert(timezone).hour.to_numpy()[None],
    )[0]  # fmt: skip
    quantiles = {
        quantile_column(level): own + offset_KQ[:, number]
        for number, level in enumerate(calibration.bands.level_Q)
    }
    table = forecast_rows(state.region, issue_time, own, quantiles)
    return table.assign(fallback="" if name == NETWORK else name, fallback_reason=reason)


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
