"""Issue a forecast: what is known of each region by then, who forecasts it, the rows.

An hour is known once it has ended: at ``as_of`` the last one is that which began at least an hour
before. Whatever a table holds of later hours does not exist for the forecast.

Legend: ``S`` regions, ``H`` hours that are told, ``K`` leads from the last known hour on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from gridcast.forecasting.makers import ToTell, maker_of, rows_by_maker
from gridcast.forecasting.model import NETWORK
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import forecast_origins, stand_in_origins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.forecasting.model import ForecastModel
    from gridcast.forecasting.rolling import RollingTable

V = TypeVar("V")
OLDEST_HOURS = 14 * 24  # since a region's newest hour; of an older one nothing is forecast
_SHOWN_HOURS = 168  # of each region's known ones
_REGIONS_AT_ONCE = 256  # of a model whose regions do not read one another


@dataclass(frozen=True, slots=True)
class IssuedRows:
    """A forecast as it is issued, a row a region and hour (see :func:`rows_by_maker`).

    ``missing`` tells why a region of the model has no rows, ``doubts`` why one has those of a naive
    forecast for want of data; ``loads`` has the last week's known hours of each region, for
    pictures (``region``, ``timestamp`` in UTC, ``load_mw``).
    """

    rows: pd.DataFrame
    missing: dict[str, str]
    doubts: dict[str, str]
    loads: pd.DataFrame


def with_zone(time: pd.Timestamp) -> pd.Timestamp:
    """The instant in UTC; a time that names no zone is taken for one of UTC."""
    return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")


def issue_time_of(as_of: pd.Timestamp) -> pd.Timestamp:
    """The full hour (UTC) that has begun at ``as_of``: the first one that is forecast."""
    return as_of.tz_convert("UTC").floor("h")


def utc_day_of(time: pd.Timestamp) -> np.datetime64:
    """The day (UTC) of an instant."""
    return np.datetime64(time.tz_convert("UTC").tz_localize(None), "D")


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
    wanted_set = set(regions or model.regions)
    wanted = [name for name in model.regions if name in wanted_set]
    if model.reads_others:
        blocks = [model.regions]
    else:
        firsts = range(0, len(wanted), _REGIONS_AT_ONCE)
        blocks = [wanted[first : first + _REGIONS_AT_ONCE] for first in firsts]
    tables, loads = list[pd.DataFrame](), list[pd.DataFrame]()
    missing, doubts = dict[str, str](), dict[str, str]()
    for block in blocks:
        states, unknown = _states(
            model, readings, block, issue_time=issue_time, max_stale_hours=max_stale_hours
        )
        missing |= unknown
        if states:
            own = [each for each in states if each.region in wanted_set]
            tables.append(
                _rows_of_states(model, states, own, issue_time=issue_time, horizon=horizon)
            )
            loads.append(_loads_of(own))
        doubts |= {each.region: each.doubt for each in states if each.doubt}
    missing, doubts = _of(missing, wanted), _of(doubts, wanted)
    return IssuedRows(_together(tables), missing, doubts, _together(loads))


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _loads_of(states: Sequence[RegionState]) -> pd.DataFrame:
    """The last known hours of each region, end to end."""
    nums = [min(_SHOWN_HOURS, len(each.timestamp_T)) for each in states]
    regions = pd.Series([each.region for each in states], dtype="str")
    hours = np.concatenate(
        [
            each.timestamp_T[-_SHOWN_HOURS:].astype("datetime64[us]")
            - np.timedelta64(each.minutes_early, "m")
            for each in states
        ]
    )
    return pd.DataFrame(
        {
            "region": regions.repeat(nums).array,
            "timestamp": pd.DatetimeIndex(hours).tz_localize("UTC"),
            "load_mw": np.concatenate([each.load_mw_T[-_SHOWN_HOURS:] for each in states]),
        }
    )


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
            name, readings[name], model.config, issue_time=issue_time,
            max_stale_hours=max_stale_hours,
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
    wanted: Sequence[RegionState],
    *,
    issue_time: pd.Timestamp,
    horizon: int,
) -> pd.DataFrame:
    """The rows of each wanted one of the states; of the others the past alone is looked at."""
    most = horizon + max(each.stale_hours for each in states)
    table = table_of_states(
        states, model.scales, model.config, num_leads=most, covariates=model.covariates
    )
    last_of = dict(zip((each.region for each in states), table.last_steps(), strict=True))
    number_of = {name: number for number, name in enumerate(model.regions)}
    last_S = np.array([last_of[each.region] for each in wanted])
    region_S = np.array([number_of[each.region] for each in wanted])
    place_SH = np.array([each.stale_hours for each in wanted])[:, None] + np.arange(horizon)
    lacking_SK = table.covariates.why_unknown(
        region_S, table.issue_times(last_S).astype(np.int64), most
    )
    issue_hour = np.datetime64(issue_time.tz_convert("UTC").tz_localize(None), "h")
    asked = ToTell(
        region_N=region_S,
        issue_N=np.full(len(wanted), issue_hour),
        place_NH=place_SH,
        makers=[
            maker_of(
                each.doubt,
                number,
                model.calibrations,
                least_errors=model.config.forecasting.stand_in_errors,
            )
            for each, number in zip(wanted, region_S, strict=True)
        ],
        lacking_NH=None if lacking_SK is None else np.take_along_axis(lacking_SK, place_SH, axis=1),
    )

    def forecast_of(name: str, at: np.ndarray) -> np.ndarray:
        made_SK = _forecast(model, table, name, last_S[at], num_leads=int(place_SH.max()) + 1)
        return np.take_along_axis(made_SK, place_SH[at], axis=1)

    rows = rows_by_maker(model, asked, forecast_of)
    early_S = np.array([each.minutes_early for each in wanted])
    if early_S.any():  # hours that begin between two of the grid
        rows["timestamp"] -= pd.to_timedelta(np.repeat(early_S, horizon), unit="m")
    return rows


def _forecast(
    model: ForecastModel, table: RollingTable, name: str, last_S: np.ndarray, *, num_leads: int
) -> np.ndarray:
    """MW of a contestant from the last steps on, ``(S, K)``."""
    if name != NETWORK:
        return stand_in_origins(
            table, last_S, name, model.linear, model.config, num_leads=num_leads
        )
    networks_SK = forecast_origins(
        model.forecasters, table, last_S, model.config, num_leads=num_leads
    )
    if model.blend is None:
        return networks_SK
    linear_SK = stand_in_origins(
        table, last_S, model.blend.linear, model.linear, model.config, num_leads=num_leads
    )
    return model.blend.of(networks_SK, linear_SK)
