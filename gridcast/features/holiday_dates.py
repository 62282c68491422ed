"""Public holidays as dates, from the library ``holidays``."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def holiday_dates(place: str, date_T: np.ndarray) -> np.ndarray:
    """The public holidays of ``place`` in the years of ``date_T`` (``datetime64[D]``), ascending.

    ``place`` is a country's ISO 3166 code, such as ``US``, or that and a part of it, ``US-PA``.
    Holidays that are kept on another day (``observed``) count on that day too.
    """
    first, last = (int(str(date)[:4]) for date in (date_T.min(), date_T.max()))
    return _dates(place, first, last)


@lru_cache(maxsize=64)
def _dates(place: str, first_year: int, last_year: int) -> np.ndarray:
    import holidays  # noqa: PLC0415 - a third of a second, paid only where it is asked for

    country, _, subdivision = place.partition("-")
    days = holidays.country_holidays(
        country, subdiv=subdivision or None, years=range(first_year, last_year + 1)
    )
    return np.array(sorted(days), dtype="datetime64[D]")
