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
FLAGS = ("zero", "dropout", "spike", "flat")
_FEWEST_REFERENCES = 24
_QUANTILES = (0.1, 0.5, 0.9)
_WEEK, _LEVEL_HOURS = 168, 4 * 168
_LEVEL_FACTOR = 5.0


def flag_readings(load_mw: pd.Series[float], rules: FlaggedRules) -> pd.Series[str]:
    """Flag each of ``N`` readings (MW, sorted by time) with its first reason, or ``""``.

    ``zero``: a load of exactly 0. ``dropout``, ``spike``: below or above a multiple of the median
    of the ``reference_hours`` readings before, and by the multiple's square root below or above a
    tenth of these: a building has nights and days, and its median is of the one or the other.
    ``flat``: what a run of one value has beyond its
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
    for place, row in enumerate(at):
        before = load_N[max(0, row - reference_hours) : row]
        if len(before) >= _FEWEST_REFERENCES:
            found[place] = np.quantile(before, _QUANTILES)
    return found


def _hours_alike(load_N: np.ndarray) -> np.ndarray:
    """How many readings in a row had the value of each by then, itself included."""
    numbers = np.arange(len(load_N))
    is_new = np.concatenate([[True], load_N[1:] != load_N[:-1]])[: len(load_N)]
    return np.asarray(numbers - np.maximum.accumulate(np.where(is_new, numbers, 0)) + 1)


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
    before = np.array([np.median(load_N[at - _LEVEL_HOURS : at]) for at in starts])
    after = np.array([np.median(load_N[at : at + _LEVEL_HOURS]) for at in starts])
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
