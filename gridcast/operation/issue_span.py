"""Forecasts of many issue times at once: row for row those that would be issued one by one.

What is regular, all hours known up to the issue time, is forecast in one go, as a backtest does; an
issue time at which a region is late, or has a gap, is issued by itself.

Legend: ``N`` regions at issue times, ``K`` leads, ``Q`` quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.features.table import build_features
from gridcast.forecasting.bands import BandState
from gridcast.forecasting.hindcast import (
    Hindcast,
    bands_by_day,
    first_learned,
    forecast_contestants,
    hindcast,
    num_leads_of,
)
from gridcast.forecasting.issue import OLDEST_HOURS, forecast_regions
from gridcast.forecasting.makers import ToTell, makers_of, rows_by_maker
from gridcast.forecasting.model import NETWORK, Contestants, ForecastModel
from gridcast.forecasting.region_state import hours_back
from gridcast.forecasting.rolling import RollingTable, can_forecast, rolling_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gridcast.config import ForecastingConfig
    from gridcast.covariates.regional import RegionalInputs

_HOUR, _ONE_DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
_ORDER = ["issue_time", "number", "lead"]
_LATE, _REGULAR, _NOT = "late", "regular", "not"


def issue_span(
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    since: Mapping[str, str],
    asked: ForecastingConfig,
    *,
    issue_times: pd.DatetimeIndex,
) -> pd.DataFrame:
    """The rows of ``forecast_regions`` at each issue time, with the bands of its day.

    Args:
        model: as it was kept.
        readings: as published, by region; what comes after an issue time does not exist for it.
        since: the first hour of each region that the model was not trained on (ISO, UTC).
        asked: horizon, quantiles, how bands adapt.
        issue_times: full hours, UTC, ascending.
    """
    model = replace(model, config=model.config.model_copy(update={"forecasting": asked}))
    span = _Span.of(model, readings, since, issue_times)
    kind_IR, past = span.kinds(), span.past()
    regular = span.regular(kind_IR, past)
    tables = []
    for day, bands in span.bands(past, names=span.makers(kind_IR, past)):
        is_own_I = span.hour_I.astype("datetime64[D]") == day
        calibrations = {
            name: replace(each, bands=bands[name]) if name in bands else each
            for name, each in model.calibrations.items()
        }
        today = replace(model, calibrations=calibrations)
        tables.append(_regular_rows(today, regular.of(day), span.table.covariates))
        tables += span.late_rows(today, np.flatnonzero(is_own_I), kind_IR[is_own_I])
    some = [each for each in tables if len(each)]
    if not some:
        return pd.DataFrame()
    rows = pd.concat(some, ignore_index=True)
    number_of = {name: number for number, name in enumerate(model.regions)}
    rows = rows.assign(number=rows["region"].map(number_of)).sort_values(_ORDER, kind="stable")
    return rows.drop(columns="number").reset_index(drop=True)


@dataclass(frozen=True, slots=True)
class _Span:
    """What is known over the whole span, and the issue times (``I``) in it."""

    model: ForecastModel
    readings: Mapping[str, pd.DataFrame]
    since: Mapping[str, str]
    hour_I: np.ndarray  # datetime64[h], UTC
    frame: pd.DataFrame
    table: RollingTable

    @classmethod
    def of(
        cls,
        model: ForecastModel,
        readings: Mapping[str, pd.DataFrame],
        since: Mapping[str, str],
        issue_times: pd.DatetimeIndex,
    ) -> _Span:
        hour_I = issue_times.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[h]")
        own = model.config.forecasting
        back = np.timedelta64(hours_back(model.config) + num_leads_of(own), "h")
        first = first_learned(hour_I[0].astype("datetime64[D]"), own).astype("datetime64[h]") - back
        begin, end = (pd.Timestamp(each).tz_localize("UTC") for each in (first, hour_I[-1]))
        known = {
            name: each[(each["timestamp"] >= begin) & (each["timestamp"] < end)]
            for name, each in readings.items()
            if name in model.scales
        }
        some = {name: each for name, each in known.items() if len(each)}
        frame = build_features(
            some, model.config, covariates=model.covariates, scales=model.scales,
            regions=model.regions,
        ).frame  # fmt: skip
        table = rolling_table(
            frame, model.scales, model.config, num_leads=num_leads_of(own),
            covariates=model.covariates,
        )  # fmt: skip
        return cls(model, readings, since, hour_I, frame, table)

    def kinds(self) -> np.ndarray:
        """Of each issue time and region: forecast at once, by itself, or not at all, ``(I, R)``.

        Where regions read one another, all of an issue time are issued by themselves if one is
        late, or was lately: what the others see of it is not what is known of it afterwards.
        """
        kind_IR = np.full((len(self.hour_I), len(self.model.regions)), _NOT, dtype="U7")
        reads_others = self.model.reads_others
        reach = OLDEST_HOURS + (hours_back(self.model.config) if reads_others else 0)
        is_uneven_I = np.zeros(len(self.hour_I), dtype=bool)
        for number, name in enumerate(self.model.regions):
            if name not in self.readings:
                continue
            stale_I = self._stale_hours(name)
            is_regular_I = (stale_I == 0) & self._can_forecast(number)
            is_uneven_I |= (stale_I <= reach) & ~is_regular_I
            kind_IR[stale_I <= OLDEST_HOURS, number] = _LATE
            kind_IR[is_regular_I, number] = _REGULAR
        if reads_others:
            uneven_IR = kind_IR[is_uneven_I]
            kind_IR[is_uneven_I] = np.where(uneven_IR == _NOT, _NOT, _LATE)
        return kind_IR

    def _stale_hours(self, region: str) -> np.ndarray:
        """Hours between the region's newest known one and each issue time; very many without."""
        times = self.readings[region]["timestamp"].dt.tz_localize(None).to_numpy()
        hour_T = times.astype("datetime64[h]")
        place_I = np.searchsorted(hour_T, self.hour_I) - 1
        if not len(hour_T):
            return np.full(len(self.hour_I), np.iinfo(np.int64).max)
        stale_I = ((self.hour_I - hour_T[np.maximum(place_I, 0)]) / _HOUR).astype(np.int64) - 1
        return np.where(place_I < 0, np.iinfo(np.int64).max, stale_I)

    def _steps(self, number: int, hour_I: np.ndarray) -> np.ndarray:
        """The steps of a region after which these issue times begin; -1: the table has none."""
        own_T = np.flatnonzero(self.table.region_T == number)
        if not len(own_T):
            return np.full(len(hour_I), -1)
        issue_T = self.table.issue_times(own_T)
        place_I = np.minimum(np.searchsorted(issue_T, hour_I), len(own_T) - 1)
        return np.where(issue_T[place_I] == hour_I, own_T[place_I], -1)

    def _can_forecast(self, number: int) -> np.ndarray:
        step_I = self._steps(number, self.hour_I)
        lookback = self.model.config.windows.lookback
        known_I = can_forecast(self.table, np.maximum(step_I, 0), lookback=lookback)
        return np.asarray((step_I >= 0) & known_I)

    def past(self) -> Hindcast:
        """What would have been forecast in the weeks before, and in the span itself."""
        config = self.model.config
        first, last = (self.hour_I[place].astype("datetime64[D]") for place in (0, -1))
        return hindcast(
            self._contestants, self.table, self.frame, self.since, config,
            first=first_learned(first, config.forecasting), end=last + _ONE_DAY,
        )  # fmt: skip

    @property
    def _contestants(self) -> Contestants:
        if self.model.forecasters:
            return self.model.as_contestants(NETWORK)
        return Contestants({}, {}, self.model.linear)

    def makers(self, kind_IR: np.ndarray, past: Hindcast) -> list[str]:
        """Whose forecasts are told; where a region is late, it may be anybody's."""
        if (kind_IR == _LATE).any():
            return list(past.forecasts)
        horizon = self.model.config.forecasting.horizon
        makers = makers_of(self.model)
        told = {each.stand_in for each in makers if each.num_network_leads < horizon} | {NETWORK}
        return [name for name in past.forecasts if name in told]

    def bands(
        self, past: Hindcast, *, names: list[str]
    ) -> Iterator[tuple[np.datetime64, dict[str, BandState]]]:
        """Each day and what is in force in it; what has no error to learn from is left out."""
        config = self.model.config.forecasting
        first = self.hour_I[0].astype("datetime64[D]")
        by_day = {n: bands_by_day(past.errors(n), config, first=first) for n in names}
        for states in zip(*by_day.values(), strict=True):
            found = {
                name: state
                for name, state in zip(by_day, states, strict=True)
                if not np.isnan(state.scale_PRKH).all()
            }
            yield states[0].day, found

    def regular(self, kind_IR: np.ndarray, past: Hindcast) -> _Regular:
        """What each contestant says at the issue times and of the regions that are regular.

        Most of it is in ``past``; what was issued before the model was new to the truth is not.
        """
        place_N, region_N = np.nonzero(kind_IR == _REGULAR)
        hour_N = self.hour_I[place_N]
        step_N = np.zeros(len(place_N), dtype=np.int64)
        for number in np.unique(region_N):
            at = region_N == number
            step_N[at] = self._steps(int(number), hour_N[at])
        num_regions = len(self.model.regions)
        key_M = _keys(past.issue_time_N, past.region_N, num_regions)
        order_M = np.argsort(key_M)
        key_N = _keys(hour_N, region_N, num_regions)
        found_N = np.minimum(np.searchsorted(key_M[order_M], key_N), max(len(key_M) - 1, 0))
        is_past_N = np.zeros(len(key_N), dtype=bool)
        if len(key_M):
            is_past_N = key_M[order_M][found_N] == key_N
        horizon = self.model.config.forecasting.horizon
        lacking = forecast_contestants(
            self._contestants, self.table, step_N[~is_past_N], self.model.config
        )
        forecasts = {}
        for name, past_MK in past.forecasts.items():
            forecasts[name] = np.empty((len(step_N), horizon))
            if len(key_M):
                forecasts[name][is_past_N] = past_MK[order_M[found_N[is_past_N]], :horizon]
            forecasts[name][~is_past_N] = lacking[name][:, :horizon]
        return _Regular(hour_N, region_N, forecasts)

    def late_rows(
        self, today: ForecastModel, own: np.ndarray, kind_OR: np.ndarray
    ) -> Iterator[pd.DataFrame]:
        """Those of the other regions, an issue time after the other."""
        own_config = today.config.forecasting
        for place in np.flatnonzero((kind_OR == _LATE).any(axis=1)):
            late = [today.regions[n] for n in np.flatnonzero(kind_OR[place] == _LATE)]
            issue_time = pd.Timestamp(self.hour_I[own[place]]).tz_localize("UTC")
            yield forecast_regions(
                today, self.readings, issue_time=issue_time, horizon=own_config.horizon,
                max_stale_hours=own_config.max_stale_hours, regions=late,
            ).rows  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Regular:
    """Issue times and regions (``N``) that are forecast at once, and what contestants say (MW)."""

    hour_N: np.ndarray
    region_N: np.ndarray
    forecasts: Mapping[str, np.ndarray]  # (N, K)

    def of(self, day: np.datetime64) -> _Regular:
        """Those of one day."""
        at = self.hour_N.astype("datetime64[D]") == day
        own = {name: each[at] for name, each in self.forecasts.items()}
        return _Regular(self.hour_N[at], self.region_N[at], own)


def _keys(hour_N: np.ndarray, region_N: np.ndarray, num_regions: int) -> np.ndarray:
    """A number an issue time and region."""
    return np.asarray(hour_N.astype("datetime64[h]").astype(np.int64) * num_regions + region_N)


def _regular_rows(today: ForecastModel, own: _Regular, covariates: RegionalInputs) -> pd.DataFrame:
    """The rows of one day, each region's by whoever forecasts it, with the bands of the day."""
    if not len(own.hour_N):
        return pd.DataFrame()
    makers = makers_of(today)
    horizon = today.config.forecasting.horizon
    asked = ToTell(
        region_N=own.region_N,
        issue_N=own.hour_N,
        place_NH=np.broadcast_to(np.arange(horizon), (len(own.hour_N), horizon)),
        makers=[makers[region] for region in own.region_N],
        lacking_NH=covariates.why_unknown(own.region_N, own.hour_N.astype(np.int64), horizon),
    )
    return rows_by_maker(today, asked, lambda name, at: own.forecasts[name][at])
