"""How wrong forecasts were, day by day, as it became known: an error is known once its hour ended.

Legend: ``D`` days (UTC), ``R`` regions, ``V`` hours of a day (UTC, 24), ``K`` leads, ``B``
forecasts (a region at an issue time).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridcast.features.grid_hours import local_hours_from

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
HOURS = 24  # of a day, UTC


class DayErrors(NamedTuple):
    """What became known in one day (UTC): of each of its hours, forecast from ``K`` issue times.

    A lead counts from 1 (index 0): the forecast of the hour ``v`` with lead ``k`` was issued
    ``k - 1`` hours before it began.
    """

    forecast_RVK: Floats  # MW; NaN where none was made
    error_RVK: Floats  # truth minus forecast, MW; NaN where it is not known
    hour_V: Ints  # local hour, 0 to 23


@dataclass(frozen=True, slots=True)
class ErrorDays:
    """Consecutive days of errors; of a day without any all are NaN."""

    first_day: np.datetime64  # of a day
    forecast_DRVK: NDArray[np.float32]
    error_DRVK: NDArray[np.float32]
    hour_DV: Ints

    def __len__(self) -> int:
        return len(self.hour_DV)

    def __iter__(self) -> Iterator[DayErrors]:
        """The days in their order."""
        return map(DayErrors, self.forecast_DRVK, self.error_DRVK, self.hour_DV)

    def between(self, begin: int, end: int) -> ErrorDays:
        """The days with these numbers, the last one left out."""
        days = slice(begin, end)
        return ErrorDays(
            self.first_day + np.timedelta64(begin, "D"),
            self.forecast_DRVK[days],
            self.error_DRVK[days],
            self.hour_DV[days],
        )


def error_days(
    issue_time_B: NDArray[np.datetime64],
    region_B: Ints,
    forecast_BK: Floats,
    truth_BK: Floats,
    *,
    num_regions: int,
    timezone: str,
    first_day: np.datetime64 | None = None,
    num_days: int | None = None,
) -> ErrorDays:
    """Forecasts beside their truth (MW, NaN: not known), laid out by the day of the hour.

    Args:
        issue_time_B: UTC without a zone, full hours: the begin of the hour with lead 1.
        region_B: number of the region, below ``num_regions``.
        forecast_BK: of the hours from the issue time on.
        truth_BK: the loads of these.
        num_regions: how many there are.
        timezone: IANA zone of the local hours.
        first_day: of the days; none: that of the first hour.
        num_days: of these alone; none: to that of the last hour.
    """
    num_leads = forecast_BK.shape[1]
    hour_BK = issue_time_B.astype("datetime64[h]").astype(np.int64)[:, None] + np.arange(num_leads)
    first = int(hour_BK.min()) // HOURS if hour_BK.size else 0
    if first_day is not None:
        first = int(first_day.astype("datetime64[D]").astype(np.int64))
    if num_days is None:
        num_days = int(hour_BK.max()) // HOURS + 1 - first if hour_BK.size else 0
    day_BK, v_BK = np.divmod(hour_BK - first * HOURS, HOURS)
    shape = num_days, num_regions, HOURS, num_leads
    forecast_DRVK, error_DRVK = (np.full(shape, np.nan, np.float32) for _ in range(2))
    inside = (day_BK >= 0) & (day_BK < num_days)
    lead_BK, all_BK = (np.broadcast_to(each, v_BK.shape)
                       for each in (np.arange(num_leads), region_B[:, None]))  # fmt: skip
    place = day_BK[inside], all_BK[inside], v_BK[inside], lead_BK[inside]
    forecast_DRVK[place] = forecast_BK[inside]
    error_DRVK[place] = (truth_BK - forecast_BK)[inside]
    begin = np.datetime64(first, "D")
    return ErrorDays(
        begin, forecast_DRVK, error_DRVK, local_hours(begin, num_days, timezone=timezone)
    )


def local_hours(first_day: np.datetime64, num_days: int, *, timezone: str) -> Ints:
    """The local hour (0 to 23) in which each hour of these days (UTC) begins, ``(D, V)``.

    >>> local_hours(np.datetime64("2018-03-11"), 1, timezone="America/New_York")[0, :9].tolist()
    [19, 20, 21, 22, 23, 0, 1, 3, 4]
    """
    days = first_day + np.arange(num_days)
    return local_hours_from(days.astype("datetime64[h]"), HOURS, timezone)
