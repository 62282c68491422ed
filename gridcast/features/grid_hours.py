"""The grid of full hours of UTC on which regions lie side by side.

Where local time is half past or a quarter past in UTC, a region's hours begin between two hours of
the grid. They lie at the later one: there no hour stands before it is over, and the local hour and
the local date of the grid's hour are those of the region's own.
"""

from __future__ import annotations

import numpy as np

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
