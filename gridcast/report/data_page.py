"""The data report: one HTML file that needs nothing else, pictures first, and its short form.

No script, no request: a content security policy in the file forbids both. Whatever comes from files
is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import jinja2

from gridcast.errors import Fault
from gridcast.evaluation.measure import format_mw
from gridcast.readings.records import DataRecord
from gridcast.report.data_figures import draw_calendar, draw_profiles, draw_stretch
from gridcast.report.data_profile import FlaggedStretch, RegionProfile

MOST_STRETCHES: Final = 24
_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = "data_page.html.jinja"


class RegionChange(NamedTuple):
    """Hours that the snapshot before did not have, had, had with another load or another flag."""

    added: int
    removed: int
    revised: int
    reflagged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is new since the snapshot ``since``; a region without a change is left out."""

    since: str
    regions: dict[str, RegionChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Everything that a data report states. ``changes`` is None for the first snapshot."""

    run_id: str
    dataset: str
    snapshot: str | None
    timezone: str
    data: DataRecord
    profiles: Sequence[RegionProfile]
    refused: Mapping[str, Sequence[Fault]]
    changes: Changes | None


def data_report_html(facts: DataFacts) -> str:
    """The page."""
    stretches = shown_stretches(facts.profiles)
    changes = facts.changes.regions if facts.changes else {}
    return _template().render(
        facts=facts,
        overview=overview(facts),
        calendars=[(each, draw_calendar(each)) for each in facts.profiles],
        loads=[(each, draw_profiles(each)) for each in facts.profiles],
        stretches=[(region, each, draw_stretch(region, each)) for region, each in stretches],
        num_flagged=sum(each.num_flagged for each in facts.profiles),
        most_changed=max((max(change) for change in changes.values()), default=0),
        rules=sorted({rule for each in facts.profiles for rule in each.num_flagged_by_rule}),
    )


def data_report_markdown(facts: DataFacts, page: Path) -> str:
    """The short form, for Prefect's pages: a sentence, what was refused, a small table."""
    lines = [f"# Data report: {facts.dataset}", "", overview(facts), ""]
    for faults in facts.refused.values():
        lines += [f"- **{_cell(fault)}**" for fault in faults]
    names = ("rows", "missing", "flagged", "repaired", *RegionChange._fields)
    lines += ["", f"| region | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    for each in facts.profiles:
        change = _change_of(each.region, facts.changes)
        counts = (each.num_rows, each.num_missing, each.num_flagged, each.num_repaired, *change)
        shown = [f"{count:,}" for count in counts] + ["–"] * (len(names) - len(counts))
        lines.append(f"| {_cell(each.region)} | {' | '.join(shown)} |")
    return "\n".join([*lines, "", f"Page with pictures: `{page}`", ""])


def overview(facts: DataFacts) -> str:
    """Two sentences on how much there is and how much of it is doubtful."""
    refused = f", {len(facts.refused):,} refused" if facts.refused else ""
    if not facts.profiles:
        return f"No region was published{refused}."
    first = min(each.first for each in facts.profiles)
    last = max(each.last for each in facts.profiles)
    rows, missing, flagged, repaired = (
        sum(getattr(each, name) for each in facts.profiles)
        for name in ("num_rows", "num_missing", "num_flagged", "num_repaired")
    )
    return (
        f"{_count(len(facts.profiles), 'region')} published{refused}: {rows:,} hourly readings, "
        f"{first:%B %Y} to {last:%B %Y}. {_count(missing, 'hour')} missing "
        f"({100 * missing / (rows + missing):.3f} %), {_count(flagged, 'reading')} flagged as "
        f"doubtful; for {_count(repaired, 'hour')} models are given a repaired load."
    )


def shown_stretches(profiles: Sequence[RegionProfile]) -> list[tuple[str, FlaggedStretch]]:
    """At most ``MOST_STRETCHES`` by region and time; the first of each region before any second."""
    ranked = sorted(
        (rank, each.region) for each in profiles for rank in range(len(each.stretches))
    )[:MOST_STRETCHES]
    stretches = {each.region: each.stretches for each in profiles}
    return [
        (region, stretches[region][rank])
        for region, rank in sorted((region, rank) for rank, region in ranked)
    ]


def _change_of(region: str, changes: Changes | None) -> RegionChange | tuple[()]:
    if changes is None:
        return ()
    return changes.regions.get(region, RegionChange(0, 0, 0))


def _count(num: int, noun: str) -> str:
    return f"{num:,} {noun}" + ("" if num == 1 else "s")


def _cell(text: object) -> str:
    """On one line and without the signs that markdown reads."""
    plain = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_|<>[]#" else sign for sign in plain)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,.0f}"
    environment.filters["mw"] = lambda value: format_mw(value, digits=0)
    return environment.get_template(_TEMPLATE)
