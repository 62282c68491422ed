"""Zones of the world: their countries, when their clocks change, and which names hint at which.

Legend: ``T`` instants.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOUR: Final = np.timedelta64(3600, "s")
# States, markets and words in file names that are no country's code.
_HINTS: Final = {
    "vic": "Australia/Melbourne", "vic1": "Australia/Melbourne", "nsw": "Australia/Sydney",
    "nsw1": "Australia/Sydney", "qld": "Australia/Brisbane", "qld1": "Australia/Brisbane",
    "sa1": "Australia/Adelaide", "tas": "Australia/Hobart", "tas1": "Australia/Hobart",
    "ercot": "America/Chicago", "pjm": "America/New_York", "nyiso": "America/New_York",
    "isone": "America/New_York", "miso": "America/Chicago", "caiso": "America/Los_Angeles",
    "isne": "America/New_York", "nyis": "America/New_York", "erco": "America/Chicago",
    "ciso": "America/Los_Angeles", "uk": "Europe/London", "gb": "Europe/London",
    "elexon": "Europe/London",
    "germany": "Europe/Berlin", "france": "Europe/Paris", "spain": "Europe/Madrid",
    "italy": "Europe/Rome", "austria": "Europe/Vienna", "wien": "Europe/Vienna",
    "switzerland": "Europe/Zurich", "norway": "Europe/Oslo", "sweden": "Europe/Stockholm",
    "india": "Asia/Kolkata", "delhi": "Asia/Kolkata", "nepal": "Asia/Kathmandu",
}  # fmt: skip
_AUSTRALIA: Final = {"Melbourne": "VIC", "Sydney": "NSW", "Brisbane": "QLD", "Adelaide": "SA",
                     "Hobart": "TAS", "Perth": "WA", "Darwin": "NT"}  # fmt: skip
_UNITS: Final = {"MW", "GW", "KW", "MWH"}  # and a country's code
# Of zones whose clocks always agree, those that most people live by.
_LARGE: Final = ("Europe/Berlin", "America/New_York", "America/Chicago", "America/Denver",
                 "America/Los_Angeles", "Europe/London", "Australia/Sydney", "Asia/Kolkata",
                 "Europe/Helsinki", "Asia/Tokyo", "America/Sao_Paulo")  # fmt: skip


class Change(NamedTuple):
    """A change of clocks: the first instant after it (UTC), the offsets before and after (s)."""

    instant: np.datetime64
    before: int
    after: int

    @property
    def wall_before(self) -> np.datetime64:
        """What clocks showed when it came."""
        return self.instant + np.timedelta64(self.before, "s")

    @property
    def is_spring(self) -> bool:
        """Whether clocks are put forward."""
        return self.after > self.before


@cache
def countries() -> dict[str, str]:
    """The country's code by zone, of all zones that people live in."""
    text = files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and line[0] != "#"]
    return {row[2]: row[0] for row in rows}


def offsets_of(zone: str, instant_T: np.ndarray) -> np.ndarray:
    """Seconds east of Greenwich at each instant (UTC)."""
    times = pd.DatetimeIndex(instant_T.astype("datetime64[s]"), tz="UTC")
    local = times.tz_convert(zone).tz_localize(None).to_numpy().astype("datetime64[s]")
    seconds: np.ndarray = (local - instant_T.astype("datetime64[s]")).astype("int64")
    return seconds


@cache
def changes_of(zone: str, first: np.datetime64, last: np.datetime64) -> tuple[Change, ...]:
    """The changes of a zone's clocks between two instants (UTC)."""
    end = last.astype("datetime64[D]") + np.timedelta64(2, "D")
    day_T = np.arange(first.astype("datetime64[D]"), end).astype("datetime64[s]")
    offset_T = offsets_of(zone, day_T)
    found = []
    for place in np.flatnonzero(np.diff(offset_T)):
        quarter_T = day_T[place] + np.arange(0, 96) * (_HOUR // 4)
        own_T = offsets_of(zone, quarter_T)
        at = int(np.flatnonzero(own_T != own_T[0])[0]) if (own_T != own_T[0]).any() else 0
        instant = quarter_T[at] if at else day_T[place + 1]
        if first <= instant <= last:
            found.append(Change(instant, int(offset_T[place]), int(offset_T[place + 1])))
    return tuple(found)


def hinted(names: Iterable[str]) -> list[str]:
    """Zones that words in names hint at: a market or state, a country with one zone, a city."""
    zones = countries()
    by_city = {zone.rpartition("/")[2].lower(): zone for zone in zones}
    by_country: dict[str, list[str]] = {}
    for zone, country in zones.items():
        by_country.setdefault(country, []).append(zone)
    found: list[str] = []
    for word in (word for name in names for word in re.split(r"[^A-Za-z0-9]+", name) if word):
        if word in _UNITS:
            continue
        told = _HINTS.get(word.lower()) or (by_city.get(word.lower()) if len(word) > 3 else None)  # noqa: PLR2004
        own = by_country.get(word, []) if word.isupper() else []
        if told is None and own and (len(own) == 1 or word in {"DE", "ES", "PT"}):
            told = next((each for each in own if each in _LARGE), own[0])
        if told and told not in found:
            found.append(told)
    return found


def by_size(zones: Iterable[str]) -> list[str]:
    """Zones, those first that most people live by."""
    order = {zone: place for place, zone in enumerate(_LARGE)}
    return sorted(zones, key=lambda zone: order.get(zone, len(order)))


def holidays_of(zone: str) -> str | None:
    """The place whose public holidays count in a zone; None: none is known."""
    import holidays  # noqa: PLC0415 - a tenth of a second, paid only where it is asked for

    country = countries().get(zone)
    if country == "AU":
        state = _AUSTRALIA.get(zone.rpartition("/")[2])
        return f"AU-{state}" if state else "AU"
    known = holidays.list_supported_countries(include_aliases=False)
    return country if country in known else None
