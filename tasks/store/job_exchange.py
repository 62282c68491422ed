"""Jobs between machines that share a store and no folder: asked here, done there, taken here.

Who plans a job has its folder with ``job.json`` and the table of features. Four calls do the rest,
each of them safe to repeat:

1. the planner, :func:`offer_job`: what the job needs is in the store;
2. the worker, :func:`fetch_job`: it lies in the worker's folder as it did in the planner's;
3. the worker, :func:`keep_job`: a finished job is in the store, whole, for everybody and for good;
4. anybody, :func:`fetch_finished_job`: a finished job of the same key is here, or is nowhere.

A job's folder is named by its key, and all paths in its records are below the artifacts: they are
the same on each machine.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gridcast.errors import IntegrityError, RecordError, StoreError, UsageError
from tasks.runs.places import resolved_path
from tasks.runs.record_files import read_json
from tasks.store.kept_sets import WorkingCopy, bring, keep, publish, read_set, see

if TYPE_CHECKING:
    from pathlib import Path

_ASKED, _DONE = "job.json", "result.json"
_NOT_KEPT = (
    "checkpoints",
    "company.json",
    "mlflow.json",
)  # of a training that goes on; of a folder
_log = logging.getLogger("gridcast.store")


def offer_job(copy: WorkingCopy, folder: Path) -> None:
    """Put what the job in ``folder`` needs into the store: its ``job.json``, its features.

    Raises:
        UsageError: nothing is asked there.
        StoreError: the store does not answer.
        LockHeldError: another machine offers it at the same moment.
    """
    asked = read_json(folder / _ASKED)
    if asked is None:
        raise UsageError(folder, found=f"no {_ASKED}", expected="a job that was planned")
    features = copy.artifacts / resolved_path(asked["features"]["path"], copy.artifacts)
    name = f"asked/{folder.name}"
    see(copy, name)
    publish(copy, name, [features, folder / _ASKED])


def fetch_job(copy: WorkingCopy, name: str) -> Path:
    """Let the job of the folder's name ``name`` be here as it was asked; its folder.

    Raises:
        UsageError: no such job was offered.
        IntegrityError, RecordError: what the store has of it is damaged.
        StoreError: the store does not answer.
    """
    if bring(copy, f"asked/{name}") is None:
        where, expected = copy.address, "one that was offered"
        raise UsageError(where, found=f"no job {name}", expected=expected)
    return copy.artifacts / "jobs" / name


def keep_job(copy: WorkingCopy, folder: Path) -> None:
    """Keep a finished job whole: who has its key later need not do it again.

    Raises:
        UsageError: it has not finished.
        StoreError: the store does not answer.
    """
    if not (folder / _DONE).is_file():
        raise UsageError(folder, found=f"no {_DONE}", expected="a job that has finished")
    others = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.relative_to(folder).parts[0] not in _NOT_KEPT
        and not path.name.startswith(".")
        and path.name != _DONE
    ]
    keep(copy, f"jobs/{folder.name}", [*others, folder / _DONE])


def fetch_finished_job(copy: WorkingCopy, folder: Path) -> bool:
    """Let a finished job be in ``folder``; whether the store has it.

    A store that does not answer, or holds a damaged one, is told and costs no more than the work.
    """
    name = f"jobs/{folder.name}"
    try:
        return bring(copy, name) is not None
    except (StoreError, IntegrityError, RecordError) as error:
        _log.warning("%s; it is done here", error)
        return False


def is_finished(copy: WorkingCopy, name: str) -> bool:
    """Whether the store has the finished job of the folder's name ``name``.

    Raises:
        StoreError: the store does not answer.
        RecordError: what it has is damaged.
    """
    return read_set(copy, f"jobs/{name}") is not None
