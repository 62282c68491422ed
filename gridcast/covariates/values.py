"""A region's covariates, and what had been known of them at an instant.

A value has an hour, and may have an issue time: a forecast of Monday's temperature that was issued
on Sunday is another value than that of Saturday. Of an hour that value is known at an instant which
was issued last by then; what was issued later does not exist.

Legend: ``N`` values, ``Q`` questions (of any shape).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME, ISSUED = "timestamp", "issued"
_MINUTES = 60
AsKnown = Literal["issued", "observed"]
ALWAYS = pd.Timestamp("1970-01-01", tz="UTC")  # issued so early that it is known of whatever hour


@dataclass(frozen=True, slots=True)
class Covariates:
    """The values of one region.

    ``frame`` has ``timestamp`` (start of the hour, UTC), ``issued`` (UTC; NaT: nobody says when)
    and a column a covariate (float64; NaN: no value), sorted by both times, each pair of them once.
    """

    frame: pd.DataFrame

    def known_by(self, end: pd.Timestamp, as_known: AsKnown, *, hours_ahead: int) -> Covariates:
        """What has a say in forecasts that are issued until ``end`` (UTC) so many hours ahead."""
        time, issued = self.frame[TIME], self.frame[ISSUED]
        last = end + pd.Timedelta(hours=hours_ahead) if as_known == "observed" else end
        is_known = (issued <= end) | (issued.isna() & (time < last))
        return Covariates(self.frame[is_known].reset_index(drop=True))


def sorted_covariates(frame: pd.DataFrame) -> Covariates:
    """Of rows in any order."""
    ordered = frame.sort_values([TIME, ISSUED], na_position="first", kind="stable")
    return Covariates(ordered.reset_index(drop=True))


@dataclass(frozen=True, slots=True)
class KnownValues:
    """The values of one covariate, each from the instant on at which it was known.

    ``key_N`` ascends: hour (since 1970) times ``span``, plus the minute since which it is known,
    counted from ``first_minute``; 0: always. ``always_G``: of values that are all known always, one
    an hour from ``first_hour`` on.
    """

    hour_N: np.ndarray
    key_N: np.ndarray
    value_N: np.ndarray
    first_minute: int
    span: int
    first_hour: int = 0
    always_G: np.ndarray | None = None

    def at(self, hour_Q: np.ndarray, issue_Q: np.ndarray) -> np.ndarray:
        """What had been known of the hours at full hours (both since 1970, UTC); NaN: nothing."""
        hour_Q, issue_Q = np.broadcast_arrays(hour_Q, issue_Q)
        if self.always_G is not None:
            place_Q = hour_Q - self.first_hour
            is_there_Q = (place_Q >= 0) & (place_Q < len(self.always_G))
            return np.where(is_there_Q, self.always_G[np.where(is_there_Q, place_Q, 0)], np.nan)
        minute_Q = np.clip(issue_Q * _MINUTES - self.first_minute + 1, 0, self.span - 1)
        place_Q = np.searchsorted(self.key_N, hour_Q * self.span + minute_Q, side="right") - 1
        place_Q = np.maximum(place_Q, 0)
        is_there_Q = (self.hour_N[place_Q] == hour_Q) & (
            self.key_N[place_Q] <= hour_Q * self.span + minute_Q
        )
        return np.where(is_there_Q, self.value_N[place_Q], np.nan)

    def without(self, is_hidden_N: np.ndarray) -> KnownValues:
        """The same as if nobody had ever known some of the values."""
        kept = ~is_hidden_N
        return _known(self.hour_N[kept], (self.key_N - self.hour_N * self.span)[kept],
                      self.value_N[kept], self.first_minute, self.span)  # fmt: skip


def known_values(
    covariates: Covariates | None, names: Sequence[str], as_known: AsKnown
) -> dict[str, KnownValues]:
    """Of each covariate what was known when.

    A value without an issue time is known once its hour is over (``issued``), or always
    (``observed``), as if it had been forecast without an error.
    """
    if covariates is None:
        nothing = np.zeros(0, dtype=np.int64)
        return {name: _known(nothing, nothing, np.zeros(0), 0, 1) for name in names}
    return {name: _known_values(covariates.frame, name, as_known) for name in names}


def _known_values(frame: pd.DataFrame, name: str, as_known: AsKnown) -> KnownValues:
    if name not in frame.columns:
        frame = frame.assign(**{name: np.nan})
    own = frame[frame[name].notna()]
    start, issued = own[TIME], own[ISSUED]
    hour_N = hours_of(start)
    minute_N = _minutes_of(issued.dt.ceil("min").fillna(start + pd.Timedelta(hours=1)))
    first = int(minute_N.min(initial=0 if len(minute_N) == 0 else minute_N[0]))
    rank_N = minute_N - first + 1
    if as_known == "observed":
        rank_N = np.where(issued.isna(), 0, rank_N)
    order_N = np.lexsort((rank_N, hour_N))
    span = int(rank_N.max(initial=0)) + 2
    value_N = own[name].to_numpy(dtype=float)
    return _known(hour_N[order_N], rank_N[order_N], value_N[order_N], first, span)


def _known(
    hour_N: np.ndarray, rank_N: np.ndarray, value_N: np.ndarray, first_minute: int, span: int
) -> KnownValues:
    """From values by hour and rank (the minute, from 1 on; 0: always), in the order of both."""
    key_N = hour_N * span + rank_N
    if rank_N.any():
        return KnownValues(hour_N, key_N, value_N, first_minute, span)
    first = int(hour_N[0]) if len(hour_N) else 0
    always_G = np.full(int(hour_N[-1]) - first + 1 if len(hour_N) else 1, np.nan)
    always_G[hour_N - first] = value_N
    return KnownValues(hour_N, key_N, value_N, first_minute, span, first, always_G)


def hours_of(times: pd.Series[pd.Timestamp]) -> np.ndarray:
    """The hours of the grid (since 1970) at which hours lie that begin then; as ``grid_hours``."""
    hours: np.ndarray = times.dt.ceil("h").dt.tz_localize(None).to_numpy().astype("datetime64[h]")
    return hours.astype(np.int64)


def _minutes_of(times: pd.Series[pd.Timestamp]) -> np.ndarray:
    minutes: np.ndarray = times.dt.tz_localize(None).to_numpy().astype("datetime64[m]")
    return minutes.astype(np.int64)
