"""Search for better settings: what a study suggests is tried, and told to it again."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.config import Config
from gridcast.errors import ConfigError, NoTrialError
from gridcast.evaluation.measure import LABELS, validation_of
from gridcast.evaluation.search import (
    StudyRecord,
    TrialRecord,
    best_first,
    best_of,
    error_of_mean_forecast,
    profile_of,
    shown,
)
from gridcast.readings.records import Ingestion
from gridcast.record import StoredRecord
from gridcast.report.study_figure import draw_study
from tasks.machine.devices import leading_devices, resolve_precision
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of, require_sha256
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.runs.storage import publishing, write_bytes
from tasks.train.records import TrainedJob
from tasks.tune.study import Outcome, Study, StudyPlace, folder_of, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.runs.run import Run
    from tasks.train.records import Features, NetworkJob

_FORECASTS = "forecasts.parquet"
_SCORING = "gridcast.evaluation.search"  # of a trial, by what its jobs forecast
_COMMON = "common.json"  # what all trials of a study have in common
_DOTS_PER_INCH = 110
_log = logging.getLogger("gridcast.tune")


class CommonParts(StoredRecord):
    """What all trials of a study have in common; of two studies the higher number is newer."""

    sequence: int = 0
    parts: dict[str, Any]


def require_search(run: Run) -> None:
    """Refuse what cannot be searched well, before anything is done.

    Raises:
        ConfigError: nothing to search, no validation part, or scales that know the test part.
    """
    config = run.config
    if not config.read_space():
        raise ConfigError(where=run.profile, key="tuning.space", found=config.tuning.space,
                          expected="at least one setting to search")  # fmt: skip
    if config.split.validation_share == 0:
        raise ConfigError(where=run.profile, key="split.validation_share", found=0.0,
                          expected="above 0: trials are held against that part")  # fmt: skip
    if config.scaling.fit_on != "train":
        raise ConfigError(where=run.profile, key="scaling.fit_on", found=config.scaling.fit_on,
                          expected="train: no trial may see the test part")  # fmt: skip


@contextmanager
def open_study(run: Run, ingestion: Ingestion, jobs: list[NetworkJob]) -> Iterator[Study]:
    """The study of these data, settings and space: the one that there is, or a new one.

    One run at a time searches in a study; another one waits, and goes on with what came of it.
    ``jobs`` are those of the settings as they are: what they depend on, all trials depend on.
    """
    leading = leading_devices(run.devices, split_over=run.config.training.split_over)
    devices = replace(run.devices, names=leading)
    parts = _parts(run, jobs)
    name = f"{ingestion.dataset}-{key_of(**parts)[:12]}"
    with held(run.artifacts, f"study-{name}"), opened(run, name, devices) as study:
        _log_if_new(run, name, ingestion.dataset, parts)
        counted = sum(each.counts for each in study.records())
        _log.info("Study %s: %d of %d trials so far", name, counted, run.config.tuning.trials)
        yield study


@task(name="score-trial", task_run_name="score-trial-{number}", cache_policy=NO_CACHE)
def score_trial(
    run: Run, number: int, features: Features, ended: Sequence[TrainedJob | Exception]
) -> Outcome:
    """What came of the jobs of trial ``number``: their validation error, or why one failed."""
    del number
    trained = [each for each in ended if isinstance(each, TrainedJob)]
    if len(trained) < len(ended):
        reason = next(str(each) for each in ended if isinstance(each, Exception))
        return Outcome(None, reason=reason.removeprefix("ERROR "))
    return Outcome(
        error=_objective(run, features, trained),
        train_seconds=sum(each.train_seconds for each in trained),
        measure=features.measure,
    )


@task(name="record-trial", task_run_name="record-trial-{number}", cache_policy=NO_CACHE)
def record_trial(run: Run, study: StudyPlace, records: list[TrialRecord], number: int) -> None:
    """Tell what trial ``number`` came to; a new best one is written down at once."""
    _log_trial(run, records, number)
    if (best := best_of(records)) is not None and best.number == number:
        _write_profile(run, study, records)


@task(name="publish-study", cache_policy=NO_CACHE)
def publish_study(run: Run, study: StudyPlace, trials: list[TrialRecord]) -> StudyRecord:
    """The study's trials → table, picture and the best one's profile.

    Raises:
        NoTrialError: none was trained to its end.
    """
    best = best_of(trials)
    if best is None:
        reasons = [each.reason for each in trials if each.reason] or ["none was begun"]
        raise NoTrialError(study.name, reasons[-1])
    picture = study.folder / "study.png"
    with publishing(picture) as temporary:
        figure = draw_study(trials, run.config.read_space(), study=study.name)
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)
    record = StudyRecord(
        name=study.name,
        folder=str(study.folder),
        objective=run.config.tuning.objective,
        best=best.number,
        unchanged=next(
            (e.number for e in best_first(trials) if e.settings == study.unchanged), None
        ),
        profile=str(_write_profile(run, study, trials)),
        picture=str(picture),
        trials=trials,
    )
    run.leave(record)
    rows = [_row(each) for each in best_first(trials)]
    create_table_artifact(key="study", table=rows, description=f"Study {study.name}, best first")
    return record


def _parts(run: Run, jobs: list[NetworkJob]) -> dict[str, Any]:
    """All that trials of one study have in common, such as the data, but not its budget."""
    common = {name: part for name, part in jobs[0].parts.items() if name not in {"cell", "seed"}}
    return {
        **common,
        "jobs": [job.name for job in jobs],
        "scored_by": code_sha256(_SCORING),
        **run.config.tuning.keyed(),  # space and objective
    }


def _log_if_new(run: Run, name: str, dataset: str, parts: dict[str, Any]) -> None:
    """Say that a study begins, and in what it differs from the newest one of the same data set."""
    path = folder_of(run, name) / _COMMON
    if path.is_file():
        return
    others = {
        each.parent.name: common
        for each in path.parent.parent.glob(f"{dataset}-*/{_COMMON}")
        if (common := cached_record(each, CommonParts)) is not None
    }
    numbers = {other: common.sequence for other, common in others.items()}
    newest = max(sorted(numbers), key=lambda other: numbers[other], default=None)
    if newest is None:
        _log.info("Study %s begins", name)
    else:
        before = others[newest].parts
        differs = [part for part, value in parts.items() if before.get(part) != value]
        _log.info("Study %s begins: it is not %s, of which differs: %s",
                  name, newest, ", ".join(differs))  # fmt: skip
    number = 1 + max(numbers.values(), default=0)
    write_record(path, CommonParts(sequence=number, parts=parts))


def _objective(run: Run, features: Features, trained: Sequence[TrainedJob]) -> float:
    """The trial's validation error (percent) as ``tuning.objective`` has it."""
    if run.config.tuning.objective == "mean_of_jobs":
        each = [validation_of(job.history[-1])[1] for job in trained]
        return sum(float("nan") if error is None else error for error in each) / len(each)
    require_sha256(Path(features.path), features.file_sha256)
    for job in trained:
        require_sha256(job.file(_FORECASTS), job.files[_FORECASTS])
    table = pd.read_parquet(features.path, columns=["region", "load_mw"])
    forecasts = [pd.read_parquet(job.file(_FORECASTS)) for job in trained]
    return error_of_mean_forecast(table, forecasts, features.norms)


def _log_trial(run: Run, trials: Sequence[TrialRecord], number: int) -> None:
    own = next(each for each in trials if each.number == number)
    best, counted = best_of(trials), sum(each.counts for each in trials)
    label, error = LABELS[own.measure], own.validation_error
    told = "" if error is None else f", validation {label} {error:.3f} %"
    seconds = "" if own.train_seconds is None else f", {own.train_seconds:.1f} s of training"
    so_far = "" if best is None else f"; best: trial {best.number}, {best.validation_error:.3f} %"
    came = f"{own.state}{told}{seconds}{f' ({own.reason})' if own.reason else so_far}"
    _log.info("Trial %d: %s; %d of %d", number, came, counted, run.config.tuning.trials)


def _write_profile(run: Run, study: StudyPlace, trials: Sequence[TrialRecord]) -> Path:
    """``best.yaml``: what `gridcast run --profile` takes, and where it comes from."""
    best, num_trials = best_first(trials)[0], sum(each.counts for each in trials)
    config = run.config.with_values(best.settings, where=f"trial {best.number}")
    # As `run.config`: what `precision: auto` comes to here is no part of what was found.
    base = resolve_precision(Config.load(), run.devices.device_type)
    profile = profile_of(config, base, settings=best.settings)
    if config.rules != base.rules:
        rules = yaml.safe_dump(config.rules.model_dump(mode="json"), sort_keys=False)
        write_bytes(study.folder / "rules.yaml", rules.encode())
        profile["rules_file"] = "rules.yaml"
    origin = (
        f"# Found by `gridcast tune` on {datetime.now(UTC):%Y-%m-%d}: the best of {num_trials} "
        f"trials, number {best.number}, of the study {study.name}.\n"
        f"# Validation {LABELS[best.measure]} {best.validation_error:.3f} % "
        f"({run.config.tuning.objective} over "
        f"{', '.join(config.model.cells)}; seeds {', '.join(map(str, config.training.seeds))}), "
        f"trained on {', '.join(study.devices.names)}. The test part was not looked at.\n"
        f"# Data: {_data_of(run)}. Run it: gridcast run --profile {study.folder / 'best.yaml'}\n"
    )
    path = study.folder / "best.yaml"
    write_bytes(path, (origin + yaml.safe_dump(profile, sort_keys=False)).encode())
    return path


def _data_of(run: Run) -> str:
    ingestion = run.find(Ingestion)
    return f"{ingestion.data.folder}, snapshot {ingestion.snapshot}" if ingestion else "unknown"


def _row(trial: TrialRecord) -> dict[str, Any]:
    about = trial.model_dump(include={"number", "state", "validation_error", "train_seconds"})
    return {**about, **{setting: shown(value) for setting, value in trial.settings.items()}}
