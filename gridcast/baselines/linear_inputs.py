"""What linear models know at an origin: the region's own past, its calendar, the neighbours' past.

All of it is known when the origin's hour has ended; the same numbers serve all leads from there.

Legend: ``T`` steps (of all regions, or of one), ``N`` origins, ``P`` inputs of the past, ``Q``
neighbours, ``S`` inputs of each, ``G`` hours of the grid that all regions share, ``R`` regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gridcast.features.columns import LOAD_FEATURE
from gridcast.features.neighbours import load_grid

if TYPE_CHECKING:
    import pandas as pd

# Hours before the origin: its day, around the same hours of the days before, the day that followed
# a week ago.
LAGS = (*range(1, 26), 47, 48, 49, 71, 72, 95, 96, 119, 120, *range(143, 170))
# The day that followed two, three and four weeks ago, the mean of the three.
_WEEKS = (336, 504, 672)
_AFTER = range(25)  # hours after the origin, whose like these are
LEVEL_HOURS = (168, 672)  # of the means that tell how high the last load is
PAST_HOURS = max(_WEEKS) + 1  # loads up to the last one that have a say
_DAY, _WEEK = 24, 168
# How far back the loads of each input go.
REACH_P = np.array([*LAGS, *[max(_WEEKS)] * len(_AFTER), *[_DAY] * len(LEVEL_HOURS)])

CHANGES = (0, 1, 2, 23, 24, 167)  # hours before the origin of the neighbours' changes
NUM_SIGNALS = len(CHANGES) + 2  # of each neighbour
MOST_NEIGHBOURS = 16
_MOST_ROWS = 3650  # newest labels, by which of many neighbours some are chosen
_KNOWN_SHARE, _KNOWN_LATELY, _LATELY = 0.5, 0.9, 0.1  # of a neighbour's past, in the training part


def past_inputs(load_T: np.ndarray, first_N: np.ndarray, step_N: np.ndarray) -> np.ndarray:
    """What the loads up to each of the steps say, shape ``(N, P)``; NaN: not known.

    The loads ``LAGS`` hours before, each less the last one; those of the hours to come as they were
    in the weeks before the last, less the last one; the last one less the means of the week and of
    the four weeks up to it. ``load_T`` is scaled, ``first_N`` where the step's series begins.
    """
    last_N1 = load_T[step_N][:, None]
    weeks = [_before(load_T, first_N, step_N, [week - each for each in _AFTER]) for week in _WEEKS]
    levels = [_mean_up_to(load_T, first_N, step_N, hours) for hours in LEVEL_HOURS]
    return np.concatenate(
        [
            _before(load_T, first_N, step_N, LAGS) - last_N1,
            sum(weeks) / len(weeks) - last_N1,
            last_N1 - np.stack(levels, axis=1),
        ],
        axis=1,
    )


def _before(
    load_T: np.ndarray, first_N: np.ndarray, step_N: np.ndarray, lags: tuple[int, ...] | list[int]
) -> np.ndarray:
    """The loads so many hours before, ``(N, lags)``."""
    step_NL = step_N[:, None] - np.array(lags)
    return np.where(step_NL >= first_N[:, None], load_T[np.maximum(step_NL, 0)], np.nan)


def _mean_up_to(
    load_T: np.ndarray, first_N: np.ndarray, step_N: np.ndarray, hours: int
) -> np.ndarray:
    """The mean of the known loads of so many hours; of less than a day none."""
    begin = int(first_N.min(initial=len(load_T)))
    load_T, first_N, step_N = load_T[begin:], first_N - begin, step_N - begin
    load_T = load_T[: int(step_N.max(initial=-1)) + 1]
    is_known_T = ~np.isnan(load_T)
    sum_T = np.concatenate([[0.0], np.cumsum(np.where(is_known_T, load_T, 0.0), dtype="float64")])
    num_T = np.concatenate([[0], np.cumsum(is_known_T)])
    begin_N, end_N = np.maximum(step_N + 1 - hours, first_N), step_N + 1
    num_N = num_T[end_N] - num_T[begin_N]
    mean_N = (sum_T[end_N] - sum_T[begin_N]) / np.maximum(num_N, 1)
    return np.where(num_N >= _DAY, mean_N, np.nan)


def with_squares(ahead_C: np.ndarray) -> np.ndarray:
    """What is known of covariates, and its squares: heat and cold both ask for power."""
    return np.concatenate([ahead_C, ahead_C**2], axis=-1)


class Grid(NamedTuple):
    """All regions on one grid of hours, where they begin, pause and end at other times."""

    load_GR: np.ndarray  # scaled; NaN: not known
    hour_T: np.ndarray  # where on the grid each step of the table lies


def regional_loads(frame: pd.DataFrame) -> Grid:
    """The grid of a table; before its first hour lie as many as the inputs look back."""
    return Grid(
        *load_grid(
            frame[LOAD_FEATURE].to_numpy(),
            frame["is_input"].to_numpy(),
            frame["region"].cat.codes.to_numpy(),
            frame["timestamp"].dt.tz_localize(None).to_numpy(),
            num_regions=len(frame["region"].cat.categories),
            hours_before=_WEEK + 1,
        )
    )


def neighbour_inputs(
    load_GR: np.ndarray, hour_N: np.ndarray, neighbour_NQ: np.ndarray
) -> np.ndarray:
    """What neighbours did up to the hours ``hour_N`` of the grid, shape ``(N, Q * S)``.

    Of each its changes ``CHANGES`` hours before, and its load less that of a day and of a week
    before. NaN: not known; 0 where a region has fewer neighbours than others (-1).
    """

    def before(hours: int) -> np.ndarray:
        place_N1 = (hour_N - hours)[:, None]
        own = load_GR[np.maximum(place_N1, 0), np.maximum(neighbour_NQ, 0)]
        return np.where(place_N1 >= 0, own, np.nan)

    now = before(0)
    signals = [before(hours) - before(hours + 1) for hours in CHANGES]
    signals += [now - before(hours) for hours in (_DAY, _WEEK)]
    found_NQS = np.where(neighbour_NQ[..., None] < 0, 0.0, np.stack(signals, axis=-1))
    return found_NQS.reshape(len(hour_N), -1)


def choose_neighbours(load_GR: np.ndarray, hour_N: np.ndarray, region: int) -> list[int]:
    """The regions whose past may tell something of ``region``, by its training origins ``hour_N``.

    Their changes are known then at half of them, and at nearly all of the newest tenth. Of more
    than ``MOST_NEIGHBOURS`` those whose last change says most of the next one of ``region``, each
    less the one a week before.
    """
    known_NR = ~np.isnan(load_GR[hour_N] + load_GR[np.maximum(hour_N - 1, 0)])
    lately_NR = known_NR[-max(1, int(_LATELY * len(hour_N))) :]
    is_one_R = (known_NR.mean(0) >= _KNOWN_SHARE) & (lately_NR.mean(0) >= _KNOWN_LATELY)
    is_one_R[region] = False
    found = np.flatnonzero(is_one_R)
    if len(found) > MOST_NEIGHBOURS:
        agreement_Q = _agreement(load_GR, hour_N, region, found)
        found = np.sort(found[np.argsort(-agreement_Q, kind="stable")[:MOST_NEIGHBOURS]])
    return [int(one) for one in found]


def _agreement(
    load_GR: np.ndarray, hour_N: np.ndarray, region: int, others: np.ndarray
) -> np.ndarray:
    """How far the others' last changes go with the region's next: about the correlation."""
    hour_N = hour_N[(hour_N > hour_N[0] + _WEEK) & (hour_N + 1 < len(load_GR))][-_MOST_ROWS:]

    def change(at_N: np.ndarray, regions: np.ndarray) -> np.ndarray:
        now, week = (load_GR[each] - load_GR[each - 1] for each in (at_N, at_N - _WEEK))
        return np.asarray(now[:, regions] - week[:, regions])

    next_N1, last_NQ = change(hour_N + 1, np.array([region])), change(hour_N, others)
    product_Q = np.nan_to_num(last_NQ * next_N1).sum(0)
    power_Q = np.nan_to_num(last_NQ**2).sum(0)
    return np.asarray(np.abs(product_Q) / np.sqrt(np.maximum(power_Q, np.finfo("float32").tiny)))
