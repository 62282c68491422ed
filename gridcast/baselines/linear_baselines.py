"""Linear baselines: a model for each region and hour of the day, fitted to the absolute error.

``linear`` sees the region's own past and the calendar; asked for more than the next hour it takes
its forecasts for loads (:class:`LinearModels`). ``linear_neighbours`` sees also what the other
regions' loads did in the last hours. Where a neighbour's past is not known, a forecast is made from
the region's own. All of it is known before the hour that is forecast.

Legend: ``T`` steps (of all regions, or of one), ``N`` labels, ``F`` inputs, ``Q`` neighbours, ``G``
hours of the grid that all regions share, ``R`` regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gridcast.covariates.inputs import AHEAD_PREFIX, PAST_PREFIX
from gridcast.features.columns import FEATURE_PREFIX, LOAD_FEATURE
from gridcast.features.neighbours import load_grid
from gridcast.features.splits import TRAIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

# Hours before the label, beside the last one: the last day, then around the same hour of earlier
# days and weeks.
LAGS = (
    *range(2, 27), 47, 48, 49, 72, 73, 96, 97, 120, 121, 144, 145, 167, 168, 169, 170, 336, 337,
    504, 672,
)  # fmt: skip
NEIGHBOUR_LAGS = (1, 2, 3, 24, 25, 168)  # hours before the label of the neighbours' changes
LEVEL_HOURS = 672  # of the mean that tells how high the last load is
MOST_NEIGHBOURS = 16
_LONGEST_LAG_SHARE = 0.25  # of the training part: a longer lag would cost too many labels
_MOST_ROWS = 3650  # newest training labels of an hour of the day: ten years
_CALENDAR = ("weekday", "day_of_year")
_HOURS, _WEEK = 24, 168
_KNOWN_SHARE, _KNOWN_LATELY, _LATELY = 0.5, 0.9, 0.1  # of a neighbour's past, in the training part

# -- the fit ---------------------------------------------------------------------------------------

RIDGE = 3.0  # on standardised inputs, in labels
ITERATIONS = 12
_ENOUGH = 3e-3  # relative gain of an iteration under which it is the last
_SMALLEST_ERROR = 0.02  # of the median absolute error: closer is as good as exact
_CONSTANT = 1e-9  # deviation of an input that says nothing


class Linear(NamedTuple):
    """``bias + x_NF @ weight_F``."""

    weight_F: np.ndarray
    bias: float

    def predict(self, x_NF: np.ndarray) -> np.ndarray:
        """Shape ``(N,)``."""
        return np.asarray(x_NF @ self.weight_F + self.bias)


def fit_least_absolute(
    x_NF: np.ndarray,
    y_N: np.ndarray,
    *,
    ridge: float = RIDGE,
    iterations: int = ITERATIONS,
    enough: float = _ENOUGH,
) -> Linear:
    """The linear model of the smallest mean absolute error, nearly: least squares, reweighted.

    Each iteration weighs a label by the inverse of its last absolute error (Schlossmacher 1973). A
    ridge on the standardised inputs keeps it stable where labels are few or inputs say the same. It
    ends when an iteration gains less than the share ``enough``. Without labels it gives 0.
    """
    if not len(y_N):
        return Linear(np.zeros(x_NF.shape[1]), 0.0)
    mean_F, spread_F = x_NF.mean(0), x_NF.std(0)
    spread_F = np.where(spread_F > _CONSTANT, spread_F, np.inf)
    z_NF = np.concatenate([(x_NF - mean_F) / spread_F, np.ones((len(y_N), 1))], axis=1)
    penalty_F = np.append(np.full(x_NF.shape[1], ridge), 0.0)
    weight_F = best_F = _solve(z_NF, y_N, np.ones(len(y_N)), penalty_F)
    error_N = np.abs(y_N - z_NF @ weight_F)
    least = error_N.mean()
    for _ in range(iterations):
        smallest = max(_SMALLEST_ERROR * float(np.median(error_N)), np.finfo(float).tiny)
        trust_N = 1.0 / np.maximum(error_N, smallest)
        weight_F = _solve(z_NF, y_N, trust_N / trust_N.mean(), penalty_F)
        error_N = np.abs(y_N - z_NF @ weight_F)
        gain = least - error_N.mean()
        if gain > 0:
            best_F, least = weight_F, error_N.mean()
        if gain <= enough * least:
            break
    own_F = best_F[:-1] / spread_F
    return Linear(own_F, float(best_F[-1] - mean_F @ own_F))


def _solve(
    z_NF: np.ndarray, y_N: np.ndarray, trust_N: np.ndarray, penalty_F: np.ndarray
) -> np.ndarray:
    """Least squares in which each label counts for ``trust_N``, with a ridge."""
    trusted_NF = z_NF * trust_N[:, None]
    gram_FF = trusted_NF.T @ z_NF
    gram_FF[np.diag_indices_from(gram_FF)] += penalty_F
    return np.asarray(np.linalg.solve(gram_FF, trusted_NF.T @ y_N))


# -- the inputs ------------------------------------------------------------------------------------


def own_inputs(frame: pd.DataFrame, lags: Sequence[int] = LAGS) -> np.ndarray:
    """What is known of each step of one region as a label, shape ``(T, F)``; NaN: not known.

    The loads ``lags`` hours before, each less the last one; the last one less the mean of the four
    weeks up to it; the calendar of the label (``features.kind: base``) and what is known of its
    covariates, which the step before it holds.
    """
    load_T = frame[LOAD_FEATURE].where(frame["is_input"]).astype("float64")
    last_T = load_T.shift(1)
    columns = [load_T.shift(lag) - last_T for lag in lags]
    columns.append(last_T - last_T.rolling(LEVEL_HOURS, min_periods=_HOURS).mean())
    columns += [frame[name].shift(1) for name in _calendar(frame)]
    own_TF = np.stack([column.to_numpy(dtype="float32") for column in columns], axis=1)
    ahead_TC = frame[_covariates(frame)].shift(1).to_numpy(dtype="float32")
    return np.concatenate([own_TF, with_squares(ahead_TC)], axis=1)


def with_squares(ahead_BC: np.ndarray) -> np.ndarray:
    """What is known of covariates, and its squares: heat and cold both ask for power."""
    return np.concatenate([ahead_BC, ahead_BC**2], axis=1)


def _covariates(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns if str(name).startswith(AHEAD_PREFIX)]


def _calendar(frame: pd.DataFrame) -> list[str]:
    """Weekday, season and holidays; the hour of the day has a model of its own."""
    starts = tuple(f"{FEATURE_PREFIX}{cycle}" for cycle in _CALENDAR)
    names = [str(name) for name in frame.columns]
    of_calendar = [name for name in names if not name.startswith((AHEAD_PREFIX, PAST_PREFIX))]
    return [name for name in of_calendar if name.startswith(starts) or name.endswith("holiday")]


class Grid(NamedTuple):
    """All regions on one grid of hours, where they begin, pause and end at other times."""

    change_GR: np.ndarray  # of the scaled load since the hour before; NaN: not known
    hour_T: np.ndarray  # where on the grid each step of the table lies


def change_grid(frame: pd.DataFrame) -> Grid:
    """The grid of a table; before its first hour lie as many as the longest lag asks for."""
    load_GR, hour_T = load_grid(
        frame[LOAD_FEATURE].to_numpy(),
        frame["is_input"].to_numpy(),
        frame["region"].cat.codes.to_numpy(),
        frame["timestamp"].dt.tz_localize(None).to_numpy(),
        num_regions=len(frame["region"].cat.categories),
        hours_before=max(NEIGHBOUR_LAGS) + 1,
    )
    change_GR = np.full_like(load_GR, np.nan)
    np.subtract(load_GR[1:], load_GR[:-1], out=change_GR[1:])
    return Grid(change_GR, hour_T)


def neighbour_inputs(
    change_GR: np.ndarray, hour_N: np.ndarray, neighbours: Sequence[int]
) -> np.ndarray:
    """The neighbours' changes before the labels at ``hour_N``, shape ``(N, lags x Q)``."""
    change_GQ = change_GR[:, list(neighbours)]
    return np.concatenate([change_GQ[hour_N - lag] for lag in NEIGHBOUR_LAGS], axis=1)


def choose_neighbours(change_GR: np.ndarray, hour_N: np.ndarray, region: int) -> list[int]:
    """The regions whose past may tell something of ``region``, by its training labels ``hour_N``.

    Their changes are known before half of them, and before nearly all of the newest tenth. Of more
    than ``MOST_NEIGHBOURS`` those whose last change says most of the next one of ``region``, each
    less the one a week before.
    """
    known_NR = ~np.isnan(change_GR[hour_N - 1])
    lately_NR = known_NR[-max(1, int(_LATELY * len(hour_N))) :]
    is_one_R = (known_NR.mean(0) >= _KNOWN_SHARE) & (lately_NR.mean(0) >= _KNOWN_LATELY)
    is_one_R[region] = False
    found = np.flatnonzero(is_one_R)
    if len(found) > MOST_NEIGHBOURS:
        agreement_Q = _agreement(change_GR, hour_N, region, found)
        found = np.sort(found[np.argsort(-agreement_Q, kind="stable")[:MOST_NEIGHBOURS]])
    return [int(one) for one in found]


def _agreement(
    change_GR: np.ndarray, hour_N: np.ndarray, region: int, others: np.ndarray
) -> np.ndarray:
    """How far the others' last changes go with the region's next: about the correlation."""
    hour_N = hour_N[hour_N > hour_N[0] + _WEEK][-_MOST_ROWS:]
    next_N = change_GR[hour_N, region] - change_GR[hour_N - _WEEK, region]
    last_NQ = change_GR[hour_N - 1][:, others] - change_GR[hour_N - 1 - _WEEK][:, others]
    product_Q = np.nan_to_num(last_NQ * next_N[:, None]).sum(0)
    power_Q = np.nan_to_num(last_NQ**2).sum(0)
    return np.asarray(np.abs(product_Q) / np.sqrt(np.maximum(power_Q, np.finfo("float32").tiny)))


# -- a region, and all of them ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinearModels:
    """The models of all regions on their own past, which forecast on and on from what they said.

    The inputs are those of :func:`own_inputs`, the lags ``LAGS``; one that a region has no room for
    weighs nothing. A region without a training label has NaN.
    """

    weight_RHF: np.ndarray
    bias_RH: np.ndarray
    calendar: tuple[str, ...]  # names of the features behind the loads

    def next_loads(
        self,
        load_BT: np.ndarray,
        calendar_BC: np.ndarray,
        ahead_BC: np.ndarray,
        region_B: np.ndarray,
        hour_B: np.ndarray,
    ) -> np.ndarray:
        """The scaled load of the hour after the last one, ``(B,)``; NaN: the last is not known.

        Args:
            load_BT: scaled, at least ``LEVEL_HOURS`` up to the last one; NaN where not known.
            calendar_BC: of the label, by ``calendar``.
            ahead_BC: what had been known of the label's covariates (``covariates.inputs``).
            region_B: number of the region.
            hour_B: local hour of the label.
        """
        last_B1 = load_BT[:, -1:]
        lags_BF = load_BT[:, [-lag for lag in LAGS]] - last_B1
        known_BT = load_BT[:, -LEVEL_HOURS:]
        num_B = (~np.isnan(known_BT)).sum(axis=1)
        mean_B = np.nansum(known_BT, axis=1) / np.maximum(num_B, 1)
        level_B = np.where(num_B >= _HOURS, load_BT[:, -1] - mean_B, np.nan)
        x_BF = np.concatenate(
            [lags_BF, level_B[:, None], calendar_BC, with_squares(ahead_BC)], axis=1
        )
        change_B = np.einsum("bf,bf->b", np.nan_to_num(x_BF), self.weight_RHF[region_B, hour_B])
        return np.asarray(load_BT[:, -1] + change_B + self.bias_RH[region_B, hour_B])

    def arrays(self) -> dict[str, np.ndarray]:
        """As a file keeps them."""
        return {
            "weight": self.weight_RHF, "bias": self.bias_RH, "calendar": np.array(self.calendar)
        }  # fmt: skip

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> LinearModels:
        """What :meth:`arrays` gave."""
        return cls(arrays["weight"], arrays["bias"], tuple(map(str, arrays["calendar"])))


@dataclass(frozen=True, slots=True)
class LinearForecasts:
    """What the models of all regions forecast of each step of the table that has a part.

    ``models`` are those on the regions' own past (None: neighbours have a say too).
    """

    scaled_T: np.ndarray  # NaN where there is none, or the load before it is not known
    models: LinearModels | None

    def forecast(self, step_N: np.ndarray) -> np.ndarray:
        """The scaled load of the labels at ``step_N``."""
        return np.asarray(self.scaled_T[step_N])


def fit_linear(frame: pd.DataFrame, *, with_neighbours: bool) -> LinearForecasts:
    """Fit each region's 24 models to its training labels, and forecast every step that has a part.

    ``frame`` is ``FeatureTable.frame`` with ``features.kind: base``.
    """
    grid = change_grid(frame) if with_neighbours else None
    codes_T, calendar = frame["region"].cat.codes.to_numpy(), _calendar(frame)
    num_regions = len(frame["region"].cat.categories)
    num_inputs = len(LAGS) + 1 + len(calendar) + 2 * len(_covariates(frame))
    models = LinearModels(
        np.full((num_regions, _HOURS, num_inputs), np.nan), np.full((num_regions, _HOURS), np.nan),
        tuple(calendar),
    )  # fmt: skip
    scaled_T = np.full(len(frame), np.nan)
    for region in np.unique(codes_T):
        rows = slice(*np.searchsorted(codes_T, [region, region + 1]))
        labels = _Labels.of(frame.iloc[rows])
        change_T, own = labels.changes(labels.own_TF)
        if grid is None and labels.train_T.any():
            place_F = [*(LAGS.index(lag) for lag in labels.lags), *range(len(LAGS), num_inputs)]
            models.weight_RHF[region] = 0.0
            models.weight_RHF[region][:, place_F] = [each.weight_F for each in own]
            models.bias_RH[region] = [each.bias for each in own]
        if grid is not None and labels.train_T.any():
            _forecast_by_neighbours(change_T, labels, grid, grid.hour_T[rows], region)
        scaled_T[rows] = labels.last_T + change_T
    return LinearForecasts(scaled_T, models if grid is None else None)


def _forecast_by_neighbours(
    change_T: np.ndarray, labels: _Labels, grid: Grid, hour_T: np.ndarray, region: int
) -> None:
    """Forecast anew, in place, where all neighbours' changes are known."""
    neighbours = choose_neighbours(grid.change_GR, hour_T[labels.train_T], region)
    if not neighbours:
        return
    theirs_TF = neighbour_inputs(grid.change_GR, hour_T, neighbours)
    known_T = ~np.isnan(theirs_TF).any(1)
    by_neighbours_T, _ = labels.changes(np.concatenate([labels.own_TF, theirs_TF], axis=1), known_T)
    np.copyto(change_T, by_neighbours_T, where=known_T)


class _Labels(NamedTuple):
    """A region's steps as labels."""

    own_TF: np.ndarray
    lags: list[int]
    local_hour_T: np.ndarray
    last_T: np.ndarray  # the load before, scaled
    target_T: np.ndarray  # the change from it
    train_T: np.ndarray
    has_part_T: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> _Labels:
        """From the region's rows of the table; no longer lags than its training part has room."""
        part_T = frame["part"].to_numpy()
        last_T = frame[LOAD_FEATURE].where(frame["is_input"]).shift(1).to_numpy(dtype="float64")
        train_T = (part_T == TRAIN) & ~np.isnan(last_T)
        target_T = frame["target"].to_numpy(dtype="float64") - last_T
        lags = [lag for lag in LAGS if lag <= _LONGEST_LAG_SHARE * train_T.sum()]
        local_hour_T = frame["local_hour"].to_numpy()
        own_TF = own_inputs(frame, lags)
        return cls(own_TF, lags, local_hour_T, last_T, target_T, train_T, part_T > 0)

    def changes(
        self, x_TF: np.ndarray, among_T: np.ndarray | None = None
    ) -> tuple[np.ndarray, list[Linear]]:
        """Fit a model to each hour of the day; the changes that they tell of labels with a part.

        A label trains only where all its inputs are known; to forecast, an unknown lag is taken for
        the last load.
        """
        change_T, models = np.full(len(x_TF), np.nan), list[Linear]()
        wanted_T = self.has_part_T if among_T is None else self.has_part_T & among_T
        whole_T = self.train_T & ~np.isnan(x_TF).any(1)
        for hour in range(_HOURS):
            step_N = np.flatnonzero((self.local_hour_T == hour) & wanted_T)
            x_NF = x_TF[step_N].astype("float64")
            train_N = np.flatnonzero(whole_T[step_N])[-_MOST_ROWS:]
            model = fit_least_absolute(x_NF[train_N], self.target_T[step_N[train_N]])
            models.append(model)
            change_T[step_N] = model.predict(np.nan_to_num(x_NF, copy=False))
        return change_T, models
