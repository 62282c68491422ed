"""The bytes of a CSV, a workbook or a Parquet file → cells as text, each row with its line.

Legend: ``N`` rows.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gridcast.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import LayoutConfig

_ZIP, _OLD_EXCEL, _PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1"
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file below its header: all cells as text, and the line of each (from 1).

    ``lines_N`` counts the lines of a CSV, the rows of a sheet, or of a Parquet file (from 1).
    """

    file: str
    names: tuple[str, ...]
    cells: pa.Table
    lines_N: np.ndarray

    def column(self, name: str) -> pa.Array:
        """The cells of a column, without blanks around them."""
        chunked = self.cells.column(self.names.index(name))
        return pc.utf8_trim_whitespace(chunked).combine_chunks()

    def take(self, is_kept_N: np.ndarray) -> Table:
        """The rows of the mask alone."""
        kept = self.cells.filter(pa.array(is_kept_N))
        return Table(self.file, self.names, kept, self.lines_N[is_kept_N])


class FileRefusedError(Exception):
    """A file that is not as its layout says: as a whole, or in these rows."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, faults)))


class Line(NamedTuple):
    """A place in a file, and what was found there."""

    number: int
    text: str


def read_table(content: bytes, *, file: str, layout: LayoutConfig) -> Table:
    """Read all cells of a file as text.

    Raises:
        FileRefusedError: it is no such file, or has rows of another number of cells.
    """
    if not content.strip():
        raise _refusal(file, 1, "empty", "found an empty file, expected a header and rows")
    if layout.kind == "excel":
        return _from_rows(_sheet_rows(content, file, layout.sheet), file=file, layout=layout)
    if layout.kind == "parquet":
        return _from_parquet(content, file=file)
    return _from_csv(content, file=file, layout=layout)


def as_numpy(cells: pa.Array) -> np.ndarray:
    """The values of an Arrow array without nulls."""
    values: np.ndarray = cells.to_numpy(zero_copy_only=False)
    return values


def kind_of(content: bytes) -> str:
    """What the first bytes say that a file is: csv, excel, parquet, zip (another one) or gzip."""
    if content.startswith(_PARQUET):
        return "parquet"
    if content.startswith(_OLD_EXCEL):
        return "excel"
    if content.startswith(b"\x1f\x8b"):
        return "gzip"
    if content.startswith(_ZIP):
        try:
            members = zipfile.ZipFile(io.BytesIO(content)).namelist()
        except zipfile.BadZipFile:
            return "zip"
        is_workbook = any(name.startswith("xl/") or name == "content.xml" for name in members)
        return "excel" if is_workbook else "zip"
    return "csv"


# -- CSV -----------------------------------------------------------------------------------------


def decoded(content: bytes, *, file: str, encoding: str) -> str:
    """The text of a CSV, its lines ended by LF.

    Raises:
        FileRefusedError: other bytes than the encoding has, or no text at all.
    """
    if (found := kind_of(content)) != "csv":
        what = {"excel": "a workbook", "parquet": "a Parquet file"}.get(found, f"a {found} file")
        advice = "say so by ingestion.layout.kind" if found in {"excel", "parquet"} else "unpack it"
        raise _refusal(file, 1, "file_kind", f"found {what}, expected a CSV; {advice}")
    try:
        text = content.decode("utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reason = (
            f"found byte {content[error.start]:#04x}, expected text in {encoding} "
            "(ingestion.layout.encoding)"
        )
        raise _refusal(file, line, "encoding", reason) from None
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _from_csv(content: bytes, *, file: str, layout: LayoutConfig) -> Table:
    text = decoded(content, file=file, encoding=layout.encoding)
    header, rows, lines_N = _header_and_rows(text, layout)
    if not rows:
        reason = "found no rows below the header, expected at least one"
        last = text.count("\n") + 1
        raise _refusal(file, min(layout.header_line + 1, last), "empty", reason)
    first = pa_csv.read_csv(
        pa.BufferReader((header if layout.header_line else _first_line(rows)).encode() + b"\n"),
        read_options=pa_csv.ReadOptions(autogenerate_column_names=True),
        parse_options=_parse_options(layout),
        convert_options=pa_csv.ConvertOptions(strings_can_be_null=False),
    )
    count = first.num_columns
    names = [str(first.column(i)[0].as_py()).strip() for i in range(count)]
    if not layout.header_line:
        names = [str(number) for number in range(1, count + 1)]
    cells, wrong = _cells_of(rows, count, layout)
    if wrong:
        _refuse_wrong_counts(wrong, count, lines_N, file)
    if cells.num_rows != len(lines_N):
        raise _not_a_row_a_line(rows, cells.num_rows, lines_N, file)
    return Table(file, tuple(names), cells, lines_N)


def _not_a_row_a_line(rows: str, num_rows: int, lines_N: np.ndarray, file: str) -> FileRefusedError:
    """Of cells that go on over the end of a line, or lines that end within."""
    odd = (n for n, line in enumerate(rows.split("\n")) if "\r" in line or line.count('"') % 2)
    line = int(lines_N[next(odd, 0)])
    reason = (
        f"found {num_rows} rows in {len(lines_N)} lines, expected a row a line: "
        "a quote without its pair, or a carriage return within"
    )
    return _refusal(file, line, "rows", reason)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _header_and_rows(text: str, layout: LayoutConfig) -> tuple[str, str, np.ndarray]:
    """The header's line, the rows below it without empty lines, and their lines in the file."""
    place, header = 0, ""
    for _ in range(layout.header_line):
        end = text.find("\n", place)
        header, place = text[place:end], end + 1
        if end < 0:
            return header, "", np.empty(0, "int64")
    rows = text[place:].rstrip("\n")
    numbers_N = np.arange(rows.count("\n") + 1, dtype="int64") + layout.header_line + 1
    prefix = layout.row_prefix
    if prefix is None and "\n\n" not in rows and not rows.startswith("\n"):
        return header, rows, numbers_N
    kept = [
        (number, line)
        for number, line in zip(numbers_N.tolist(), rows.split("\n"), strict=True)
        if line.strip() and (prefix is None or line.startswith(prefix))
    ]
    return header, "\n".join(line for _, line in kept), np.array([n for n, _ in kept], "int64")


def _parse_options(layout: LayoutConfig) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(delimiter=layout.separator, ignore_empty_lines=False)


def _cells_of(
    rows: str, count: int, layout: LayoutConfig
) -> tuple[pa.Table, list[pa_csv.InvalidRow]]:
    """All cells, and the rows that have another number of them than ``count``."""
    wrong: list[pa_csv.InvalidRow] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    names = [str(number) for number in range(count)]
    text = rows.encode() + b"\n"
    for is_parallel in (True, False):
        parse = _parse_options(layout)
        if not is_parallel:
            parse.invalid_row_handler = keep
        try:
            cells = pa_csv.read_csv(
                pa.BufferReader(text),
                read_options=pa_csv.ReadOptions(column_names=names, use_threads=is_parallel),
                parse_options=parse,
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            continue
        return cells, wrong
    return pa.table({name: pa.array([], pa.string()) for name in names}), wrong


def _refuse_wrong_counts(
    wrong: list[pa_csv.InvalidRow], count: int, lines_N: np.ndarray, file: str
) -> None:
    faults = []
    for row in wrong:
        place = 0 if row.number is None else row.number - 1
        line = int(lines_N[min(place, len(lines_N) - 1)])
        shown = (row.text or "")[:_LONGEST_SHOWN]
        reason = f"found {row.actual_columns} cells in {shown!r}, expected {count} as in the header"
        faults.append(Fault(file, line, 1, "columns", reason))
    raise FileRefusedError(faults)


# -- workbooks and Parquet -------------------------------------------------------------------------


def sheet_names(content: bytes, file: str) -> list[str]:
    """The names of a workbook's sheets.

    Raises:
        FileRefusedError: it is no workbook that can be read.
    """
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - as below

    try:
        return list(CalamineWorkbook.from_filelike(io.BytesIO(content)).sheet_names)
    except CalamineError as error:
        reason = f"found no workbook that can be read ({error}), expected one"
        raise _refusal(file, 1, "file_kind", reason) from None


def _sheet_rows(content: bytes, file: str, sheet: str | None) -> list[list[Any]]:
    from python_calamine import (  # noqa: PLC0415 - only who has workbooks pays for it
        CalamineError,
        CalamineWorkbook,
    )

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            reason = (
                f"found the sheets {', '.join(names)}, expected {sheet} (ingestion.layout.sheet)"
            )
            raise _refusal(file, 1, "sheet", reason)
        return book.get_sheet_by_name(sheet or names[0]).to_python(skip_empty_area=False)
    except CalamineError as error:
        reason = f"found no workbook that can be read ({error}), expected one"
        raise _refusal(file, 1, "file_kind", reason) from None


def _from_rows(rows: list[list[Any]], *, file: str, layout: LayoutConfig) -> Table:
    """The cells of a sheet; ``header_line`` is its row."""
    place = layout.header_line
    if len(rows) <= place:
        raise _refusal(file, len(rows) + 1, "empty", "found no rows, expected at least one")
    width = len(rows[0])
    names = [as_text(cell) for cell in rows[place - 1]] if place else _numbers(width)
    kept = [
        (line, row)
        for line, row in enumerate(rows[place:], start=place + 1)
        if any(cell not in (None, "") for cell in row)
    ]
    columns = {
        str(number): pa.array([as_text(row[number]) for _, row in kept], pa.string())
        for number in range(width)
    }
    lines_N = np.array([line for line, _ in kept], dtype="int64")
    return Table(file, tuple(names), pa.table(columns), lines_N)


def _numbers(width: int) -> list[str]:
    return [str(number) for number in range(1, width + 1)]


def as_text(cell: object) -> str:
    """A cell of a sheet as a CSV would hold it: whole numbers without a fraction, times as ISO."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):  # a workbook counts days, with 15 digits
        return (cell + timedelta(microseconds=500_000)).replace(microsecond=0).isoformat()
    return str(cell).strip()


def _from_parquet(content: bytes, *, file: str) -> Table:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        reason = f"found no Parquet file that can be read ({error}), expected one"
        raise _refusal(file, 1, "file_kind", reason) from None
    columns = {str(number): _text_of(column) for number, column in enumerate(table.columns)}
    lines_N = np.arange(1, table.num_rows + 1, dtype="int64")
    return Table(file, tuple(table.column_names), pa.table(columns), lines_N)


def _text_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells as text; times in ISO, with a Z where they have a zone; null as the empty cell."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        is_zoned = kind.tz is not None
        seconds = column.cast(pa.timestamp("s", kind.tz), safe=False)
        plain = seconds.cast(pa.timestamp("s", "UTC" if is_zoned else None)).cast(pa.timestamp("s"))
        text = pc.strftime(plain, format="%Y-%m-%dT%H:%M:%SZ" if is_zoned else "%Y-%m-%dT%H:%M:%S")
        return pc.fill_null(text, "")
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_nested(column.type):
        return pa.chunked_array([pa.array([""] * len(column), pa.string())])
    return pc.fill_null(column.cast(pa.string()), "")


def _refusal(file: str, line: int, kind: str, reason: str) -> FileRefusedError:
    return FileRefusedError([Fault(file, line, 1, kind, reason)])
