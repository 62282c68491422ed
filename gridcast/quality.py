"""Doubtful readings: kept and shown as they are, but flagged.

A reading is held against the readings before it alone: a flag never needs the future, and nothing
that happens in the test part can move a label of the training part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gridcast.config import FlaggedRules

NO_FLAG = ""
FLAGS = ("zero", "dropout", "spike", "flat")
_FEWEST_REFERENCES = 24


def flag_readings(load_mw: pd.Series[float], rules: FlaggedRules) -> pd.Series[str]:
    """Flag each of ``N`` readings (MW, sorted by time) with its first reason, or ``""``.

    ``zero``: a load of exactly 0. ``dropout``, ``spike``: below or above a multiple of the median
    of the ``reference_hours`` readings before. ``flat``: what a run of one value has beyond its
    first ``max_flat_hours`` readings. A rule that is off (null, or ``zero: false``) flags nothing.
    """
    median, never = _median_before(load_mw, rules), float("inf")
    reasons = {
        "zero": (load_mw == 0.0) & rules.zero,
        "dropout": load_mw < (rules.dropout_ratio or 0.0) * median,
        "spike": load_mw > (rules.spike_ratio or never) * median,
        "flat": _hours_alike(load_mw) > (rules.max_flat_hours or never),
    }
    flags = np.select([mask.to_numpy() for mask in reasons.values()], list(reasons), NO_FLAG)
    return pd.Series(flags, index=load_mw.index, dtype="str", name="flag")


def flag_reasons(
    load_mw: pd.Series[float], flags: pd.Series[str], rules: FlaggedRules
) -> list[str]:
    """Why each of ``flags`` was set, in words: what was found and what was expected.

    Args:
        load_mw: all readings (MW, sorted by time).
        flags: some of their flags, none empty, each under its reading's label.
        rules: by which they were set.
    """
    if flags.empty:
        return []
    words = {
        "zero": "found {found} MW, expected a load above it",
        "dropout": f"found {{found}} MW, expected at least {rules.dropout_ratio} times "
        "{median:.1f} MW, the median of the hours before",
        "spike": f"found {{found}} MW, expected at most {rules.spike_ratio} times "
        "{median:.1f} MW, the median of the hours before",
        "flat": "found {found} MW for {hours} hours in a row, "
        f"expected at most {rules.max_flat_hours}",
    }
    columns = (load_mw, _median_before(load_mw, rules), _hours_alike(load_mw))
    found, medians, hours = (column.loc[flags.index] for column in columns)
    return [
        words[flag].format(found=load, median=median, hours=num)
        for flag, load, median, num in zip(flags, found, medians, hours, strict=True)
    ]


def _median_before(load_mw: pd.Series[float], rules: FlaggedRules) -> pd.Series[float]:
    """The median of the ``reference_hours`` readings before each, NaN if these are too few."""
    before = load_mw.rolling(rules.reference_hours, min_periods=_FEWEST_REFERENCES, closed="left")
    return before.median()


def _hours_alike(load_mw: pd.Series[float]) -> pd.Series[int]:
    """How many readings in a row had the value of each by then, itself included."""
    run = (load_mw != load_mw.shift()).cumsum()
    return load_mw.groupby(run).cumcount() + 1
