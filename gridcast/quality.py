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
    median = load_mw.rolling(
        rules.reference_hours, min_periods=_FEWEST_REFERENCES, closed="left"
    ).median()
    run = (load_mw != load_mw.shift()).cumsum()
    never = float("inf")
    reasons = {
        "zero": (load_mw == 0.0) & rules.zero,
        "dropout": load_mw < (rules.dropout_ratio or 0.0) * median,
        "spike": load_mw > (rules.spike_ratio or never) * median,
        "flat": load_mw.groupby(run).cumcount() >= (rules.max_flat_hours or never),
    }
    flags = np.select([mask.to_numpy() for mask in reasons.values()], list(reasons), NO_FLAG)
    return pd.Series(flags, index=load_mw.index, dtype="str", name="flag")
