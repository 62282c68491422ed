"""From the bytes of ``<REGION>_hourly.csv`` to a sorted table in UTC, or a list of faults.

The fast way reads well-formed files with Arrow and accepts a file as a whole; whatever it does not
accept goes to the slow way, which reads line by line and can name line and column.

Legend: ``N`` rows.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gridcast.errors import Fault, RegionRefusedError

if TYPE_CHECKING:
    from gridcast.config import RegionIngestion
from gridcast.readings.local_time import Cells, RegionLoad, _one_a_kind, to_utc

FILE_NAME = re.compile(r"(?P<region>(?!\.)[^/\\\x00-\x1f\ud800-\udfff]+)_hourly\.(?i:csv)")
LABEL_COLUMN = "Datetime"
_LABEL = r"(19|20)\d{2}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"
_PLAIN_NUMBER = r"-?\d+(\.\d+)?"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_A_READING = {"nan": "load_nan", "inf": "load_infinite", "infinity": "load_infinite"}
_TWO_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss",
                "æ": "ae", "ø": "oe", "å": "aa", "Æ": "Ae", "Ø": "Oe", "Å": "Aa", "ł": "l",
                "Ł": "L", "đ": "d", "Đ": "D"}  # fmt: skip
_UTF8_BOM = b"\xef\xbb\xbf"


def region_of(file_name: str) -> str | None:
    """The region that a file's name tells, or None if it is no regional file.

    >>> region_of("PJM_Load_hourly.csv"), region_of("pjm_hourly_est.csv")
    ('PJM_Load', None)
    >>> region_of("ISO-NE_hourly.csv"), region_of("Österreich_hourly.CSV")
    ('ISO_NE', 'Oesterreich')
    """
    name = name_in_file(file_name)
    return None if name is None else safe_name(name)


def name_in_file(file_name: str) -> str | None:
    """The region as the file's name writes it, and so its header; None: no regional file."""
    match = FILE_NAME.fullmatch(unicodedata.normalize("NFC", file_name))
    return match["region"] if match else None


def safe_name(name: str) -> str | None:
    """``name`` of letters, digits and underscores alone, as regions are called; None: nothing left.

    >>> safe_name("New York"), safe_name("Großräschen-2"), safe_name("São Paulo"), safe_name("--")
    ('New_York', 'Grossraeschen_2', 'Sao_Paulo', None)
    """
    told = "".join(_TWO_LETTERS.get(letter, letter) for letter in name.strip())
    plain = unicodedata.normalize("NFKD", told).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9_]+", "_", plain)
    if not name.startswith("_"):
        safe = safe.lstrip("_")
    return (safe if name.endswith("_") else safe.rstrip("_")) or None


def parse_region(content: bytes, *, region: str, file: str, config: RegionIngestion) -> RegionLoad:
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
    column = _name_in_header(file, region)
    text = _checked_bytes(content, file=file, region=region)
    cells = _read_fast(text, column) or _read_line_by_line(
        text, region=region, column=column, file=file
    )
    return to_utc(cells, region=region, file=file, config=config)


def _name_in_header(file: str, region: str) -> str:
    """The region as the file's header has it: as its name has it, where that was made safe."""
    name = name_in_file(PurePath(file).name)
    return name if name is not None and safe_name(name) == region else region


def read_rows(text: bytes, region: str) -> Cells | None:
    """Lines of a file without its header; their numbers as if it stood above. None: a fault."""
    if not text.endswith(b"\n") or b"\0" in text:
        return None
    return _read_fast(_header(region).encode() + b"\n" + text, region)


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
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        reason = "found a workbook or a zip, expected a CSV; export it as CSV, or try {advice}"
        raise refuse(0, "file_kind", reason.format(advice="`gridcast inspect`"))
    if b"\r" in content and b"\n" not in content:
        reason = "found lines that end with CR alone, expected LF or CRLF; save the file anew"
        raise refuse(content.find(b"\r"), "line_ends", reason)
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
        values = loads.cast(pa.float64()).to_numpy() + 0.0  # -0 is 0, as below
        stamps = labels.cast(pa.timestamp("s")).to_pandas()
    except pa.ArrowInvalid:
        return None
    if not np.isfinite(values).all():
        return None
    return Cells(stamps.astype("datetime64[s]"), values, np.arange(2, len(values) + 2))


# -- the slow way --------------------------------------------------------------------------------


def _read_line_by_line(text: bytes, *, region: str, file: str, column: str | None = None) -> Cells:
    lines = [line.removesuffix("\r") for line in text.decode("utf-8").split("\n")[:-1]]
    if (fault := _header_fault(lines[0], column or region, file=file)) is not None:
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


def _header_fault(line: str, column: str, *, file: str) -> Fault | None:
    expected, found = _header(column), unicodedata.normalize("NFC", line)
    with suppress(csv.Error):
        if ",".join(next(csv.reader([found], strict=True), [])) == expected:
            return None  # also where it stands in quotes
    place = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False), start=1) if a != b),
        min(len(found), len(expected)) + 1,
    )
    reason = f"found the header {found[:80]!r}, expected {expected!r}; try `gridcast inspect`"
    return Fault(file, 1, place, "header", reason)


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
    if not cell.strip():
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
    return value + 0.0  # -0 is 0, or its bytes would give equal readings two hashes


# -- time ----------------------------------------------------------------------------------------
