"""Where the rows of a region stand: lines counted through several files, and cells in lines."""

from __future__ import annotations

import csv
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from gridcast.readings.quarantine import raw_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import LayoutConfig
    from gridcast.errors import Fault
    from gridcast.layouts.region_rows import Rows


class Origin(NamedTuple):
    """A file, how many lines of other files are counted before it, and which cell has the load."""

    path: str
    lines_before: int
    cell: int


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a region in their order; ``separator`` is None where lines are no text."""

    origins: tuple[Origin, ...]
    separator: str | None

    @classmethod
    def of(cls, parts: Sequence[Rows], layout: LayoutConfig) -> Places:
        """Of rows as they were read; the lines of one file count as they stand."""
        origins, before = dict[str, Origin](), 0
        for part in parts:
            if part.file.path not in origins:
                origins[part.file.path] = Origin(part.file.path, before, part.cell)
                before += int(part.lines_N.max(initial=0))
        return cls(tuple(origins.values()), layout.separator if layout.kind == "csv" else None)

    def first_of(self, path: str) -> int:
        """How many lines are counted before those of the file."""
        return next(each.lines_before for each in self.origins if each.path == path)

    def origin_of(self, line: int) -> Origin:
        """The file in which a line stands that is counted through all files."""
        firsts = [each.lines_before for each in self.origins]
        return self.origins[max(bisect_right(firsts, line - 1) - 1, 0)]

    def located(self, fault: Fault, content: bytes, *, cell: int) -> Fault:
        """The fault with file, line and column as they are in the file that holds ``content``."""
        origin = self.origin_of(fault.line)
        line = fault.line - origin.lines_before
        column = cell + 1
        if self.separator is not None:
            (text,) = raw_lines(content, [line])
            column = column_of(text, cell, self.separator)
        return replace(fault, file=origin.path, line=line, column=column)


def column_of(line: str, cell: int, separator: str) -> int:
    """The character (from 1) at which a cell (from 0) begins.

    >>> column_of('"Doe, J",5,6', 2, ","), column_of("a;b", 7, ";")
    (12, 1)
    """
    cells = next(csv.reader([line], delimiter=separator), [])
    if cell >= len(cells):
        return 1
    place = 0
    for text in cells[:cell]:
        is_quoted = line[place : place + 1] == '"'
        place += len(text) + (2 + text.count('"') if is_quoted else 0) + 1
    return place + 1
