"""Bring what other machines have done before some work, and let them have what came of it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from gridcast.config import Config
from gridcast.errors import GridcastError, LockHeldError
from tasks.ingest.snapshots import dataset_held
from tasks.promote.promotion_files import FOLDER as CHAMPIONS
from tasks.promote.promotion_files import log_files, read_log
from tasks.runs.lives import SUMMARY, has_ended, oldest_first
from tasks.runs.run import read_summary
from tasks.share import shared_sets
from tasks.share.shared_sets import (
    DATA,
    FEATURES,
    FORECASTS,
    JOBS,
    MODELS,
    MONITORING,
    RUNS,
    SNAPSHOTS,
)
from tasks.store.job_exchange import keep_job
from tasks.store.kept_sets import (
    bring,
    bring_published,
    keep,
    publish,
    set_names,
    working_copy,
)
from tasks.store.merged_rows import merge_days

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridcast.audit.lineage import Lineage
    from tasks.store.kept_sets import WorkingCopy

Part = Literal["data", "runs", "operation"]
PARTS: Final[tuple[Part, ...]] = ("data", "runs", "operation")
_LOOKED_AT = 20  # runs, for one that trained
_TRIES = 5  # to publish rows beside those of another machine
_log = logging.getLogger("gridcast.store")


@contextmanager
def shared(artifacts: Path, profile: str, overrides: tuple[str, ...]) -> Iterator[None]:
    """Work on what machines share: brought before, published after, also where part of it failed.

    Without ``run.store`` nothing is added to it.

    Raises:
        StoreError: the store does not answer; before the work, or after it.
        LockHeldError: another machine published meanwhile.
    """
    copy = working_copy(artifacts, Config.load(profile, overrides=overrides).run.store)
    if copy is None:
        yield
        return
    bring_parts(copy, *PARTS)
    try:
        yield
    except GridcastError:
        keep_what_can_be(copy, *PARTS)
        raise
    keep_parts(copy, *PARTS)


def bring_parts(copy: WorkingCopy, *parts: Part) -> None:
    """What is published and newest of each.

    Raises:
        StoreError, IntegrityError, RecordError: the store does not answer, or is damaged.
    """
    for part in parts:
        {"data": _bring_data, "runs": _bring_newest_run, "operation": _bring_operation}[part](copy)


def keep_parts(copy: WorkingCopy, *parts: Part) -> None:
    """What is here of each and not there yet.

    Raises:
        StoreError: the store does not answer.
        LockHeldError: another machine published meanwhile.
    """
    for part in parts:
        {"data": _publish_data, "runs": _keep_runs, "operation": _publish_operation}[part](copy)


def keep_what_can_be(copy: WorkingCopy, *parts: Part) -> None:
    """The same after something else failed, which is the error to be told."""
    try:
        keep_parts(copy, *parts)
    except GridcastError as error:
        _log.warning("%s", str(error).removeprefix("ERROR "))


def bring_all(copy: WorkingCopy) -> None:
    """All that the store has, old snapshots, runs and models too.

    Raises:
        StoreError, IntegrityError, RecordError: the store does not answer, or is damaged.
    """
    for kind in (SNAPSHOTS, FEATURES, JOBS, MODELS, RUNS):
        for name in set_names(copy, f"{kind}/"):
            bring(copy, name)
    bring_parts(copy, "data", "operation")


# -- data ------------------------------------------------------------------------------------------


def _bring_data(copy: WorkingCopy) -> None:
    for name in set_names(copy, f"{DATA}/"):
        with dataset_held(copy.artifacts / DATA, _last(name)):
            bring_published(copy, name)


def _publish_data(copy: WorkingCopy) -> None:
    for path in sorted((copy.artifacts / DATA).glob("*.json")):
        for each in shared_sets.snapshot_ids(copy.artifacts, path.stem)[:1]:
            keep(copy, f"{SNAPSHOTS}/{each}", shared_sets.snapshot_files(copy.artifacts, each))
        files = shared_sets.data_set_files(copy.artifacts, path.stem)
        publish(copy, f"{DATA}/{path.stem}", files)


# -- runs and models -------------------------------------------------------------------------------


def _bring_newest_run(copy: WorkingCopy) -> None:
    """The newest one, and the newest that trained with its models; not their tables of rows."""
    names = set_names(copy, f"{RUNS}/")[::-1]
    for name in names[:_LOOKED_AT]:
        bring(copy, name, is_wanted=lambda path: not path.endswith(".parquet"))
        folder = copy.artifacts / name
        lineage = shared_sets.lineage_of(folder)
        if lineage is not None and read_summary(folder / SUMMARY).models:
            _bring_models(copy, lineage)
            return


def _bring_models(copy: WorkingCopy, lineage: Lineage) -> None:
    for name in shared_sets.model_folders(lineage):
        bring(copy, f"{MODELS}/{name}")


def _keep_runs(copy: WorkingCopy) -> None:
    """All that have ended, each after what it was made of."""
    known = set(set_names(copy, f"{RUNS}/"))
    for folder in oldest_first(copy.artifacts / RUNS):
        name = f"{RUNS}/{folder.name}"
        if name not in known and has_ended(folder):
            if (lineage := shared_sets.lineage_of(folder)) is not None:
                _keep_made(copy, lineage)
            keep(copy, name, shared_sets.run_files(folder))


def _keep_made(copy: WorkingCopy, lineage: Lineage) -> None:
    for name in shared_sets.feature_tables(lineage):
        if files := shared_sets.feature_files(copy.artifacts, name):
            keep(copy, f"{FEATURES}/{name}", files)
    for name in shared_sets.job_folders(lineage):
        if (folder := copy.artifacts / JOBS / name).joinpath("result.json").is_file():
            keep_job(copy, folder)
    for name in shared_sets.model_folders(lineage):
        if files := shared_sets.model_files(copy.artifacts, name):
            keep(copy, f"{MODELS}/{name}", files)


# -- operation -------------------------------------------------------------------------------------


def _bring_operation(copy: WorkingCopy) -> None:
    for name in set_names(copy, f"{CHAMPIONS}/"):
        bring_published(copy, name)
        for entry in read_log(copy.artifacts, _last(name)).entries[-1:]:
            for each in (entry.to, entry.left):
                if each is not None:
                    bring(copy, each.folder)
    for name in set_names(copy, f"{FORECASTS}/"):
        bring_published(copy, name, merge=merge_days)
    for name in set_names(copy, f"{MONITORING}/"):
        bring_published(copy, name)


def _publish_operation(copy: WorkingCopy) -> None:
    artifacts = copy.artifacts
    for dataset in shared_sets.data_sets_in(artifacts / CHAMPIONS):
        publish(copy, f"{CHAMPIONS}/{dataset}", log_files(artifacts, dataset))
    for dataset in shared_sets.data_sets_in(artifacts / FORECASTS):
        _publish_forecasts(copy, dataset)
    for dataset in shared_sets.data_sets_in(artifacts / MONITORING):
        files = shared_sets.monitoring_files(artifacts, dataset)
        publish(copy, f"{MONITORING}/{dataset}", files)


def _publish_forecasts(copy: WorkingCopy, dataset: str) -> None:
    """Beside the rows of other machines: what both have issued, the first one stands for."""
    name = f"{FORECASTS}/{dataset}"
    for left in reversed(range(_TRIES)):
        try:
            publish(copy, name, shared_sets.forecast_files(copy.artifacts, dataset))
        except LockHeldError:
            if not left:
                raise
            bring_published(copy, name, merge=merge_days)
        else:
            return


def _last(name: str) -> str:
    return name.rpartition("/")[2]
