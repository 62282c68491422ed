"""What an instant of the world stands for, in operation and in a rehearsal of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gridcast.forecasting.issue import with_zone

if TYPE_CHECKING:
    from datetime import datetime

    from gridcast.config import ClockConfig

_HOUR = pd.Timedelta(hours=1)


def instant_of(time: datetime | str, clock: ClockConfig | None) -> pd.Timestamp:
    """The instant (UTC) that ``time`` of the world stands for; without a clock for itself.

    A time that names no zone is taken for one of UTC.

    >>> from gridcast.config import ClockConfig
    >>> clock = ClockConfig(
    ...     begun_at="2026-11-28T20:00:00Z", stands_for="2018-07-01T00:00:00Z", hour_seconds=10.0
    ... )
    >>> str(instant_of("2026-11-28T20:01:05", clock))
    '2018-07-01 06:30:00+00:00'
    >>> str(instant_of("2026-11-28T20:01:05+01:00", None))
    '2026-11-28 19:01:05+00:00'
    """
    instant = with_zone(pd.Timestamp(time))
    if clock is None:
        return instant
    begun_at, stands_for = (with_zone(pd.Timestamp(t)) for t in (clock.begun_at, clock.stands_for))
    return stands_for + (instant - begun_at).total_seconds() / clock.hour_seconds * _HOUR


def asked_instant(as_of: str | None, begins: datetime, clock: ClockConfig | None) -> pd.Timestamp:
    """``as_of`` itself (ISO) where it is given, else what the begin of a flow stands for."""
    return instant_of(begins, clock) if as_of is None else instant_of(as_of, None)
