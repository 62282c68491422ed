"""Linear models of all regions, which forecast any hour ahead.

Of each region and local hour of the first label there is one for each of the next ``LEADS`` hours.
What comes after them is forecast as if they had come true; of neighbours nothing is known by then.

Legend: ``N`` origins, ``K`` leads, ``T`` steps, ``F`` inputs that all leads share, ``C`` inputs of
covariates of a lead, ``R`` regions, ``D`` hours of the day, ``Q`` neighbours, ``V`` features of the
calendar, ``J`` passes, or their first and last hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gridcast.array_file import below
from gridcast.baselines.linear_inputs import PAST_HOURS, neighbour_inputs, past_inputs, with_squares
from gridcast.features.columns import HOLIDAY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.baselines.least_absolute import Linear
    from gridcast.baselines.linear_inputs import Grid

LEADS = 24
HOURS = 24  # of the day, with models of their own
_NONE = -1  # the number of a neighbour that is none


@dataclass(frozen=True, slots=True)
class KnownHours:
    """What is known at some origins, all of it scaled.

    ``load_T`` are the loads of all steps (NaN: not known), of which those up to an origin are
    looked at. The hours ahead make whole passes of ``LEADS``.
    """

    load_T: np.ndarray
    step_N: np.ndarray
    first_N: np.ndarray  # where the origin's series begins
    region_N: np.ndarray
    calendar_NJV: np.ndarray  # of the first and the last hour of each pass
    hour_NJ: np.ndarray  # local, of the first hour of each pass
    ahead_NKC: np.ndarray  # what had been known of the covariates of the hours ahead
    grid: Grid | None = None  # of the same steps, for models that read neighbours

    def come_true(self, y_NK: np.ndarray) -> KnownHours:
        """What is known ``LEADS`` hours later, if these forecasts were the loads."""
        back_NT = self.step_N[:, None] + np.arange(1 - PAST_HOURS, 1)
        own_NT = self.load_T[np.maximum(back_NT, 0)]
        own_NT = np.where(back_NT >= self.first_N[:, None], own_NT, np.nan)
        load_NT = np.concatenate([own_NT, y_NK], axis=1)
        first_N = np.arange(len(load_NT)) * load_NT.shape[1]
        return replace(
            self,
            load_T=load_NT.reshape(-1),
            step_N=first_N + load_NT.shape[1] - 1,
            first_N=first_N,
            calendar_NJV=self.calendar_NJV[:, 2:],
            hour_NJ=self.hour_NJ[:, 1:],
            ahead_NKC=self.ahead_NKC[:, LEADS:],
            grid=None,
        )


def own_inputs(known: KnownHours, calendar: Sequence[str]) -> np.ndarray:
    """What is known of a region by itself, ``(N, F)``; NaN: not known.

    Its past loads, the calendar of the first hour of a pass, and the holidays of its last hour:
    they begin or end on the way. ``calendar`` has the names of its features.
    """
    later = [place for place, name in enumerate(calendar) if name.endswith(HOLIDAY)]
    return np.concatenate(
        [
            past_inputs(known.load_T, known.first_N, known.step_N),
            known.calendar_NJV[:, 0],
            known.calendar_NJV[:, 1][:, later],
        ],
        axis=1,
    )


@dataclass(frozen=True, slots=True)
class Coefficients:
    """By region and hour of the day; NaN where a region has no training label."""

    weight_RDFK: np.ndarray
    own_RDKC: np.ndarray  # of covariates
    bias_RDK: np.ndarray

    @classmethod
    def empty(cls, num_regions: int, num_inputs: int, num_covariates: int) -> Coefficients:
        """Of regions that have not been fitted."""
        shapes = (num_inputs, LEADS), (LEADS, num_covariates), (LEADS,)
        return cls(
            *(np.full((num_regions, HOURS, *each), np.nan, dtype="float32") for each in shapes)
        )

    def put(self, region: int, hour: int, fitted: Linear, place_F: np.ndarray) -> None:
        """One fit, in place: its inputs stand at ``place_F``, others weigh nothing."""
        self.weight_RDFK[region, hour] = 0.0
        self.weight_RDFK[region, hour, place_F] = fitted.weight_FK
        self.own_RDKC[region, hour], self.bias_RDK[region, hour] = fitted.own_KC, fitted.bias_K

    def changes(
        self, x_NF: np.ndarray, ahead_NKC: np.ndarray, region_N: np.ndarray, hour_N: np.ndarray
    ) -> np.ndarray:
        """From the last load, scaled, ``(N, K)``; an input that is not known weighs nothing."""
        x_NF, own_NKC = np.nan_to_num(x_NF), with_squares(ahead_NKC)
        change_NK = np.empty((len(x_NF), LEADS))
        key_N = region_N * HOURS + hour_N
        for key in np.unique(key_N):
            at, place = np.flatnonzero(key_N == key), np.divmod(key, HOURS)
            change_NK[at] = x_NF[at] @ self.weight_RDFK[place] + self.bias_RDK[place]
            if own_NKC.shape[-1]:
                change_NK[at] += np.einsum("nkc,kc->nk", own_NKC[at], self.own_RDKC[place])
        return change_NK

    def arrays(self) -> dict[str, np.ndarray]:
        """As a file keeps them."""
        return {"weight": self.weight_RDFK, "own": self.own_RDKC, "bias": self.bias_RDK}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Coefficients:
        """What :meth:`arrays` gave."""
        return cls(arrays["weight"], arrays["own"], arrays["bias"])


@dataclass(frozen=True, slots=True)
class LinearModels:
    """The models of all regions: on their own past, and on that of their neighbours too.

    Where the past of one of a region's neighbours is not known, its forecast is the one from its
    own. ``neighbour_RQ`` has the numbers of each region's neighbours, -1 behind the last.
    """

    calendar: tuple[str, ...]  # names of the calendar's features
    own: Coefficients
    neighbour_RQ: np.ndarray
    together: Coefficients | None = None

    @property
    def reads_neighbours(self) -> bool:
        """Whether the past of one region has a say in the forecasts of another."""
        return self.together is not None

    def forecast(self, known: KnownHours, *, num_leads: int) -> np.ndarray:
        """The scaled loads of the ``K`` hours after each origin, ``(N, K)``.

        NaN where the last load is not known. ``known`` has all hours of the passes that are needed.
        """
        found = [self._one_pass(known)]
        while len(found) * LEADS < num_leads:
            known = known.come_true(found[-1])
            found.append(self._one_pass(known))
        return np.concatenate(found, axis=1)[:, :num_leads]

    def _one_pass(self, known: KnownHours) -> np.ndarray:
        x_NF, ahead_NKC = own_inputs(known, self.calendar), known.ahead_NKC[:, :LEADS]
        region_N, hour_N = known.region_N, known.hour_NJ[:, 0]
        change_NK = self.own.changes(x_NF, ahead_NKC, region_N, hour_N)
        if self.together is not None and known.grid is not None:
            neighbour_NQ = self.neighbour_RQ[region_N]
            step_N = known.grid.hour_T[known.step_N]
            theirs_NQ = neighbour_inputs(known.grid.load_GR, step_N, neighbour_NQ)
            has_some_N = (neighbour_NQ != _NONE).any(1)
            at = np.flatnonzero(has_some_N & ~np.isnan(theirs_NQ).any(1))
            change_NK[at] = self.together.changes(
                np.concatenate([x_NF[at], theirs_NQ[at]], axis=1), ahead_NKC[at], region_N[at],
                hour_N[at],
            )  # fmt: skip
        return np.asarray(known.load_T[known.step_N][:, None] + change_NK)

    def arrays(self) -> dict[str, np.ndarray]:
        """As a file keeps them."""
        arrays = {"calendar": np.array(self.calendar), "neighbour": self.neighbour_RQ}
        parts = {"own": self.own} | ({"together": self.together} if self.together else {})
        return arrays | {
            f"{part}.{name}": each
            for part, coefficients in parts.items()
            for name, each in coefficients.arrays().items()
        }

    @staticmethod
    def is_of(arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether they are of this kind, and not of an older one."""
        return "own.weight" in arrays

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> LinearModels:
        """What :meth:`arrays` gave."""
        together = below(arrays, "together.")
        return cls(
            tuple(map(str, arrays["calendar"])),
            Coefficients.of(below(arrays, "own.")),
            arrays["neighbour"],
            Coefficients.of(together) if together else None,
        )


def passes_of(num_leads: int) -> int:
    """How many are needed for so many hours."""
    return -(-num_leads // LEADS)


def pass_ends(num_leads: int) -> np.ndarray:
    """How many hours after the first one the first and the last hour of each pass lie."""
    return (LEADS * np.arange(passes_of(num_leads))[:, None] + [0, LEADS - 1]).reshape(-1)
