"""The rows of one region, from all files that have some → its hours, or why it is refused.

Legend: ``N`` rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from gridcast.errors import Fault, RegionRefusedError
from gridcast.layouts.hours import to_hours
from gridcast.layouts.instants import Instants, RowLabels, begin_of_intervals, zone_of
from gridcast.layouts.places import Places
from gridcast.readings.local_time import RegionLoad, content_sha256
from gridcast.readings.quarantine import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridcast.config import LayoutConfig, RegionIngestion
    from gridcast.layouts.labels import Labels
    from gridcast.layouts.numbers import Loads
    from gridcast.layouts.reading import File
    from gridcast.layouts.tables import FileRefusedError

_HOUR = 3600
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Rows:
    """What some rows of a file say of one region; ``cell`` and ``time_cell`` are columns from 0."""

    name: str
    file: File
    layout: LayoutConfig
    cell: int
    time_cell: int
    lines_N: np.ndarray
    labels: Labels
    loads: Loads
    load_text: pa.Array
    is_winter_N: np.ndarray | None
    period_N: np.ndarray | None
    is_other_length_N: np.ndarray

    def take(self, name: str, at: np.ndarray) -> Rows:
        """The rows of those numbers, of the region ``name``."""
        labels = replace(
            self.labels, label_N=self.labels.label_N[at], offset_N=self.labels.offset_N[at],
            is_second_N=self.labels.is_second_N[at], text=self.labels.text.take(pa.array(at)),
        )  # fmt: skip
        loads = replace(
            self.loads, load_mw_N=self.loads.load_mw_N[at],
            is_missing_N=self.loads.is_missing_N[at], is_wrong_N=self.loads.is_wrong_N[at],
        )  # fmt: skip
        return replace(
            self, name=name, lines_N=self.lines_N[at], labels=labels, loads=loads,
            load_text=self.load_text.take(pa.array(at)), is_winter_N=_at(self.is_winter_N, at),
            period_N=_at(self.period_N, at), is_other_length_N=self.is_other_length_N[at],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LaidOutRegion:
    """One region of files: ``load``, or else ``refusal``; and where its lines stand.

    ``num_missing`` is of rows whose cell says that there is no reading, ``num_broken`` of hours
    that have intervals, but too few.
    """

    load: RegionLoad | None
    refusal: RegionRefusedError | None
    places: Places
    num_missing: int = 0
    num_broken: int = 0


def region_of_rows(
    region: str,
    parts: Sequence[Rows],
    reading: RegionIngestion,
    layout: LayoutConfig,
    refusals: Sequence[FileRefusedError] = (),
) -> LaidOutRegion:
    """The hours of ``region`` from its rows, file after file."""
    reading = reading.model_copy(update={"layout": layout})
    places = Places.of(parts, layout)
    faults = [fault for error in refusals for fault in error.faults]
    if faults or not parts:
        return LaidOutRegion(None, RegionRefusedError(region, faults, rows=faults), places)
    rows = _Columns.of(parts, places)
    kept = rows.take(~rows.is_missing_N)
    instants = begin_of_intervals(kept.labels, reading)
    found = (*_cell_problems(kept), *_time_problems(kept, instants, reading))
    problems = [each for each in found if len(each.rows.line_N)]
    if not problems:
        kept, instants, problems = _in_order(kept, instants)
    if problems or not len(kept.line_N):
        return LaidOutRegion(None, _refusal(region, problems, parts, places), places)
    hours = to_hours(instants.start_N, kept.load_mw_N, reading)
    if not len(hours.start_H):
        return LaidOutRegion(None, _no_hours(region, parts, reading), places)
    load = _region_load(region, hours.start_H, hours.load_mw_H, hours.first_H, kept, reading)
    num_missing = int(rows.is_missing_N.sum())
    return LaidOutRegion(load, None, places, num_missing, hours.num_broken)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The rows of all parts, one after the other; ``line_N`` counts through all files."""

    labels: RowLabels
    load_mw_N: np.ndarray
    is_missing_N: np.ndarray
    is_wrong_N: np.ndarray
    is_other_length_N: np.ndarray
    line_N: np.ndarray
    part_N: np.ndarray
    row_N: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[Rows], places: Places) -> _Columns:
        def joined(get: Callable[[Rows], np.ndarray | None]) -> np.ndarray:
            arrays = [found for part in parts if (found := get(part)) is not None]
            return np.concatenate(arrays) if arrays else np.empty(0)

        has_winter = parts[0].is_winter_N is not None
        has_periods = parts[0].period_N is not None
        sizes = [len(part.lines_N) for part in parts]
        return cls(
            labels=RowLabels(
                joined(lambda part: part.labels.label_N),
                joined(lambda part: part.labels.offset_N),
                joined(lambda part: part.labels.is_second_N),
                joined(lambda part: part.is_winter_N) if has_winter else None,
                joined(lambda part: part.period_N) if has_periods else None,
            ),
            load_mw_N=joined(lambda part: part.loads.load_mw_N),
            is_missing_N=joined(lambda part: part.loads.is_missing_N),
            is_wrong_N=joined(lambda part: part.loads.is_wrong_N),
            is_other_length_N=joined(lambda part: part.is_other_length_N),
            line_N=np.concatenate(
                [part.lines_N + places.first_of(part.file.path) for part in parts]
            ),
            part_N=np.repeat(np.arange(len(parts)), sizes),
            row_N=np.concatenate([np.arange(size) for size in sizes]),
        )

    def take(self, at: np.ndarray) -> _Columns:
        labels = RowLabels(
            self.labels.label_N[at], self.labels.offset_N[at], self.labels.is_second_N[at],
            _at(self.labels.is_winter_N, at), _at(self.labels.period_N, at),
        )  # fmt: skip
        return _Columns(
            labels, self.load_mw_N[at], self.is_missing_N[at], self.is_wrong_N[at],
            self.is_other_length_N[at], self.line_N[at], self.part_N[at], self.row_N[at],
        )  # fmt: skip


def _at(values: np.ndarray | None, at: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[at]


# -- problems ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Problem:
    """Rows (by number) with one kind of fault, how it is told, and whether of the time's cell."""

    kind: str
    rows: _Columns
    reason: Callable[[str], str]
    is_of_time: bool = True


def _cell_problems(rows: _Columns) -> Iterator[_Problem]:
    is_nat = np.isnat(rows.labels.label_N)
    yield _Problem(
        "label", rows.take(is_nat),
        lambda text: f"found the label {text!r}, expected one like the format "
        "(ingestion.layout.time_columns, ingestion.layout.time_format)",
    )  # fmt: skip
    yield _Problem(
        "load", rows.take(rows.is_wrong_N),
        lambda text: f"found {f'the load {text!r}' if text else 'an empty load'}, expected a number"
        " (ingestion.layout.decimal, thousands), or a mark of ingestion.layout.missing",
        is_of_time=False,
    )  # fmt: skip
    yield _Problem(
        "interval", rows.take(rows.is_other_length_N & ~is_nat),
        lambda text: f"found the interval {text!r}, expected one of ingestion.layout.step_minutes",
    )  # fmt: skip


def _time_problems(
    rows: _Columns, instants: Instants, reading: RegionIngestion
) -> Iterator[_Problem]:
    layout, zone = reading.layout, zone_of(reading)
    is_label = ~np.isnat(rows.labels.label_N)
    told = f"ingestion.layout.time_zone is {layout.time_zone}"
    yield _Problem(
        "label_zone", rows.take(instants.is_unzoned_N & is_label),
        lambda text: f"found the label {text!r}, expected one with its offset from UTC ({told})"
        if layout.time_zone == "in_label"
        else f"found the label {text!r} with an offset, expected one without it ({told}; in_label "
        "reads offsets)",
    )  # fmt: skip
    is_off = instants.is_off_step_N & is_label & (rows.labels.period_N is None)
    yield _Problem(
        "label_off_hour", rows.take(is_off),
        lambda text: f"found the label {text!r}, expected a full step of {layout.step_minutes} "
        "minutes (ingestion.layout.step_minutes)",
    )  # fmt: skip
    yield _Problem(
        "label_nonexistent", rows.take(instants.is_never_N & is_label),
        lambda text: f"found the label {text!r}, expected a time that clocks of {zone} showed "
        f"(ingestion.timezone is {reading.timezone}, ingestion.label is {reading.label}, {told})",
    )  # fmt: skip
    yield _Problem(
        "period", rows.take(instants.is_no_period_N & is_label),
        lambda text: f"found an interval on {text!r} that the day has not, expected numbers from 1 "
        "(ingestion.layout.period_column)",
    )  # fmt: skip


def _in_order(rows: _Columns, instants: Instants) -> tuple[_Columns, Instants, list[_Problem]]:
    """The rows in the order of time, each once; equal readings of two files count once."""
    order = np.argsort(instants.start_N, kind="stable")
    rows, start_N = rows.take(order), instants.start_N[order]
    is_again = np.concatenate([[False], start_N[1:] == start_N[:-1]])[: len(start_N)]
    if is_again.any():
        before = np.flatnonzero(is_again) - 1
        at = before + 1
        is_same = (rows.part_N[at] != rows.part_N[before]) & (
            rows.load_mw_N[at] == rows.load_mw_N[before]
        )
        wrong = rows.take(at[~is_same])
        if len(wrong.line_N):
            earlier = dict(
                zip(wrong.line_N.tolist(), rows.line_N[before[~is_same]].tolist(), strict=True)
            )
            return rows, instants, [_duplicate(wrong, min(earlier.items()))]
        rows, start_N = rows.take(~is_again), start_N[~is_again]
    none_N = np.zeros(len(start_N), dtype=bool)
    return rows, Instants(start_N, none_N, none_N, none_N, none_N), []


def _duplicate(rows: _Columns, first: tuple[int, int]) -> _Problem:
    _, line = first
    return _Problem(
        "duplicate_hour", rows,
        lambda text: f"found the time of {text!r} again (it stands in line {line}), expected it "
        "once; of an autumn pair a mark may tell the second (ingestion.layout.second_hour_mark, "
        "winter_column), and rows of several kinds ingestion.layout.only",
    )  # fmt: skip


def _refusal(
    region: str, problems: Sequence[_Problem], parts: Sequence[Rows], places: Places
) -> RegionRefusedError:
    firsts, rows = [], []
    for problem in problems:
        faults = list(_faults(problem, parts, places))
        rows += faults
        if faults:
            firsts.append(replace(faults[0], count=len(problem.rows.line_N)))
    if not firsts:
        reason = "found no row with a reading, expected some"
        firsts = [Fault(parts[0].file.path, 1, 1, "empty", reason)]
    return RegionRefusedError(region, firsts, rows=rows)


def _faults(problem: _Problem, parts: Sequence[Rows], places: Places) -> Iterator[Fault]:
    order = np.argsort(problem.rows.line_N, kind="stable")[:MOST_ROWS]
    for row in order:
        part = parts[problem.rows.part_N[row]]
        number = int(problem.rows.row_N[row])
        cells = part.labels.text if problem.is_of_time else part.load_text
        text = str(cells[number].as_py())[:_SHOWN]
        cell = part.time_cell if problem.is_of_time else part.cell
        reason = problem.reason(text)
        fault = Fault(part.file.path, int(problem.rows.line_N[row]), 1, problem.kind, reason)
        yield places.located(fault, part.file.content, cell=cell)


def _no_hours(region: str, parts: Sequence[Rows], reading: RegionIngestion) -> RegionRefusedError:
    layout = reading.layout
    reason = (
        f"found no hour that is whole, expected intervals of {layout.step_minutes} minutes "
        "(ingestion.layout.step_minutes, fewest_share)"
    )
    return RegionRefusedError(region, [Fault(parts[0].file.path, 1, 1, "empty", reason)])


# -- the frame -----------------------------------------------------------------------------------


def _region_load(
    region: str,
    start_H: np.ndarray,
    load_mw_H: np.ndarray,
    first_H: np.ndarray,
    rows: _Columns,
    reading: RegionIngestion,
) -> RegionLoad:
    """The frame of ``RegionLoad``; of several intervals the label is that of the whole hour."""
    step = np.timedelta64(reading.layout.step_minutes * 60, "s")
    more = np.timedelta64(_HOUR, "s") - step if reading.label != "hour_beginning" else 0 * step
    timestamps = pd.Series(pd.DatetimeIndex(start_H.astype("datetime64[s]"), tz="UTC"))
    frame = pd.DataFrame(
        {
            "timestamp": timestamps.astype("datetime64[us, UTC]"),
            "local_label": (rows.labels.label_N[first_H] + more).astype("datetime64[ms]"),
            "source_line": rows.line_N[first_H].astype("int64"),
            "load_mw": load_mw_H.astype("float64"),
        }
    )
    return RegionLoad(region, frame, content_sha256(frame["timestamp"], load_mw_H))
