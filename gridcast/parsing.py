"""From the bytes of ``<REGION>_hourly.csv`` to a sorted table in UTC, or a list of faults.

The fast way reads well-formed files with Arrow and accepts a file as a whole; whatever it does not
accept goes to the slow way, which reads line by line and can name line and column.

Legend: ``N`` rows.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gridcast.errors import Fault, RegionRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.config import IngestionConfig

FILE_NAME = re.compile(r"(?P<region>[A-Za-z0-9_]+)_hourly\.csv")
LABEL_COLUMN = "Datetime"
_LABEL = r"(19|20)\d{2}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"
_PLAIN_NUMBER = r"\d+(\.\d+)?"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_A_READING = {"nan": "load_nan", "inf": "load_infinite", "infinity": "load_infinite"}
_UTF8_BOM = b"\xef\xbb\xbf"
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


def region_of(file_name: str) -> str | None:
    """The region that a file's name tells, or None if it is no regional file.

    >>> region_of("PJM_Load_hourly.csv"), region_of("pjm_hourly_est.csv")
    ('PJM_Load', None)
    """
    match = FILE_NAME.fullmatch(file_name)
    return match["region"] if match else None


def parse_region(content: bytes, *, region: str, file: str, config: IngestionConfig) -> RegionLoad:
    """Read one region's file strictly.

    Args:
        content: the file's bytes: UTF-8 (a byte-order mark is allowed), LF or CRLF, the columns
            ``Datetime`` (``YYYY-MM-DD HH:MM:SS``, local) and ``<REGION>_MW``.
        region: the name in the file's name.
        file: the name that faults show.
        config: the labels' zone and whether they name the start or the end of their hour.

    Raises:
        RegionRefusedError: with one fault a kind, naming file, line and column.
    """
    text = _checked_bytes(content, file=file, region=region)
    cells = _read_fast(text, region) or _read_line_by_line(text, region=region, file=file)
    return to_utc(cells, region=region, file=file, config=config)


def read_rows(text: bytes, region: str) -> Cells | None:
    """Lines of a file without its header; their numbers as if it stood above. None: a fault."""
    if not text.endswith(b"\n") or b"\0" in text:
        return None
    return _read_fast(_header(region).encode() + b"\n" + text, region)


def content_sha256(timestamps: pd.Series[pd.Timestamp], loads: np.ndarray) -> str:
    """SHA-256 of sorted times (seconds since 1970, UTC) and loads (MW), as little-endian bytes."""
    seconds = timestamps.dt.tz_convert(None).astype("datetime64[s]").to_numpy().astype("<i8")
    return hashlib.sha256(seconds.tobytes() + loads.astype("<f8").tobytes()).hexdigest()


# -- bytes ---------------------------------------------------------------------------------------


def _checked_bytes(content: bytes, *, file: str, region: str) -> bytes:
    def refuse(offset: int, kind: str, reason: str) -> RegionRefusedError:
        # Editors count characters, and hide the byte-order mark.
        before = content[:offset].removeprefix(_UTF8_BOM)
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", errors="replace")) + 1
        fault = Fault(file, line, column, kind, reason)
        return RegionRefusedError(region, [fault], rows=[fault] if content.strip() else [])

    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refuse(0, "encoding", "found UTF-16, expected UTF-8; save the file as UTF-8")
    text = content.removeprefix(_UTF8_BOM)
    if (offset := content.find(b"\0")) >= 0:
        raise refuse(offset, "nul", "found a NUL byte, expected text; fetch the file again")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + len(content) - len(text)
        raise refuse(
            offset, "encoding", f"found byte {content[offset]:#04x}, expected UTF-8"
        ) from None
    if not text.strip():
        raise refuse(0, "empty", f"found 0 rows, expected a header {_header(region)} and data")
    if not text.endswith(b"\n"):
        reason = "found no line end after the last row, expected one; the file may be cut off"
        raise refuse(len(content), "cut", reason)
    return text


def _header(region: str) -> str:
    return f"{LABEL_COLUMN},{region}_MW"


# -- the fast way --------------------------------------------------------------------------------


def _read_fast(text: bytes, region: str) -> Cells | None:
    """Accept a well-formed file as a whole, or nothing of it."""
    names, header = [LABEL_COLUMN, f"{region}_MW"], _header(region).encode()
    # Arrow passes over an empty line and a second byte-order mark, and takes a bare CR for an end.
    has_header = text.startswith((header + b"\n", header + b"\r\n"))
    has_bare_cr = text.count(b"\r") != text.count(b"\r\n")
    if not has_header or has_bare_cr or b'"' in text or re.search(rb"\n\r?\n", text):
        return None
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        if table.column_names != names or table.num_rows == 0:
            return None
        labels, loads = (table[name] for name in names)
        for cells, pattern in ((labels, _LABEL), (loads, _PLAIN_NUMBER)):
            if not pc.all(pc.match_substring_regex(cells, f"^{pattern}$")).as_py():
                return None
        values = loads.cast(pa.float64()).to_numpy()
        stamps = labels.cast(pa.timestamp("s")).to_pandas()
    except pa.ArrowInvalid:
        return None
    if not np.isfinite(values).all():
        return None
    return Cells(stamps.astype("datetime64[s]"), values, np.arange(2, len(values) + 2))


# -- the slow way --------------------------------------------------------------------------------


def _read_line_by_line(text: bytes, *, region: str, file: str) -> Cells:
    lines = [line.removesuffix("\r") for line in text.decode("utf-8").split("\n")[:-1]]
    if (fault := _header_fault(lines[0], region=region, file=file)) is not None:
        raise RegionRefusedError(region, [fault], rows=[fault])
    if len(lines) == 1:
        reason = "found 0 rows after the header, expected at least one"
        raise RegionRefusedError(region, [Fault(file, 2, 1, "empty", reason)])
    labels, loads, faults = [], [], []
    for number, line in enumerate(lines[1:], start=2):
        row = _read_row(line, file=file, number=number)
        if isinstance(row, Fault):
            faults.append(row)
        else:
            labels.append(row[0])
            loads.append(row[1])
    if faults:
        raise RegionRefusedError(region, _one_a_kind(faults), rows=faults)
    stamps = pd.Series(np.array(labels, dtype="datetime64[s]"))
    return Cells(stamps, np.array(loads), np.arange(2, len(loads) + 2))


def _header_fault(line: str, *, region: str, file: str) -> Fault | None:
    expected, found = _header(region), line
    if found == expected:
        return None
    column = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False), start=1) if a != b),
        min(len(found), len(expected)) + 1,
    )
    reason = f"found the header {found[:80]!r}, expected {expected!r}"
    return Fault(file, 1, column, "header", reason)


def _read_row(line: str, *, file: str, number: int) -> tuple[np.datetime64, float] | Fault:
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        return Fault(file, number, 1, "quoting", f"found {line[:60]!r} ({error}), expected 2 cells")
    if len(cells) != 2:  # noqa: PLR2004
        reason = f"found {len(cells)} cells in {line[:60]!r}, expected 2 (label,load)"
        return Fault(file, number, 1, "columns", reason)
    label, load = cells
    stamp = _read_label(label)
    if stamp is None:
        reason = f"found the label {label[:40]!r}, expected YYYY-MM-DD HH:MM:SS (1900 to 2099)"
        return Fault(file, number, 1, "label", reason)
    value = _read_load(load)
    if isinstance(value, float):
        return stamp, value
    kind, found = value
    reason = f"found {found}, expected a load in MW such as 13478.0"
    return Fault(file, number, line.index(",") + 2, kind, reason)


def _read_label(label: str) -> np.datetime64 | None:
    if not re.fullmatch(_LABEL, label, re.ASCII):
        return None
    try:
        return np.datetime64(label, "s")
    except ValueError:
        return None


def _read_load(cell: str) -> float | tuple[str, str]:
    """The load in MW, or the fault's kind and what was found."""
    word = cell.strip().lstrip("+-").lower()
    if not word:
        return "load_empty", "an empty load"
    if word in _NOT_A_READING:
        return _NOT_A_READING[word], f"the load {cell!r}"
    if not _NUMBER.fullmatch(cell):
        is_comma = re.fullmatch(r"[+-]?\d+,\d+", cell)
        kind = "load_decimal_comma" if is_comma else "load_text"
        return kind, f"the load {cell[:40]!r}{' with a comma' if is_comma else ''}"
    value = float(cell)
    if not np.isfinite(value):
        return "load_overflow", f"the load {cell[:40]!r}, beyond what a number can hold"
    # abs: -0 is 0, or its bytes would give equal readings two hashes.
    return abs(value) if value >= 0 else ("load_negative", f"the negative load {cell!r}")


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


# -- time ----------------------------------------------------------------------------------------


def to_utc(cells: Cells, *, region: str, file: str, config: IngestionConfig) -> RegionLoad:
    """Rows with local labels → readings in UTC, sorted by time.

    Raises:
        RegionRefusedError: labels off the hour, that no clock showed, or that stand too often.
    """
    shift = _HOUR if config.label == "hour_ending" else 0 * _HOUR
    frame = pd.DataFrame(
        {"local_label": cells.labels, "source_line": cells.lines, "load_mw": cells.loads}
    )
    frame["start"] = frame["local_label"] - shift
    frame = frame.iloc[_time_order(frame)].reset_index(drop=True)
    timestamp = (
        frame["start"]
        .dt.tz_localize(config.timezone, ambiguous="NaT", nonexistent="NaT")
        .dt.tz_convert("UTC")
    )
    # The few hours that a clock shows twice, or never: what they are in summer and in winter time.
    unclear = frame["start"][timestamp.isna()]
    summer, winter = (
        unclear.dt.tz_localize(
            config.timezone, ambiguous=np.full(len(unclear), dst), nonexistent="NaT"
        ).dt.tz_convert("UTC")
        for dst in (True, False)
    )
    is_nonexistent = timestamp.isna()
    is_nonexistent[unclear.index] = summer.isna()
    is_repeated = timestamp.isna() & ~is_nonexistent
    faults = list(_time_faults(frame, is_nonexistent, is_repeated, file=file))
    if faults:
        raise RegionRefusedError(region, _one_a_kind(faults), rows=faults)
    is_second = frame["start"].duplicated(keep="first")
    timestamp[unclear.index] = summer.where(~is_second[unclear.index], winter)
    frame["timestamp"] = timestamp
    _order_autumn_pairs(frame, np.flatnonzero(is_second))
    frame = frame[["timestamp", "local_label", "source_line", "load_mw"]]
    return RegionLoad(
        region, frame, content_sha256(frame["timestamp"], frame["load_mw"].to_numpy())
    )


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
) -> Iterator[Fault]:
    """Labels off the hour, labels that no clock showed, hours that stand too often."""
    start, lines, labels = frame["start"], frame["source_line"], frame["local_label"]

    def fault(row: int, kind: str, reason: str) -> Fault:
        return Fault(file, int(lines[row]), 1, kind, f"found the label '{labels[row]}'{reason}")

    off_hour = (start.dt.minute != 0) | (start.dt.second != 0)
    for row in _by_line(lines, off_hour):
        yield fault(row, "label_off_hour", ", expected a full hour")
    for row in _by_line(lines, is_nonexistent):
        yield fault(row, "label_nonexistent", " in the hour that spring leaves out")
    same = start.duplicated(keep=False)
    for _, group in frame[same].groupby("start"):
        allowed = 2 if is_repeated[group.index[0]] else 1
        if len(group) > allowed:
            *earlier, last = sorted(int(line) for line in group["source_line"])
            named = " and ".join(f"line {line}" for line in earlier)
            expected = "once" if allowed == 1 else "at most twice"
            reason = f" again (it stands in {named}), expected it {expected}"
            yield fault(group.index[group["source_line"] == last][0], "duplicate_hour", reason)


def _by_line(lines: pd.Series[int], mask: pd.Series[bool]) -> list[int]:
    return [int(row) for row in lines[mask].sort_values().index]


def _order_autumn_pairs(frame: pd.DataFrame, second_rows: np.ndarray) -> None:
    """Tell which of the two readings of a repeated autumn hour came first, in place.

    Labels do not say, and the rows' order in a file is not to be trusted (PJM's is reversed in 2014
    and 2016). Load is continuous: the pair stands so that the jumps to the hours before and after
    are smallest, and so that shuffled rows give the same series.
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
