"""Forecasts from many origins of a table: of an issue, of a calibration, of a backtest.

A network reads from ``lookback`` hours before 00:00 UTC of the issue's day on. So the issues of a
day share what is read before it, and whether they are made hour by hour or all at once is no
difference.

Legend: ``T`` steps of all regions, ``G`` hours, ``Z`` calendars, ``C`` their features, ``F`` all
features, ``W`` signals of all regions, ``R`` regions, ``B`` days of regions, ``O`` origins of a
day, ``K`` leads, ``L`` steps that are read.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from gridcast.baselines.linear_inputs import Grid
from gridcast.baselines.linear_models import LEADS, KnownHours, LinearModels, pass_ends, passes_of
from gridcast.baselines.naive_forecasts import naive_forecasts
from gridcast.config import FeaturesConfig
from gridcast.covariates.inputs import names_past
from gridcast.covariates.regional import RegionalInputs
from gridcast.features.columns import calendar_columns, feature_columns
from gridcast.features.grid_hours import grid_hours, local_hours_from
from gridcast.features.neighbours import signals_of
from gridcast.features.table import calendar_features, calendar_kind, names_of_features
from gridcast.forecasting.recursion import (
    Known,
    forecast_leads,
    steps_of_calendar,
    steps_of_load,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.features.load_scale import LoadScale
    from gridcast.networks.building import Forecaster

_HOUR = pd.Timedelta(hours=1)
_DAY = 24
_ORIGINS_AT_ONCE = 2048
_DAYS_AT_ONCE = 512  # of regions: memory does not grow with their number


@dataclass(frozen=True, slots=True)
class RollingTable:
    """A table's steps and all that is known of the hours on both sides of them.

    ``hour_T`` counts the hours from the table's first one; the calendar begins as far before it as
    the features look back, and goes on to ``num_leads`` after the last.
    """

    timestamp_T: np.ndarray  # datetime64[h], UTC, hour of the grid
    region_T: np.ndarray  # number of the region
    first_T: np.ndarray  # first step of the step's region
    hour_T: np.ndarray
    x_TF: np.ndarray
    load_T: np.ndarray  # scaled; NaN where it is no input
    calendar_ZGC: np.ndarray  # of the hour after each hour, as the step's features have it
    calendar_R: np.ndarray  # which of these calendars is that of a region
    timezones: tuple[str, ...]  # of the calendars
    signals_GW: np.ndarray | None
    covariates: RegionalInputs
    offset_mw_R: np.ndarray
    scale_mw_R: np.ndarray

    def last_steps(self) -> np.ndarray:
        """The last step of each region that it has, in their order."""
        return np.append(np.unique(self.first_T)[1:], len(self.first_T)) - 1

    def issue_times(self, step_N: np.ndarray | slice) -> np.ndarray:
        """When one issues who knows no later step than these: datetime64[h], UTC."""
        return np.asarray(self.timestamp_T[step_N].astype("datetime64[h]") + np.timedelta64(1, "h"))

    def grid(self) -> Grid:
        """The loads of all regions on one grid of hours."""
        shape = int(self.hour_T.max(initial=-1)) + 1, len(self.scale_mw_R)
        load_GR = np.full(shape, np.nan, np.float32)
        load_GR[self.hour_T, self.region_T] = self.load_T
        return Grid(load_GR, self.hour_T)

    def issue_hours(self, step_N: np.ndarray) -> np.ndarray:
        """The same as hours of the day, 0 to 23."""
        return np.asarray(self.issue_times(step_N).astype(np.int64) % _DAY)


def rolling_table(
    frame: pd.DataFrame,
    scales: Mapping[str, LoadScale],
    config: Config,
    *,
    num_leads: int,
    covariates: Mapping[str, Covariates] | None = None,
) -> RollingTable:
    """Of rows of ``FeatureTable.frame``, whose ``region`` knows all regions of ``scales``."""
    region_T = frame["region"].cat.codes.to_numpy()
    timestamp_T = grid_hours(frame["timestamp"].dt.tz_localize(None).to_numpy())
    hours_T = timestamp_T.astype(np.int64)
    regions = [str(each) for each in frame["region"].cat.categories]
    begins = np.flatnonzero(np.diff(region_T, prepend=-1))
    names = feature_columns(frame.columns)
    offset_R, scale_R = scale_arrays([scales[each] for each in regions])
    input_T = np.where(frame["is_input"], frame["input_mw"], np.nan).astype(float)
    num_hours = int(np.ptp(hours_T)) + 1 + hours_of_calendar(config, num_leads=num_leads)
    return RollingTable(
        timestamp_T=timestamp_T,
        region_T=region_T.astype(np.int64),
        first_T=np.repeat(begins, np.diff(begins, append=len(frame))),
        hour_T=hours_T - hours_T.min(),
        x_TF=frame[names].to_numpy(dtype=np.float32),
        load_T=(input_T - offset_R[region_T]) / scale_R[region_T],
        calendar_ZGC=calendars_of(timestamp_T.min(), num_hours, names, config, regions),
        calendar_R=calendar_numbers(config, regions),
        timezones=timezones_of(config, regions),
        signals_GW=signals_of(frame).values_GW if config.model.neighbour_units else None,
        covariates=RegionalInputs.of(covariates or {}, scales, config.covariates),
        offset_mw_R=offset_R,
        scale_mw_R=scale_R,
    )


def hours_of_calendar(config: Config, *, num_leads: int) -> int:
    """Hours after the last one of which a network or linear models want the calendar."""
    return max(steps_of_calendar(config, num_leads=num_leads), LEADS * passes_of(num_leads))


def scale_arrays(scales: Iterable[LoadScale]) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale (MW) of each, ``(R,)``."""
    both_R2 = np.array([(each.offset_mw, each.scale_mw) for each in scales])
    return both_R2[:, 0], both_R2[:, 1]


def calendar_numbers(config: Config, regions: Sequence[str]) -> np.ndarray:
    """The number of each region's calendar: those of one zone and place share one."""
    kinds = [calendar_kind(config, region) for region in regions]
    known = list(dict.fromkeys(kinds))
    return np.array([known.index(kind) for kind in kinds], dtype=np.int64)


def timezones_of(config: Config, regions: Sequence[str]) -> tuple[str, ...]:
    """The zone of each calendar, as :func:`calendar_numbers` counts them."""
    kinds = dict.fromkeys(calendar_kind(config, region) for region in regions)
    return tuple(timezone for timezone, _ in kinds)


def calendars_of(
    first: np.datetime64,
    num_hours: int,
    names: Sequence[str],
    config: Config,
    regions: Sequence[str],
) -> np.ndarray:
    """The calendars of all regions, each once, ``(Z, G, C)``, numbered as by calendar_numbers."""
    kinds = dict.fromkeys(calendar_kind(config, region) for region in regions)
    return np.stack([_calendar_of(first, num_hours, names, config, *kind) for kind in kinds])


def _calendar_of(
    first: np.datetime64,
    num_hours: int,
    names: Sequence[str],
    config: Config,
    timezone: str,
    holidays: str | None,
) -> np.ndarray:
    """The calendar's features of ``num_hours`` steps from ``first`` (UTC) on, ``(G, C)``."""
    begin = first.astype("datetime64[h]")
    first_year, last_year = (
        int(str(hour)[:4]) for hour in (begin, begin + np.timedelta64(num_hours - 1, "h"))
    )
    features = config.features.model_dump_json()
    years = range(first_year, last_year + 1)
    whole = [_calendar_year(year, tuple(names), features, timezone, holidays) for year in years]
    skipped = int((begin - np.datetime64(str(first_year), "h")).astype(np.int64))
    return np.concatenate(whole)[skipped : skipped + num_hours]


@lru_cache(maxsize=128)  # of a server that is asked again and again
def _calendar_year(
    year: int, names: tuple[str, ...], features: str, timezone: str, holidays: str | None
) -> np.ndarray:
    """All steps of a year (UTC); ``features`` is the section as JSON."""
    config = FeaturesConfig.model_validate_json(features)
    back = max(config.lags_hours, default=0)
    begin, end = (pd.Timestamp(f"{each}-01-01", tz="UTC") for each in (year, year + 1))
    hours = pd.date_range(begin - back * _HOUR, end, freq="h", inclusive="left")
    local = pd.Series((hours + _HOUR).tz_convert(timezone))
    found = calendar_features(local, config, holidays=holidays)
    columns = [found[names[place]] for place in calendar_columns(names)]
    if not columns:
        return np.zeros((len(hours) - back, 0), np.float32)
    return np.stack(columns, axis=1)[back:].astype(np.float32)


def can_forecast(table: RollingTable, step_B: np.ndarray, *, lookback: int) -> np.ndarray:
    """Whether all hours that a network reads up to each step are known inputs of its region."""
    begin_B = step_B - table.issue_hours(step_B) - lookback + 1
    num_unknown = np.concatenate([[0], np.cumsum(np.isnan(table.load_T))])
    is_inside_B = begin_B >= table.first_T[step_B]
    gaps_B = num_unknown[step_B + 1] - num_unknown[np.maximum(begin_B, 0)]
    return np.asarray(is_inside_B & (gaps_B == 0))


def forecast_origins(
    forecasters: Sequence[Forecaster],
    table: RollingTable,
    step_N: np.ndarray,
    config: Config,
    *,
    num_leads: int,
) -> np.ndarray:
    """The mean of the forecasters' forecasts (MW) from each of ``N`` steps, shape ``(N, K)``.

    All of them :func:`can_forecast`. Steps of one region and day are forecast from in one go.
    """
    hour_N = table.issue_hours(step_N)
    found_NK = np.empty((len(step_N), num_leads))
    with _one_thread():
        for origins, place_DO in _days_alike(step_N - hour_N, hour_N):
            for first in range(0, len(place_DO), _DAYS_AT_ONCE):
                place_BO = place_DO[first : first + _DAYS_AT_ONCE]
                day_B = step_N[place_BO[:, 0]] - origins[0]
                found_NK[place_BO] = _forecast_days(
                    forecasters, table, day_B, origins, config, num_leads=num_leads
                )
    return found_NK


@contextmanager
def _one_thread() -> Iterator[None]:
    """One step of some hundred series is too small to share: other threads would only spin."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _days_alike(day_N: np.ndarray, hour_N: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Days with the same hours (``O``), and the places of their origins, ``(D, O)``.

    Where nearly each day has hours of its own, each hour is taken by itself.
    """
    days_D, day_N = np.unique(day_N, return_inverse=True)
    place_DH = np.full((len(days_D), _DAY), -1)
    place_DH[day_N, hour_N] = np.arange(len(hour_N))
    patterns, pattern_D = np.unique(place_DH >= 0, axis=0, return_inverse=True)
    if len(patterns) > _DAY:
        return [
            (np.array([hour]), place_DH[place_DH[:, hour] >= 0][:, [hour]])
            for hour in range(_DAY)
            if (place_DH[:, hour] >= 0).any()
        ]
    return [
        (np.flatnonzero(pattern), place_DH[pattern_D.reshape(-1) == number][:, pattern])
        for number, pattern in enumerate(patterns)
    ]


def _forecast_days(
    forecasters: Sequence[Forecaster],
    table: RollingTable,
    day_B: np.ndarray,
    origins: np.ndarray,
    config: Config,
    *,
    num_leads: int,
) -> np.ndarray:
    """In MW, ``(B, O, K)``; ``day_B`` are the steps after which the days begin (UTC)."""
    lookback = config.windows.lookback
    steps_BL = day_B[:, None] + np.arange(1 - lookback, origins[-1] + 1)
    back = steps_of_load(config) - 1 - origins[0]  # steps of the load before the day's first
    steps_BT = day_B[:, None] + np.arange(-back, origins[-1] + 1)
    load_BT = table.load_T[np.maximum(steps_BT, 0)]
    load_BT[steps_BT < table.first_T[day_B][:, None]] = np.nan
    num_ahead = origins[-1] - origins[0] + steps_of_calendar(config, num_leads=num_leads)
    hours_BS = table.hour_T[day_B][:, None] + origins[0] + np.arange(num_ahead)
    signals_BLW = None
    if table.signals_GW is not None:
        signals_BLW = table.signals_GW[table.hour_T[steps_BL]]
    region_B = table.region_T[day_B]
    calendar_BSC = table.calendar_ZGC[table.calendar_R[region_B][:, None], hours_BS]
    num_steps = steps_of_calendar(config, num_leads=num_leads)
    issue_BO = table.issue_times(day_B).astype(np.int64)[:, None] + origins
    known = Known(
        table.x_TF[steps_BL], load_BT, calendar_BSC,
        table.covariates.ahead(region_B, issue_BO, num_steps), region_B, signals_BLW,
        tuple(int(each) + lookback - 1 for each in origins), len(names_past(config.covariates)),
    )  # fmt: skip
    each = [forecast_leads(one, known, config, num_leads=num_leads) for one in forecasters]
    scale_B, offset_B = table.scale_mw_R[region_B], table.offset_mw_R[region_B]
    return np.asarray(np.mean(each, axis=0) * scale_B[:, None, None] + offset_B[:, None, None])


def stand_in_origins(
    table: RollingTable,
    step_N: np.ndarray,
    kind: str,
    linear: Mapping[str, LinearModels],
    config: Config,
    *,
    num_leads: int,
) -> np.ndarray:
    """A forecast (MW) from each of ``N`` steps without a network, shape ``(N, K)``.

    ``kind``: one of ``linear``, or the name of a naive forecast.
    """
    if kind not in linear:
        return naive_origins(table, step_N, kind, num_leads=num_leads)
    own, found = linear[kind], [np.zeros((0, num_leads))]
    grid = table.grid() if own.reads_neighbours else None
    for first in range(0, len(step_N), _ORIGINS_AT_ONCE):
        some = step_N[first : first + _ORIGINS_AT_ONCE]
        known = _known_hours(table, some, own, config, num_leads=num_leads, grid=grid)
        scale_N1, offset_N1 = (
            each[known.region_N][:, None] for each in (table.scale_mw_R, table.offset_mw_R)
        )
        found.append(own.forecast(known, num_leads=num_leads) * scale_N1 + offset_N1)
    return np.concatenate(found)


def _known_hours(
    table: RollingTable,
    step_N: np.ndarray,
    linear: LinearModels,
    config: Config,
    *,
    num_leads: int,
    grid: Grid | None,
) -> KnownHours:
    """What linear models are told of some steps; of hours beyond the calendar no holiday."""
    names = feature_columns_of_calendar(config)
    columns = [names.index(name) for name in linear.calendar]
    region_N, issue_N = table.region_T[step_N], table.issue_times(step_N)
    zone_N, num_hours = table.calendar_R[region_N], LEADS * passes_of(num_leads)
    hour_NJ = np.empty((len(step_N), passes_of(num_leads)), "int64")
    for number in np.unique(zone_N):
        own = zone_N == number
        hours_NK = local_hours_from(issue_N[own], num_hours, table.timezones[number])
        hour_NJ[own] = hours_NK[:, ::LEADS]
    end_NJ = table.hour_T[step_N][:, None] + pass_ends(num_leads)
    last = table.calendar_ZGC.shape[1] - 1
    calendar_NJV = table.calendar_ZGC[zone_N[:, None], np.minimum(end_NJ, last)][..., columns]
    ahead_NKC = table.covariates.ahead(region_N, issue_N.astype(np.int64)[:, None], num_hours)
    return KnownHours(
        load_T=table.load_T,
        step_N=step_N,
        first_N=table.first_T[step_N],
        region_N=region_N,
        calendar_NJV=np.where((end_NJ <= last)[..., None], calendar_NJV, 0.0),
        hour_NJ=hour_NJ,
        ahead_NKC=ahead_NKC[:, 0],
        grid=grid,
    )


def feature_columns_of_calendar(config: Config) -> list[str]:
    """The names of a table's ``calendar_ZGC``."""
    names = names_of_features(config.features, config.covariates)
    return [names[place] for place in calendar_columns(names)]


def naive_origins(
    table: RollingTable, step_N: np.ndarray, kind: str, *, num_leads: int
) -> np.ndarray:
    """A naive forecast (MW) from each of ``N`` steps, shape ``(N, K)``."""
    ahead_NK = np.broadcast_to(np.arange(1, num_leads + 1), (len(step_N), num_leads))
    label_NK = step_N[:, None] + ahead_NK
    scaled_NK = naive_forecasts(
        table.load_T, table.region_T, label_NK.reshape(-1), ahead_NK.reshape(-1)
    )[kind].reshape(ahead_NK.shape)
    region_N1 = table.region_T[step_N][:, None]
    return np.asarray(scaled_NK * table.scale_mw_R[region_N1] + table.offset_mw_R[region_N1])
