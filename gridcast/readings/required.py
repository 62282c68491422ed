"""What is asked of a region as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridcast.readings.quality import NO_FLAG

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.config import RequiredRules


def broken_rule(readings: pd.DataFrame, required: RequiredRules) -> str:
    """Which rule a run would refuse these readings (``load_mw``, ``flag``, in order) by, or none.

    A run asks Great Expectations, which tells rows as well; this is the same arithmetic.
    """
    times, load_mw = readings["timestamp"], readings["load_mw"]
    span = int((times.iloc[-1] - times.iloc[0]) / np.timedelta64(1, "h")) + 1
    broken = {
        "min_rows": len(readings) < required.min_rows,
        "max_missing_share": 1 - len(readings) / span > required.max_missing_share,
        "min_mw": load_mw.min() < required.min_mw,
        "max_mw": load_mw.max() > required.max_mw,
        "max_flagged_share": (readings["flag"] != NO_FLAG).mean() > required.max_flagged_share,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), "")
