"""Files of one layout → the hours of each region in them, or why a region or a file is refused.

Legend: ``N`` rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gridcast.errors import Fault
from gridcast.layouts.labels import Labels, interval_ends, read_labels
from gridcast.layouts.numbers import read_loads
from gridcast.layouts.region_names import collisions, listed, name_in, region_called
from gridcast.layouts.region_rows import LaidOutRegion, Rows, region_of_rows
from gridcast.layouts.tables import FileRefusedError, Table, as_numpy, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridcast.config import IngestionConfig, LayoutConfig

ADVICE = "try `gridcast inspect`"


class File(NamedTuple):
    """A file as it lies: its name, which faults show, and its bytes."""

    name: str
    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What files hold: by region its hours or its refusal; ``names``, regions by their names there.

    ``unread`` are files of which no region is known, and why they are refused.
    """

    regions: dict[str, LaidOutRegion]
    names: dict[str, str]
    unread: dict[str, FileRefusedError]


def read_files(files: Sequence[File], config: IngestionConfig, layout: LayoutConfig) -> LaidOut:
    """Read all regions of ``files`` by ``layout``; zone and label may differ by region."""
    rows: dict[str, list[Rows]] = defaultdict(list)
    names: dict[str, str] = {}
    refusals: dict[str, list[FileRefusedError]] = defaultdict(list)
    unread: dict[str, FileRefusedError] = {}
    for file in files:
        told = name_in(layout.files, file.name) or layout.region
        try:
            for name, part in _parts(file, told, layout):
                region = str(region_called(name, layout))
                names[region] = name
                rows[region].append(part)
        except FileRefusedError as error:
            refused = region_called(told, layout) if told else None
            if refused is None:
                unread[file.path] = error
            else:
                names[refused] = told or refused
                refusals[refused].append(error)
    regions = {
        region: region_of_rows(region, rows[region], config.of(region), layout, refusals[region])
        for region in sorted(rows.keys() | refusals.keys())
    }
    return LaidOut(regions, names, unread)


def _parts(file: File, told: str | None, layout: LayoutConfig) -> Iterator[tuple[str, Rows]]:
    """The rows of a file by the name of their region."""
    table = read_table(file.content, file=file.path, layout=layout)
    columns = _columns_of_loads(table, told, layout)
    _require_columns(table, layout)
    table = rows_that_are_read(table, layout)
    if not len(table.lines_N):
        wanted = "; ".join(f"{column}: {listed(cells)}" for column, cells in layout.only.items())
        reason = f"found no row with {wanted}, expected some (ingestion.layout.only)"
        raise FileRefusedError([Fault(file.path, 1, 1, "empty", reason)])
    for part in _rows_of(file, table, layout, columns):
        if layout.region_column is None:
            yield part.name, part
        else:
            yield from _by_region(part, table, layout)


def rows_that_are_read(table: Table, layout: LayoutConfig) -> Table:
    """Those with the cells that ``layout.only`` asks for."""
    for column, cells in layout.only.items():
        is_kept = pc.is_in(table.column(column), value_set=pa.array(cells, pa.string()))
        table = table.take(as_numpy(is_kept))
    return table


class RowTimes(NamedTuple):
    """What the cells of each row say of its time; see ``instants.RowLabels``."""

    labels: Labels
    is_winter_N: np.ndarray | None
    period_N: np.ndarray | None


def times_of(table: Table, layout: LayoutConfig) -> RowTimes:
    """The labels of all rows, and what columns beside them tell."""
    cells = [table.column(name) for name in layout.time_columns]
    text = pc.binary_join_element_wise(*cells, " ") if cells[1:] else cells[0]
    return RowTimes(
        read_labels(_flat(text), layout), _winter(table, layout), _periods(table, layout)
    )


def _rows_of(
    file: File, table: Table, layout: LayoutConfig, columns: dict[str, str]
) -> Iterator[Rows]:
    """All rows with the loads of each column in turn; labels are read once."""
    labels, is_winter_N, period_N = times_of(table, layout)
    is_other_N = _is_other_length(labels, layout)
    for name, column in columns.items():
        loads = read_loads(_flat(table.column(column)), layout)
        yield Rows(
            name=name, file=file, layout=layout, cell=table.names.index(column),
            time_cell=table.names.index(layout.time_columns[0]), lines_N=table.lines_N,
            labels=labels, loads=loads, load_text=_flat(table.column(column)),
            is_winter_N=is_winter_N, period_N=period_N, is_other_length_N=is_other_N,
        )  # fmt: skip


def _flat(cells: pa.Array | pa.ChunkedArray) -> pa.Array:
    return cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells


def _winter(table: Table, layout: LayoutConfig) -> np.ndarray | None:
    if layout.winter_column is None:
        return None
    marks = pa.array(layout.winter_marks, pa.string())
    return as_numpy(pc.is_in(table.column(layout.winter_column), value_set=marks))


def _periods(table: Table, layout: LayoutConfig) -> np.ndarray | None:
    """Numbers of intervals; 0, which no day has, where the cell is no number."""
    if layout.period_column is None:
        return None
    text = table.column(layout.period_column)
    is_number = pc.match_substring_regex(text, r"^\d{1,4}$")
    numbers = pc.if_else(is_number, text, "0").cast(pa.int64())
    return as_numpy(numbers)


def _is_other_length(labels: Labels, layout: LayoutConfig) -> np.ndarray:
    """Intervals ``a - b`` of another length than the layout's steps, but where clocks change."""
    if layout.interval_mark is None:
        return np.zeros(len(labels.label_N), dtype=bool)
    minutes_N = (interval_ends(labels.text, layout) - labels.label_N).astype("int64") / 60
    step = layout.step_minutes
    is_turned = np.isin(minutes_N, (step + 60, step - 60))  # of local times, where clocks change
    is_other: np.ndarray = (minutes_N != step) & ~is_turned
    return is_other


def _by_region(part: Rows, table: Table, layout: LayoutConfig) -> Iterator[tuple[str, Rows]]:
    """The rows of a long file, region by region."""
    coded = _flat(table.column(str(layout.region_column))).dictionary_encode()
    names = coded.dictionary.to_pylist()
    _refuse_unnamed(part, names, coded, layout)
    code_N = as_numpy(coded.indices)
    order_N = np.argsort(code_N, kind="stable")
    ends = np.searchsorted(code_N[order_N], np.arange(len(names) + 1))
    for code, name in enumerate(names):
        if region_called(name, layout) is not None:
            yield name, part.take(name, order_N[ends[code] : ends[code + 1]])


def _refuse_unnamed(
    part: Rows, names: list[str], coded: pa.DictionaryArray, layout: LayoutConfig
) -> None:
    """Refuse rows that name no region, and names that would become one region."""
    column = layout.region_column
    if not layout.names and "" in names:
        code_N = as_numpy(coded.indices)
        row = int(np.flatnonzero(code_N == names.index(""))[0])
        reason = f"found an empty cell in the column {column!r}, expected a region's name"
        raise FileRefusedError([Fault(part.file.path, int(part.lines_N[row]), 1, "region", reason)])
    for region, same in collisions(names, layout).items():
        reason = (
            f"found the names {listed(map(repr, same))}, which would all be the region {region}, "
            "expected one a region; give each a name of its own by ingestion.layout.names"
        )
        raise FileRefusedError([Fault(part.file.path, 1, 1, "region", reason)])


# -- columns -------------------------------------------------------------------------------------


def _columns_of_loads(table: Table, told: str | None, layout: LayoutConfig) -> dict[str, str]:
    """Names of regions → the column that holds their loads."""
    pattern = layout.load_column
    if "{region}" not in pattern or layout.region_column is not None:
        return {told or layout.region or "": pattern}
    if told:
        return {told: pattern.replace("{region}", told)}
    others = _columns_but_loads(layout)
    found = {
        name: column
        for column in table.names
        if column not in others and (name := name_in(pattern, column))
    }
    wanted = {name: col for name, col in found.items() if region_called(name, layout)}
    if not wanted:
        reason = f"found the columns {listed(table.names)}, expected some like {pattern!r}"
        raise _no_column(table, f"{reason} (ingestion.layout.load_column)")
    for region, same in collisions(wanted, layout).items():
        reason = f"found columns for {listed(same)}, which would all be the region {region}"
        raise _no_column(table, f"{reason}, expected one each (ingestion.layout.names)")
    return wanted


def _columns_but_loads(layout: LayoutConfig) -> set[str]:
    named = (layout.period_column, layout.winter_column, layout.region_column)
    return {*layout.time_columns, *filter(None, named), *layout.only}


def _require_columns(table: Table, layout: LayoutConfig) -> None:
    wanted = dict.fromkeys(layout.time_columns, "time_columns")
    wanted |= dict.fromkeys(layout.only, "only")
    for field in ("period_column", "winter_column", "region_column", "load_column"):
        name = getattr(layout, field)
        if name is not None and "{region}" not in name:
            wanted[name] = field
    told = name_in(layout.files, table.file.rpartition("/")[2]) or layout.region
    if "{region}" in layout.load_column and told:
        wanted[layout.load_column.replace("{region}", told)] = "load_column"
    for name, field in wanted.items():
        count = table.names.count(name)
        if count != 1:
            found = "none" if not count else f"{count}"
            reason = (
                f"found the columns {listed(table.names)}, {found} of them {name!r}, expected it "
                f"once (ingestion.layout.{field}); {ADVICE}"
            )
            raise _no_column(table, reason)


def _no_column(table: Table, reason: str) -> FileRefusedError:
    return FileRefusedError([Fault(table.file, 1, 1, "header", reason)])
