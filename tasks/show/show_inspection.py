"""What `gridcast inspect` prints: a layout for files, why, and what would come of it."""

from __future__ import annotations

import shlex
import sys
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from gridcast.config import parse_overrides
from gridcast.errors import GridcastError, UsageError
from gridcast.evaluation.measure import format_mw
from gridcast.inspection.proposal import NothingFoundError, Proposal, propose
from gridcast.layouts.reading import File
from gridcast.layouts.tables import FileRefusedError
from tasks.fetch.marker import file_names, shown_name
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.layouts.region_rows import LaidOutRegion

_WIDTH_OF_FILES = 150
_MOST_REGIONS = 12
_ORDER = {"check": 0, "likely": 1, "certain": 2}


def inspect_files(paths: Sequence[Path], out: Path | None, settings: Sequence[str]) -> None:
    """Look at the files, print what they seem to be, and write it as a layout file.

    Args:
        paths: files that lie alike, or one folder of such.
        out: the layout file; none: named as the first file, in the current folder.
        settings: what is known already, as ``ingestion.timezone=Europe/Vienna``.

    Raises:
        UsageError: there is no such file, it is no table of loads, or ``out`` is there and differs.
    """
    files = _read(paths)
    try:
        proposal = propose(files, parse_overrides(settings))
    except FileRefusedError as error:
        raise InspectionError(str(error)) from None
    except NothingFoundError as error:
        expected = "a column with times and one with loads; describe it by hand (docs/layouts.md)"
        raise UsageError(files[0].path, found=str(error), expected=expected) from None
    target = out or Path(f"{Path(files[0].name).stem}.layout.yaml")
    command = _command(proposal, target)
    content = layout_text(proposal, command).encode()
    if out is None and target.exists() and target.read_bytes() != content:
        expected = "no file of that name; name another with --out, or this one to replace it"
        raise UsageError(target, found="another layout there", expected=expected)
    write_bytes(target, content)
    show_proposal(proposal, target, command)


class InspectionError(GridcastError):
    """A file that is no table which can be looked at; the message is that of its faults."""


def _read(paths: Sequence[Path]) -> list[File]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(path, found="nothing of that name", expected="a file of loads")
        own = [path / name for name in file_names(path)] if path.is_dir() else [path]
        found += [each for each in own if each.is_file()]
    if not found:
        raise UsageError(paths[0], found="an empty folder", expected="files of loads")
    return [File(shown_name(path.name), str(path), path.read_bytes()) for path in found]


def _command(proposal: Proposal, target: Path) -> str:
    """What runs the pipeline on these files."""
    one, *more = proposal.files
    data = one if not more else commonpath([Path(each).parent for each in proposal.files])
    return shlex.join(["gridcast", "run", "--data", data, "--layout", str(target)])


def layout_text(proposal: Proposal, command: str) -> str:
    """The proposal as the text of a layout file, with what is to be checked as comments."""
    lines = ["# Proposed by `gridcast inspect`; a person should look at what is to be checked.",
             f"# {command}"]  # fmt: skip
    for each in proposal.questions:
        lines.append(f"# CHECK {each.about}: {each.found}: {each.why}")
        lines += [f"#   or {other}" for other in each.others]
    return "\n".join(lines) + "\n" + _yaml(proposal.settings)


def _yaml(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None)


def show_proposal(proposal: Proposal, target: Path, command: str) -> None:
    """Print the proposal for people."""
    out = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    others = len(proposal.files) - 1
    more = f" and {others:,} more" if others else ""
    out.print(
        f"{proposal.files[0]}{more}: {proposal.num_rows:,} rows in the first", highlight=False
    )
    out.print(_columns_table(proposal), _findings_table(proposal))
    out.print("Layout", style="italic")
    out.print(_yaml(proposal.settings), highlight=False, soft_wrap=True, markup=False)
    out.print(_hours_table(proposal))
    for title, table in _clock_tables(proposal):
        out.print(title, style="italic", highlight=False)
        out.print(table)
    faults = [line for each in proposal.laid_out.regions.values() if each.refusal
              for line in str(each.refusal).splitlines()]  # fmt: skip
    faults += [str(error) for error in proposal.laid_out.unread.values()]
    for line in faults:
        out.print(line, highlight=False, soft_wrap=True, markup=False, style="red")
    for each in proposal.questions:
        other = f", or --set {shlex.quote(each.others[0])}" if each.others else ""
        line = f"Check the {each.about}: {each.found}{other}?"
        out.print(line, highlight=False, soft_wrap=True, markup=False, style="yellow")
    out.print(f"Written:   {target}", highlight=False, soft_wrap=True)
    told = "Then:      " if not faults else "Not yet:   "
    out.print(f"{told}{command}", highlight=False, soft_wrap=True, markup=False)


def _columns_table(proposal: Proposal) -> Table:
    table = Table("column", "first … last", title="Seen", box=box.SIMPLE_HEAD)
    for name, span in proposal.columns[:_MOST_REGIONS]:
        table.add_row(name, span)
    if len(proposal.columns) > _MOST_REGIONS:
        table.add_row(f"{len(proposal.columns) - _MOST_REGIONS} more", "")
    return table


def _findings_table(proposal: Proposal) -> Table:
    table = Table(title="Found", box=box.SIMPLE_HEAD)
    for name in ("sure?", "what", "found", "why", "or else"):
        table.add_column(name)
    for each in sorted(proposal.findings, key=lambda each: _ORDER[each.sureness]):
        others = "\n".join(other.removeprefix("ingestion.") for other in each.others)
        style = "yellow" if each.sureness == "check" else ""
        table.add_row(each.sureness, each.about, each.found, each.why, others, style=style)
    return table


def _hours_table(proposal: Proposal) -> Table:
    table = Table(title="Hours it would give", box=box.SIMPLE_HEAD)
    for name in (
        "region",
        "hours",
        "missing",
        "first, UTC",
        "last, UTC",
        "least",
        "mean",
        "most, MW",
    ):
        is_text = name == "region"
        table.add_column(name, justify="left" if is_text else "right")
    regions = proposal.laid_out.regions
    for name, region in list(regions.items())[:_MOST_REGIONS]:
        table.add_row(name, *_hours_of(region))
    if len(regions) > _MOST_REGIONS:
        table.add_row(f"{len(regions) - _MOST_REGIONS} more")
    return table


def _hours_of(region: LaidOutRegion) -> list[str]:
    if region.load is None:
        return ["refused"]
    times, load_mw = region.load.frame["timestamp"], region.load.frame["load_mw"]
    span = int((times.iloc[-1] - times.iloc[0]).total_seconds()) // 3600 + 1
    return [
        f"{len(times):,}", f"{span - len(times):,}", f"{times.iloc[0]:%Y-%m-%d %H:%M}",
        f"{times.iloc[-1]:%Y-%m-%d %H:%M}",
        *map(format_mw, (load_mw.min(), load_mw.mean(), load_mw.max())),
    ]  # fmt: skip


def _clock_tables(proposal: Proposal) -> list[tuple[str, Table]]:
    tables = []
    for clock in proposal.clocks:
        table = Table("label in the file", "begins, UTC", "local clock", box=box.SIMPLE_HEAD)
        table.add_column("MW", justify="right")
        for row in clock.rows:
            table.add_row(*row)
        tables.append((clock.title, table))
    return tables
