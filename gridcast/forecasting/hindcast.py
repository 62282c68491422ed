"""How wrong forecasts of the past weeks were, and the bands of a day that come of it.

The bands of a day (UTC) are made of the errors of the last weeks alone: from ``bands.learn_days``
before the Monday of its week on. So they can be made again for any day, whatever was made before,
and what is lived through hour by hour is what is computed at once.

Legend: ``T`` steps, ``N`` origins, ``K`` leads, ``R`` regions, ``D`` days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.forecasting.bands import first_state, next_day
from gridcast.forecasting.error_days import ErrorDays, error_days
from gridcast.forecasting.rolling import (
    RollingTable,
    can_forecast,
    forecast_origins,
    stand_in_origins,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gridcast.config import Config, ForecastingConfig
    from gridcast.forecasting.bands import BandState
    from gridcast.forecasting.model import Contestants

_ONE_DAY = np.timedelta64(1, "D")
_MONDAY = np.datetime64("1970-01-05", "D")


def week_of(day: np.datetime64) -> np.datetime64:
    """The Monday of a day's week.

    >>> str(week_of(np.datetime64("2018-08-05"))), str(week_of(np.datetime64("2018-08-06")))
    ('2018-07-30', '2018-08-06')
    """
    return day - (day - _MONDAY) % np.timedelta64(7, "D")


def first_learned(day: np.datetime64, config: ForecastingConfig) -> np.datetime64:
    """The day from which on errors have a say in the bands of ``day``."""
    return week_of(day) - np.timedelta64(config.bands.learn_days, "D")


def unseen_since(frame: pd.DataFrame, *, first_part: int) -> dict[str, str]:
    """The first hour (ISO, UTC) of each region that is a label of ``first_part`` or a later one.

    Of what comes before a network has been told the truth. A region without any is left out.
    """
    later = frame[frame["part"] >= first_part].groupby("region", observed=True)["timestamp"].min()
    return {str(region): time.ceil("h").isoformat() for region, time in later.items()}


@dataclass(frozen=True, slots=True)
class Hindcast:
    """What contestants would have said at ``N`` issue times, and the truth where it is known.

    ``issue_time_N`` is UTC, ``region_N`` the number of the region; MW.
    """

    issue_time_N: np.ndarray
    region_N: np.ndarray
    truth_NK: np.ndarray  # NaN: not known
    forecasts: Mapping[str, np.ndarray]  # by contestant, (N, K)
    first: np.datetime64
    num_days: int
    num_regions: int
    timezone: str
    minutes_early_R: np.ndarray  # a region's hours begin so long before the grid's

    def errors(self, name: str) -> ErrorDays:
        """Those of a contestant, by the day on which they became known."""
        return error_days(
            self.issue_time_N, self.region_N, self.forecasts[name], self.truth_NK,
            num_regions=self.num_regions, timezone=self.timezone,
            first_day=self.first, num_days=self.num_days,
        )  # fmt: skip


def hindcast(
    contestants: Contestants,
    table: RollingTable,
    frame: pd.DataFrame,
    since: Mapping[str, str],
    config: Config,
    *,
    first: np.datetime64,
    end: np.datetime64,
) -> Hindcast:
    """All forecasts of hours on the days from ``first`` to before ``end`` (UTC), from every hour.

    Args:
        contestants: who is asked; what may stand in comes beside the means.
        table: of ``frame``, with the leads of :func:`num_leads_of`.
        frame: rows of ``FeatureTable.frame``.
        since: see :func:`unseen_since`; what was issued before counts nothing.
        config: of the model.
        first: a day.
        end: a day; the truth of later hours is not known.
    """
    num_leads = num_leads_of(config.forecasting)
    stop = _hour_of(end)
    regions = list(map(str, frame["region"].cat.categories))
    step_N = _origins(table, since, regions, config, first=_hour_of(first), stop=stop)
    issue_N = table.issue_times(step_N)
    return Hindcast(
        issue_time_N=issue_N,
        region_N=table.region_T[step_N],
        truth_NK=_truth(table, frame, step_N, issue_N, num_leads=num_leads, stop=stop),
        forecasts=forecast_contestants(contestants, table, step_N, config),
        first=first,
        num_days=int((end - first) / _ONE_DAY),
        num_regions=len(regions),
        timezone=config.ingestion.timezone,
        minutes_early_R=_minutes_early(frame),
    )


def _minutes_early(frame: pd.DataFrame) -> np.ndarray:
    """How long before an hour of the grid a region's hours begin (minutes)."""
    firsts = frame.groupby("region", observed=False)["timestamp"].min().dt.tz_localize(None)
    early = (firsts.dt.ceil("h") - firsts).fillna(pd.Timedelta(0))
    return np.asarray(early.dt.total_seconds().to_numpy().astype(np.int64) // 60)


def forecast_contestants(
    contestants: Contestants, table: RollingTable, step_N: np.ndarray, config: Config
) -> dict[str, np.ndarray]:
    """MW from each of ``N`` steps, ``(N, K)``, by contestant, the stand-ins last.

    A network is asked once, in however many means it is; see :func:`hindcast`.
    """
    num_leads = num_leads_of(config.forecasting)
    by_network = {
        name: forecast_origins([each], table, step_N, config, num_leads=num_leads)
        for name, each in contestants.networks.items()
    }
    stand_ins = {
        kind: stand_in_origins(table, step_N, kind, contestants.linear, config, num_leads=num_leads)
        for kind in contestants.stand_ins
    }
    means = {
        name: np.mean([by_network[each] for each in own], axis=0)
        for name, own in contestants.members.items()
    }
    for name, blend in contestants.blends.items():
        means[name] = blend.of(means[name], stand_ins[blend.linear])
    return means | stand_ins


def _origins(
    table: RollingTable,
    since: Mapping[str, str],
    regions: Sequence[str],
    config: Config,
    *,
    first: int,
    stop: int,
) -> np.ndarray:
    """Steps from which an hour from ``first`` to before ``stop`` (since 1970) was forecast."""
    since_R = np.array([_hour_of(np.datetime64(since[name][:13])) if name in since else stop
                        for name in regions])  # fmt: skip
    issue_T = table.issue_times(slice(None)).astype(np.int64)
    is_wanted_T = (issue_T > first - num_leads_of(config.forecasting)) & (issue_T < stop)
    step_N = np.flatnonzero(is_wanted_T & (issue_T >= since_R[table.region_T]))
    return np.asarray(step_N[can_forecast(table, step_N, lookback=config.windows.lookback)])


def _hour_of(time: np.datetime64) -> int:
    return int(time.astype("datetime64[h]").astype(np.int64))


def num_leads_of(config: ForecastingConfig) -> int:
    """Leads of which errors are learned: a late region is forecast from its last hour on."""
    return config.horizon + config.max_stale_hours


def _truth(
    table: RollingTable,
    frame: pd.DataFrame,
    step_N: np.ndarray,
    issue_N: np.ndarray,
    *,
    num_leads: int,
    stop: int,
) -> np.ndarray:
    """The loads that had been read by the hour ``stop``, MW ``(N, K)``; NaN: not known."""
    read_T = frame["load_mw"].mask(frame["is_imputed"]).to_numpy(dtype=float)
    label_NK = step_N[:, None] + np.arange(1, num_leads + 1)
    is_own_NK = label_NK < len(frame)
    label_NK = np.minimum(label_NK, len(frame) - 1)
    is_own_NK &= table.region_T[label_NK] == table.region_T[step_N][:, None]
    hour_N = issue_N.astype(np.int64)
    is_own_NK &= hour_N[:, None] + np.arange(num_leads) < stop
    return np.where(is_own_NK, read_T[label_NK], np.nan)


def bands_on(
    past: Hindcast, config: ForecastingConfig, *, begun: Mapping[str, BandState] | None = None
) -> dict[str, BandState]:
    """The bands on the day after the last one of ``past``, of each contestant by its name.

    Args:
        past: from :func:`first_learned` of that day on, or from the day of ``begun`` on.
        config: of the bands.
        begun: those of an earlier day of the same week, which are lived on from; the same comes of
            it as without.
    """
    return {
        name: _bands_after(past.errors(name), config, begun=begun[name] if begun else None)
        for name in past.forecasts
    }


def bands_by_day(
    errors: ErrorDays, config: ForecastingConfig, *, first: np.datetime64
) -> Iterator[BandState]:
    """The bands of each day from ``first`` to the last one with errors, as they are made live.

    ``errors`` go back to :func:`first_learned` of ``first``.
    """
    state = None
    for number in range(int((first - errors.first_day) / _ONE_DAY), len(errors)):
        day = errors.first_day + number * _ONE_DAY
        if state is None or day == week_of(day):
            state = _bands_after(errors.between(0, number), config)
        yield state
        state = _bands_after(errors.between(number, number + 1), config, begun=state)


def _bands_after(
    errors: ErrorDays, config: ForecastingConfig, *, begun: BandState | None = None
) -> BandState:
    """The bands on the day after the last one of ``errors``, lived on from ``begun``.

    Without it they begin with what was learned before the week of that day.
    """
    if begun is None:
        day = errors.first_day + len(errors) * _ONE_DAY
        learned, week = (max(0, int((each - errors.first_day) / _ONE_DAY))
                         for each in (first_learned(day, config), week_of(day)))  # fmt: skip
        begun = first_state(errors.between(learned, week), config.quantiles, config.bands)
        errors = errors.between(week, len(errors))
    for each in errors:
        begun = next_day(begun, each, config.bands)
    return begun
