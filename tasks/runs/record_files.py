"""Records as JSON files: written whole, and read back as what they are or told in one line.

What is believed is read by `read_record`, which refuses what it cannot take. What is only a cache
is read by `cached_record`, for which that is as good as nothing: it is made anew.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from gridcast.errors import LeftTwiceError, RecordError
from gridcast.record import (
    RunRecord,
    StoredRecord,
    fault_of_seal,
    not_a_record,
    parse_record,
    sealed,
)
from tasks.runs.places import relative_paths
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=StoredRecord)
R = TypeVar("R", bound=RunRecord)
_OF_OTHERS = ("data-docs", "mlflow", "prefect")  # folders of artifacts that hold no records
_log = logging.getLogger("gridcast.records")


def write_record(path: Path, record: StoredRecord, *, artifacts: Path | None = None) -> None:
    """Publish the record as JSON, whole or not at all; paths below ``artifacts`` relative to it."""
    content = record.model_dump(mode="json")
    tree = content if artifacts is None else relative_paths(content, artifacts)
    write_bytes(path, sealed(tree))


@overload
def read_record(path: Path, kind: type[T]) -> T: ...
@overload
def read_record(path: Path, kind: type[T], *, may_lack: Literal[True]) -> T | None: ...


def read_record(path: Path, kind: type[T], *, may_lack: bool = False) -> T | None:
    """The record in a file; with ``may_lack`` None where there is no file.

    Raises:
        RecordError: the file is not there, holds no such record, or one of a newer version.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if may_lack:
            return None
        raise not_a_record(path, kind, "no file") from None
    except OSError as error:
        raise not_a_record(path, kind, f"what cannot be read ({error.strerror})") from None
    return parse_record(content, kind, where=path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The record at ``path``; None where there is none, or none that can be believed."""
    try:
        content = path.read_bytes()
        record = None if fault_of_seal(content) else json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def cached_record(path: Path, kind: type[T], *, is_reported: bool = True) -> T | None:
    """The record in a file that can be made anew; None where there is none that can be taken.

    What is there and can't be taken is told in a warning, unless ``is_reported`` says not to.
    """
    try:
        return read_record(path, kind, may_lack=True)
    except RecordError as error:
        if is_reported:
            _log.warning("%s: found %s; it is made anew", path, error.found)
        return None


def mended_record(path: Path, kind: type[T]) -> T | None:
    """As :func:`cached_record`, for what is published over: what a newer version left is kept.

    Raises:
        RecordError: it is of a newer version, which may have put there what this one would lose.
    """
    try:
        return read_record(path, kind, may_lack=True)
    except RecordError as error:
        if error.is_newer:
            raise
        _log.warning("%s: found %s; it is made anew", path, error.found)
        return None


def altered_records(artifacts: Path) -> dict[Path, str]:
    """Each JSON file of gridcast in the folder that is not as it was written, and what is found.

    One of an older version has no hash of its content, and is not among them.
    """
    found = {}
    for folder in sorted(path for path in artifacts.iterdir() if path.name not in _OF_OTHERS):
        for path in sorted(folder.rglob("*.json")):
            with suppress(FileNotFoundError):  # others work in the folder too
                if fault := fault_of_seal(path.read_bytes()):
                    found[path] = fault
    return found


# -- the folder of a run ---------------------------------------------------------------------------


def leave_record(folder: Path, record: RunRecord) -> None:
    """Write a stage's record into the folder of its run, paths relative to the artifacts.

    Raises:
        LeftTwiceError: a stage of this run has left it before.
    """
    path = folder / record.file_name
    if path.exists():
        raise LeftTwiceError(path)
    write_record(path, record, artifacts=folder.resolve().parents[1])


def find_record(folder: Path, kind: type[R]) -> R | None:
    """The one record of its kind; None if the run did not come to it.

    Raises:
        RecordError: the file holds no such record.
    """
    return read_record(folder / f"{kind.kind}.json", kind, may_lack=True)


def find_all(folder: Path, kind: type[R]) -> list[R]:
    """All records of a kind of which a run has several, by their names.

    Raises:
        RecordError: a file holds no such record.
    """
    return [read_record(path, kind) for path in files_of(folder, kind)]


def files_of(folder: Path, kind: type[RunRecord]) -> list[Path]:
    """Where those of a kind of which a run has several stand, by their names."""
    return sorted((folder / kind.kind).glob("*.json"))
