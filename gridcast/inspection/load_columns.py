"""Which columns hold loads, which one names regions, how numbers are written, and in what unit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gridcast.layouts.numbers import read_loads
from gridcast.layouts.tables import as_numpy

if TYPE_CHECKING:
    from gridcast.config import LayoutConfig
    from gridcast.inspection.findings import Findings
    from gridcast.inspection.time_columns import ReadTimes
    from gridcast.layouts.tables import Table

_LOAD: Final = re.compile(
    r"load|demand|consum|last|verbrauch|mw\b|kwh?\b|mwh\b|conso|usage|\bnd\b|\bmw", re.IGNORECASE
)
_NO_LOAD: Final = re.compile(
    r"forecast|ahead|predict|prognose|solar|wind|price|preis|temp|humid|gener|import|export|inter|"
    r"rrp|\blat|\blon|id$|^id|number|quality|holiday|rank|weather|embedded|capacity|pressure|"
    r"error|flag|year|month|day|hour|period|flow|lmp|cost|rain|dew|^date|time|\btsd\b",
    re.IGNORECASE,
)
_COVARIATE: Final = re.compile(
    r"temp|humid|wind|solar|radia|irrad|cloud|rain|dew|price|preis|holiday", re.IGNORECASE
)
_MOST_COVARIATES: Final = 4
_ACTUAL: Final = re.compile(r"actual|total|ist\b|integrated|metered", re.IGNORECASE)
_REGION: Final = re.compile(
    r"region|zone|area|name|meter|authority|respondent|site|state|station", re.IGNORECASE
)
_UNITS: Final = (("GWh", "gwh"), ("MWh", "mwh|megawatt.?hours?"), ("kWh", "kwh|kilowatt.?hours?"),
                 ("GW", "gw"), ("kW", "kw|kilowatts?"), ("MW", "mw|megawatts?"),
                 ("Wh", "wh"))  # fmt: skip
_WRITTEN: Final = ((".", None), (".", ","), (",", None), (",", "."), (",", " "), (".", " "))
_MOST_MARKS, _LONGEST_MARK, _MOST_UNREAD = 3, 12, 0.5
_DISTINCT: Final = 2000  # readings that are looked at for equal ones
_ENOUGH: Final = 0.98  # share of times of its own, but for the hours of autumn


class Numbers(NamedTuple):
    """A column of numbers: how they are written, marks beside them, their mean, how load-like."""

    name: str
    decimal: str
    thousands: str | None
    marks: tuple[str, ...]
    mean: float
    score: float


def find_loads(
    table: Table, times: ReadTimes, base: LayoutConfig, findings: Findings
) -> list[Numbers]:
    """Note the column of the loads, or those of wide files; an empty list: there is none."""
    of_time = {*times.guess.columns, times.guess.more.get("period_column")}
    names = [name for name in dict.fromkeys(table.names) if name and name not in of_time]
    numbers = [each for name in names if (each := _numbers(table, name, base)) is not None]
    candidates = sorted(numbers, key=lambda each: -each.score)
    if not candidates:
        return []
    chosen = _wide(numbers) or candidates[:1]
    left = [each for each in candidates if each not in chosen]
    if len(chosen) > 1:
        _note_wide(chosen, left, findings)
    else:
        _note_one(chosen[0], left, findings)
    _note_writing(chosen, findings)
    _note_unit(chosen, findings)
    return chosen


def _note_one(chosen: Numbers, left: list[Numbers], findings: Findings) -> None:
    close = [each for each in left if each.score > 0 and each.score >= chosen.score - 1]
    others = [f"ingestion.layout.load_column={each.name!r}" for each in close]
    findings.layout["load_column"] = chosen.name
    why = "no other column has numbers"
    if left:
        why = f"by its name and values; passed over: {', '.join(each.name for each in left[:6])}"
    is_doubtful = bool(others) or chosen.score <= 1
    sure = "check" if is_doubtful else "likely" if left else "certain"
    findings.note(sure, "loads", repr(chosen.name), why, *others)  # type: ignore[arg-type]
    if beside := [each.name for each in left if _COVARIATE.search(each.name)]:
        told = ", ".join(map(repr, beside[:_MOST_COVARIATES]))
        name = re.sub(r"[^a-z0-9]+", "_", beside[0].lower()).strip("_")
        why = f"they may have a say in the load: --covariate {name}={beside[0]!r}"
        findings.note("likely", "covariates", told, why)


def _note_wide(chosen: list[Numbers], left: list[Numbers], findings: Findings) -> None:
    names = [each.name for each in chosen]
    pattern, regions = pattern_of(names)
    findings.layout["load_column"] = pattern
    if left or pattern == "{region}":
        findings.layout["names"] = {region: region for region in regions}
    why = f"{len(names)} columns alike, a region each: {', '.join(names[:6])}"
    if left:
        why += f"; passed over: {', '.join(each.name for each in left[:6])}"
    findings.note("likely", "loads", pattern, why)


def _note_writing(chosen: list[Numbers], findings: Findings) -> None:
    first = chosen[0]
    findings.layout |= {"decimal": first.decimal, "thousands": first.thousands}
    if first.decimal == "," or first.thousands:
        told = f"decimal {first.decimal!r}, thousands {first.thousands!r}"
        findings.note("certain", "numbers", told, "reads all cells")
    marks = sorted({mark for each in chosen for mark in each.marks})
    if marks:
        findings.layout["missing"] = marks
        told = ", ".join(repr(mark) for mark in marks)
        findings.note("likely", "missing", told, "the only cells of the loads that are no numbers")


def _note_unit(chosen: list[Numbers], findings: Findings) -> None:
    name = chosen[0].name
    for unit, words in _UNITS:
        if re.search(rf"(?:^|[^a-zA-Z])(?:{words})(?:$|[^a-zA-Z])", name, re.IGNORECASE):
            findings.layout["unit"] = unit
            findings.note("certain", "unit", unit, f"the column's name {name!r} says so")
            return
    findings.layout["unit"] = "MW"
    mean = float(np.mean([each.mean for each in chosen]))
    findings.note(
        "check", "unit", "MW", f"no name tells it; the mean is {mean:,.6g}",
        "ingestion.layout.unit=kW", "ingestion.layout.unit=MWh",
    )  # fmt: skip


def _numbers(table: Table, name: str, base: LayoutConfig) -> Numbers | None:
    """The column as numbers, however they are written; None: it holds none."""
    text = table.column(name)
    for decimal, thousands in _WRITTEN:
        how = base.model_copy(update={"decimal": decimal, "thousands": thousands, "missing": ()})
        loads = read_loads(text, how)
        wrong = pc.unique(text.filter(pa.array(loads.is_wrong_N))).to_pylist()
        marks = tuple(str(mark) for mark in wrong)
        is_few = len(marks) <= _MOST_MARKS and all(
            len(mark) <= _LONGEST_MARK and not re.search(r"\d", mark) for mark in marks
        )
        if is_few and loads.is_wrong_N.mean() <= _MOST_UNREAD:
            value_N = loads.load_mw_N[~loads.is_wrong_N]
            score = _score(name, value_N)
            return Numbers(name, decimal, thousands, marks, float(value_N.mean()), score)
    return None


def _score(name: str, value_N: np.ndarray) -> float:
    """How load-like a column is: by its name, and as loads are above 0 and seldom alike."""
    words = name.replace("_", " ")
    score = 2.0 * bool(_LOAD.search(words)) - 2.0 * bool(_NO_LOAD.search(words))
    score += 0.5 * bool(_ACTUAL.search(words))
    some_N = value_N[:_DISTINCT]
    is_like = value_N.min() >= 0 and len(np.unique(some_N)) > len(some_N) / 20
    return score + (1.0 if is_like else -1.5)


def _wide(numbers: list[Numbers]) -> list[Numbers]:
    """Columns that are named alike but for a region's name, or have nothing but that."""
    good = [each for each in numbers if each.score > 2]  # noqa: PLR2004 - name and values
    if len(good) > 1:
        pattern, regions = pattern_of([each.name for each in good])
        if pattern != "{region}" and all(regions):
            return good
        return []
    is_named = any(_LOAD.search(each.name.replace("_", " ")) for each in numbers)
    plain = [each for each in numbers if each.score > 0]
    return plain if not is_named and len(plain) > 1 else []


def pattern_of(names: list[str]) -> tuple[str, list[str]]:
    """What names have in common, with ``{region}`` for what they have not, and what that is.

    >>> pattern_of(["DE_load (MW)", "AT_load (MW)"])
    ('{region}_load (MW)', ['DE', 'AT'])
    """
    after = re.sub(r"^[A-Za-z0-9]+", "", _common([name[::-1] for name in names])[::-1])
    before = _common([name[: len(name) - len(after)] for name in names])
    before = re.sub(r"[A-Za-z0-9]+$", "", before)
    regions = [name[len(before) : len(name) - len(after)] for name in names]
    return f"{before}{{region}}{after}", regions


def _common(names: list[str]) -> str:
    shortest = min(names, key=len)
    for place, letter in enumerate(shortest):
        if any(name[place] != letter for name in names):
            return shortest[:place]
    return shortest


# -- regions -------------------------------------------------------------------------------------


def find_regions(
    table: Table, times: ReadTimes, loads: list[Numbers], findings: Findings
) -> np.ndarray:
    """Note the column that names regions, where times stand many times; the region of each row."""
    key_N, num = times.keys, len(times.keys)
    one_N = np.zeros(num, dtype="int64")
    if len(loads) > 1 or len(np.unique(key_N)) > num / 1.5:
        return one_N
    taken = {*times.guess.columns, loads[0].name, times.guess.more.get("period_column")}
    found = []
    for name in (each for each in dict.fromkeys(table.names) if each and each not in taken):
        coded = table.column(name).dictionary_encode()
        if len(coded.dictionary) > 1:
            code_N = as_numpy(coded.indices).astype("int64")
            share = _share_of_own(key_N, code_N)
            found.append((share + 0.1 * bool(_REGION.search(name)), share, name, coded))
    if not found:
        findings.note("check", "regions", "none", "times stand several times, no column tells why")
        return one_N
    _, share, name, coded = max(found, key=lambda each: each[0])
    findings.layout["region_column"] = name
    names = coded.dictionary.to_pylist()
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""  # noqa: PLR2004
    why = f"each with times of its own: {', '.join(map(str, names[:6]))}{more}"
    findings.note("likely" if share > _ENOUGH else "check", "regions", f"cells of {name!r}", why)
    code_N = as_numpy(coded.indices).astype("int64")
    if share <= _ENOUGH:
        _find_kinds(table, key_N, code_N, {*taken, name}, findings)
    return code_N


def _share_of_own(key_N: np.ndarray, code_N: np.ndarray) -> float:
    """Share of rows whose pair of time and code stands once."""
    pairs = np.unique(np.stack([key_N, code_N]), axis=1)
    return float(pairs.shape[1] / len(key_N))


def _find_kinds(
    table: Table, key_N: np.ndarray, code_N: np.ndarray, taken: set[str | None], findings: Findings
) -> None:
    """Note a column that tells rows of several kinds apart, of which one is the load."""
    for name in (each for each in dict.fromkeys(table.names) if each and each not in taken):
        coded = table.column(name).dictionary_encode()
        kinds = [str(kind) for kind in coded.dictionary.to_pylist()]
        own_N = as_numpy(coded.indices).astype("int64")
        both_N = code_N * len(kinds) + own_N
        if 1 < len(kinds) <= 12 and _share_of_own(key_N, both_N) > _ENOUGH:  # noqa: PLR2004
            loads = [k for k in kinds if (_LOAD.search(k) or k == "D") and not _NO_LOAD.search(k)]
            kept = (loads or kinds)[0]
            findings.layout["only"] = {name: [kept]}
            others = [f"ingestion.layout.only={{{name}: [{k!r}]}}" for k in kinds if k != kept]
            why = f"it tells rows of several kinds apart: {', '.join(kinds)}"
            findings.note("check", "rows", f"where {name!r} is {kept!r}", why, *others[:4])
            return
