"""Files that are whole or absent: published by rename, read only if their SHA-256 is right."""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gridcast.errors import UsageError
from tasks.runs.keys import file_sha256, sha256_of
from tasks.runs.locks import full_disk_as_error, held_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

SEAL, _SEALED_BY = "SHA256SUMS", "# the lines above:"
LIFE = "life.lock"  # of a run: held by its process
LIVE = "live"  # a run's folder for what its tasks tell one another while it lives: not sealed
TEMPORARY_SUFFIX, _LOCK_SUFFIX = ".gridcast-tmp", ".lock"
# Enough for one set of regional CSVs: Parquet, features, two models, figures, both databases.
FREE_BYTES_NEEDED = 500_000_000


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path`` in one step.

    A reader sees the old file or the new one, also after a power cut. On an error nothing is left.

    Raises:
        NoSpaceError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_as_error(path), temporary_sibling(path) as temporary:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)


@contextmanager
def publishing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes ``folder`` in one step, with all in it.

    ``folder`` must not be there, or be empty. On an error nothing is left; what a process left that
    was killed here before is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*{TEMPORARY_SUFFIX}"):
        _remove_if_left(path)
    with temporary_sibling(folder) as stage:
        stage.mkdir()
        yield stage
        for path in (*stage.iterdir(), stage):
            _sync(path)
        stage.rename(folder)
        _sync(folder.parent)


@contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """A name for what will be ``path``; whatever still has that name at the end is removed.

    Its owner holds a lock beside it. A process id would not tell whether its owner lives: ids are
    given again, and another machine that shares the disk has its own.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        with held_at_once(_lock_of(temporary)) as is_own:
            if not is_own:  # somebody looks whether its owner lives, before it has one
                continue
            try:
                yield temporary
            finally:
                with suppress(OSError):
                    _remove(temporary)
            return


def write_bytes(path: Path, content: bytes) -> None:
    """Publish ``content`` as ``path``."""
    with publishing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Publish ``record`` as indented JSON; NaN is refused, since JSON has none."""
    write_bytes(path, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


def set_aside_if_broken(database: Path) -> str:
    """Give an SQLite file that is none any more another name, so that a new one can be made.

    Gives what was wrong; empty where nothing is, or where somebody else has it locked.
    """
    if not database.is_file() or not (fault := _fault_of(database)):
        return ""
    number = 1 + len(list(database.parent.glob(f"{glob.escape(database.name)}.damaged-*")))
    database.rename(database.with_name(f"{database.name}.damaged-{number}"))
    for name in (f"{database.name}-wal", f"{database.name}-shm", f"{database.name}-journal"):
        database.with_name(name).unlink(missing_ok=True)
    return fault


def _fault_of(database: Path) -> str:
    """What SQLite finds wrong with the file."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # locked, or not to be read: it may be whole
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else str(found)


def seal_folder(folder: Path) -> None:
    """Write ``SHA256SUMS`` of all files in ``folder``, which `sha256sum --check` reads too.

    What is in ``live/`` is no part of it.
    """
    unsealed = {SEAL, LIFE}
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in unsealed]
    files = [path for path in found if path.relative_to(folder).parts[0] != LIVE]
    lines = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    write_bytes(folder / SEAL, _sealed("".join(lines)))


def read_seal(folder: Path) -> dict[str, str] | None:
    """File to SHA-256, as sealed; None where the seal was changed or is not there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_bytes(folder / "a", b"")
    >>> seal_folder(folder)
    >>> read_seal(folder)["a"][:8]
    'e3b0c442'
    """
    try:
        content = (folder / SEAL).read_bytes()
        body = content.decode().partition(_SEALED_BY)[0]
    except (OSError, UnicodeDecodeError):
        return None
    if content != _sealed(body):
        return None
    return {name: digest for digest, name in (line.split("  ", 1) for line in body.splitlines())}


def _sealed(body: str) -> bytes:
    return f"{body}{_SEALED_BY} {sha256_of(body)}\n".encode()


_NOT_IN_ADDRESSES: Final = "?%#"


def check_folder(artifacts: Path) -> None:
    """Make the artifacts folder and refuse it where a run could not end well.

    Raises:
        UsageError: it is a file, cannot be written, lies on a disk that is as good as full, or has
            a name that no database's address can hold.
    """
    if odd := sorted(set(str(artifacts)) & set(_NOT_IN_ADDRESSES)):
        raise UsageError(
            artifacts,
            found=f"a path with {' and '.join(odd)}, which addresses of databases cannot hold",
            expected="one without; name another with --artifacts",
        )
    probe = artifacts / f".probe.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        artifacts.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(b"gridcast")
    except OSError as error:
        raise UsageError(
            artifacts,
            found=f"a folder that cannot be written ({error.strerror})",
            expected="one that can; name another with --artifacts",
        ) from None
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    free = shutil.disk_usage(artifacts).free
    if free < FREE_BYTES_NEEDED:
        raise UsageError(
            artifacts,
            found=f"{free / 1e6:.0f} MB free on its disk",
            expected=f"at least {FREE_BYTES_NEEDED / 1e6:.0f} MB; make room or use --artifacts",
        )


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files below ``folder`` whose owners are dead; those of others stay."""
    for parent, folders, files in os.walk(folder):  # other runs may add and delete at any time
        for name in (*folders, *files):
            if name.startswith(".") and name.endswith((TEMPORARY_SUFFIX, _LOCK_SUFFIX)):
                _remove_if_left(Path(parent, name.removesuffix(_LOCK_SUFFIX)))


def delete_files(paths: list[Path]) -> None:
    """Delete files, and make sure that they stay deleted before anything else is done."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        if folder.is_dir():
            _sync(folder)


def _remove_if_left(temporary: Path) -> None:
    """Remove what has a temporary name, unless its owner lives."""
    if not temporary.name.endswith(TEMPORARY_SUFFIX):
        return  # the lock of something else
    with held_at_once(_lock_of(temporary)) as is_left:
        if is_left:
            _remove(temporary)


def _lock_of(temporary: Path) -> Path:
    return temporary.with_name(temporary.name + _LOCK_SUFFIX)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
