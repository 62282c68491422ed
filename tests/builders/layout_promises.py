"""What ``read_files`` promises of any bytes under any layout that comes with gridcast."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gridcast.config import Config, IngestionConfig
from gridcast.errors import Fault
from gridcast.layouts.reading import File, read_files
from gridcast.layouts.tables import FileRefusedError
from tests.builders.changed_rows import NUM_ROW_CHANGES, change_row
from tests.builders.layouts import LAYOUTS

if TYPE_CHECKING:
    from gridcast.layouts.region_rows import LaidOutRegion

NAMES = tuple(sorted(LAYOUTS))
WORDS = (
    b"", b" ", b"nan", b"-inf", b"1e400", b"-5", b"12,5", b"1.234,5", b"1 234", b"n/e", b"-", b'"',
    b'""', b"24:00", b"2024-02-30 01:00", b"2024-03-31 02:30", b"31.12.2024 23:00", b"13/13/2024",
    b"1900-01-01T00:00:00Z", b"99999999999999999999", b"1710000000000", b"2024-01-01T00:00+25:00",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\r\n", b"\r", b";", b",", b"\t", b"PK\x03\x04",
    b"PAR1", "é".encode(), "٣".encode(), b"AM", b"12:00:00 PM", b"A1", b"26",
)  # fmt: skip
_ROWS = 60


@cache
def seed_of(name: str) -> tuple[str, bytes]:
    """A publisher's file, its first rows and those around the autumn change: its name and bytes."""
    written = LAYOUTS[name]()
    lines = written.text.split("\n")
    middle = len(lines) * 9 // 10
    kept = lines[:_ROWS] + lines[middle : middle + _ROWS]
    return written.name, "\n".join(kept).encode(written.encoding)


@cache
def _config_of(name: str) -> IngestionConfig:
    return Config.load(overrides=(f"layout_file={name}",)).ingestion


def changed(content: bytes, rng: random.Random) -> bytes:
    """Some bytes, cells or rows of it are others, once or a few times."""
    for _ in range(rng.randint(1, 4)):
        lines = content.split(b"\n")
        row, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(7):
            case which if which < NUM_ROW_CHANGES:
                change_row(which, lines, row, other, rng, WORDS)
            case 4:
                cells = lines[row].split(b",")
                del cells[rng.randrange(len(cells))]
                lines[row] = b",".join(cells)
            case 5:
                place = rng.randrange(len(lines[row]) + 1)
                lines[row] = lines[row][:place] + rng.choice(WORDS) + lines[row][place:]
            case _:
                place = rng.randrange(len(lines[row]) + 1)
                cut = lines[row][:place] + bytes([rng.randrange(256)]) + lines[row][place + 1 :]
                lines[row] = cut
        content = b"\n".join(lines)
    return content


def check_layout(name: str, content: bytes, file: str) -> str:
    """Hold the readers to what they promise of these bytes: what became of them.

    All hours of a region come out in order and once, finite; or it is refused with faults that name
    a line and column that are there; or the file is, alike. No other error comes out.
    """
    config = _config_of(name)
    try:
        found = read_files([File(file, file, content)], config, config.layout)
    except FileRefusedError as error:
        for fault in error.faults:
            _check_fault(fault, content)
        return "refused"
    for refused in found.unread.values():
        for fault in refused.faults:
            _check_fault(fault, content)
    for region in found.regions.values():
        _check_region(region, content)
    return "read" if any(each.load for each in found.regions.values()) else "refused"


def _check_region(region: LaidOutRegion, content: bytes) -> None:
    if region.refusal is not None:
        assert region.refusal.faults
        for fault in region.refusal.faults:
            _check_fault(fault, content)
        return
    assert region.load is not None
    frame = region.load.frame
    assert np.isfinite(frame["load_mw"].to_numpy(float)).all()
    assert frame["timestamp"].is_monotonic_increasing
    assert not frame["timestamp"].duplicated().any()


def _check_fault(fault: Fault, content: bytes) -> None:
    num_lines = len(content.splitlines()) + 1
    assert 1 <= fault.line <= max(num_lines, content.count(b"\n") + 1), fault
    assert fault.column >= 1, fault
    assert fault.reason.strip(), fault
    assert "Traceback" not in fault.reason
