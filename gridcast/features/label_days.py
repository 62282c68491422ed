"""The days of labels, by the clocks and holidays of their regions: months, and public holidays.

Legend: ``N`` labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gridcast.features.holiday_dates import holiday_dates

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from gridcast.features.windows import Ints

_UTC = ("UTC", None)


class LabelDays(NamedTuple):
    """Of each label its local month (1 to 12), and whether it lies in a public holiday (0 or 1)."""

    month_N: Ints
    holiday_N: Ints


def label_days(rows: pd.DataFrame, calendars: Mapping[str, tuple[str, str | None]]) -> LabelDays:
    """Of rows with ``region`` (a category) and ``timestamp`` (UTC).

    ``calendars`` has by region its zone and the place whose public holidays count (None: none do),
    as ``features.table.calendar_kind`` gives them; a region without one has UTC and no holidays.
    """
    region_N = rows["region"].cat.codes.to_numpy()
    kind_R = [calendars.get(str(name), _UTC) for name in rows["region"].cat.categories]
    kinds = list(dict.fromkeys(kind_R))
    number_N = np.array([kinds.index(each) for each in kind_R], dtype=np.int64)[region_N]
    month_N, holiday_N = (np.zeros(len(rows), dtype=np.int64) for _ in range(2))
    for number, (timezone, place) in enumerate(kinds):
        at = np.flatnonzero(number_N == number)
        local = rows["timestamp"].take(at).dt.tz_convert(timezone)
        month_N[at] = local.dt.month.to_numpy()
        if place is not None and len(at):
            date_N = local.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
            holiday_N[at] = np.isin(date_N, holiday_dates(place, date_N))
    return LabelDays(month_N, holiday_N)
