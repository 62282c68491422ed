"""Tables and words that the pages and the benchmarks' own output share."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

RESULTS = Path(__file__).resolve().parent / "results"
NOT_MEASURED = "not measured"
NOTHING = "–"

Json = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are figures."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same for a terminal: columns as wide as their widest cell."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *rows)
    )


def about(kept: Json) -> str:
    """When, on what and with what the figures of a file were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in kept["versions"].items())
    commit, _, dirty = kept["commit"].partition("-")
    changed = " with changes" if dirty else ""
    return (
        f"Measured on {kept['date']} on {kept['device']} ({kept['machine']}; {versions}; commit"
        f" {commit[:10]}{changed})."
    )


def sections(files: Sequence[Json], section: Callable[[Json], str], title: str) -> list[str]:
    """A heading and its text for each file; without a file one that says so."""
    if not files:
        return [f"## {title}", f"{NOT_MEASURED.capitalize()}."]
    return [part for kept in files for part in (f"## {title}: {kept['device']}", section(kept))]


def mebibytes(num_bytes: float) -> str:
    """``54 MiB``; below 10 MiB with a decimal."""
    size = num_bytes / 2**20
    return f"{size:,.1f} MiB" if size < 10 else f"{size:,.0f} MiB"  # noqa: PLR2004


def met(ratio: float, bar: float) -> str:
    """Whether a bar is reached."""
    return "met" if ratio >= bar else "not met"


def kept_files(pattern: str, folder: Path = RESULTS) -> list[Json]:
    """What benchmarks have left there, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(pattern))]


def device_type(kept: Json) -> str:
    """``cpu`` or ``cuda``, of the file's device."""
    return "cpu" if kept["device"] == "cpu" else "cuda"


def grouped(rows: Iterable[Json], field: str) -> dict[Any, list[Json]]:
    """The rows by the value of a field, in the order in which the values come first."""
    groups: dict[Any, list[Json]] = {}
    for row in rows:
        groups.setdefault(row.get(field), []).append(row)
    return groups


def mean_of(rows: Iterable[Json], field: str) -> float:
    """Mean of a field."""
    return mean(float(row[field]) for row in rows)


def cell_of(value: float | None, form: str) -> str:
    """A figure as a cell of a table, a dash where there is none."""
    return NOTHING if value is None else form.format(value)
