"""What a search does with the values of its trials: how good each is, and the profile of the best.

Legend: ``N`` labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field

from gridcast.evaluation.measure import SMAPE, MeasureName, percent_errors
from gridcast.record import Record, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridcast.config import Config

TENTHS = 10
# Where and how long a training may work is no part of what was found.
_NOT_FOUND = {
    "device",
    "threads",
    "confirm_above_hours",
    "checkpoint_seconds",
    "time_limit_seconds",
    "measuring_limit_seconds",
}


class Course:
    """How a trial does on its way: the mean validation error of its jobs, a tenth at a time.

    Trials may have other numbers of passes, so they are compared at the same share of their
    training, at the first end of a pass within each tenth.
    """

    def __init__(self, num_jobs: int) -> None:
        self._num_jobs = num_jobs
        self._by_tenth: dict[int, dict[str, float]] = {}

    def add(self, job: str, *, share: float, error: float) -> tuple[int, float] | None:
        """What ``job`` came to at ``share`` of its training (percent); the tenth and its mean.

        None until all jobs have come to that tenth, and again afterwards.

        >>> course = Course(num_jobs=2)
        >>> course.add("gru", share=0.5, error=1.0), course.add("lstm", share=0.52, error=2.0)
        (None, (5, 1.5))
        >>> course.add("gru", share=0.55, error=0.9) is None
        True
        """
        tenth = int(TENTHS * share + 1e-9)
        reached = self._by_tenth.setdefault(tenth, {})
        if job in reached:
            return None
        reached[job] = error
        is_whole = len(reached) == self._num_jobs
        return (tenth, float(np.mean(list(reached.values())))) if is_whole else None


def error_of_mean_forecast(
    table: pd.DataFrame,
    forecasts: Sequence[pd.DataFrame],
    norms: Mapping[str, float] | None = None,
) -> float:
    """The error (percent, mean over the regions) of the mean of several jobs' forecasts.

    Args:
        table: of ``FeatureTable.frame`` the columns ``region`` and ``load_mw``.
        forecasts: of each job, for the same labels (``step``, ``lead``, ``y_pred``).
        norms: what errors of each region are told in percent of (MW); none: the sMAPE.
    """
    mean_N = pd.concat(forecasts).groupby(["step", "lead"])["y_pred"].mean()
    rows = table.iloc[mean_N.index.get_level_values("step")]
    y_true_N, y_pred_N = rows["load_mw"].to_numpy(), mean_N.to_numpy()
    regions = rows["region"].to_numpy()
    each = [
        percent_errors(y_true_N[own], y_pred_N[own], (norms or {}).get(region, np.nan)).mean()
        for region in pd.unique(regions)
        for own in [regions == region]
    ]
    return float(np.mean(each))


def profile_of(found: Config, base: Config, *, settings: Iterable[str]) -> dict[str, Any]:
    """What to lay over ``base`` to have ``found``: what differs, and all of ``settings``.

    Rules are left out, since a layer cannot take a region's rule away; ``profile_on_cuda`` is null,
    or on a GPU that profile would be laid over this one.
    """
    mine, theirs = (each.model_dump(mode="json") for each in (found, base))
    profile: dict[str, Any] = {"profile_on_cuda": None}
    for name in mine.keys() - {"profile_on_cuda", "layout_file", "rules", "rules_file", "tuning"}:
        own = {
            key: value
            for key, value in mine[name].items()
            if (value != theirs[name][key] and not (name == "training" and key in _NOT_FOUND))
            or f"{name}.{key}" in set(settings)
        }
        profile |= {name: own} if own else {}
    order: Mapping[str, Any] = {name: None for name in mine if name in profile}
    return {name: profile[name] for name in order}


class TrialRecord(Record):
    """Settings that were tried, by name, and what came of them (percent of ``measure``, s).

    ``given up``: ended early, with the error that it had then; ``refused``: the values do not go
    together, or another trial was at them; ``interrupted``: with its run, and tried again by the
    next one.
    """

    number: int
    state: Literal["trained", "given up", "failed", "refused", "interrupted"]
    settings: dict[str, Any]
    validation_error: float | None = Field(
        validation_alias=AliasChoices("validation_error", "validation_smape")
    )
    train_seconds: float | None
    reason: str = ""
    measure: MeasureName = SMAPE

    @property
    def counts(self) -> bool:
        """Whether it is one of the ``tuning.trials`` that a study shall have."""
        return self.state in {"trained", "given up", "failed"}


def best_of(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trained trial with the smallest validation error; the first of equals."""
    first = best_first(trials)[:1]
    return first[0] if first and first[0].state == "trained" else None


def best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trained ones by their validation error, then the others as they came."""

    def place(trial: TrialRecord) -> tuple[bool, float, int]:
        is_trained = trial.state == "trained"
        return not is_trained, (trial.validation_error or 0.0) * is_trained, trial.number

    return sorted(trials, key=place)


def shown(value: object) -> str:
    """A value as people want to read it: four digits of a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class StudyRecord(RunRecord):
    """A study as a run left it; ``best`` is the number of its best trial, ``profile`` its file.

    ``unchanged`` is the number of the trial that has the settings as they were before the search.
    """

    kind: ClassVar[str] = "study"

    name: str
    folder: str
    objective: str
    best: int
    unchanged: int | None
    profile: str
    picture: str
    trials: list[TrialRecord]
