"""Intervals of a region → hours.

Legend: ``N`` intervals, ``H`` hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gridcast.config import RegionIngestion

_HOUR, _MINUTES_OF_AN_HOUR = 3600, 60
_HALF_A_YEAR: Final = pd.Timedelta(days=182)


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours in the order of time: when each begins (s since 1970, UTC) and its mean power (MW).

    ``first_H`` is the row that begins it; ``num_broken`` is of hours between the first and the last
    that have intervals, but too few.
    """

    start_H: np.ndarray
    load_mw_H: np.ndarray
    first_H: np.ndarray
    num_broken: int


def to_hours(start_N: np.ndarray, load_mw_N: np.ndarray, reading: RegionIngestion) -> Hours:
    """Average the power of the intervals of each hour, where enough of them are there.

    Args:
        start_N: ``datetime64[s]``, UTC, ascending, each once.
        load_mw_N: mean power over each interval (MW).
        reading: the intervals' length, the share that is enough, and the zone: hours are full
            ones of local time, or of UTC where no interval begins at those.
    """
    layout = reading.layout
    seconds_N = start_N.astype("int64")
    phase = phase_of(seconds_N, reading)
    hour_N = (seconds_N - phase) // _HOUR
    first_H = np.flatnonzero(np.diff(hour_N, prepend=hour_N[:1] - 1))
    count_H = np.diff(np.append(first_H, len(hour_N)))
    per_hour = _MINUTES_OF_AN_HOUR // layout.step_minutes
    is_enough_H = count_H >= np.ceil(layout.fewest_share * per_hour - 1e-9)
    mean_H = np.add.reduceat(load_mw_N, first_H) / count_H if len(first_H) else load_mw_N
    start_H = hour_N[first_H] * _HOUR + phase
    inner_H = ~is_enough_H
    if len(inner_H):
        inner_H[[0, -1]] = False
    return Hours(
        start_H[is_enough_H], mean_H[is_enough_H], first_H[is_enough_H], int(inner_H.sum())
    )


def phase_of(seconds_N: np.ndarray, reading: RegionIngestion) -> int:
    """Seconds after a full hour of UTC at which the hours of this region begin.

    Of hourly files it is what most of their rows have; of shorter intervals that of a full hour of
    local winter time, where an interval begins there.
    """
    if not len(seconds_N):
        return 0
    if reading.layout.step_minutes == _MINUTES_OF_AN_HOUR:
        values, counts = np.unique(seconds_N % _HOUR, return_counts=True)
        return int(values[counts.argmax()])
    first = pd.Timestamp(int(seconds_N[0]), unit="s", tz="UTC")
    times = pd.DatetimeIndex([first, first + _HALF_A_YEAR])
    offsets = (times.tz_convert(reading.timezone).tz_localize(None) - times.tz_localize(None)) // (
        pd.Timedelta(seconds=1)
    )
    phase = int(-min(offsets)) % _HOUR
    step = reading.layout.step_minutes * 60
    return phase if phase % step == 0 else 0
