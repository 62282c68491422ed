"""A study: trials of settings, kept by Optuna in an SQLite file, so that a search can go on."""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from gridcast.config.space import Choices, Search
from gridcast.errors import ConfigError
from gridcast.evaluation.measure import LABELS, SMAPE, MeasureName, validation_of
from gridcast.evaluation.search import TENTHS, Course, TrialRecord, shown
from tasks.machine.devices import leading_devices, resolve_precision
from tasks.machine.owned_process import stop
from tasks.machine.progress import ProgressReader
from tasks.runs.storage import set_aside_if_broken
from tasks.train.job_owner import stop_file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from gridcast.config import Config
    from tasks.machine.devices import Devices
    from tasks.runs.run import Run
    from tasks.train.records import Features, NetworkJob

_SECONDS_FOR_SQLITE = 60
# Values that do not go together are not tried; so many in a row say that the space has no others.
_MOST_REFUSED = 25
_log = logging.getLogger("gridcast.tune")


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Values for the settings that are searched, being tried: ``run`` has them laid over."""

    number: int
    settings: dict[str, Any]
    run: Run
    device: str
    handle: optuna.Trial


class Outcome(NamedTuple):
    """What came of a trial: its validation error (percent) and training (s), or why it failed."""

    error: float | None
    train_seconds: float = 0.0
    reason: str = ""
    measure: MeasureName = SMAPE


class _Running(NamedTuple):
    """Of a trial that runs: the table that it reads, its jobs, what they told."""

    table: str
    jobs: tuple[NetworkJob, ...]
    course: Course


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlace:
    """A study by value: what a task that keeps something of it has to know."""

    name: str
    folder: Path
    devices: Devices
    unchanged: dict[str, Any]


class Study:
    """One study, open for as long as a run searches, in the flow's own scope: it reads and decides.

    It hears of its trials by the files in which the owners of their jobs tell their progress.
    """

    def __init__(self, run: Run, name: str, handle: optuna.Study, devices: Devices) -> None:
        self.at_once = run.config.tuning.at_once or len(devices.names)
        self.place = StudyPlace(
            name=name, folder=folder_of(run, name), devices=devices,
            unchanged=_values_now(run.config),
        )  # fmt: skip
        self._run, self._handle = run, handle
        self._space = run.config.read_space()
        self._distributions = {name: _distribution(each) for name, each in self._space.items()}
        self._reader = ProgressReader(run.live)
        self._running: dict[Trial, _Running] = {}
        self._given_up: set[Trial] = set()
        hours = run.config.tuning.hours
        self._deadline = math.inf if hours is None else time.monotonic() + hours * 3600

    @property
    def tables(self) -> list[str]:
        """The tables of features of the trials that run."""
        return [each.table for each in self._running.values()]

    def ask(self) -> Trial | None:
        """The next trial; None where enough have begun, or none can begin now.

        Raises:
            ConfigError: the space has hardly any values that go together.
        """
        if len(self._running) >= self.at_once or time.monotonic() > self._deadline:
            return None
        if self._num_counted() + len(self._running) >= self._run.config.tuning.trials:
            return None
        trial = self._ask()
        if trial is not None:
            self._running[trial] = _Running("", (), Course(0))
            _log.info("Trial %d: %s", trial.number, settings_line(trial.settings))
        return trial

    def begin(self, trial: Trial, features: Features, jobs: list[NetworkJob]) -> list[NetworkJob]:
        """The trial's jobs by names of their own, so that it is heard and can be given up."""
        named = [
            each.model_copy(update={"name": f"trial{trial.number}-{each.name}"}) for each in jobs
        ]
        self._running[trial] = _Running(features.path, tuple(named), Course(len(named)))
        return named

    def read_progress(self) -> None:
        """Read what the jobs of trials told since, and end the trials that are worse than most."""
        trial_of = {job.name: trial for trial, each in self._running.items() for job in each.jobs}
        for job, progress in self._reader.news():
            if job in trial_of and validation_of(progress)[1] is not None:
                self._judge(trial_of[job], job, progress)

    def _judge(self, trial: Trial, job: str, progress: dict[str, Any]) -> None:
        share, (measure, error) = progress["step"] / progress["num_steps"], validation_of(progress)
        if error is None:
            return
        point = self._running[trial].course.add(job, share=share, error=error)
        if point is not None:
            trial.handle.report(point[1], step=point[0])
        if share < 1 and trial not in self._given_up and trial.handle.should_prune():
            self._given_up.add(trial)
            reason = (
                f"given up at {share:.0%}, with a validation {LABELS[measure]} of {error:.3f} %"
            )
            for each in self._running[trial].jobs:
                stop(stop_file_of(self._run.live, each), reason)

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """What came of the trial."""
        del self._running[trial]
        if outcome.error is not None and math.isfinite(outcome.error):
            trial.handle.set_user_attr("train_seconds", outcome.train_seconds)
            trial.handle.set_user_attr("measure", outcome.measure)
            self._handle.tell(trial.handle, outcome.error)
        elif trial in self._given_up:
            self._handle.tell(trial.handle, state=TrialState.PRUNED)
        else:
            reason = outcome.reason or f"its validation error is {outcome.error}"
            trial.handle.set_user_attr("reason", reason)
            self._handle.tell(trial.handle, state=TrialState.FAIL)

    def records(self) -> list[TrialRecord]:
        """All trials that have ended, oldest first."""
        ended = self._handle.get_trials(deepcopy=False)
        return [self._record(each) for each in ended if each.state.is_finished()]

    def _ask(self) -> Trial | None:
        """Ask until the values go together, and no trial that runs has them (and their jobs)."""
        for num_left in reversed(range(_MOST_REFUSED)):
            handle = self._handle.ask(self._distributions)
            try:
                trial = self._trial(handle)
            except ConfigError as error:
                # Without a value: the sampler takes it for worse than any other.
                self._refuse(handle, str(error), TrialState.PRUNED)
                if not num_left:
                    raise
                continue
            if all(trial.settings != each.settings for each in self._running):
                return trial
            self._refuse(handle, "it is being tried", TrialState.FAIL)
        return None

    def _refuse(self, handle: optuna.Trial, reason: str, state: TrialState) -> None:
        handle.set_user_attr("refused", reason)
        self._handle.tell(handle, state=state)

    def _trial(self, handle: optuna.Trial) -> Trial:
        values = self._values_of(handle.params)
        run = _run_of_trial(self._run, values, where=f"trial {handle.number}")
        return Trial(handle.number, values, run, self._free_device(run), handle)

    def _free_device(self, run: Run) -> str:
        """Of the devices that lead by the trial's own values, the one that fewest trials have."""
        leading = leading_devices(run.devices, split_over=run.config.training.split_over)
        busy = [trial.device for trial in self._running]
        return min(leading, key=busy.count)

    def _values_of(self, params: dict[str, Any]) -> dict[str, Any]:
        """From what Optuna stores to what the settings take."""
        values = {}
        for setting, param in params.items():
            search = self._space[setting]
            known = {_label(each): each for each in getattr(search, "values", ())}
            values[setting] = known.get(param, param)
        return values

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        return TrialRecord(
            number=trial.number,
            state=_state(trial),
            settings=self._values_of(trial.params),
            validation_error=trial.value,
            train_seconds=trial.user_attrs.get("train_seconds"),
            measure=trial.user_attrs.get("measure", SMAPE),
            reason=trial.user_attrs.get("reason") or trial.user_attrs.get("refused", ""),
        )

    def _num_counted(self) -> int:
        return sum(each.counts for each in self.records())


def settings_line(values: dict[str, Any]) -> str:
    """Values of settings in one line.

    >>> settings_line({"model.hidden_size": 32, "training.learning_rate": 0.00123456})
    'model.hidden_size 32, training.learning_rate 0.001235'
    """
    return ", ".join(f"{setting} {shown(value)}" for setting, value in values.items())


def _run_of_trial(run: Run, values: dict[str, Any], *, where: str) -> Run:
    """The run by the trial's values, as resolved for the run's devices (which none can change)."""
    config = run.config.with_values(values, where=where)
    return replace(run, config=resolve_precision(config, run.devices.device_type))


def folder_of(run: Run, name: str) -> Path:
    """``artifacts/tuning/<study>``."""
    return run.artifacts / "tuning" / name


@contextmanager
def opened(run: Run, name: str, devices: Devices) -> Iterator[Study]:
    """Open the study of that name, or begin it; what a killed run left unfinished is tried again.

    The caller holds the lock of the study, so nobody else has trials that run.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder, tuning = folder_of(run, name), run.config.tuning
    folder.mkdir(parents=True, exist_ok=True)
    if fault := set_aside_if_broken(folder / "study.db"):
        _log.warning("%s: found %s; the study begins anew", folder / "study.db", fault)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{folder / 'study.db'}",
        engine_kwargs={"connect_args": {"timeout": _SECONDS_FOR_SQLITE}},
    )
    try:
        handle = optuna.create_study(
            study_name=name, storage=storage, direction="minimize", load_if_exists=True
        )
        _close_stale(handle)
        _enqueue_current_settings(handle, run.config)
        # A sampler of the same seed would begin with the values that it began with before.
        seed = tuning.seed + len(handle.get_trials(deepcopy=False))
        handle.sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=tuning.random_trials
        )
        handle.pruner = _pruner(tuning.prune_from, tuning.random_trials)
        yield Study(run, name, handle, devices)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _close_stale(handle: optuna.Study) -> None:
    """Trials that nobody trains any more: failed, and their values put first in the queue."""
    for trial in handle.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        _log.info("Trial %d was interrupted; its values are tried again", trial.number)
        handle.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            handle.enqueue_trial(trial.params)


def _enqueue_current_settings(handle: optuna.Study, config: Config) -> None:
    """A new study tries the settings as they are first, where its space has them."""
    space, values = config.read_space(), _values_now(config)
    if not handle.get_trials(deepcopy=False) and all(
        space[name].has(value) for name, value in values.items()
    ):
        handle.enqueue_trial({name: _label(value) for name, value in values.items()})


def _values_now(config: Config) -> dict[str, Any]:
    """The values that the settings of the space have."""
    names = [(name, *name.split(".")) for name in config.read_space()]
    return {name: getattr(getattr(config, section), key) for name, section, key in names}


def _pruner(share: float | None, num_before: int) -> optuna.pruners.BasePruner:
    if share is None:
        return optuna.pruners.NopPruner()
    tenth = math.ceil(TENTHS * share)
    return optuna.pruners.MedianPruner(n_startup_trials=num_before, n_warmup_steps=tenth)


def _distribution(search: Search) -> BaseDistribution:
    if isinstance(search, Choices):
        return CategoricalDistribution([_label(value) for value in search.values])
    if search.whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log)
    return FloatDistribution(search.low, search.high, log=search.log)


def _label(value: object) -> bool | float | str | None:
    """A choice as Optuna can store it: lists as JSON."""
    return value if isinstance(value, bool | int | float | str | None) else json.dumps(value)


def _state(trial: FrozenTrial) -> Any:  # noqa: ANN401 - one of TrialRecord's
    if trial.state == TrialState.COMPLETE:
        return "trained"
    if "refused" in trial.user_attrs:
        return "refused"
    if trial.state == TrialState.PRUNED:
        return "given up"
    return "failed" if "reason" in trial.user_attrs else "interrupted"
