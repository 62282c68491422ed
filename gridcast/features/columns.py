"""Which columns of the table of features the network sees, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcast.covariates.inputs import AHEAD_PREFIX, PAST_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FEATURE_PREFIX = "x_"
HOLIDAY = "_holiday"  # how the columns end that tell of one
LOAD_FEATURE = f"{FEATURE_PREFIX}load"  # the first: the prediction adds to it, see models.py
# What had been issued when a step ended: inputs of the hours after the next one, lead by lead.
ISSUED_PREFIX = "issued_"


def feature_columns(columns: Iterable[str]) -> list[str]:
    """The features among the columns of a table, in the network's order."""
    return [name for name in columns if name.startswith(FEATURE_PREFIX)]


def calendar_columns(names: Sequence[str]) -> list[int]:
    """Where among the features those of the calendar stand: they come after those of the past."""
    of_load = (LOAD_FEATURE, f"{FEATURE_PREFIX}lag_")
    return [
        place
        for place, name in enumerate(names)
        if not name.startswith((AHEAD_PREFIX, PAST_PREFIX))
        and (not name.startswith(of_load) or name.endswith(HOLIDAY))
    ]


def ahead_columns(names: Sequence[str]) -> list[int]:
    """Where those stand that are known of an hour ahead, the last ones: calendar and covariates."""
    covariates = [place for place, name in enumerate(names) if name.startswith(AHEAD_PREFIX)]
    return calendar_columns(names) + covariates


def issued_columns(columns: Iterable[str]) -> list[str]:
    """Those of a table that tell of the hours after the next one, lead after lead."""
    return [name for name in columns if name.startswith(ISSUED_PREFIX)]


def names_issued(covariates: Sequence[str], horizon: int) -> list[str]:
    """What they are called: of each lead from 2 on these inputs."""
    return [
        f"{ISSUED_PREFIX}{lead:03d}_{name}" for lead in range(2, horizon + 1) for name in covariates
    ]
