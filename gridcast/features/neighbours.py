"""What the loads of all regions did lately: the past that regions share, hour by hour.

Legend: ``T`` steps (all regions end to end), ``G`` hours of the grid that all regions share, ``R``
regions, ``J`` signals of a region, ``W`` = ``R * J``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gridcast.features.columns import LOAD_FEATURE
from gridcast.features.grid_hours import grid_hours

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gridcast.features.windows import Bools, Ints

SIGNALS = ("above_last_week", "above_yesterday", "change", "is_known")
NUM_SIGNALS = len(SIGNALS)
MOST_REGIONS = 64  # whose signals lie side by side; of more, memory would grow with their square
_DAY, _WEEK = 24, 168
_CHANGE_GAIN = 10.0  # changes are small


class Signals(NamedTuple):
    """The signals of all regions at each hour, and at which hour each step lies.

    Of each region: its scaled load less that of a week and of a day before, its last change less
    that of a week before (times ten), and 1; all of them 0 where one of these loads is not known.
    """

    values_GW: NDArray[np.float32]
    hour_T: Ints


def regional_signals(
    load_T: np.ndarray,
    is_input_T: Bools,
    region_T: NDArray[np.integer],
    timestamp_T: np.ndarray,
    *,
    num_regions: int,
) -> Signals:
    """From the scaled loads; no signal of an hour uses a later one.

    ``timestamp_T`` is in UTC (any resolution). A step without a load (``is_input_T``) is not known.
    """
    load_GR, hour_T = load_grid(load_T, is_input_T, region_T, timestamp_T, num_regions=num_regions)
    change_GR = load_GR - _shifted(load_GR, 1)
    signals_JGR = [
        load_GR - _shifted(load_GR, _WEEK),
        load_GR - _shifted(load_GR, _DAY),
        _CHANGE_GAIN * (change_GR - _shifted(change_GR, _WEEK)),
    ]
    is_known_GR = ~np.isnan(np.stack(signals_JGR)).any(axis=0)
    values_GRJ = np.stack([*signals_JGR, is_known_GR], axis=-1, dtype=np.float32)
    values_GRJ[~is_known_GR] = 0.0
    return Signals(values_GRJ.reshape(len(values_GRJ), -1), hour_T)


def load_grid(
    load_T: np.ndarray,
    is_input_T: Bools,
    region_T: NDArray[np.integer],
    timestamp_T: np.ndarray,
    *,
    num_regions: int,
    hours_before: int = 0,
) -> tuple[NDArray[np.float32], Ints]:
    """All regions on one grid of hours, where they begin, pause and end at other times.

    The loads ``(G, R)``, NaN where one is not known, and at which hour each step lies.
    ``hours_before`` the first one are on the grid too.
    """
    hours_T = grid_hours(timestamp_T).astype(np.int64)
    hour_T = hours_T - (hours_T.min() if len(hours_T) else 0) + hours_before
    load_GR = np.full((int(hour_T.max(initial=-1)) + 1, num_regions), np.nan, np.float32)
    load_GR[hour_T[is_input_T], region_T[is_input_T]] = load_T[is_input_T]
    return load_GR, hour_T


def signals_of(frame: pd.DataFrame) -> Signals:
    """The same of rows of ``FeatureTable.frame``, whose ``region`` knows all regions."""
    return regional_signals(
        frame[LOAD_FEATURE].to_numpy(),
        frame["is_input"].to_numpy(),
        frame["region"].cat.codes.to_numpy(),
        frame["timestamp"].dt.tz_localize(None).to_numpy(),
        num_regions=len(frame["region"].cat.categories),
    )


def _shifted(values_GR: np.ndarray, hours: int) -> np.ndarray:
    """``out[g] = values[g - hours]``, NaN before the start."""
    out = np.full_like(values_GR, np.nan)
    out[hours:] = values_GR[:-hours]
    return out
