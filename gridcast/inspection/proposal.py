"""Files of an unknown layout → a proposal, the hours it would give, the days around clock changes.

Legend: ``N`` rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gridcast.config import Config, IngestionConfig, merged
from gridcast.config.layout import NATIVE
from gridcast.inspection.findings import Finding, Findings
from gridcast.inspection.load_columns import find_loads, find_regions
from gridcast.inspection.structure import find_structure
from gridcast.inspection.time_columns import ReadTimes, find_times
from gridcast.inspection.zone_table import changes_of
from gridcast.inspection.zones import Seen, find_step, find_zone
from gridcast.layouts.labels import read_labels
from gridcast.layouts.reading import File, LaidOut, read_files
from gridcast.layouts.tables import FileRefusedError, Table, as_numpy, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import LayoutConfig
    from gridcast.readings.local_time import RegionLoad

_AROUND: Final = pd.Timedelta(hours=2)
_MOST_CHANGES: Final = 2
_HINTS: Final = 20  # names of regions in which words may hint at a place


class NothingFoundError(Exception):
    """What keeps a file from being taken for one of loads; the columns that were seen."""


class Clock(NamedTuple):
    """The hours around one change of clocks: as the file labels them, in UTC, and in local time."""

    title: str
    rows: tuple[tuple[str, str, str, str], ...]  # label, UTC, local, MW


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed, why, and what comes of it.

    ``settings`` is what a layout file holds; ``laid_out`` the files read by it.
    """

    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    settings: dict[str, Any]
    columns: tuple[tuple[str, str], ...]
    num_rows: int
    laid_out: LaidOut
    clocks: tuple[Clock, ...]

    @property
    def questions(self) -> tuple[Finding, ...]:
        """What somebody has to look at."""
        return tuple(each for each in self.findings if each.sureness == "check")


def propose(files: Sequence[File], overrides: dict[str, Any] | None = None) -> Proposal:
    """Look at files that lie alike, the first most closely, and propose a layout.

    Args:
        files: one or more.
        overrides: settings that are known, as a tree (``{"ingestion": {"timezone": ...}}``).

    Raises:
        FileRefusedError: the first file is no table.
        NothingFoundError: it has no times or no loads.
    """
    findings = Findings()
    first = files[0]
    find_structure(first, findings)
    base = NATIVE.model_copy(update=findings.layout)
    table = read_table(first.content, file=first.path, layout=base)
    times = find_times(table, base, findings)
    if times is None:
        raise NothingFoundError(_seen(table, "no column (nor two) with times in all rows"))
    base = NATIVE.model_copy(update=_coerced(findings.layout))
    loads = find_loads(table, times, base, findings)
    if not loads:
        raise NothingFoundError(_seen(table, "times, but no column with numbers beside them"))
    code_N = find_regions(table, times, loads, findings)
    if "only" in findings.layout:
        table, times, code_N = _kept(table, times, code_N, base, findings.layout["only"])
    seconds_N = times.keys[code_N == np.bincount(code_N).argmax()]
    base = base.model_copy(update={"step_minutes": _step(times, seconds_N, findings)})
    names = _names(files, table, findings)
    find_zone(Seen(times, seconds_N, table, base, names), findings)
    _note_files(files, findings)
    settings = merged(findings.settings, overrides or {})
    return _proposal(files, table, findings, settings)  # type: ignore[arg-type]


def _seen(table: Table, what: str) -> str:
    shown = "; ".join(
        f"{name} ({table.column(name)[0].as_py()})" for name in list(dict.fromkeys(table.names))[:8]
    )
    return f"found {what}, in the columns {shown}"


def _coerced(layout: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in layout.items()
    }


def _step(times: ReadTimes, seconds_N: np.ndarray, findings: Findings) -> int:
    if times.period_N is None:
        return find_step(seconds_N, findings)
    usual = int(np.bincount(times.period_N).size - 1)
    step = 60 if usual <= 25 else 30 if usual <= 50 else 15  # noqa: PLR2004
    findings.layout["step_minutes"] = step
    findings.note("certain", "interval", f"{step} minutes", f"a day has up to {usual} of them")
    return step


def _kept(
    table: Table,
    times: ReadTimes,
    code_N: np.ndarray,
    base: LayoutConfig,
    only: dict[str, list[str]],
) -> tuple[Table, ReadTimes, np.ndarray]:
    """The rows of the kind that is read."""
    is_kept_N = np.ones(len(table.lines_N), dtype=bool)
    for column, cells in only.items():
        is_kept_N &= as_numpy(pc.is_in(table.column(column), value_set=pa.array(cells)))
    kept = table.take(is_kept_N)
    text = times.labels.text.filter(pa.array(is_kept_N))
    labels = read_labels(text, times.guess.layout(base))
    return kept, ReadTimes(times.guess, labels), code_N[is_kept_N]


def _names(files: Sequence[File], table: Table, findings: Findings) -> list[str]:
    """Words that may hint at a place: of files, regions and columns."""
    stems = [PurePath(file.name).stem for file in files[:5]]
    layout, column = findings.layout, findings.layout.get("region_column")
    cells = pc.unique(table.column(column)).to_pylist()[:_HINTS] if column else []
    return [*stems, *layout.get("names", {}), *map(str, cells),
            *(part for file in files[:1] for part in PurePath(file.path).parts[-2:-1])]  # fmt: skip


def _note_files(files: Sequence[File], findings: Findings) -> None:
    """How files are called, and the region where no cell tells it."""
    layout, names = findings.layout, [file.name for file in files]
    is_told = "region_column" in layout or "{region}" in layout["load_column"]
    layout["files"] = names[0] if len(names) == 1 else _pattern(names)
    if is_told:
        return
    if len(names) > 1:
        layout["files"] = _pattern(names).replace("*", "{region}", 1)
        why = "a region for each file, by what differs in their names"
        findings.note(
            "check", "regions", layout["files"], why, f"ingestion.layout.files={_pattern(names)!r}"
        )
        return
    word = re.split(r"[^A-Za-z0-9]+", PurePath(names[0]).stem)[0] or "LOAD"
    layout["region"] = word.upper() if len(word) <= 4 else word  # noqa: PLR2004
    why = "nothing tells its name but the file's"
    findings.note("likely", "region", layout["region"], why)


def _pattern(names: Sequence[str]) -> str:
    """What names have in common, as a pattern.

    >>> _pattern(["load_2023.csv", "load_2024.csv"])
    'load_*.csv'
    """
    shortest = min(map(len, names))
    before = next((i for i in range(shortest) if len({n[i] for n in names}) > 1), shortest)
    while before and names[0][before - 1].isalnum():
        before -= 1
    rest = [name[before:][::-1] for name in names]
    shortest = min(map(len, rest))
    after = next((i for i in range(shortest) if len({n[i] for n in rest}) > 1), shortest)
    while after and rest[0][after - 1].isalnum():
        after -= 1
    return f"{names[0][:before]}*{rest[0][:after][::-1]}"


# -- what comes of it ------------------------------------------------------------------------------


def _proposal(
    files: Sequence[File], table: Table, findings: Findings, settings: dict[str, Any]
) -> Proposal:
    base = Config.load().model_dump(mode="json")["ingestion"]
    config = IngestionConfig.model_validate(merged(base, settings["ingestion"]))
    config = config.model_copy(update={"regions": {}})
    laid_out = read_files(files, config, config.layout)
    columns = tuple((name, _span(table, name)) for name in dict.fromkeys(table.names) if name)
    return Proposal(
        files=tuple(file.path for file in files),
        findings=tuple(findings.found),
        settings=_short(settings, base),
        columns=columns,
        num_rows=len(table.lines_N),
        laid_out=laid_out,
        clocks=tuple(_clocks(laid_out, config)),
    )


def _short(settings: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The proposal without what is said in ``base.yaml`` anyhow."""
    layout = {
        key: value
        for key, value in settings["ingestion"]["layout"].items()
        if value != base["layout"].get(key)
    }
    own = {key: value for key, value in settings["ingestion"].items() if key != "layout"}
    return {**settings, "ingestion": {**own, "layout": layout}}


def _span(table: Table, name: str) -> str:
    """The first and the last cell of a column."""
    cells = table.column(name)
    return f"{cells[0].as_py()} … {cells[len(cells) - 1].as_py()}"


def _clocks(laid_out: LaidOut, config: IngestionConfig) -> list[Clock]:
    """The newest spring and autumn changes that the first region has hours around."""
    loads = [each.load for each in laid_out.regions.values() if each.load is not None]
    if not loads:
        return []
    frame = loads[0].frame
    first, last = (frame["timestamp"].iloc[at].tz_localize(None).to_datetime64() for at in (0, -1))
    changes = changes_of(config.timezone, first, last)
    picked = [
        [c for c in changes if c.is_spring][-1:],
        [c for c in changes if not c.is_spring][-1:],
    ]
    found = [_clock(loads[0], pd.Timestamp(c.instant, tz="UTC"), config, is_spring=c.is_spring)
             for each in picked for c in each]  # fmt: skip
    return [each for each in found if each.rows][:_MOST_CHANGES]


def _clock(
    load: RegionLoad, instant: pd.Timestamp, config: IngestionConfig, *, is_spring: bool
) -> Clock:
    frame = load.frame
    near = frame[
        (frame["timestamp"] >= instant - _AROUND) & (frame["timestamp"] < instant + _AROUND)
    ]
    local = near["timestamp"].dt.tz_convert(config.timezone)
    rows = tuple(
        (f"{label:%Y-%m-%d %H:%M}", f"{utc:%H:%M}", f"{wall:%H:%M %Z}", f"{mw:,.1f}")
        for label, utc, wall, mw in zip(
            near["local_label"], near["timestamp"], local, near["load_mw"], strict=True
        )
    )
    day = instant.tz_convert(config.timezone)
    kind = "forward" if is_spring else "back"
    return Clock(f"{load.region}, {day:%Y-%m-%d}: clocks of {config.timezone} go {kind}", rows)


__all__ = ["Clock", "FileRefusedError", "NothingFoundError", "Proposal", "propose"]
