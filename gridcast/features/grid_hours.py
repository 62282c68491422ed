"""The grid of full hours of UTC on which regions lie side by side.

Where local time is half past or a quarter past in UTC, a region's hours begin between two hours of
the grid. They lie at the later one: there no hour stands before it is over, and the local hour and
the local date of the grid's hour are those of the region's own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

_ALMOST = np.timedelta64(3600 * 10**6 - 1, "us")


def grid_hours(timestamp_T: np.ndarray) -> np.ndarray:
    """The hour of the grid (``datetime64[h]``) at which each hour lies, by its start (UTC).

    >>> grid_hours(np.array(["2024-01-01T18:30", "2024-01-01T19:00"], "datetime64[us]")).tolist()
    [datetime.datetime(2024, 1, 1, 19, 0), datetime.datetime(2024, 1, 1, 19, 0)]
    """
    if timestamp_T.dtype == np.dtype("datetime64[h]"):
        return timestamp_T
    hours: np.ndarray = (timestamp_T.astype("datetime64[us]") + _ALMOST).astype("datetime64[h]")
    return hours


def local_hours_from(begin_N: np.ndarray, num_hours: int, timezone: str) -> np.ndarray:
    """The local hour (0 to 23) of each of the hours from each of ``begin_N`` on, ``(N, hours)``.

    ``begin_N`` are hours of the grid, UTC.

    >>> begin = np.array(["2018-03-11T05"], "datetime64[h]")
    >>> local_hours_from(begin, 4, "America/New_York").tolist()
    [[0, 1, 3, 4]]
    """
    begins, place_N = np.unique(begin_N, return_inverse=True)
    hours = (begins[:, None] + np.arange(num_hours)).reshape(-1).astype("datetime64[s]")
    local = pd.DatetimeIndex(hours).tz_localize("UTC").tz_convert(timezone)
    return np.asarray(local.hour, dtype=np.int64).reshape(len(begins), num_hours)[place_N]
