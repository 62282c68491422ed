"""Which columns tell the time, and in what format.

A format is taken where it reads every cell; where two do, the one whose rows are a steady distance
apart. Day or month first is told by that, or asked.

Legend: ``N`` rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gridcast.layouts.labels import Labels, pattern_of, read_labels
from gridcast.layouts.tables import as_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.config import LayoutConfig
    from gridcast.inspection.findings import Findings
    from gridcast.layouts.tables import Table

_SAMPLE: Final = 4000
_MOST_GUESSES: Final = 8
_MOST_UNREAD: Final = 0.001  # share of cells that may be faults of the file
_LONGEST_LABEL: Final = 20
_DATES: Final = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y",
                 "%d-%b-%Y", "%Y%m%d", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y", "%d %b %Y",
                 "%b %d %Y", "%b %d, %Y")  # fmt: skip
_TIMES: Final = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p", "%H", "%I %p", "%H%M")
_INTERVALS: Final = (" - ", " – ", "/")
_SECOND_MARK: Final = re.compile(r"\d(\s?[A-Za-z*]{1,4})$")
_HOURS: Final = re.compile(r"(hour|hr|he|h|stunde|uhrzeit|heure|hora)\b.*", re.IGNORECASE)
_PERIODS: Final = re.compile(r"period|viertelstunde|interval.?n", re.IGNORECASE)
_YEAR_PARTS: Final = {"Y": "year|jahr|ann[eé]e", "m": "month|monat|mois", "d": "day|tag|jour"}
_LAST_HOUR, _MOST_PERIODS = 25, 100
_ISO_LIKE: Final = re.compile(r"\d{4}-?\d\d-?\d\d[T ]\d\d")
_EPOCHS: Final = {
    "epoch_seconds": r"1\d{9}|[4-9]\d{8}",
    "epoch_milliseconds": r"1\d{12}|[4-9]\d{11}",
}
_DAY: Final = 86400


class TimeGuess(NamedTuple):
    """Columns and format that may tell the time, and what goes with them."""

    columns: tuple[str, ...]
    form: str
    more: dict[str, str]

    def layout(self, base: LayoutConfig) -> LayoutConfig:
        """The layout with these columns."""
        own = {"time_columns": self.columns, "time_format": self.form, **self.more}
        return base.model_copy(update=own)


@dataclass(frozen=True, slots=True)
class ReadTimes:
    """A guess with what its cells come to; ``period_N`` are numbers of intervals, where told."""

    guess: TimeGuess
    labels: Labels
    period_N: np.ndarray | None = None

    @property
    def keys(self) -> np.ndarray:
        """A number for each label, equal where these are: seconds, less than a step apart."""
        seconds_N: np.ndarray = self.labels.label_N.astype("int64")
        return seconds_N if self.period_N is None else seconds_N + 60 * self.period_N


def find_times(table: Table, base: LayoutConfig, findings: Findings) -> ReadTimes | None:
    """Note the time's columns and format; None: there is no such column."""
    sample = _sample(table)
    guesses = [each for each in _guesses(table, sample, base) if _reads(each, sample, base)]
    read = [_read(guess, table, base) for guess in guesses[:_MOST_GUESSES]]
    whole = sorted((each for each in read if each is not None), key=_unsteadiness)
    if not whole:
        return None
    best, *others = whole
    rivals = [
        each.guess
        for each in others
        if each.guess.columns == best.guess.columns
        and _unsteadiness(each) <= _unsteadiness(best) + 0.02
        and (each.labels.label_N != best.labels.label_N).any()
    ]
    names = " and ".join(f"'{name}'" for name in best.guess.columns)
    if column := best.guess.more.get("period_column"):
        names += f" with the number in '{column}'"
    findings.note(
        "check" if rivals else "certain", "time", f"{names} as {best.guess.form}",
        f"reads all rows, the first {best.labels.text[0].as_py()!r}",
        *(f"ingestion.layout.time_format={each.form!r}" for each in rivals),
    )  # fmt: skip
    findings.layout |= {
        "time_columns": list(best.guess.columns), "time_format": best.guess.form,
        **best.guess.more,
    }  # fmt: skip
    return best


def _sample(table: Table) -> Table:
    num = len(table.lines_N)
    if num <= _SAMPLE:
        return table
    is_kept = np.zeros(num, dtype=bool)
    is_kept[np.linspace(0, num - 1, _SAMPLE).astype(int)] = True
    return table.take(is_kept)


def _guesses(table: Table, sample: Table, base: LayoutConfig) -> Iterator[TimeGuess]:
    """Columns with formats that their first cell fits, the more telling ones first."""
    dates: list[tuple[str, str]] = []
    for name in dict.fromkeys(table.names):
        first = str(sample.column(name)[0].as_py())
        yield from _whole_labels(name, first, sample, base)
        dates += [(name, form) for form in (*_DATES, "iso") if _fits(first, form, base)]
    for name, form in dates:
        yield from _with_hours(name, form, sample, base)
    yield from _year_month_day(sample)


def _whole_labels(name: str, first: str, sample: Table, base: LayoutConfig) -> Iterator[TimeGuess]:
    mark = next(
        (each for each in _INTERVALS if first.count(each) == 1 and len(first) > _LONGEST_LABEL),
        None,
    )
    more: dict[str, str] = {} if mark is None else {"interval_mark": mark}
    told = first if mark is None else first.split(mark, maxsplit=1)[0]
    second = _second_mark(sample.column(name))
    if second and mark is None:
        more["second_hour_mark"] = second
    if any(_ISO_LIKE.match(str(cell)) for cell in sample.column(name)[:3].to_pylist()):
        yield TimeGuess((name,), "iso", more)
    for form in (f"{date} {time}" for date in _DATES for time in _TIMES):
        for text in (form, form.replace(" ", "T", 1), f"{form} %z", f"{form}%z"):
            if _fits(told, text, base):
                yield TimeGuess((name,), text, more)
    for form, pattern in _EPOCHS.items():
        if re.fullmatch(pattern, told):
            yield TimeGuess((name,), form, {})


def _second_mark(cells: pa.Array) -> str | None:
    """What a few cells have behind their digits and all others have not, as ``X`` in ``02X``."""
    marks = {
        match[1]
        for text in pc.unique(cells).to_pylist()
        if (match := _SECOND_MARK.search(str(text)))
    }
    if len(marks) != 1 or (mark := marks.pop()).strip().upper() in {"AM", "PM", "Z", "UTC"}:
        return None
    num = int(pc.sum(pc.ends_with(cells, mark)).as_py())
    return mark if 0 < num < len(cells) / 50 else None


def _with_hours(name: str, form: str, sample: Table, base: LayoutConfig) -> Iterator[TimeGuess]:
    """A date's column with one of the hour, or of the number of an interval."""
    date = "%Y-%m-%d" if form == "iso" else form
    for other in (each for each in dict.fromkeys(sample.names) if each != name):
        cells = sample.column(other)
        mark = _second_mark(cells)
        plain = cells if mark is None else pc.replace_substring(cells, mark, "")
        more = {} if mark is None else {"second_hour_mark": mark}
        for time in _TIMES[:4]:
            if _fits(str(plain[0].as_py()), time, base):
                yield TimeGuess((name, other), f"{date} {time}", more)
        largest = _largest_whole(plain)
        if largest is None:
            continue
        if _PERIODS.search(other) and largest <= _MOST_PERIODS:
            yield TimeGuess((name,), date, {"period_column": other})
        elif _HOURS.match(other.strip()) and largest < _LAST_HOUR:
            yield TimeGuess((name, other), f"{date} %H", more)
        elif _HOURS.match(other.strip()) and largest == _LAST_HOUR:
            yield TimeGuess((name,), date, {"period_column": other})


def _year_month_day(sample: Table) -> Iterator[TimeGuess]:
    """Columns of year, month, day and hour."""
    names = [name for name in sample.names if name]
    found = [
        next((name for name in names if re.fullmatch(words, name.strip(), re.IGNORECASE)), None)
        for words in _YEAR_PARTS.values()
    ]
    hour = next((name for name in names if _HOURS.match(name.strip())), None)
    columns = tuple(name for name in (*found, hour) if name is not None)
    if len(columns) == len(_YEAR_PARTS) + 1:
        yield TimeGuess(columns, "%Y %m %d %H", {})


def _largest_whole(cells: pa.Array) -> int | None:
    """The largest of cells that are whole numbers of at most three digits, all of them."""
    if not pc.all(pc.match_substring_regex(cells, r"^\d{1,3}$")).as_py():
        return None
    return int(pc.max(cells.cast(pa.int64())).as_py())


@cache
def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(pattern_of(form), re.ASCII)


def _fits(text: str, form: str, base: LayoutConfig) -> bool:
    if not _compiled(form).match(text.strip()):
        return False  # what costs a hundredth of the reader that decides
    layout = base.model_copy(update={"time_format": form})
    return not np.isnat(read_labels(pa.array([text.strip()]), layout).label_N[0])


def _cells(guess: TimeGuess, table: Table) -> pa.Array:
    cells = [table.column(name) for name in guess.columns]
    return pc.binary_join_element_wise(*cells, " ") if cells[1:] else cells[0]


def _reads(guess: TimeGuess, table: Table, base: LayoutConfig) -> bool:
    labels = read_labels(_cells(guess, table), guess.layout(base))
    return bool(np.isnat(labels.label_N).mean() <= _MOST_UNREAD)


def _read(guess: TimeGuess, table: Table, base: LayoutConfig) -> ReadTimes | None:
    labels = read_labels(_cells(guess, table), guess.layout(base))
    if np.isnat(labels.label_N).mean() > _MOST_UNREAD:
        return None
    period_N = None
    if column := guess.more.get("period_column"):
        period_N = as_numpy(table.column(column).cast(pa.int64()))
    return ReadTimes(guess, labels, period_N)


def _unsteadiness(found: ReadTimes) -> float:
    """Share of steps between labels that are not the usual one; whole days alone are none."""
    key_N = found.keys
    steps = np.diff(np.unique(key_N[~np.isnat(found.labels.label_N)]))
    if not len(steps):
        return 2.0
    _, counts = np.unique(steps, return_counts=True)
    is_day_only = found.period_N is None and not (key_N % _DAY).any()
    return float(1 - counts.max() / len(steps) + 2 * is_day_only)
