"""Cells with times → labels: what the clock, the calendar or a counter of the source showed.

Each format becomes one regular expression that Arrow runs over all cells at once.

Legend: ``N`` rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gridcast.layouts.tables import as_numpy

if TYPE_CHECKING:
    from gridcast.config import LayoutConfig

# What each directive takes; hours to 24, for 24:00 is how many write the end of a day.
_PARTS: Final = {
    "Y": r"(?P<Y>(?:19|20)\d\d)",
    "y": r"(?P<y>\d\d)",
    "m": r"(?P<m>1[0-2]|0?[1-9])",
    "d": r"(?P<d>3[01]|[12]\d|0?[1-9])",
    "b": r"(?P<b>[A-Za-z]{3,9})",
    "H": r"(?P<H>2[0-4]|1\d|0?\d)",
    "I": r"(?P<I>1[0-2]|0?[1-9])",
    "p": r"(?P<p>[AaPp]\.?[Mm]\.?)",
    "M": r"(?P<M>[0-5]?\d)",
    "S": r"(?P<S>[0-5]?\d)(?:[.,]0+)?",
    "z": r"(?P<z>Z|[+-]\d\d:?\d\d|[+-]\d\d|UTC|GMT)",
}
_ISO: Final = (
    rf"{_PARTS['Y']}-?(?P<m>1[0-2]|0[1-9])-?(?P<d>3[01]|[12]\d|0[1-9])"
    rf"(?:[T ](?P<H>2[0-4]|[01]\d):?(?P<M>[0-5]\d)(?::?{_PARTS['S']})?)? ?{_PARTS['z']}?"
)
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_YEARS_2: Final = 69  # as POSIX has it: 69 to 99 are of 1900
_NAT: Final = np.datetime64("NaT", "s")
_EPOCHS: Final = {"epoch_seconds": 1, "epoch_milliseconds": 1000}


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of ``N`` rows as they stand, without any zone.

    ``label_N`` is ``datetime64[s]``, NaT where the cell is none; ``offset_N`` the seconds of an
    offset in the label itself, NaN where it has none; ``is_second_N`` whether a mark tells the
    second hour of an autumn pair; ``text`` the cells.
    """

    label_N: np.ndarray
    offset_N: np.ndarray
    is_second_N: np.ndarray
    text: pa.Array

    @property
    def has_offsets(self) -> bool:
        """Whether all labels tell their offset."""
        return bool(np.isfinite(self.offset_N).all())


def read_labels(text: pa.Array, layout: LayoutConfig) -> Labels:
    """Read the cells of the time by the layout's format.

    Args:
        text: of ``N`` rows, the cells of ``time_columns`` joined by blanks.
        layout: format and marks.
    """
    is_second_N = np.zeros(len(text), dtype=bool)
    told = text
    if layout.second_hour_mark is not None:
        is_second_N = _mask(pc.match_substring(text, layout.second_hour_mark))
        told = pc.utf8_trim_whitespace(pc.replace_substring(text, layout.second_hour_mark, ""))
    if layout.interval_mark is not None:
        has_end = pc.match_substring(told, layout.interval_mark)
        begin = pc.replace_substring_regex(told, f"{re.escape(layout.interval_mark)}(?s:.*)$", "")
        told = pc.if_else(has_end, begin, "")
    label_N, offset_N = _parsed(told, layout.time_format)
    return Labels(label_N, offset_N, is_second_N, text)


def interval_ends(text: pa.Array, layout: LayoutConfig) -> np.ndarray:
    """The second end of each interval ``a - b`` (``datetime64[s]``, NaT where there is none)."""
    mark = layout.interval_mark or ""
    end = pc.replace_substring_regex(text, f"^(?s:.*?){re.escape(mark)}", "")
    return _parsed(pc.utf8_trim_whitespace(end), layout.time_format)[0]


def _parsed(text: pa.Array, form: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (``datetime64[s]``) and their offsets in seconds."""
    if form in _EPOCHS:
        return _epochs(text, _EPOCHS[form]), np.zeros(len(text))
    found = pc.extract_regex(text, pattern=pattern_of(form))
    names = [field.name for field in found.type]
    is_read_N = _mask(pc.is_valid(found))
    parts = {
        name: pc.fill_null(pc.struct_field(found, [number]), "")
        for number, name in enumerate(names)
    }
    label_N = _assembled(parts, len(text))
    label_N[~is_read_N] = _NAT
    offset_N = _offsets(parts["z"]) if "z" in parts else np.full(len(text), np.nan)
    return label_N, offset_N


def pattern_of(form: str) -> str:
    """The regular expression of a format, anchored on both sides."""
    if form == "iso":
        return f"^{_ISO}$"
    pieces = re.split(r"%(.)", form)
    pattern = "".join(
        _PARTS[piece] if number % 2 else re.escape(piece).replace(r"\ ", " +")
        for number, piece in enumerate(pieces)
    )
    return f"^{pattern}$"


def _epochs(text: pa.Array, divisor: int) -> np.ndarray:
    is_number = pc.match_substring_regex(text, r"^-?\d{1,14}(?:\.0+)?$")
    plain = pc.replace_substring_regex(pc.if_else(is_number, text, "0"), r"\.0+$", "")
    count_N = as_numpy(plain.cast(pa.int64()))
    label_N: np.ndarray = (count_N // divisor).astype("datetime64[s]")
    label_N[~_mask(is_number) | (count_N % divisor != 0)] = _NAT
    return label_N


def _assembled(parts: dict[str, pa.Array], num: int) -> np.ndarray:
    """Numbers of year, month, day, hour, minute, second → ``datetime64[s]``; NaT: no such day."""

    def numbers(name: str, default: int = 0) -> np.ndarray:
        if name not in parts:
            return np.full(num, default)
        filled = pc.if_else(pc.equal(parts[name], ""), str(default), parts[name])
        return as_numpy(filled.cast(pa.int64()))

    year_N = numbers("Y", 1970)
    if "y" in parts:
        short_N = numbers("y")
        year_N = short_N + np.where(short_N < _YEARS_2, 2000, 1900)
    month_N = _month_numbers(parts["b"]) if "b" in parts else numbers("m", 1)
    day_N, hour_N = numbers("d", 1), numbers("H")
    if "I" in parts:
        is_afternoon = _mask(pc.match_substring_regex(parts["p"], "^[Pp]")) if "p" in parts else 0
        hour_N = numbers("I") % 12 + 12 * is_afternoon
    minute_N, second_N = numbers("M"), numbers("S")
    months_N = (year_N - 1970) * 12 + month_N - 1
    days_N = months_N.astype("datetime64[M]").astype("datetime64[D]") + (day_N - 1)
    is_day_N = (days_N.astype("datetime64[M]").astype("int64") == months_N) & (month_N > 0)
    is_day_N &= (hour_N < 24) | ((minute_N == 0) & (second_N == 0))  # noqa: PLR2004
    label_N: np.ndarray = days_N.astype("datetime64[s]") + (
        hour_N * 3600 + minute_N * 60 + second_N
    )
    label_N[~is_day_N] = _NAT
    return label_N


def _month_numbers(names: pa.Array) -> np.ndarray:
    """1 to 12 by the first three letters, in English; 0: no month."""
    short = pc.utf8_lower(pc.utf8_slice_codeunits(names, 0, 3))
    numbers = pc.fill_null(pc.index_in(short, value_set=pa.array(_MONTHS)), -1)
    return as_numpy(numbers).astype("int64") + 1


def _offsets(cells: pa.Array) -> np.ndarray:
    """Seconds east of Greenwich; NaN where a label tells no offset."""
    coded = cells.dictionary_encode()
    seconds = np.array([_seconds_of(text) for text in coded.dictionary.to_pylist()] or [np.nan])
    return np.take(seconds, as_numpy(coded.indices))


def _seconds_of(text: str) -> float:
    """What an offset comes to, seconds east of Greenwich; NaN: none is told.

    >>> _seconds_of("+05:30"), _seconds_of("Z"), _seconds_of("-08")
    (19800.0, 0.0, -28800.0)
    """
    if not text:
        return np.nan
    if text[0] not in "+-":
        return 0.0
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return float(-size if text[0] == "-" else size)


def _mask(values: pa.Array) -> np.ndarray:
    return as_numpy(pc.fill_null(values, fill_value=False)).astype(bool)
