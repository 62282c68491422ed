"""Whether a run lives, and which run is newer: never told by a time, of a file or of a clock.

A run's process holds the lock ``life.lock`` in the run's folder for as long as it lives; the kernel
lets go of it however the process ends. Each run has a number, one above that of all runs that it
found: a clock may be set back, and a copy may have any file times.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gridcast.errors import LockHeldError, UsageError
from tasks.runs.locks import held, held_at_once
from tasks.runs.record_files import read_json
from tasks.runs.storage import LIFE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

OPENED = "opened.json"
SUMMARY = "summary.json"
_OPENING = "opening-a-run"


def opening(artifacts: Path) -> AbstractContextManager[None]:
    """Hold the right to open a run: how runs are numbered, and whether one may begin."""
    return held(artifacts, _OPENING)


@contextmanager
def no_run_alive(artifacts: Path) -> Iterator[None]:
    """Do what no run may see; a run that would begin meanwhile waits.

    Raises:
        LockHeldError: a run lives. It may do so for hours, so it is not waited for.
    """
    with opening(artifacts):
        if living := living_runs(artifacts / "runs"):
            found = f"at work: {', '.join(folder.name for folder in living)}"
            expected = "no run, for it may read what would be deleted; try again when it has ended"
            raise LockHeldError(artifacts / "runs", found=found, expected=expected)
        yield


@contextmanager
def claimed_dead(folder: Path) -> Iterator[bool]:
    """Whether the run was killed: without a summary, its process gone. Nobody else closes it now.

    A folder in which no run was ever opened is none.
    """
    if has_ended(folder) or folder.is_symlink() or not (folder / OPENED).is_file():
        yield False
        return
    with held_at_once(folder / LIFE) as is_free:
        yield is_free and not has_ended(folder)


def has_ended(folder: Path) -> bool:
    """Whether the run left its summary, the last that it does."""
    return (folder / SUMMARY).exists()


def is_alive(folder: Path) -> bool:
    """Whether the run's process lives."""
    if has_ended(folder) or not (folder / LIFE).is_file():
        return False
    with held_at_once(folder / LIFE) as is_free:
        return not is_free


def living_runs(runs: Path) -> list[Path]:
    """The folders of the runs whose processes live now."""
    return [folder for folder in oldest_first(runs) if is_alive(folder)]


def oldest_first(runs: Path) -> list[Path]:
    """The folders of all runs, the newest last."""
    folders = [each for each in runs.glob("*") if each.is_dir() and not each.is_symlink()]
    return sorted(folders, key=lambda folder: (number_of(folder), folder.name))


def next_number(runs: Path) -> int:
    """The number of a run that begins now; its caller alone opens runs."""
    return 1 + max(map(number_of, oldest_first(runs)), default=0)


def number_of(folder: Path) -> int:
    """The run's number; 0 of one that an earlier version made, or that can't be believed."""
    number = (read_json(folder / OPENED) or {}).get("sequence", 0)
    return number if isinstance(number, int) else 0


def check_latest(artifacts: Path) -> None:
    """A run ends with a link of that name: what is in its place is told before any work."""
    latest = artifacts / "runs" / "latest"
    if latest.is_dir() and not latest.is_symlink():
        expected = "a link to the newest run, or nothing; give the folder another name"
        raise UsageError(latest, found="a folder", expected=expected)


def new_run_id() -> str:
    """The time, for people, and four digits that tell it from one of the same second."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
