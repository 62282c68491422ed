"""What MLflow has not taken yet: kept before it is told, and told by whoever comes next.

A file a run, below ``unlogged``. It is there while a run logs, so a run that is killed then leaves
it as well as one whose server was down.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from gridcast.errors import GridcastError, RecordError, TrackingError
from gridcast.evaluation.records import Evaluation, KeptModels
from gridcast.record import StoredRecord
from tasks.runs.lives import is_alive, number_of
from tasks.runs.locks import held_at_once
from tasks.runs.places import resolved_path
from tasks.runs.record_files import read_record, write_record
from tasks.runs.run import part_of
from tasks.track.logged.contestant_runs import (
    client_of,
    end_unfinished,
    leave_lineage,
    log_contestants,
    uri_of,
)
from tasks.track.logged.registration import register_recommended
from tasks.track.mlflow_client import told_as_tracking_error
from tasks.train.records import Features, TrainedJob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridcast.config import TrackingConfig
    from tasks.runs.run import Run

_FOLDER = "unlogged"
_log = logging.getLogger("gridcast.track")


class Unlogged(StoredRecord):
    """All that a run has to tell MLflow."""

    advice: ClassVar[str] = "delete it: what it tells of is then not logged"

    run_id: str
    features: Features
    trained: list[TrainedJob]
    evaluation: Evaluation
    kept: KeptModels


def remember(
    run: Run,
    features: Features,
    trained: list[TrainedJob],
    evaluation: Evaluation,
    kept: KeptModels,
) -> Path:
    """Keep what MLflow is to be told, until it has been; the file that does."""
    path = run.artifacts / _FOLDER / f"{run.run_id}.json"
    entry = Unlogged(
        run_id=run.run_id, features=features, trained=trained, evaluation=evaluation, kept=kept
    )
    write_record(path, entry, artifacts=run.artifacts)
    return path


def forget(entry: Path) -> None:
    """MLflow has been told."""
    entry.unlink(missing_ok=True)


def log_unlogged(artifacts: Path, tracking: TrackingConfig, *, but: str = "") -> int:
    """Tell MLflow what earlier runs could not; how many there were. ``but``: the one that asks.

    What cannot be told any more (a file of it is gone or was changed) is named in one line.

    Raises:
        TrackingError: MLflow does not answer or refuses.
    """
    num_logged = 0
    for path in sorted((artifacts / _FOLDER).glob("*.json")):
        with _claimed(artifacts, path) as is_ours:
            if is_ours and path.stem != but:
                num_logged += _log_entry(artifacts, tracking, path)
    return num_logged


def num_unlogged(artifacts: Path) -> int:
    """Of how many runs MLflow has not been told yet."""
    return len(list((artifacts / _FOLDER).glob("*.json")))


@contextmanager
def _claimed(artifacts: Path, path: Path) -> Iterator[bool]:
    """Whether the entry is there, of a run that has ended, and nobody else logs it now."""
    with held_at_once(path.with_suffix(".lock")) as is_free:
        yield is_free and path.is_file() and not is_alive(artifacts / "runs" / path.stem)


def _log_entry(artifacts: Path, tracking: TrackingConfig, path: Path) -> bool:
    try:
        entry = _found(read_record(path, Unlogged), artifacts)
        run = part_of(entry.run_id, "", artifacts)
        # The address is today's: what was one then may have moved, or had a password.
        config = run.config.model_copy(update={"tracking": tracking})
        _log_run(replace(run, config=config), entry)
    except TrackingError:
        raise
    except RecordError as error:
        _log.warning("%s", error)
        return False
    except (GridcastError, FileNotFoundError) as error:
        _log.warning("%s: cannot be logged any more (%s)", path, error)
        return False
    forget(path)
    _log.info("%s: logged to MLflow, which had not taken it before", entry.run_id)
    return True


def _log_run(run: Run, entry: Unlogged) -> None:
    with told_as_tracking_error(uri_of(run)):
        end_unfinished(run)
    trained, evaluation, kept = entry.trained, entry.evaluation, entry.kept
    run_ids = log_contestants(run, entry.features, trained, evaluation, kept)
    if (run.folder / "lineage.json").is_file():
        with told_as_tracking_error(uri_of(run)):
            client = client_of(run)
            for run_id in run_ids.values():
                leave_lineage(run, client, client.get_run(run_id))
    if _is_newest_recommendation(run):
        register_recommended(run, evaluation, kept, run_ids)


def _is_newest_recommendation(run: Run) -> bool:
    """Whether no newer run has kept models: the alias is of the newest that is recommended."""
    others = (run.artifacts / "runs").glob("*/models.json")
    return all(number_of(each.parent) <= number_of(run.folder) for each in others)


def _found(entry: Unlogged, artifacts: Path) -> Unlogged:
    """Its paths on this machine."""
    features = entry.features.model_copy(
        update={"path": resolved_path(entry.features.path, artifacts)}
    )
    trained = [_job_found(each, artifacts) for each in entry.trained]
    evaluation, kept = entry.evaluation, entry.kept
    evaluation = evaluation.model_copy(
        update={
            "forecasts_path": resolved_path(evaluation.forecasts_path, artifacts),
            "scores_paths": _all_found(evaluation.scores_paths, artifacts),
        }
    )
    kept = kept.model_copy(update={"folders": _all_found(kept.folders, artifacts)})
    update = {"features": features, "trained": trained, "evaluation": evaluation, "kept": kept}
    return entry.model_copy(update=update)


def _job_found(trained: TrainedJob, artifacts: Path) -> TrainedJob:
    folder = resolved_path(trained.job.folder, artifacts)
    return trained.model_copy(update={"job": trained.job.model_copy(update={"folder": folder})})


def _all_found(paths: dict[str, str], artifacts: Path) -> dict[str, str]:
    return {name: resolved_path(path, artifacts) for name, path in paths.items()}
