"""Cells with loads → MW.

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

_IN_MW: Final = {"W": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3}
_MINUTES = 60
_BLANKS = "[\u00a0\u202f\u2009]"


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads of ``N`` rows, NaN where there is none.

    ``load_mw_N`` is the mean power over each interval (MW), also where the file tells energy;
    ``is_missing_N`` where a mark says that there is none; ``is_wrong_N`` where the cell is neither.
    """

    load_mw_N: np.ndarray
    is_missing_N: np.ndarray
    is_wrong_N: np.ndarray


def read_loads(text: pa.Array, layout: LayoutConfig) -> Loads:
    """Read the cells of a column of loads by the layout's marks and unit."""
    is_missing_N = np.zeros(len(text), dtype=bool)
    if layout.missing:
        marks = pa.array(layout.missing, pa.string())
        is_missing_N = as_numpy(pc.is_in(text, value_set=marks))
    plain = text
    if layout.thousands == " ":
        plain = pc.replace_substring_regex(text, _BLANKS, " ")
    is_number = pc.match_substring_regex(plain, number_pattern(layout))
    plain = pc.if_else(is_number, plain, "nan")
    if layout.thousands is not None:
        plain = pc.replace_substring(plain, layout.thousands, "")
    if layout.decimal != ".":
        plain = pc.replace_substring(plain, layout.decimal, ".")
    plain = pc.utf8_ltrim(plain, characters="+")
    value_N = as_numpy(plain.cast(pa.float64())) * mw_of_a_cell(layout)
    is_wrong_N = ~np.isfinite(value_N) & ~is_missing_N
    value_N = np.where(is_missing_N | is_wrong_N, np.nan, value_N) + 0.0  # -0 is 0
    return Loads(value_N, is_missing_N, is_wrong_N)


def mw_of_a_cell(layout: LayoutConfig) -> float:
    """MW of a cell that reads 1: of energy, the mean power over the interval.

    >>> from gridcast.config import Config
    >>> layout = Config.load().ingestion.layout
    >>> mw_of_a_cell(layout.model_copy(update={"unit": "kWh", "step_minutes": 15}))
    0.004
    """
    factor = _IN_MW[layout.unit[0]]
    return factor * _MINUTES / layout.step_minutes if layout.is_energy else factor


def number_pattern(layout: LayoutConfig) -> str:
    """What a number looks like; where thousands have a mark, in groups of three or without it."""
    point = re.escape(layout.decimal)
    fraction = rf"(?:{point}\d*)?"
    plain = rf"(?:\d+{fraction}|{point}\d+)(?:[eE][+-]?\d+)?"
    if layout.thousands is None:
        return rf"^[+-]?{plain}$"
    grouped = rf"\d{{1,3}}(?:{re.escape(layout.thousands)}\d{{3}})+{fraction}"
    return rf"^[+-]?(?:{grouped}|{plain})$"
