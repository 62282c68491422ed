"""A region's readings as an unbroken series of steps.

Legend: ``T`` steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.quality import NO_FLAG, REPAIRED_FLAGS

if TYPE_CHECKING:
    from gridcast.config import Config

_HOUR = pd.Timedelta(hours=1)
_WEEK = 168


def to_steps(readings: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Lay ``readings`` (``timestamp``, ``local_label``, ``load_mw``, ``flag``) out as steps.

    With ``windows.unit`` = ``hours`` a step is an hour of the regular UTC grid; with ``rows`` a
    step is a reading, and an hour without one leaves no trace, as in the article.

    Returns:
        ``timestamp`` (UTC), ``local_label``, ``local_hour`` (0 to 23), ``load_mw`` as read (NaN
        where missing), ``input_mw`` (flagged and missing values bridged; NaN where the gap is too
        long), ``is_observed``, and ``is_trusted``: observed and, if ``features.exclude_flagged``,
        unflagged.
    """
    steps = readings[["timestamp", "load_mw", "flag", "local_label"]]
    if config.windows.unit == "hours":
        first, last = readings["timestamp"].iloc[0], readings["timestamp"].iloc[-1]
        hours = pd.date_range(first, last, freq=_HOUR, name="timestamp")
        steps = steps.set_index("timestamp").reindex(hours).reset_index()
        steps["flag"] = steps["flag"].fillna(NO_FLAG)
    local = steps["timestamp"].dt.tz_convert(config.ingestion.timezone)
    observed = steps["load_mw"].notna()
    is_wrong, is_doubtful = steps["flag"].isin(REPAIRED_FLAGS), steps["flag"] != NO_FLAG
    if not config.features.exclude_flagged:
        is_wrong, is_doubtful = is_wrong & False, is_doubtful & False
    usable = steps["load_mw"].mask(is_wrong).to_numpy()
    bridged = bridge_gaps(usable, longest=config.features.max_fill_hours)
    # A doubtful run too long to bridge is an input as it was read: better than no forecast at all.
    return pd.DataFrame(
        {
            "timestamp": steps["timestamp"],
            "local_label": steps["local_label"],
            "local_hour": local.dt.hour.astype("int8"),
            "load_mw": steps["load_mw"],
            "input_mw": np.where(np.isnan(bridged), steps["load_mw"], bridged),
            "is_observed": observed,
            "is_trusted": observed & ~is_doubtful,
        }
    )


def bridge_gaps(load_T: np.ndarray, *, longest: int) -> np.ndarray:
    """Fill the first ``longest`` steps of each gap (NaN) from the past alone.

    A filled value is the one before it plus last week's change at that hour, or the one before it
    where last week is not known. Longer gaps stay open from there on, and a value that the future
    would tell is never used, so a filled step may be an input (and is never a label).
    """
    filled = load_T.copy()
    run = 0
    for step in np.flatnonzero(np.isnan(load_T)):
        run = run + 1 if step > 0 and np.isnan(load_T[step - 1]) else 1
        if step == 0 or run > longest:
            continue
        change = filled[step - _WEEK] - filled[step - _WEEK - 1] if step > _WEEK else 0.0
        filled[step] = filled[step - 1] + (0.0 if np.isnan(change) else change)
    return filled
