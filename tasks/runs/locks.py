"""Locks: one a subject, held as short as the work on it, and let go by the kernel with its process.

A subject is what two processes must not change at once: a data set's pointer, a job, a table, a
database. Its lock is a file below ``.locks`` of the folder that it lies in. It holds nothing, and
it is there only while somebody holds it or was killed holding it.
"""

from __future__ import annotations

import errno
import logging
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from gridcast.errors import NoSpaceError, WaitEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = ".locks"
_POLL_SECONDS = 0.1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger("gridcast.run")


@contextmanager
def held(
    folder: Path, subject: str, *, is_cancelled: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Hold ``subject`` in ``folder`` alone; wait for who holds it, until it is done or has died.

    ``subject`` is a name that is fit for a file. Not to be taken twice by one thread.

    Raises:
        WaitEndedError: ``is_cancelled`` said so while it waited.
        NoSpaceError: the disk is full.
    """
    path = folder / FOLDER / f"{subject}.lock"
    with full_disk_as_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with held_file(path, subject, is_cancelled=is_cancelled):
        yield


@contextmanager
def held_file(
    path: Path, subject: str, *, is_cancelled: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Hold the lock at ``path`` alone, as :func:`held` does."""
    lock = FileLock(path)
    with full_disk_as_error(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _wait(lock, subject, is_cancelled)
    try:
        yield
    finally:
        release(lock)


@contextmanager
def held_at_once(path: Path) -> Iterator[bool]:
    """Whether the lock at ``path`` was free; if it was, it is held inside."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        release(lock)


def release(lock: FileLock) -> None:
    """Let go, and leave no file: who waits opens the path anew at every look, never an old file."""
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


@contextmanager
def full_disk_as_error(path: Path) -> Iterator[None]:
    """A full disk as an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise NoSpaceError(path) from error
        raise


def _wait(lock: FileLock, subject: str, is_cancelled: Callable[[], bool] | None) -> None:
    _log.info("Waiting for %s: another process works on it", subject)
    try:
        lock.acquire(poll_interval=_POLL_SECONDS, cancel_check=is_cancelled)
    except Timeout:
        raise WaitEndedError(lock.lock_file) from None
