"""Lines of the files that a region was laid out from, for those who have to look at them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gridcast.errors import RegionRefusedError
from gridcast.layouts.kept import kept_region
from gridcast.layouts.places import Places, column_of
from gridcast.readings.quarantine import raw_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridcast.errors import Fault


@dataclass(frozen=True, slots=True)
class OriginalLines:
    """The lines of a region's files, read when somebody asks for them."""

    places: Places

    def texts(self, places: Sequence[tuple[str, int]]) -> list[str]:
        """The lines as they stand; empty where a file is gone, or holds no lines."""
        if self.places.separator is None:
            return [""] * len(places)
        numbers: dict[str, list[tuple[int, int]]] = {}
        for place, (file, line) in enumerate(places):
            origin = None if file else self.places.origin_of(line)
            path = origin.path if origin else file
            own = line - (origin.lines_before if origin else 0)
            numbers.setdefault(path, []).append((place, own))
        texts = [""] * len(places)
        for path, wanted in numbers.items():
            found = raw_lines(_content(path), [line for _, line in wanted])
            for (place, _), text in zip(wanted, found, strict=True):
                texts[place] = text
        return texts

    def column_of_load(self, text: str) -> int:
        """The character (from 1) at which the load begins in a line."""
        cell, separator = self.places.origins[0].cell, self.places.separator
        return cell + 1 if separator is None else column_of(text, cell, separator)

    def located(self, fault: Fault) -> Fault:
        """A fault of a rule, told by the file and the line where the reading stands."""
        origin = self.places.origin_of(fault.line)
        content = b"" if self.places.separator is None else _content(origin.path)
        return self.places.located(fault, content, cell=origin.cell)


def original_lines(content: bytes) -> OriginalLines:
    """The lines behind a region that is kept as these bytes."""
    return OriginalLines(kept_region(content).places)


@contextmanager
def located(lines: OriginalLines | bytes) -> Iterator[None]:
    """Let a refusal name the files that people have, not the one that is kept of them."""
    try:
        yield
    except RegionRefusedError as error:
        if isinstance(lines, bytes):
            raise
        faults = [lines.located(fault) for fault in error.faults]
        rows = [lines.located(fault) for fault in error.rows]
        raise RegionRefusedError(error.region, faults, rows=rows) from error


@lru_cache(maxsize=2)
def _content(path: str) -> bytes:
    found = Path(path)
    return found.read_bytes() if found.is_file() else b""
