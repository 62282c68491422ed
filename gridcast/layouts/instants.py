"""Labels → the instant at which each interval begins (UTC), of one region.

Legend: ``N`` rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from gridcast.config.layout import OFFSET

if TYPE_CHECKING:
    from gridcast.config import RegionIngestion

_MINUTE: Final = np.timedelta64(60, "s")
_DAY: Final = np.timedelta64(86400, "s")
_NAT: Final = np.datetime64("NaT", "s")


@dataclass(frozen=True, slots=True)
class RowLabels:
    """What the rows of a region say of their time, in the order of the file.

    ``label_N`` (``datetime64[s]``, none NaT), ``offset_N`` (s, NaN: none told), ``is_second_N`` (by
    a mark), ``is_winter_N`` (None: no column tells it), ``period_N`` (None: no such column).
    """

    label_N: np.ndarray
    offset_N: np.ndarray
    is_second_N: np.ndarray
    is_winter_N: np.ndarray | None = None
    period_N: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Instants:
    """When intervals begin (``datetime64[s]``, UTC; NaT with one of the masks), and why not.

    ``is_off_step_N``: the label is no full step; ``is_never_N``: no clock of the zone showed it;
    ``is_unzoned_N``: an offset where none is expected, or none where one is; ``is_no_period_N``:
    the day has no interval of that number.
    """

    start_N: np.ndarray
    is_off_step_N: np.ndarray
    is_never_N: np.ndarray
    is_unzoned_N: np.ndarray
    is_no_period_N: np.ndarray


def begin_of_intervals(rows: RowLabels, reading: RegionIngestion) -> Instants:
    """When the interval of each row begins."""
    layout, num = reading.layout, len(rows.label_N)
    step = layout.step_minutes * _MINUTE
    shift = step if reading.label == "hour_ending" else 0 * step
    clock_N = rows.label_N - shift
    none_N = np.zeros(num, dtype=bool)
    is_unzoned_N = np.isfinite(rows.offset_N) != (layout.time_zone == "in_label")
    is_no_period_N = none_N
    if rows.period_N is not None:
        start_N, is_no_period_N = _by_period(rows, zone_of(reading), step)
    elif layout.time_zone == "in_label":
        seconds_N = np.nan_to_num(rows.offset_N).astype("int64").astype("timedelta64[s]")
        start_N = clock_N - seconds_N
    else:
        start_N = _localized(clock_N, rows, zone_of(reading))
    if reading.label == "clock_at_end" and rows.period_N is None:
        start_N = start_N - step
    in_day_N = (clock_N - clock_N.astype("datetime64[D]")).astype("timedelta64[s]")
    is_off_step_N = (in_day_N.astype("int64") % int(step / np.timedelta64(1, "s"))) != 0
    is_never_N = np.isnat(start_N) & ~is_no_period_N
    return Instants(start_N, is_off_step_N, is_never_N, is_unzoned_N, is_no_period_N)


def zone_of(reading: RegionIngestion) -> str:
    """The zone of the labels: an IANA name, ``UTC``, or an offset such as ``+10:00``."""
    zone = reading.layout.time_zone
    return reading.timezone if zone in {"local", "in_label"} else zone


def both_ways(clock_N: np.ndarray, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """UTC of what a clock showed, told as summer time and as winter time; NaT: it never did.

    They differ only in the hour that autumn repeats.
    """
    if zone == "UTC":
        return clock_N, clock_N
    if OFFSET.fullmatch(zone):
        sign = -1 if zone[0] == "-" else 1
        shift = sign * (int(zone[1:3]) * 60 + int(zone[4:])) * _MINUTE
        return clock_N - shift, clock_N - shift
    clock = pd.DatetimeIndex(clock_N)
    summer_N, winter_N = (
        clock.tz_localize(zone, ambiguous=np.full(len(clock), is_dst), nonexistent="NaT")
        .tz_convert(None)
        .to_numpy()
        .astype("datetime64[s]")
        for is_dst in (True, False)
    )
    return summer_N, winter_N


def _localized(clock_N: np.ndarray, rows: RowLabels, zone: str) -> np.ndarray:
    """UTC of local times; of an autumn pair the second by its mark, else by the file's order."""
    summer_N, winter_N = both_ways(clock_N, zone)
    twice_N = np.flatnonzero((summer_N != winter_N) & ~np.isnat(summer_N))
    if not twice_N.size:
        return summer_N
    if rows.is_winter_N is not None:
        is_winter = rows.is_winter_N[twice_N]
    elif rows.is_second_N.any():
        is_winter = rows.is_second_N[twice_N]
    else:
        is_winter = _is_again(clock_N[twice_N], is_reversed=_is_reversed(clock_N))
    start_N = summer_N.copy()
    start_N[twice_N[is_winter]] = winter_N[twice_N[is_winter]]
    return start_N


def _is_reversed(clock_N: np.ndarray) -> bool:
    """Whether the newest rows come first."""
    steps = np.diff(clock_N).astype("int64")
    return bool((steps < 0).sum() > (steps > 0).sum())


def _is_again(clock_N: np.ndarray, *, is_reversed: bool) -> np.ndarray:
    """Whether the same clock time stood before, in the order of time."""
    if is_reversed:
        return _is_again(clock_N[::-1], is_reversed=False)[::-1]
    again: np.ndarray = pd.Series(clock_N).duplicated(keep="first").to_numpy()
    return again


def _by_period(rows: RowLabels, zone: str, step: np.timedelta64) -> tuple[np.ndarray, np.ndarray]:
    """The start of the interval of that number (from 1) in its local day; which there are not."""
    period_N = np.zeros(len(rows.label_N), "int64") if rows.period_N is None else rows.period_N
    day_N = rows.label_N.astype("datetime64[D]")
    midnight_N, _ = both_ways(day_N.astype("datetime64[s]"), zone)
    next_N, _ = both_ways((day_N + 1).astype("datetime64[s]"), zone)
    start_N = midnight_N + (period_N - 1) * step
    is_none_N = (period_N < 1) | (start_N >= next_N)
    return np.where(is_none_N, _NAT, start_N), is_none_N
