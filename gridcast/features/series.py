"""A region's readings as an unbroken series of steps.

Legend: ``T`` steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from gridcast.readings.quality import NO_FLAG

if TYPE_CHECKING:
    from gridcast.config import RepairedRules

_HOUR = pd.Timedelta(hours=1)
_WEEK = 168


def to_steps(
    readings: pd.DataFrame,
    *,
    rules: RepairedRules,
    unit: Literal["hours", "rows"],
    timezone: str,
) -> pd.DataFrame:
    """Lay ``readings`` (``timestamp``, ``local_label``, ``load_mw``, ``flag``) out as steps.

    With ``unit`` = ``hours`` a step is an hour of the regular UTC grid; with ``rows`` a step is a
    reading, and an hour without one leaves no trace, as in the article.

    Returns:
        ``timestamp`` (UTC), ``local_label``, ``local_hour`` (0 to 23, in ``timezone``), ``load_mw``
        as read (NaN where missing), ``input_mw`` (wrong and missing values filled; NaN where the
        gap is too long), ``is_imputed`` (``input_mw`` was filled and not read), ``is_observed``,
        and ``is_trusted``: observed, not imputed and, if ``exclude_flagged``, not flagged.
    """
    steps = readings[["timestamp", "load_mw", "flag", "local_label"]]
    if unit == "hours":
        first, last = readings["timestamp"].iloc[0], readings["timestamp"].iloc[-1]
        hours = pd.date_range(first, last, freq=_HOUR, name="timestamp")
        steps = steps.set_index("timestamp").reindex(hours).reset_index()
        steps["flag"] = steps["flag"].fillna(NO_FLAG)
    observed = steps["load_mw"].notna()
    is_wrong = steps["flag"].isin(rules.replaced_flags)
    is_doubtful = (steps["flag"] != NO_FLAG) & rules.exclude_flagged
    usable = steps["load_mw"].mask(is_wrong).to_numpy()
    bridged = bridge_gaps(usable, rules)
    is_imputed = np.isnan(usable) & ~np.isnan(bridged)
    # A doubtful run too long to bridge is an input as it was read: better than no forecast at all.
    return pd.DataFrame(
        {
            "timestamp": steps["timestamp"],
            "local_label": steps["local_label"],
            "local_hour": steps["timestamp"].dt.tz_convert(timezone).dt.hour.astype("int8"),
            "load_mw": steps["load_mw"],
            "input_mw": np.where(np.isnan(bridged), steps["load_mw"], bridged),
            "is_imputed": is_imputed,
            "is_observed": observed,
            "is_trusted": observed & ~is_imputed & ~is_doubtful,
        }
    )


def bridge_gaps(load_T: np.ndarray, rules: RepairedRules) -> np.ndarray:
    """Fill the first ``max_fill_hours`` steps of each gap (NaN) from the past alone.

    ``last_week_change``: the value before it plus last week's change at that hour.
    ``past_weeks_mean``: the mean of the readings at that hour in the ``fill_weeks`` weeks before.
    Where those weeks are not known, the value before it. Longer gaps stay open from there on, and a
    value that the future would tell is never used, so a filled step may be an input (and is never a
    label).
    """
    filled = load_T.copy()
    run = 0
    for step in np.flatnonzero(np.isnan(load_T)).tolist():
        run = run + 1 if step > 0 and np.isnan(load_T[step - 1]) else 1
        if step == 0 or run > rules.max_fill_hours:
            continue
        value = _from_past_weeks(load_T, filled, step, rules)
        filled[step] = filled[step - 1] if np.isnan(value) else value
    return filled


def _from_past_weeks(
    load_T: np.ndarray, filled_T: np.ndarray, step: int, rules: RepairedRules
) -> float:
    """What earlier weeks say of this step, NaN where they say nothing."""
    if rules.fill == "past_weeks_mean":
        same_hour = load_T[max(0, step - rules.fill_weeks * _WEEK) : step][::-1][_WEEK - 1 :: _WEEK]
        known = same_hour[~np.isnan(same_hour)]
        return float(known.mean()) if len(known) else float("nan")
    if step <= _WEEK:
        return float("nan")
    return float(filled_T[step - 1] + (filled_T[step - _WEEK] - filled_T[step - _WEEK - 1]))
