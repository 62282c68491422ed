"""In which zone labels are, and what they name: told by the hours that clocks leave out or repeat.

Legend: ``N`` rows of one region, in the order of the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow.compute as pc

from gridcast.inspection.label_kinds import note_label
from gridcast.inspection.zone_table import (
    by_size,
    changes_of,
    countries,
    hinted,
    holidays_of,
    offsets_of,
)
from gridcast.layouts.labels import read_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridcast.config import LayoutConfig
    from gridcast.inspection.findings import Findings, Sureness
    from gridcast.inspection.time_columns import ReadTimes
    from gridcast.layouts.tables import Table

_STEPS: Final = (1, 5, 10, 15, 20, 30, 60)
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_MARKET: Final = re.compile(r"settlementdate", re.IGNORECASE)
_SHOWN: Final = 5
_AS_GOOD: Final = 0.15  # of shares; files leave out some changes, and zones changed their rules
_WINTER: Final = {"EST", "CST", "MST", "PST", "CET", "MEZ", "GMT", "WET", "EET", "AEST", "ACST"}


class ZoneFit(NamedTuple):
    """A zone, what labels name in it, and the share of changes, its own and theirs, that agree."""

    zone: str
    is_ending: bool
    share: float
    num: int


def find_step(seconds_N: np.ndarray, findings: Findings) -> int:
    """Note the length of intervals (minutes), the usual distance between labels."""
    steps, counts = np.unique(np.diff(np.unique(seconds_N)), return_counts=True)
    if not len(steps):
        findings.note("check", "interval", "60 minutes", "there is only one label")
        return 60
    usual = int(steps[counts.argmax()]) // _MINUTE
    share = counts.max() / counts.sum()
    step = usual if usual in _STEPS else 60
    sure: Sureness = "certain" if share > 0.9 and step == usual else "check"  # noqa: PLR2004
    why = f"{share:.1%} of labels are so far from the one before"
    if step != usual:
        why = f"labels are {usual:g} minutes apart, which gridcast does not read"
    findings.layout["step_minutes"] = step
    findings.note(sure, "interval", f"{step} minutes", why)
    return step


class Seen(NamedTuple):
    """What may tell of the zone.

    ``times`` of all rows; ``seconds_N``, labels of one region (s since 1970, as the clock showed
    them); ``table``, for other columns that tell the local time; ``base``, the layout as far as it
    is found; ``names`` of files, regions and columns, in which words may hint at a place.
    """

    times: ReadTimes
    seconds_N: np.ndarray
    table: Table
    base: LayoutConfig
    names: Sequence[str]

    @property
    def step(self) -> int:
        """The length of intervals (s)."""
        return self.base.step_minutes * _MINUTE


def find_zone(seen: Seen, findings: Findings) -> None:
    """Note zone and label."""
    times = seen.times
    if times.period_N is not None:
        _note_periods(times, seen.names, findings)
    elif times.labels.has_offsets:
        findings.layout["time_zone"] = "in_label"
        findings.note("certain", "labels", "with their offset from UTC", "each label tells it")
        instant_N = (times.labels.label_N.astype("int64") - times.labels.offset_N).astype("int64")
        _note_zone_of_instants(seen, instant_N, findings)
        note_label(times, seen.seconds_N, seen.step, findings, is_known=None)
    else:
        _note_clock(seen, findings)


# -- labels without an offset ----------------------------------------------------------------------


def _note_clock(seen: Seen, findings: Findings) -> None:
    """Labels of a clock: one that changes in spring and autumn, or one that never does."""
    told = _told_by_words([*seen.times.guess.columns, *seen.names])
    fits = zone_fits(seen.seconds_N, seen.step) if told != "UTC" else []
    best = [fit for fit in fits if fit.share >= fits[0].share - _AS_GOOD]
    if best:
        _note_changing_clock(seen, best, findings)
        return
    findings.layout["time_zone"] = "UTC"
    if told == "UTC":
        findings.note("certain", "labels", "UTC", "the column's name says so")
    else:
        _note_steady_clock(seen, findings)
    _note_zone_of_instants(seen, seen.times.labels.label_N.astype("int64"), findings)
    note_label(seen.times, seen.seconds_N, seen.step, findings, is_known=None)


def _note_changing_clock(seen: Seen, best: list[ZoneFit], findings: Findings) -> None:
    """The zones whose clock changes labels show, and what labels name by these."""
    likely = _preferred([fit.zone for fit in best], seen.names)
    own = next(fit for fit in best if fit.zone == likely[0])
    findings.ingestion["timezone"] = likely[0]
    findings.layout["time_zone"] = "local"
    why = (
        f"labels leave out or repeat an hour as its clocks do ({own.share:.0%} of {own.num} "
        f"changes); so they would in {_others(likely)}"
    )
    sure: Sureness = "likely" if hinted(seen.names)[:1] == likely[:1] else "check"
    findings.note(sure, "zone", likely[0], why, *_settings(likely[1:]))
    _note_holidays(likely[0], findings)
    _note_winter(seen.times, seen.table, findings)
    is_one = len({fit.is_ending for fit in best if fit.zone == likely[0]}) == 1
    is_known = own.is_ending if is_one else None
    note_label(seen.times, seen.seconds_N, seen.step, findings, is_known=is_known)


def _note_steady_clock(seen: Seen, findings: Findings) -> None:
    """In which zone labels may be that leave out and repeat nothing."""
    hints = hinted(seen.names)
    if steady := _steady(seen.seconds_N, hints):
        findings.layout["time_zone"] = "local"
        why = f"clocks of {steady} did not change in this time, and no label is left out"
        findings.note("check", "labels", "local time", why, "ingestion.layout.time_zone=UTC")
    elif re.match(_MARKET, seen.times.guess.columns[0]):
        findings.layout["time_zone"] = "+10:00"
        why = "AEMO's market time has no daylight saving"
        findings.note("likely", "labels", "+10:00", why, "ingestion.layout.time_zone=UTC")
    else:
        why = "no hour is left out in spring or repeated in autumn: UTC, or a fixed offset"
        other = f'ingestion.layout.time_zone="{_standard_offset(seen.seconds_N, hints)}"'
        findings.note("check", "labels", "UTC", why, other)


def _steady(seconds_N: np.ndarray, zones: Sequence[str]) -> str:
    """The zone that names hint at, if its clocks did not change while there were labels."""
    first, last = (np.datetime64(int(at), "s") for at in (seconds_N.min(), seconds_N.max()))
    return zones[0] if zones and not changes_of(zones[0], first, last) else ""


def _standard_offset(seconds_N: np.ndarray, zones: Sequence[str]) -> str:
    """The offset of winter time in the first zone, as a setting; without a zone that of Berlin."""
    year_T = seconds_N[:1].astype("datetime64[s]") + np.arange(0, 365, 30) * np.timedelta64(
        _DAY, "s"
    )
    minutes = int(offsets_of((*zones, "Europe/Berlin")[0], year_T).min()) // _MINUTE
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def zone_fits(seconds_N: np.ndarray, step: int) -> list[ZoneFit]:
    """Zones whose clock changes show in labels: an hour left out in spring, repeated in autumn."""
    label_N, count_N = np.unique(seconds_N, return_counts=True)
    if len(label_N) < 2 * _DAY // _HOUR:
        return []
    first, last = (label_N[at].astype("datetime64[s]") for at in (0, -1))
    gaps = np.flatnonzero(np.diff(label_N) == _HOUR + step)
    missing = {int(label_N[at]) + step for at in gaps}
    twice = {int(label) for label in label_N[count_N > 1]}
    if not missing and not twice:
        return []
    fits = []
    for zone in countries():
        changes = changes_of(zone, first, last)
        walls = [(int(c.wall_before.astype("int64")), c) for c in changes]
        for is_ending in (False, True) if changes else ():
            shift = step if is_ending else 0
            shown = [
                wall + shift in missing
                if change.is_spring
                else wall - (change.before - change.after) + shift in twice
                for wall, change in walls
            ]
            seen = len(missing) + len(twice)
            share = sum(shown) / (len(shown) + max(seen - sum(shown), 0))
            fits.append(ZoneFit(zone, is_ending, share, len(shown)))
    good = [fit for fit in fits if fit.share >= 0.4]  # noqa: PLR2004 - some files leave one kind out
    return sorted(good, key=lambda fit: -fit.share)


def _told_by_words(names: Iterable[str]) -> str:
    return (
        "UTC"
        if any(re.search(r"\b(utc|gmt)\b", n.replace("_", " "), re.IGNORECASE) for n in names)
        else ""
    )


def _note_winter(times: ReadTimes, table: Table, findings: Findings) -> None:
    """A column that tells summer from winter time, as EST and EDT."""
    for name in (n for n in dict.fromkeys(table.names) if n and n not in times.guess.columns):
        cells = {str(cell).strip() for cell in pc.unique(table.column(name)).to_pylist()}
        if len(cells) == 2 and len(winter := cells & _WINTER) == 1:  # noqa: PLR2004
            findings.layout |= {"winter_column": name, "winter_marks": sorted(winter)}
            why = f"its cells are {' and '.join(sorted(cells))}"
            findings.note("certain", "winter time", f"the column {name!r} tells it", why)
            return


# -- labels that are instants ----------------------------------------------------------------------


def _note_zone_of_instants(seen: Seen, instant_N: np.ndarray, findings: Findings) -> None:
    """The region's own zone, where labels do not depend on it: offsets, other columns, names."""
    told_N = seen.times.labels.offset_N
    if np.isfinite(told_N).all() and told_N.any():
        zones = _zones_with(instant_N, told_N.astype("int64"))
        why = "its offsets are those of the labels"
    else:
        column, offset_N, is_date = _local_column(seen, instant_N)
        zones = _zones_with(instant_N, offset_N, is_date=is_date) if column else []
        why = f"its clocks agree with the column {column!r}"
    if zones:
        likely = _preferred(zones, seen.names)
        sure: Sureness = (
            "likely" if hinted(seen.names)[:1] == likely[:1] or len(zones) == 1 else "check"
        )
        findings.note(
            sure,
            "zone",
            likely[0],
            f"{why}; so do those of {_others(likely)}",
            *_settings(likely[1:]),
        )
    else:
        likely = hinted(seen.names)
        if likely:
            why = f"a name hints at it ({', '.join(seen.names[:3])})"
            findings.note("check", "zone", likely[0], why, *_settings(likely[1:]))
        else:
            likely = ["UTC"]
            why = "nothing tells the region's own zone, by which its calendar goes: name it"
            findings.note("check", "zone", "UTC", why, "ingestion.timezone=Europe/Berlin")
    findings.ingestion["timezone"] = likely[0]
    _note_holidays(likely[0], findings)


def _zones_with(instant_N: np.ndarray, offset_N: np.ndarray, *, is_date: bool = False) -> list[str]:
    """Zones that have these offsets (s) at these instants; of dates, only the day need agree."""
    at = np.unique(np.linspace(0, len(instant_N) - 1, 400).astype(int))
    if is_date:  # where the date changes, and just before it
        turns = np.flatnonzero(np.diff(offset_N)) + 1
        picked = (
            turns[np.unique(np.linspace(0, len(turns) - 1, 200).astype(int))] if len(turns) else at
        )
        at = np.unique(np.concatenate([picked, picked - 1]))
    instant_T = instant_N[at].astype("datetime64[s]")
    found = []
    for zone in countries():
        zone_T = offsets_of(zone, instant_T)
        if is_date:
            same = (instant_N[at] + zone_T) // _DAY == offset_N[at]
        else:
            same = zone_T == offset_N[at]
        if same.mean() > 0.99:  # noqa: PLR2004
            found.append(zone)
    return found


def _local_column(seen: Seen, instant_N: np.ndarray) -> tuple[str, np.ndarray, bool]:
    """Another column that tells local time, its offset (s) of each row, or its day (since 1970)."""
    times, table, base = seen.times, seen.table, seen.base
    none = ("", np.zeros(0, dtype="int64"), False)
    for name in (n for n in dict.fromkeys(table.names) if n and n not in times.guess.columns):
        for form in ("iso", "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", times.guess.form):
            layout = base.model_copy(update={"time_format": form, "interval_mark": None})
            local_N = read_labels(table.column(name), layout).label_N
            if np.isnat(local_N).any():
                continue
            offset_N = local_N.astype("int64") - instant_N
            if (local_N.astype("int64") % _DAY == 0).all():
                return name, local_N.astype("int64") // _DAY, True
            if np.abs(offset_N).max() <= 14 * _HOUR and offset_N.any():
                return name, offset_N, False
    return none


# -- numbers of intervals --------------------------------------------------------------------------


def _note_periods(times: ReadTimes, names: Sequence[str], findings: Findings) -> None:
    findings.ingestion["label"] = "hour_beginning"
    findings.layout["time_zone"] = "local"
    day_N = times.labels.label_N.astype("datetime64[D]")
    period_N = np.zeros(len(day_N), "int64") if times.period_N is None else times.period_N
    days, place_N = np.unique(day_N, return_inverse=True)
    most = np.zeros(len(days), dtype="int64")
    np.maximum.at(most, place_N, period_N)
    usual = int(np.bincount(most).argmax())
    odd = {day: int(num) for day, num in zip(days, most, strict=True) if num != usual}
    zones = []
    for zone in countries() if odd else ():
        changes = changes_of(
            zone, days[0].astype("datetime64[s]"), days[-1].astype("datetime64[s]")
        )
        found = {change.wall_before.astype("datetime64[D]") for change in changes}
        if found and found == {day for day in odd if days[0] < day < days[-1]}:
            zones.append(zone)
    likely = _preferred(zones, names) if zones else hinted(names) or ["UTC"]
    findings.ingestion["timezone"] = likely[0]
    alike = f"so they do in {_others(likely)}"
    why = f"the days of other than {usual} intervals are those of its clock changes; {alike}"
    if not zones:
        why = "no day has more or fewer intervals, only names hint at it"
    findings.note("likely" if zones and hinted(names)[:1] == likely[:1] else "check", "zone",
                  likely[0], why, *_settings(likely[1:]))  # fmt: skip
    findings.note("certain", "label", "number of the interval", "from 1, in its local day")
    _note_holidays(likely[0], findings)


# -- what is shared --------------------------------------------------------------------------------


def _note_holidays(zone: str, findings: Findings) -> None:
    place = holidays_of(zone) if zone != "UTC" else None
    findings.features["holidays"] = place
    found = place or "none"
    findings.note("likely" if place else "check", "holidays", found, f"the country of {zone}")


def _preferred(zones: Sequence[str], names: Sequence[str]) -> list[str]:
    """Those first at which names hint, then those that most people live by."""
    known = by_size(dict.fromkeys(zones))
    hints = [zone for zone in hinted(names) if zone in known]
    return [*hints, *(zone for zone in known if zone not in hints)]


def _others(likely: Sequence[str]) -> str:
    rest = likely[1:]
    more = f" and {len(rest) - _SHOWN} more" if len(rest) > _SHOWN else ""
    return (", ".join(rest[:_SHOWN]) + more) if rest else "no others"


def _settings(zones: Sequence[str]) -> list[str]:
    return [f"ingestion.timezone={zone}" for zone in zones[:3]]
