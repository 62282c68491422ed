"""Local, hour-ending labels to the start of each hour in UTC."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from gridcast.errors import Fault, RegionRefusedError
from gridcast.readings.clock_fit import fitting_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.config import RegionIngestion


_HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RegionLoad:
    """One region's readings, sorted by time.

    ``frame`` has the columns ``timestamp`` (start of the hour, UTC), ``local_label`` (as in the
    file), ``source_line`` (counted from 1, the header's), ``load_mw`` (MW); one row an hour.
    ``content_sha256`` is that of times and loads alone: the order of the file's rows and its line
    ends do not change it.
    """

    region: str
    frame: pd.DataFrame
    content_sha256: str


class Cells(NamedTuple):
    """The rows of a file as read: labels as they stand, loads in MW, lines from 1."""

    labels: pd.Series[pd.Timestamp]
    loads: np.ndarray
    lines: np.ndarray


def content_sha256(timestamps: pd.Series[pd.Timestamp], loads: np.ndarray) -> str:
    """SHA-256 of sorted times (seconds since 1970, UTC) and loads (MW), as little-endian bytes."""
    seconds = timestamps.dt.tz_convert(None).astype("datetime64[s]").to_numpy().astype("<i8")
    return hashlib.sha256(seconds.tobytes() + loads.astype("<f8").tobytes()).hexdigest()


def _one_a_kind(faults: list[Fault]) -> list[Fault]:
    """The first fault of each kind, with the count of its kind, in the file's order."""
    by_kind = groupby(sorted(faults, key=lambda fault: fault.kind), key=lambda fault: fault.kind)
    firsts = []
    for _, group in by_kind:
        same = list(group)
        first = same[0]
        count = len(same)
        firsts.append(Fault(first.file, first.line, first.column, first.kind, first.reason, count))
    return sorted(firsts, key=lambda fault: (fault.line, fault.column))


def to_utc(
    cells: Cells,
    *,
    region: str,
    file: str,
    config: RegionIngestion,
    is_part_of_ordered: bool = True,
) -> RegionLoad:
    """Rows with local labels → readings in UTC, sorted by time.

    Of an autumn pair the file's order tells which came first, if all rows stand in the order of
    time, those of which these are a part too (``is_part_of_ordered``); else the loads do.

    Raises:
        RegionRefusedError: labels off the hour, that no clock showed, or that stand too often.
    """
    shift = _HOUR if config.label == "hour_ending" else 0 * _HOUR
    frame = pd.DataFrame(
        {"local_label": cells.labels, "source_line": cells.lines, "load_mw": cells.loads}
    )
    frame["start"] = frame["local_label"] - shift
    is_ordered = is_part_of_ordered and bool(frame["start"].is_monotonic_increasing)
    frame = (frame if is_ordered else frame.iloc[_time_order(frame)]).reset_index(drop=True)
    timestamp, unclear, summer, winter = _localized(frame["start"], config.timezone)
    is_nonexistent = timestamp.isna()
    is_nonexistent[unclear.index] = summer.isna()
    is_repeated = timestamp.isna() & ~is_nonexistent
    faults = list(_time_faults(frame, is_nonexistent, is_repeated, file=file, config=config))
    if faults:
        raise RegionRefusedError(region, _one_a_kind(faults), rows=faults)
    is_second = frame["start"].duplicated(keep="first")
    timestamp[unclear.index] = summer.where(~is_second[unclear.index], winter)
    late = _HOUR if config.label == "clock_at_end" else 0 * _HOUR
    frame["timestamp"] = timestamp - late
    if not is_ordered:
        _order_autumn_pairs(frame, np.flatnonzero(is_second))
    frame = frame[["timestamp", "local_label", "source_line", "load_mw"]]
    return RegionLoad(
        region, frame, content_sha256(frame["timestamp"], frame["load_mw"].to_numpy())
    )


def _localized(
    start: pd.Series[pd.Timestamp], timezone: str
) -> tuple[pd.Series[pd.Timestamp], ...]:
    """UTC of local times (NaT: shown twice, or never); those few, as summer and as winter time."""
    timestamp = start.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert(
        "UTC"
    )
    unclear = start[timestamp.isna()]
    summer, winter = (
        unclear.dt.tz_localize(
            timezone, ambiguous=np.full(len(unclear), dst), nonexistent="NaT"
        ).dt.tz_convert("UTC")
        for dst in (True, False)
    )
    return timestamp, unclear, summer, winter


def _time_order(frame: pd.DataFrame) -> np.ndarray:
    """The rows by time, the larger load first, then by line.

    The larger first is what remains where an autumn pair's neighbours do not decide. Only the few
    rows of the same time need more than the first order, which is quick.
    """
    start = frame["start"].to_numpy()
    order = np.argsort(start, kind="stable")
    is_tied = frame["start"].duplicated(keep=False).to_numpy()[order]
    tied = order[is_tied]
    lines, loads = (frame[name].to_numpy()[tied] for name in ("source_line", "load_mw"))
    order[is_tied] = tied[np.lexsort((lines, -loads, start[tied]))]
    return order


def _time_faults(
    frame: pd.DataFrame,
    is_nonexistent: pd.Series[bool],
    is_repeated: pd.Series[bool],
    *,
    file: str,
    config: RegionIngestion,
) -> Iterator[Fault]:
    """Labels off the hour, labels that no clock showed, hours that stand too often."""
    start, lines, labels = frame["start"], frame["source_line"], frame["local_label"]
    hint = _Hint(labels, config)

    def fault(row: int, kind: str, reason: str) -> Fault:
        return Fault(file, int(lines[row]), 1, kind, f"found the label '{labels[row]}'{reason}")

    off_hour = (start.dt.minute != 0) | (start.dt.second != 0)
    for row in _by_line(lines, off_hour):
        yield fault(row, "label_off_hour", ", expected a full hour")
    for row in _by_line(lines, is_nonexistent):
        reason = f", which is {hint.named} of no hour in {config.timezone}"
        yield fault(row, "label_nonexistent", f"{reason}; {hint.text}")
    same = start.duplicated(keep=False)
    for _, group in frame[same].groupby("start"):
        allowed = 2 if is_repeated[group.index[0]] else 1
        if len(group) > allowed:
            *earlier, last = sorted(int(line) for line in group["source_line"])
            named = " and ".join(f"line {line}" for line in earlier)
            expected = "once" if allowed == 1 else "at most twice"
            reason = f" again (it stands in {named}), expected it {expected}"
            if hint.fits:
                reason += f"; {hint.text}"
            yield fault(group.index[group["source_line"] == last][0], "duplicate_hour", reason)


class _Hint:
    """What is said of zone and label where labels do not fit; found out once, when it is asked."""

    def __init__(self, labels: pd.Series[pd.Timestamp], config: RegionIngestion) -> None:
        self._labels, self._config = labels, config

    @property
    def named(self) -> str:
        """What a label names."""
        words = {"hour_ending": "the end", "hour_beginning": "the beginning"}
        return words.get(self._config.label, "the clock at the end")

    @cached_property
    def fits(self) -> list[str]:
        """Settings that fit all labels, unless the labels do not tell."""
        labels = self._labels.to_numpy().astype("datetime64[s]")
        return fitting_settings(labels, self._config)

    @property
    def text(self) -> str:
        """Both settings, and which others would fit."""
        config = self._config
        told = f"ingestion.timezone is {config.timezone}, ingestion.label is {config.label}"
        wanted = f"expected labels that fit these settings ({told})"
        if self.fits:
            return f"{wanted}; those of the file fit {' or '.join(self.fits)}"
        return f"{wanted}; try `gridcast inspect`"


def _by_line(lines: pd.Series[int], mask: pd.Series[bool]) -> list[int]:
    return [int(row) for row in lines[mask].sort_values().index]


def _order_autumn_pairs(frame: pd.DataFrame, second_rows: np.ndarray) -> None:
    """Tell which of the two readings of a repeated autumn hour came first, in place.

    Labels do not say, and the order of a file that is not in the order of time is not to be trusted
    (PJM's is reversed in 2014 and 2016). Load is continuous: the pair stands so that the jumps to
    the hours before and after are smallest, and so that shuffled rows give the same series.
    """
    load, start = frame["load_mw"].to_numpy().copy(), frame["start"]
    lines = frame["source_line"].to_numpy().copy()
    for row in second_rows:
        a, b = load[row - 1], load[row]
        jump = swapped = 0.0
        if row >= 2 and start[row] - start[row - 2] == _HOUR:  # noqa: PLR2004
            jump, swapped = abs(load[row - 2] - a), abs(load[row - 2] - b)
        if row + 1 < len(load) and start[row + 1] - start[row] == _HOUR:
            jump, swapped = jump + abs(b - load[row + 1]), swapped + abs(a - load[row + 1])
        if swapped < jump:
            load[[row - 1, row]], lines[[row - 1, row]] = (b, a), lines[[row, row - 1]]
    frame["load_mw"], frame["source_line"] = load, lines
