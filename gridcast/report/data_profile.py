"""What a region's readings look like: coverage by week, loads by hour and season, flags up close.

Legend: ``S`` states of an hour or seasons, ``Y`` years, ``W`` weeks of a year, ``H`` hours,
``Q`` quantiles, ``N`` readings, ``T`` hours from the first to the last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from gridcast.config import RepairedRules
from gridcast.features.series import bridge_gaps
from gridcast.readings.quality import NO_FLAG

# Of an hour. One may be in several: a missing one that is filled as an input is repaired too.
STATES: Final = ("covered", "missing", "flagged", "repaired")
COVERED, MISSING, FLAGGED, REPAIRED = range(len(STATES))
WEEKS_OF_A_YEAR: Final = 53  # from 1 January on; the last has one day or two
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
SEASONS: Final = ("Dec to Feb", "Mar to May", "Jun to Aug", "Sep to Nov")
HOURS_OF_A_WEEK: Final = 168
NEIGHBOURHOOD_HOURS: Final = 5 * 24
_SAME_STRETCH_HOURS: Final = 48  # flags closer than this are shown in one picture
_LONGEST_STRETCH_HOURS: Final = 10 * 24  # of a flat month the first days are enough
_HOUR: Final = np.timedelta64(1, "h")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedStretch:
    """Flagged readings that stand close together, and the five days before and after.

    ``load_mw_N`` is hourly from ``first`` (start of the hour, UTC) on, NaN where there is no
    reading; ``marks`` are the flagged ones among them. ``local_label`` and ``source_line`` are
    those of the first flagged reading.
    """

    first: pd.Timestamp
    load_mw_N: np.ndarray
    marks: tuple[int, ...]
    rules: tuple[str, ...]
    num_flagged: int
    local_label: pd.Timestamp
    source_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionProfile:
    """One region in figures. Loads are MW; quantiles are those of readings without a flag.

    ``hours_SYW`` counts the hours of each state by year and week (UTC), of which ``covered`` are
    all from the first to the last. A repaired hour is one that models are given another input for.
    ``day_mw_SHQ`` has the quantiles by season and local hour, ``week_mw_HQ`` by hour of the local
    week from Monday on; NaN where nothing was read.
    """

    region: str
    first: pd.Timestamp
    last: pd.Timestamp
    num_rows: int
    num_missing: int
    num_repaired: int
    num_flagged_by_rule: dict[str, int]
    num_autumn_pairs: int
    lowest_mw: float
    mean_mw: float
    highest_mw: float
    first_year: int
    hours_SYW: np.ndarray
    day_mw_SHQ: np.ndarray
    week_mw_HQ: np.ndarray
    stretches: tuple[FlaggedStretch, ...]

    @property
    def num_flagged(self) -> int:
        """Readings that any rule flags."""
        return sum(self.num_flagged_by_rule.values())


def profile_region(
    frame: pd.DataFrame,
    *,
    region: str,
    timezone: str,
    rules: RepairedRules,
    max_stretches: int = 24,
) -> RegionProfile:
    """Describe one region's published readings.

    Args:
        frame: as ingestion leaves it, sorted by ``timestamp``, with ``load_mw``, ``flag``,
            ``local_label`` and ``source_line``.
        region: its name.
        timezone: in which hours of the day and of the week are counted.
        rules: by which hours are repaired.
        max_stretches: keep the readings around the first so many flagged stretches.
    """
    hours_N = frame["timestamp"].dt.tz_convert(None).to_numpy().astype("datetime64[h]")
    load_mw, is_flagged_N = frame["load_mw"].to_numpy(), (frame["flag"] != NO_FLAG).to_numpy()
    load_mw_T = np.full(int((hours_N[-1] - hours_N[0]) / _HOUR) + 1, np.nan)
    row_N = ((hours_N - hours_N[0]) / _HOUR).astype(int)
    load_mw_T[row_N] = frame["load_mw"].mask(frame["flag"].isin(rules.replaced_flags))
    # What `to_steps` says of `is_imputed`, and a test holds it to that; its frame takes too long.
    is_repaired_T = np.isnan(load_mw_T) & ~np.isnan(bridge_gaps(load_mw_T, rules))
    first_year, hours_SYW = _hours_by_week(hours_N, is_flagged_N, is_repaired_T)
    plain = np.flatnonzero(~is_flagged_N)
    order = plain[np.argsort(load_mw[plain])]  # once for all groups: it is slow
    hour_N, weekday_N, month_N = _local_parts(frame["timestamp"], timezone)
    by_day, by_week = month_N % 12 // 3 * 24 + hour_N, weekday_N * 24 + hour_N
    day_mw = _quantiles(load_mw[order], by_day[order], num=len(SEASONS) * 24)
    return RegionProfile(
        region=region,
        first=frame["timestamp"].iloc[0],
        last=frame["timestamp"].iloc[-1],
        num_rows=len(frame),
        num_missing=int(hours_SYW[MISSING].sum()),
        num_repaired=int(is_repaired_T.sum()),
        num_flagged_by_rule=dict(sorted(Counter(frame["flag"][is_flagged_N]).items())),
        num_autumn_pairs=int(frame["local_label"].duplicated().sum()),
        lowest_mw=float(load_mw.min()),
        mean_mw=float(load_mw.mean()),
        highest_mw=float(load_mw.max()),
        first_year=first_year,
        hours_SYW=hours_SYW,
        day_mw_SHQ=day_mw.reshape(len(SEASONS), 24, len(QUANTILES)),
        week_mw_HQ=_quantiles(load_mw[order], by_week[order], num=HOURS_OF_A_WEEK),
        stretches=tuple(_stretches(frame, hours_N, is_flagged_N)[:max_stretches]),
    )


def _hours_by_week(
    hours_N: np.ndarray, is_flagged_N: np.ndarray, is_repaired_T: np.ndarray
) -> tuple[int, np.ndarray]:
    """The first year, and how many hours of each state each week of each year has."""
    hours_T = np.arange(hours_N[0], hours_N[-1] + _HOUR)
    row_N = (hours_N - hours_N[0]).astype(int)
    is_missing_T, is_flagged_T = np.ones(len(hours_T), bool), np.zeros(len(hours_T), bool)
    is_missing_T[row_N], is_flagged_T[row_N] = False, is_flagged_N
    year_T = hours_T.astype("datetime64[Y]")
    week_T = (hours_T - year_T.astype("datetime64[h]")).astype(int) // HOURS_OF_A_WEEK
    first_year = int(year_T[0].astype(int))
    shape = (int(year_T[-1].astype(int)) - first_year + 1, WEEKS_OF_A_YEAR)
    cell_T = np.ravel_multi_index((year_T.astype(int) - first_year, week_T), shape)
    counts = [
        np.bincount(cell_T[each], minlength=shape[0] * shape[1]).reshape(shape)
        for each in (slice(None), is_missing_T, is_flagged_T, is_repaired_T)
    ]
    return first_year + 1970, np.stack(counts)


def _local_parts(
    timestamps: pd.Series[pd.Timestamp], timezone: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hour (0 to 23), weekday (Monday 0) and month (1 to 12) in the local time."""
    local = timestamps.dt.tz_convert(timezone).dt.tz_localize(None).to_numpy()
    days = local.astype("datetime64[D]")
    hour = (local - days) // _HOUR
    weekday = (days.astype(int) + 3) % 7  # 1970 began on a Thursday
    return hour, weekday, days.astype("datetime64[M]").astype(int) % 12 + 1


def _quantiles(load_mw: np.ndarray, group: np.ndarray, *, num: int) -> np.ndarray:
    """The quantiles of each of ``num`` groups, NaN for an empty one; linear between readings.

    ``load_mw`` ascends. A stable sort of small integers keeps that within each group, in linear
    time.
    """
    load_mw = load_mw[np.argsort(group.astype(np.int16), kind="stable")]
    size = np.bincount(group, minlength=num)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    place = start[:, None] + np.array(QUANTILES) * (size[:, None] - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, start[:, None] + size[:, None] - 1)
    found = np.full(place.shape, np.nan)
    is_known = size > 0
    low, high = load_mw[below[is_known]], load_mw[above[is_known]]
    found[is_known] = low + (place - below)[is_known] * (high - low)
    return found


def _stretches(
    frame: pd.DataFrame, hours_N: np.ndarray, is_flagged_N: np.ndarray
) -> list[FlaggedStretch]:
    rows = np.flatnonzero(is_flagged_N)
    if len(rows) == 0:
        return []
    breaks = np.diff(hours_N[rows]) >= _SAME_STRETCH_HOURS * _HOUR
    return [_stretch(frame, hours_N, own) for own in np.split(rows, np.flatnonzero(breaks) + 1)]


def _stretch(frame: pd.DataFrame, hours_N: np.ndarray, rows: np.ndarray) -> FlaggedStretch:
    shown = rows[hours_N[rows] < hours_N[rows[0]] + _LONGEST_STRETCH_HOURS * _HOUR]
    first = hours_N[shown[0]] - NEIGHBOURHOOD_HOURS * _HOUR
    last = hours_N[shown[-1]] + NEIGHBOURHOOD_HOURS * _HOUR
    near = slice(*np.searchsorted(hours_N, [first, last + _HOUR]))
    load_mw = np.full(int((last - first) / _HOUR) + 1, np.nan)
    load_mw[((hours_N[near] - first) / _HOUR).astype(int)] = frame["load_mw"].iloc[near]
    return FlaggedStretch(
        first=pd.Timestamp(first, tz="UTC"),
        load_mw_N=load_mw,
        marks=tuple(((hours_N[shown] - first) / _HOUR).astype(int).tolist()),
        rules=tuple(frame["flag"].iloc[rows].unique()),
        num_flagged=len(rows),
        local_label=frame["local_label"].iloc[rows[0]],
        source_line=int(frame["source_line"].iloc[rows[0]]),
    )
