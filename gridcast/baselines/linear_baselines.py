"""Linear baselines: a model for each region, hour of the day and lead, of the smallest error.

``linear`` sees the region's own past and the calendar, ``linear_neighbours`` also what the other
regions' loads did lately. Where a neighbour's past is not known, a forecast is made from the
region's own. All of it is known when the forecast is issued.

Legend: ``T`` steps (of all regions, or of one), ``N`` origins, ``K`` leads, ``F`` inputs, ``C``
covariates' inputs of a lead, ``Q`` neighbours, ``V`` features of the calendar, ``J`` passes, or
their first and last hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gridcast.baselines.least_absolute import fit_least_absolute, ridge_of
from gridcast.baselines.linear_inputs import (
    NUM_SIGNALS,
    REACH_P,
    Grid,
    choose_neighbours,
    neighbour_inputs,
    regional_loads,
    with_squares,
)
from gridcast.baselines.linear_models import (
    HOURS,
    LEADS,
    Coefficients,
    KnownHours,
    LinearModels,
    own_inputs,
    pass_ends,
    passes_of,
)
from gridcast.covariates.inputs import AHEAD_PREFIX, PAST_PREFIX
from gridcast.features.columns import FEATURE_PREFIX, HOLIDAY, LOAD_FEATURE, issued_columns
from gridcast.features.splits import TRAIN

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.baselines.least_absolute import Linear

_LONGEST_LAG_SHARE = 0.25  # of the training part: a longer lag would cost too many labels
_MOST_ROWS = 3650  # newest training labels of an hour of the day: ten years
_CALENDAR = ("weekday", "day_of_year")
_AT_ONCE = 4096  # origins


@dataclass(frozen=True, slots=True)
class LinearForecasts:
    """The models of all regions, and the table that they forecast."""

    models: LinearModels
    table: TableHours

    def forecast(self, step_N: np.ndarray) -> np.ndarray:
        """The scaled load of the labels at ``step_N``, from the hour before."""
        return self.forecast_leads(step_N - 1, num_leads=1)[:, 0]

    def forecast_leads(self, step_N: np.ndarray, *, num_leads: int) -> np.ndarray:
        """The scaled loads after each origin at ``step_N``, ``(N, K)``."""
        found = [np.zeros((0, num_leads))]
        for first in range(0, len(step_N), _AT_ONCE):
            known = self.table.known(step_N[first : first + _AT_ONCE], num_leads=num_leads)
            found.append(self.models.forecast(known, num_leads=num_leads))
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class TableHours:
    """What ``FeatureTable.frame`` knows of each step (``features.kind: base``).

    Of hours after a region's last one no holiday is known, nor anything else: only forecasts of
    hours that the table has are asked for.
    """

    load_T: np.ndarray
    region_T: np.ndarray
    first_T: np.ndarray  # where the step's region begins
    last_T: np.ndarray  # and ends
    hour_T: np.ndarray  # local
    calendar: tuple[str, ...]
    calendar_TV: np.ndarray  # of the hour after each step
    ahead_TC: np.ndarray  # what had been known of its covariates
    issued_TKC: np.ndarray | None  # what had been issued of those after it, where that is told
    grid: Grid | None

    @classmethod
    def of(cls, frame: pd.DataFrame, *, with_neighbours: bool) -> TableHours:
        """Of a whole table, regions end to end."""
        region_T = frame["region"].cat.codes.to_numpy().astype(np.int64)
        calendar, covariates = _calendar(frame), _covariates(frame)
        issued = issued_columns(frame.columns) if covariates else []
        issued_TI = frame[issued].to_numpy(dtype="float32")
        return cls(
            load_T=frame[LOAD_FEATURE].where(frame["is_input"]).to_numpy(dtype="float64"),
            region_T=region_T,
            first_T=np.searchsorted(region_T, region_T),
            last_T=np.searchsorted(region_T, region_T, side="right") - 1,
            hour_T=frame["local_hour"].to_numpy(),
            calendar=tuple(calendar),
            calendar_TV=frame[calendar].to_numpy(dtype="float64"),
            ahead_TC=frame[covariates].to_numpy(dtype="float32"),
            issued_TKC=issued_TI.reshape(len(frame), -1, len(covariates)) if issued else None,
            grid=regional_loads(frame) if with_neighbours else None,
        )

    def known(self, step_N: np.ndarray, *, num_leads: int) -> KnownHours:
        """What is known at some of its steps."""
        last_N1 = self.last_T[step_N][:, None]
        end_NJ = step_N[:, None] + pass_ends(num_leads)  # of the steps before these hours
        calendar_NJV = self.calendar_TV[np.minimum(end_NJ, last_N1)]
        return KnownHours(
            load_T=self.load_T,
            step_N=step_N,
            first_N=self.first_T[step_N],
            region_N=self.region_T[step_N],
            calendar_NJV=np.where((end_NJ <= last_N1)[..., None], calendar_NJV, 0.0),
            hour_NJ=self.hour_T[np.minimum(end_NJ[:, ::2] + 1, last_N1)],
            ahead_NKC=self._ahead(step_N, last_N1, num_hours=LEADS * passes_of(num_leads)),
            grid=self.grid,
        )

    def _ahead(self, step_N: np.ndarray, last_N1: np.ndarray, *, num_hours: int) -> np.ndarray:
        """What had been known of each hour an hour before, or, if that is told, at the origin."""
        if not self.ahead_TC.shape[1]:
            return np.zeros((len(step_N), num_hours, 0), "float32")
        ahead_NKC: np.ndarray = self.ahead_TC[
            np.minimum(step_N[:, None] + np.arange(num_hours), last_N1)
        ]
        if self.issued_TKC is not None:
            num_told = min(self.issued_TKC.shape[1], num_hours - 1)
            ahead_NKC[:, 1 : num_told + 1] = self.issued_TKC[step_N, :num_told]
        return ahead_NKC


def _covariates(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns if str(name).startswith(AHEAD_PREFIX)]


def _calendar(frame: pd.DataFrame) -> list[str]:
    """Weekday, season and holidays; the hour of the day has a model of its own."""
    starts = tuple(f"{FEATURE_PREFIX}{cycle}" for cycle in _CALENDAR)
    names = [str(name) for name in frame.columns]
    of_calendar = [name for name in names if not name.startswith((AHEAD_PREFIX, PAST_PREFIX))]
    return [name for name in of_calendar if name.startswith(starts) or name.endswith(HOLIDAY)]


def fit_linear(frame: pd.DataFrame, *, with_neighbours: bool) -> LinearForecasts:
    """Fit each region's models to its training labels.

    ``frame`` is ``FeatureTable.frame`` with ``features.kind: base``.
    """
    table = TableHours.of(frame, with_neighbours=with_neighbours)
    num_regions = len(frame["region"].cat.categories)
    num_inputs = len(REACH_P) + len(table.calendar)
    num_inputs += sum(name.endswith(HOLIDAY) for name in table.calendar)
    num_covariates = 2 * table.ahead_TC.shape[1]
    labels = [_Labels.of(frame, table, region) for region in range(num_regions)]
    chosen = [_neighbours(table.grid, each, region) for region, each in enumerate(labels)]
    most = max(map(len, chosen), default=0)
    neighbour_RQ = np.array([each + [-1] * (most - len(each)) for each in chosen], dtype=np.int64)
    empty = Coefficients.empty
    models = LinearModels(
        table.calendar,
        empty(num_regions, num_inputs, num_covariates),
        neighbour_RQ.reshape(num_regions, most),
        empty(num_regions, num_inputs + most * NUM_SIGNALS, num_covariates) if most else None,
    )
    for region, each in enumerate(labels):
        _fit_region(models, table, each, region)
    return LinearForecasts(models, table)


def _neighbours(grid: Grid | None, labels: _Labels, region: int) -> list[int]:
    if grid is None or not len(labels.step_N):
        return []
    return choose_neighbours(grid.load_GR, grid.hour_T[labels.step_N], region)


class _Labels(NamedTuple):
    """A region's training origins, from which all leads are known, and the changes until then."""

    step_N: np.ndarray
    y_NK: np.ndarray
    num_training: int  # labels of the training part

    @classmethod
    def of(cls, frame: pd.DataFrame, table: TableHours, region: int) -> _Labels:
        """What was filled counts too, so that a gap does not cost the hours around it."""
        begin, end = np.searchsorted(table.region_T, [region, region + 1])
        part_T = frame["part"].to_numpy()[begin:end]
        is_label_T = part_T == TRAIN
        target_T = frame["target"].to_numpy(dtype="float64")[begin:end]
        truth_T = np.where(is_label_T, target_T, table.load_T[begin:end])
        last = int(np.flatnonzero(is_label_T).max(initial=-1))
        step_N = np.arange(max(0, last + 1 - LEADS))
        load_N = table.load_T[begin:end][step_N]
        y_NK = truth_T[step_N[:, None] + np.arange(1, LEADS + 1)] - load_N[:, None]
        is_known_N = ~np.isnan(y_NK).any(axis=1)
        return cls(begin + step_N[is_known_N], y_NK[is_known_N], int(is_label_T.sum()))


def _fit_region(models: LinearModels, table: TableHours, labels: _Labels, region: int) -> None:
    """The models of each hour of the day, in place."""
    if not labels.num_training:
        return
    is_used_P = _LONGEST_LAG_SHARE * labels.num_training >= REACH_P
    num_inputs = models.own.weight_RDFK.shape[2]
    is_used_F = np.concatenate([is_used_P, np.ones(num_inputs - len(is_used_P), dtype=bool)])
    hour_N = table.hour_T[labels.step_N + 1]
    neighbour_Q = models.neighbour_RQ[region]
    num_neighbours = int((neighbour_Q >= 0).sum())
    for hour in range(HOURS):
        at = np.flatnonzero(hour_N == hour)
        known = table.known(labels.step_N[at], num_leads=LEADS)
        x_NF = own_inputs(known, models.calendar)[:, is_used_F]
        y_NK, own_NKC = labels.y_NK[at], with_squares(known.ahead_NKC)
        models.own.put(region, hour, _fit(x_NF, y_NK, own_NKC), np.flatnonzero(is_used_F))
        if models.together is not None and num_neighbours and table.grid is not None:
            theirs_NQ = neighbour_inputs(
                table.grid.load_GR, table.grid.hour_T[known.step_N],
                np.broadcast_to(neighbour_Q[:num_neighbours], (len(at), num_neighbours)),
            )  # fmt: skip
            both = np.concatenate([x_NF, theirs_NQ], axis=1)
            place_F = np.r_[np.flatnonzero(is_used_F), num_inputs : num_inputs + theirs_NQ.shape[1]]
            models.together.put(region, hour, _fit(both, y_NK, own_NKC), place_F)


def _fit(x_NF: np.ndarray, y_NK: np.ndarray, own_NKC: np.ndarray) -> Linear:
    """To the newest labels all of whose inputs are known."""
    at = np.flatnonzero(~np.isnan(x_NF).any(1))[-_MOST_ROWS:]
    return fit_least_absolute(x_NF[at], y_NK[at], own_NKC[at], ridge=ridge_of(len(at)))
