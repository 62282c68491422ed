"""Doubtful readings: kept and shown as they are, but flagged.

A reading is held against the readings before it alone: a flag never needs the future, and nothing
that happens in the test part can move a label of the training part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from gridcast.config import FlaggedRules

NO_FLAG = ""
FLAGS = ("zero", "dropout", "spike", "level", "flat")
_FEWEST_REFERENCES = 24
_QUANTILES = (0.1, 0.5, 0.9)
_WEEK, _LEVEL_HOURS = 168, 4 * 168
_LEVEL_FACTOR = 5.0
_DAY, _RARE, _TOLD_RATIO, _GROWING_SHARE = 24, 0.99, 1.7, 0.99
_FEWEST_DAYS, _MANY, _ROWS_AT_ONCE, _FAR_BEYOND = 4, 500, 8192, 4.0


def flag_readings(load_mw: pd.Series[float], rules: FlaggedRules) -> pd.Series[str]:
    """Flag each of ``N`` readings (MW, sorted by time) with its first reason, or ``""``.

    ``zero``: a load of exactly 0. ``dropout``, ``spike``: below or above a multiple of the median
    of the ``reference_hours`` readings before, and by the multiple's square root below or above a
    tenth of these: a building has nights and days, and its median is of the one or the other.
    ``level``: see :func:`is_off_level`. ``flat``: what a run of one value has beyond its
    first ``max_flat_hours`` readings. A rule that is off (null, or ``zero: false``) flags nothing.
    """
    load_N = load_mw.to_numpy()
    dropout, spike = rules.dropout_ratio, rules.spike_ratio
    asked = _may_be_far_off(load_N, rules.reference_hours, dropout=dropout, spike=spike)
    before_NQ = np.full((len(load_N), len(_QUANTILES)), np.nan)
    before_NQ[asked] = _quantiles_before(load_N, asked, rules.reference_hours)
    low_N, median_N, high_N = before_NQ.T
    median_N[median_N < 0] = np.nan  # of a net load around 0 no share of the median says anything
    reasons = {
        "zero": (load_N == 0.0) & rules.zero,
        "dropout": _is_beyond(-load_N, -median_N, -low_N, dropout),
        "spike": _is_beyond(load_N, median_N, high_N, spike),
        "level": is_off_level(load_N, rules),
        "flat": _hours_alike(load_N) > (rules.max_flat_hours or np.inf),
    }
    numbers = np.select(list(reasons.values()), range(1, len(reasons) + 1), 0).astype("int8")
    names = pa.DictionaryArray.from_arrays(numbers, [NO_FLAG, *reasons]).dictionary_decode()
    dtype: Any = pd.StringDtype(na_value=np.nan)
    flags = dtype.__from_arrow__(names)
    return pd.Series(flags, index=load_mw.index, name="flag")


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
        "level": f"found {{found}} MW since a sudden change, expected within a factor of "
        f"{rules.level_ratio} of the same hour of the days before",
        "flat": "found {found} MW for {hours} hours in a row, "
        f"expected at most {rules.max_flat_hours}",
    }
    load_N, at = load_mw.to_numpy(), load_mw.index.get_indexer(flags.index)
    medians = _quantiles_before(load_N, at, rules.reference_hours)[:, 1]
    hours = _hours_alike(load_N)[at]
    return [
        words[flag].format(found=load, median=median, hours=num)
        for flag, load, median, num in zip(flags, load_N[at], medians, hours, strict=True)
    ]


def _is_beyond(
    load_N: np.ndarray, median_N: np.ndarray, tenth_N: np.ndarray, ratio: float | None
) -> np.ndarray:
    """Above so many medians, and far above what one in ten comes to; no ratio: nowhere."""
    if ratio is None:
        return np.zeros(len(load_N), dtype=bool)
    is_beyond: np.ndarray = (load_N > ratio * median_N) & (load_N > ratio**0.5 * tenth_N)
    return is_beyond


def _may_be_far_off(
    load_N: np.ndarray, reference_hours: int, *, dropout: float | None, spike: float | None
) -> np.ndarray:
    """The readings that could be a dropout or a spike: of all others no median need be known.

    A median lies between the least and the largest of its readings, and these within the block of
    a reading and the one before it, where a block has ``reference_hours`` readings.
    """
    num_blocks = -(-len(load_N) // reference_hours)
    padded = np.full(num_blocks * reference_hours, np.nan)
    padded[: len(load_N)] = load_N
    blocks = padded.reshape(num_blocks, reference_hours)
    least, largest = np.fmin.reduce(blocks, axis=1), np.fmax.reduce(blocks, axis=1)
    least[1:], largest[1:] = np.fmin(least[1:], least[:-1]), np.fmax(largest[1:], largest[:-1])
    is_far = np.zeros(blocks.shape, dtype=bool)
    if dropout is not None:
        is_far |= blocks < dropout * largest[:, None]
    if spike is not None:
        is_far |= blocks > spike * least[:, None]
    return np.flatnonzero(is_far.reshape(-1)[: len(load_N)])


def _quantiles_before(load_N: np.ndarray, at: np.ndarray, reference_hours: int) -> np.ndarray:
    """Of the ``reference_hours`` readings before each of ``at``, ``_QUANTILES``; NaN if too few."""
    found = np.full((len(at), len(_QUANTILES)), np.nan)
    whole = np.flatnonzero(at >= reference_hours)
    for place in np.flatnonzero((at >= _FEWEST_REFERENCES) & (at < reference_hours)):
        found[place] = np.quantile(load_N[: at[place]], _QUANTILES)
    if len(whole):
        windows = np.lib.stride_tricks.sliding_window_view(load_N, reference_hours)
        for first in range(0, len(whole), _ROWS_AT_ONCE):
            own = whole[first : first + _ROWS_AT_ONCE]
            before = windows[at[own] - reference_hours]
            found[own] = np.quantile(before, _QUANTILES, axis=1).T
    return found


def _hours_alike(load_N: np.ndarray) -> np.ndarray:
    """How many readings in a row had the value of each by then, itself included."""
    numbers = np.arange(len(load_N))
    is_new = np.concatenate([[True], load_N[1:] != load_N[:-1]])[: len(load_N)]
    return np.asarray(numbers - np.maximum.accumulate(np.where(is_new, numbers, 0)) + 1)


def is_off_level(load_N: np.ndarray, rules: FlaggedRules) -> np.ndarray:
    """Whether each reading stands since a sudden change beside the level of the days before.

    A change is sudden where it is by a factor of ``level_ratio`` or more beyond what that hour of
    the last seven days usually changes by, and four times what all but one of a hundred of the two
    weeks before come to. From then on, for at most ``max_level_hours`` readings, those are off that
    differ from the same hour of these days by the factor's square root: then the level is the new
    one. Loads of 0 and below have no factor.
    """
    is_off = np.zeros(len(load_N), dtype=bool)
    if rules.level_ratio is None or len(load_N) <= _WEEK:
        return is_off
    least = np.log(rules.level_ratio)
    log_N = np.full(len(load_N), np.nan)
    np.log(load_N, out=log_N, where=load_N > 0)
    change_N = np.diff(log_N, prepend=np.nan)
    odd = _OddChanges(change_N, least)
    size_C = odd.of(odd.rows)
    for row, size in zip(odd.rows.tolist(), size_C.tolist(), strict=True):
        if not size >= least or size < _FAR_BEYOND * odd.usual_before(row):
            continue
        end = min(row + rules.max_level_hours, len(load_N))
        level = _median_of_days(log_N, np.arange(row, end))
        is_off[row:end] |= np.abs(log_N[row:end] - level) >= least / 2
    return is_off


class _OddChanges:
    """How far each change is from what its hour usually changes by, found where it is asked for."""

    def __init__(self, change_N: np.ndarray, least: float) -> None:
        is_large = np.flatnonzero(np.abs(change_N) >= least / 2)
        # An odd change is large itself, or was usually so.
        near = np.unique(is_large[:, None] + _DAY * np.arange(8))
        self._change_N = change_N
        self.rows = near[near < len(change_N)]
        self._all: np.ndarray | None = None
        if len(self.rows) > _MANY:  # then all at once take less time than each
            self._all = self._found(np.arange(len(change_N)))

    def of(self, at: np.ndarray) -> np.ndarray:
        return self._found(at) if self._all is None else self._all[at]

    def _found(self, at: np.ndarray) -> np.ndarray:
        odd: np.ndarray = np.abs(self._change_N[at] - _median_of_days(self._change_N, at))
        return odd

    def usual_before(self, row: int) -> float:
        """What all but one of a hundred of the two weeks before come to; infinite: too few."""
        before = self.of(np.arange(max(0, row - 2 * _WEEK), row))
        known = before[~np.isnan(before)]
        if len(known) < _WEEK:
            return float("inf")
        place = int(_RARE * (len(known) - 1))
        return float(np.partition(known, place)[place])


def level_reach(rules: FlaggedRules) -> int:
    """How many readings before one have a say in whether it is off its level."""
    return 0 if rules.level_ratio is None else rules.max_level_hours + 3 * _WEEK


def _median_of_days(values_N: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The median of the values at the same hour of the seven days before; NaN: fewer than four."""
    days = at[:, None] - _DAY * np.arange(1, 8)
    values = np.where(days >= 0, values_N[days], np.nan)
    ordered = np.sort(values, axis=1)  # NaN last
    num = (~np.isnan(values)).sum(axis=1)
    low, high = ((np.maximum(num - 1, 0) // 2), np.minimum(num // 2, 6))
    each = np.arange(len(at))
    middle: np.ndarray = (ordered[each, low] + ordered[each, high]) / 2
    return np.where(num >= _FEWEST_DAYS, middle, np.nan)


class OffLevel(NamedTuple):
    """Readings in a row beside their level: the first, how many, and by which factor (median)."""

    row: int
    num: int
    factor: float


def off_levels(load_mw: pd.Series[float], rules: FlaggedRules) -> list[OffLevel]:
    """Where readings stand beside their level, whether the rules flag it or not, in order.

    Without a ``level_ratio`` those by a factor of 1.7 or more: of the PJM data the faults that are
    known, and no storm.
    """
    load_N = load_mw.to_numpy()
    asked = rules.model_copy(update={"level_ratio": rules.level_ratio or _TOLD_RATIO})
    is_off = is_off_level(load_N, asked)
    edges = np.flatnonzero(np.diff(is_off.astype(np.int8), prepend=0, append=0))
    found = []
    for first, end in edges.reshape(-1, 2).tolist():
        days = np.arange(first, end)[:, None] - _DAY * np.arange(1, 8)
        before = np.median(load_N[np.maximum(days, 0)], axis=1)
        found.append(OffLevel(first, end - first, float(np.median(load_N[first:end] / before))))
    return found


def only_grows(load_mw: pd.Series[float]) -> bool:
    """Whether nearly all changes are upward, as those of a meter's register are."""
    change = np.diff(load_mw.to_numpy())
    moved = change[change != 0]
    return len(moved) >= _WEEK and float(np.mean(moved > 0)) > _GROWING_SHARE


class LevelChange(NamedTuple):
    """From which reading on the level is another for weeks, and both levels (median, MW)."""

    row: int
    before_mw: float
    after_mw: float


def lasting_change(load_mw: pd.Series[float]) -> LevelChange | None:
    """The largest change of level that lasts for four weeks or more, if it is by a factor of 5.

    No weather and no season does that: a unit was changed, or a register is read in another way.
    Medians of the four weeks before and after each week are compared; within the week that differs
    most, the reading from which on most are nearer to the new level is named.
    """
    load_N = load_mw.to_numpy()
    starts = np.arange(_LEVEL_HOURS, len(load_N) - _LEVEL_HOURS + 1, _WEEK)
    if not len(starts):
        return None
    windows = np.lib.stride_tricks.sliding_window_view(load_N, _LEVEL_HOURS)
    before, after = (np.median(windows[at], axis=1) for at in (starts - _LEVEL_HOURS, starts))
    is_level = (before > 0) & (after > 0)
    log_before, log_after = (np.log(np.where(is_level, each, 1.0)) for each in (before, after))
    factor = np.abs(log_after - log_before)
    place = int(factor.argmax())
    if factor[place] < np.log(_LEVEL_FACTOR):
        return None
    first, last = starts[place] - _WEEK, starts[place] + _WEEK
    middle = np.sqrt(before[place] * after[place])
    is_new = (load_N[first:last] > middle) == (after[place] > before[place])
    # Where old readings end and new ones begin: the fewest on the wrong side.
    wrong = (
        np.concatenate([[0], np.cumsum(is_new)])
        + (~is_new).sum()
        - np.concatenate([[0], np.cumsum(~is_new)])
    )
    return LevelChange(int(first + wrong.argmin()), float(before[place]), float(after[place]))
