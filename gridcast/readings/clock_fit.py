"""Which zone and label would fit labels that the settings do not: told by the changes of clocks.

Legend: ``N`` rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from gridcast.config import RegionIngestion

LABELS: Final = ("hour_ending", "hour_beginning", "clock_at_end")
# One of all zones that change clocks alike, and UTC, whose never do.
_ZONES: Final = ("UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Chicago",
                 "America/Los_Angeles", "Australia/Sydney")  # fmt: skip
_MOST: Final = 2


class _Fit(NamedTuple):
    """Hours that no clock showed or that stand too often, hours left out; and by which settings."""

    num_wrong: int
    num_missing: int
    timezone: str
    label: str


def fitting_settings(label_N: np.ndarray, config: RegionIngestion) -> list[str]:
    """Settings of zone and label by which all labels are hours, and the fewest are left out.

    Args:
        label_N: of a file (``datetime64[s]``), in any order.
        config: as they were read; its own zone is tried first, with other labels.

    Returns:
        In words for a message, the best first; nothing where no setting fits.
    """
    zones = dict.fromkeys((config.timezone, *_ZONES))
    tried = [
        _fit(np.sort(label_N), zone, label)
        for zone in zones
        for label in LABELS
        if zone != "UTC" or label != "clock_at_end"
    ]
    right = [fit for fit in tried if not fit.num_wrong]
    fewest = min((fit.num_missing for fit in right), default=0)
    return [
        f"ingestion.timezone={fit.timezone} with ingestion.label={fit.label}"
        for fit in right
        if fit.num_missing == fewest
    ][:_MOST]


def _fit(label_N: np.ndarray, timezone: str, label: str) -> _Fit:
    """Read sorted labels by these settings, and count what is wrong."""
    shift = np.timedelta64(3600 if label == "hour_ending" else 0, "s")
    clock, num = np.unique(label_N - shift, return_counts=True)
    index = pd.DatetimeIndex(clock)
    summer, winter = (
        index.tz_localize(timezone, ambiguous=np.full(len(index), is_dst), nonexistent="NaT")
        for is_dst in (True, False)
    )
    allowed = np.where(summer == winter, 1, 2)
    is_none = np.asarray(summer.isna())
    num_wrong = int(is_none.sum() + np.maximum(num - allowed, 0)[~is_none].sum())
    known = summer.dropna()
    hours = int((known[-1] - known[0]) / pd.Timedelta(hours=1)) + 1 if len(known) else 0
    return _Fit(num_wrong, hours - int(num.sum()), timezone, label)
