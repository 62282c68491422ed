"""The outside of a file: its kind, encoding, separator, and where its header stands."""

from __future__ import annotations

import csv
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from gridcast.layouts.tables import FileRefusedError, decoded, kind_of, sheet_names

if TYPE_CHECKING:
    from gridcast.inspection.findings import Findings
    from gridcast.layouts.reading import File

_LOOKED_AT: Final = 400  # lines
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NUMBER: Final = re.compile(r"[+-]?[\d.,'\s]*\d[\d.,:/-]*([eE][+-]?\d+)?")
_FEWEST = 2


def find_structure(file: File, findings: Findings) -> None:
    """Note kind, encoding, separator and header of the file.

    Raises:
        FileRefusedError: it is no table that can be read.
    """
    kind = kind_of(file.content)
    findings.layout["kind"] = kind if kind in {"excel", "parquet"} else "csv"
    if kind == "parquet":
        findings.note("certain", "kind", "Parquet", "its first bytes say so")
    elif kind == "excel":
        _find_sheet(file, findings)
    else:
        _find_text(file, findings)


def _find_sheet(file: File, findings: Findings) -> None:
    first, *more = sheet_names(file.content, file.path)
    others = [f"ingestion.layout.sheet={name!r}" for name in more]
    why = "the first of several" if others else "its only one"
    findings.note(
        "check" if others else "certain", "kind", f"workbook, sheet {first}", why, *others
    )


def _find_text(file: File, findings: Findings) -> None:
    encoding, text = _text_of(file)
    if encoding.startswith("utf"):
        findings.note("certain", "encoding", encoding, "its bytes are valid")
    else:
        other = "ingestion.layout.encoding=latin-1"
        findings.note("check", "encoding", encoding, "its bytes are no UTF-8", other)
    lines = text.split("\n", _LOOKED_AT)[:_LOOKED_AT]
    separator, width = _separator(lines)
    _find_row_prefix(text, lines, separator, width, findings)
    header = _header_line(lines, separator, width)
    findings.layout |= {"encoding": encoding, "separator": separator, "header_line": header}
    named = _SEPARATORS[separator]
    findings.note("certain", "cells", f"{width} a row, {named} between them", "in nearly all lines")
    if header != 1:
        why = "what stands above it has other cells" if header else "no line has names alone"
        findings.note("likely", "header", f"line {header}" if header else "none", why)


def _find_row_prefix(
    text: str, lines: list[str], separator: str, width: int, findings: Findings
) -> None:
    """Note how rows of readings begin, where other lines (titles, sums) begin otherwise."""
    ends = text.rstrip("\n").split("\n")[-3:]
    if all(len(_cells(line, separator)) == width for line in (*lines[:3], *ends) if line.strip()):
        return
    begins = Counter(line.split(separator, 1)[0] for line in lines if separator in line)
    word, count = max(begins.items(), key=lambda each: each[1], default=("", 0))
    if word and count > len(lines) / 2:
        findings.layout["row_prefix"] = f"{word}{separator}"
        why = "other lines, as titles and sums, begin otherwise"
        findings.note("likely", "rows", f"begin with {word}", why)


def _text_of(file: File) -> tuple[str, str]:
    """Encoding and text; what is no UTF-8 is taken for what Windows writes in the west."""
    if file.content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", decoded(file.content, file=file.path, encoding="utf-16")
    for encoding in ("utf-8", "cp1252"):
        try:
            return encoding, decoded(file.content, file=file.path, encoding=encoding)
        except FileRefusedError as error:
            if error.faults[0].kind != "encoding":
                raise
    return "latin-1", decoded(file.content, file=file.path, encoding="latin-1")


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _separator(lines: list[str]) -> tuple[str, int]:
    """The separator that gives most lines the same number of cells, and that number."""
    best, most = (",", 1), 0.0
    for separator in _SEPARATORS:
        counts = Counter(len(_cells(line, separator)) for line in lines if line.strip())
        width, count = max(counts.items(), key=lambda each: each[1], default=(1, 0))
        score = count / max(counts.total(), 1) * (width >= _FEWEST) + width / 1e4
        if score > most:
            best, most = (separator, width), score
    return best


def _header_line(lines: list[str], separator: str, width: int) -> int:
    """The first line of that width that has no numbers; 0: the first such line has some."""
    for number, line in enumerate(lines, start=1):
        cells = _cells(line, separator)
        if len(cells) == width:
            has_numbers = any(_NUMBER.fullmatch(cell.strip()) for cell in cells)
            return 0 if has_numbers else number
    return 1
