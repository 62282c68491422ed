"""What ``parse_region`` promises of any bytes; Hypothesis and the fuzzer hold it to the same."""

from __future__ import annotations

import csv
import random
import zlib
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from gridcast.errors import Fault, RegionRefusedError
from gridcast.readings.local_time import RegionLoad, content_sha256
from gridcast.readings.parsing import _checked_bytes, _read_fast, _read_line_by_line, parse_region
from gridcast.readings.quarantine import MOST_BYTES, raw_lines
from tests.builders.values import make_config

REGION, FILE, BOM = "AEP", "AEP_hourly.csv", b"\xef\xbb\xbf"
LABELS: tuple[Literal["hour_ending", "hour_beginning"], ...] = ("hour_ending", "hour_beginning")
_CONFIGS = {label: make_config(ingestion={"label": label}).ingestion for label in LABELS}


def check_parser(content: bytes) -> bool:
    """Hold the parser to all of its promises for these bytes; whether it read them as PJM's.

    It reads, or raises :class:`RegionRefusedError` and nothing else. What it reads, and what it
    refuses, depends neither on the way that read them nor on the order of the rows, but for autumn
    pairs of a file that is in the order of time.
    """
    is_read = {label: _check(content, label) for label in LABELS}
    _check_both_ways(content)
    return is_read["hour_ending"]


def _check(content: bytes, label: Literal["hour_ending", "hour_beginning"]) -> bool:
    try:
        load = parse_region(content, region=REGION, file=FILE, config=_CONFIGS[label])
    except RegionRefusedError as error:
        _check_faults(error, content)
        return False
    _check_load(load, content, shift=timedelta(hours=1 if label == "hour_ending" else 0))
    again = parse_region(_shuffled(content), region=REGION, file=FILE, config=_CONFIGS[label])
    if not _tells_pairs_by_order(load):
        assert again.content_sha256 == load.content_sha256, "the order of rows changes the hash"
    return True


def _tells_pairs_by_order(load: RegionLoad) -> bool:
    """Whether the file has autumn pairs, and its rows stand in the order of time."""
    has_pairs = bool(load.frame["local_label"].duplicated().any())
    return has_pairs and bool(load.frame["source_line"].is_monotonic_increasing)


def _check_faults(error: RegionRefusedError, content: bytes) -> None:
    lines = content.split(b"\n")
    assert error.region == REGION
    assert error.faults
    kinds = [fault.kind for fault in error.faults]
    assert len(set(kinds)) == len(kinds), kinds
    for fault in (*error.faults, *error.rows):
        _check_fault(fault, lines)
    raw = [lines[fault.line - 1].removesuffix(b"\r") for fault in error.rows]
    expected = [text[:MOST_BYTES].decode("utf-8", errors="backslashreplace") for text in raw]
    quarantined = raw_lines(content, [fault.line for fault in error.rows])
    assert quarantined == expected, "another text than the file's is set aside"


def _check_fault(fault: Fault, lines: list[bytes]) -> None:
    """It names a place where an editor can put its cursor, in one line of plain words."""
    assert fault.file == FILE
    assert 1 <= fault.line <= len(lines), fault
    # An editor shows characters; it hides the byte-order mark, and CR as part of the line's end.
    text = lines[fault.line - 1].removeprefix(BOM if fault.line == 1 else b"")
    width = len(text.decode("utf-8", errors="replace"))
    assert 1 <= fault.column <= width + 1, fault
    assert 1 <= fault.count <= len(lines), fault
    assert "found" in fault.reason, fault
    assert str(fault).isprintable(), fault


def _check_load(load: RegionLoad, content: bytes, *, shift: timedelta) -> None:
    frame, zone = load.frame, ZoneInfo("America/New_York")
    rows = [line.decode() for line in content.removeprefix(BOM).split(b"\n")[1:-1]]
    stamps, loads = frame["timestamp"], frame["load_mw"].to_numpy()
    assert str(stamps.dt.tz) == "UTC"
    assert stamps.is_unique
    assert stamps.is_monotonic_increasing
    assert (stamps == stamps.dt.floor("h")).all()
    assert np.isfinite(loads).all()
    assert not np.signbit(loads[loads == 0]).any(), "a negative zero"
    assert load.region == REGION
    assert load.content_sha256 == content_sha256(stamps, loads)
    assert sorted(frame["source_line"]) == list(range(2, len(rows) + 2)), "not one line a row"
    for stamp, label, line, mw in zip(
        stamps, frame["local_label"], frame["source_line"], loads, strict=True
    ):
        raw_label, raw_load = next(csv.reader([rows[line - 2].removesuffix("\r")]))
        assert pd.Timestamp(raw_label) == label, (line, raw_label, label)
        assert float(raw_load) == mw, (line, raw_load, mw)
        wall = stamp.to_pydatetime().astimezone(zone).replace(tzinfo=None)
        assert wall + shift == label, (line, stamp, label)


def _check_both_ways(content: bytes) -> None:
    """What the fast way accepts as a whole, the slow way reads, and reads alike."""
    try:
        text = _checked_bytes(content, file=FILE, region=REGION)
    except RegionRefusedError:
        return
    if (fast := _read_fast(text, REGION)) is None:
        return
    slow = _read_line_by_line(text, region=REGION, file=FILE)
    assert fast.labels.tolist() == slow.labels.tolist()
    assert fast.loads.tolist() == slow.loads.tolist()
    assert fast.lines.tolist() == slow.lines.tolist()


def _shuffled(content: bytes) -> bytes:
    """The same rows in another order; the same order for the same bytes."""
    header, *rows, end = content.split(b"\n")
    random.Random(zlib.crc32(content)).shuffle(rows)  # noqa: S311 - no secret
    return b"\n".join([header, *rows, end])
