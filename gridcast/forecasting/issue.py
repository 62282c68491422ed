"""Issue a forecast: what is known of each region by then, who forecasts it, the rows.

An hour is known once it has ended: at ``as_of`` the last one is that which began at least an hour
before. Whatever a table holds of later hours does not exist for the forecast.

Legend: ``K`` leads, ``Q`` quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from gridcast.evaluation.forecasts import quantile_column
from gridcast.forecasting.bands import offsets
from gridcast.forecasting.model import NETWORK, stand_ins_of
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import forecast_origins, stand_in_origins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.forecasting.calibration import Calibration
    from gridcast.forecasting.model import ForecastModel
    from gridcast.forecasting.rolling import RollingTable

V = TypeVar("V")
OLDEST_HOURS = 14 * 24  # since a region's newest hour; of an older one nothing is forecast
_SHOWN_HOURS = 168  # of each region's known ones
_REGIONS_AT_ONCE = 256  # of a model whose regions do not read one another


@dataclass(frozen=True, slots=True)
class IssuedRows:
    """A forecast as it is issued, a row a region and hour (see :func:`forecast_rows`).

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
    if model.config.model.neighbour_units:
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
    region_S = np.array([number_of[each.region] for each in wanted])
    makers = [
        maker_of(each.doubt, number, model.calibrations)
        for each, number in zip(wanted, region_S, strict=True)
    ]
    place_SH = np.array([each.stale_hours for each in wanted])[:, None] + np.arange(horizon)
    is_network_SH = place_SH < np.array([each.num_network_leads for each in makers])[:, None]
    load_mw_SH, offset_SHQ = _forecasts(
        model, table, np.array([last_of[each.region] for each in wanted]), region_S,
        np.where(is_network_SH, NETWORK, np.array([each.stand_in for each in makers])[:, None]),
        place_SH=place_SH, issue_time=issue_time,
    )  # fmt: skip
    quantiles = {
        quantile_column(level): load_mw_SH + offset_SHQ[..., number]
        for number, level in enumerate(model.calibrations[NETWORK].bands.level_Q)
    }
    names = [each.region for each in wanted]
    rows = forecast_rows(names, issue_time, load_mw_SH, quantiles)
    stand_ins = _repeated([each.stand_in for each in makers], horizon)
    reasons = _repeated([each.reason for each in makers], horizon)
    is_network = is_network_SH.reshape(-1)
    of_network = np.full(is_network.shape, "", dtype=object)
    last_S = np.array([last_of[each.region] for each in wanted])
    lacking_SK = table.covariates.why_unknown(
        region_S, table.issue_times(last_S).astype(np.int64), most
    )
    if lacking_SK is not None:
        of_network = np.take_along_axis(lacking_SK, place_SH, axis=1).reshape(-1)
    early_S = np.array([each.minutes_early for each in wanted])
    if early_S.any():  # hours that begin between two of the grid
        rows["timestamp"] -= pd.to_timedelta(np.repeat(early_S, horizon), unit="m")
    return rows.assign(
        fallback=stand_ins.mask(is_network, ""),
        fallback_reason=reasons.mask(is_network, pd.Series(of_network, dtype="str")),
    )


def _forecasts(
    model: ForecastModel,
    table: RollingTable,
    last_S: np.ndarray,
    region_S: np.ndarray,
    maker_SH: np.ndarray,
    *,
    place_SH: np.ndarray,
    issue_time: pd.Timestamp,
) -> tuple[np.ndarray, np.ndarray]:
    """MW at ``place_SH`` leads from the last steps on, each by its maker; how far quantiles lie.

    Hours between the last known one and the issue time are forecast too, and not told. The second
    array, ``(S, H, Q)``, is to be added to the forecast.
    """
    num_leads, horizon = int(place_SH.max()) + 1, place_SH.shape[1]
    ahead = issue_time + pd.to_timedelta(np.arange(horizon), unit="h")
    hour_H = ahead.tz_convert(model.config.ingestion.timezone).hour.to_numpy()
    load_mw_SH = np.empty(place_SH.shape)
    levels = model.calibrations[NETWORK].bands.level_Q
    offset_SHQ = np.empty((*place_SH.shape, len(levels)))
    for name in (NETWORK, *model.stand_ins):
        own = (maker_SH == name).any(axis=1)
        if not own.any():
            continue
        if name == NETWORK:
            load_mw_SK = forecast_origins(
                model.forecasters, table, last_S[own], model.config, num_leads=num_leads
            )
        else:
            load_mw_SK = stand_in_origins(
                table, last_S[own], name, model.linear, model.config, num_leads=num_leads
            )
        made_SH = np.take_along_axis(load_mw_SK, place_SH[own], axis=1)
        offset_SHQ_own = offsets(
            model.calibrations[name].bands, made_SH, region_B=region_S[own],
            lead_BK=place_SH[own] + 1, hour_BK=np.broadcast_to(hour_H, made_SH.shape),
        )  # fmt: skip
        is_own_SH = maker_SH[own] == name
        load_mw_SH[own] = np.where(is_own_SH, made_SH, load_mw_SH[own])
        offset_SHQ[own] = np.where(is_own_SH[..., None], offset_SHQ_own, offset_SHQ[own])
    return load_mw_SH, offset_SHQ


@dataclass(frozen=True, slots=True)
class Maker:
    """Who forecasts a region: the network its first leads, the stand-in the others, and why."""

    num_network_leads: float  # counted from the last known hour on; infinite: all
    stand_in: str
    reason: str


def maker_of(doubt: str, region: int, calibrations: Mapping[str, Calibration]) -> Maker:
    """By the errors on the validation part, or by the ``doubt`` in what is known (empty: none).

    One change from the network to a naive forecast, at the lead at which the sum of the errors is
    the least: a choice lead by lead would make a path of two by chance.
    """
    error_K = {name: each.error_RK[region] for name, each in calibrations.items()}
    stand_ins = stand_ins_of(calibrations)
    makers = [(*_best_change(error_K[NETWORK], error_K[name]), name) for name in stand_ins]
    _, num_leads, stand_in = min(makers, key=itemgetter(0))
    if doubt:
        stand_in = min(stand_ins, key=lambda name: _mean(error_K[name]))
        return Maker(0, stand_in, doubt)
    if num_leads == len(error_K[NETWORK]):
        return Maker(np.inf, stand_in, "")
    naive, network = _mean(error_K[stand_in][num_leads:]), _mean(error_K[NETWORK][num_leads:])
    since = f"from lead {num_leads + 1} on " if num_leads else ""
    reason = (
        f"{since}it is better than the network on the validation part "
        f"({naive:.2f} % against {network:.2f} %)"
    )
    return Maker(num_leads, stand_in, reason)


def _best_change(network_K: np.ndarray, naive_K: np.ndarray) -> tuple[float, int]:
    """The least sum of errors, and of how many first leads the network then makes the forecast.

    Of equal sums the most of the network; leads without a known error count nothing.
    """
    gain_K = np.nan_to_num(network_K - naive_K)
    sums = np.concatenate([[0.0], np.cumsum(gain_K)])
    num_leads = len(sums) - 1 - int(np.argmin(sums[::-1]))
    return float(np.nansum(naive_K) + sums[num_leads]), num_leads


def _mean(error_K: np.ndarray) -> float:
    """Of the known errors; infinite where there is none."""
    known = error_K[~np.isnan(error_K)]
    return float(known.mean()) if len(known) else float("inf")


def forecast_rows(
    regions: Sequence[str],
    issue_time: pd.Timestamp,
    load_mw_SH: np.ndarray,
    quantiles: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """One row a region and lead: ``region``, ``issue_time``, ``timestamp``, ``lead`` (h), MW.

    ``quantiles`` (MW) have the shape of ``load_mw_SH``.
    """
    num_regions, horizon = load_mw_SH.shape
    leads = np.tile(np.arange(1, horizon + 1), num_regions)
    return pd.DataFrame(
        {
            "region": _repeated(regions, horizon),
            "issue_time": issue_time,
            "timestamp": issue_time + pd.to_timedelta(leads - 1, unit="h"),
            "lead": leads,
            "load_mw": load_mw_SH.reshape(-1),
            **{name: each.reshape(-1) for name, each in quantiles.items()},
        }
    )


def _repeated(texts: Sequence[str], num: int) -> pd.Series[str]:
    """Each text ``num`` times."""
    return pd.Series(list(texts), dtype="str").repeat(num).reset_index(drop=True)
