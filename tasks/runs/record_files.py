"""Records as JSON files: written whole, and read back as what they are or told in one line.

What is believed is read by `read_record`, which refuses what it cannot take. What is only a cache
is read by `cached_record`, for which that is as good as nothing: it is made anew.
"""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from pydantic import ValidationError

from gridcast.errors import LeftTwiceError, RecordError
from gridcast.record import RunRecord, StoredRecord
from tasks.runs.places import relative_paths
from tasks.runs.storage import write_json

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=StoredRecord)
R = TypeVar("R", bound=RunRecord)
_DEEPEST = 64  # lists and objects in one another; ours have about 10, and JSON can be without end
_LONGEST = 160  # characters of what is told of a fault
_log = logging.getLogger("gridcast.records")


def write_record(path: Path, record: StoredRecord, *, artifacts: Path | None = None) -> None:
    """Publish the record as JSON, whole or not at all; paths below ``artifacts`` relative to it."""
    content = record.model_dump(mode="json")
    write_json(path, content if artifacts is None else relative_paths(content, artifacts))


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
        raise _error(path, kind, "no file") from None
    except OSError as error:
        raise _error(path, kind, f"what cannot be read ({error.strerror})") from None
    return parse_record(content, kind, where=path)


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


def parse_record(content: bytes, kind: type[T], *, where: object) -> T:
    """The record that these bytes are; ``where`` is what an error calls them.

    Fields that are not known are passed over, as a newer code of the same version may add some.

    Raises:
        RecordError: they are no such record, or one of a newer version.
    """
    tree = _tree_of(content, kind, where)
    version = tree.get("schema_version", 1)
    newest = kind.newest_schema()
    if isinstance(version, int) and version > newest:
        raise RecordError(
            where,
            found=f"a record that a newer gridcast wrote (schema {version})",
            expected=f"at most {newest}",
            advice=f"use that version, or {kind.advice}",
            is_newer=True,
        )
    try:
        record = kind.model_validate(tree, extra="ignore")
    except ValidationError as error:
        raise _error(where, kind, _first_fault(error)) from None
    return record.model_copy(update={"schema_version": newest})


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


# -- what bytes are --------------------------------------------------------------------------------


def _tree_of(content: bytes, kind: type[StoredRecord], where: object) -> dict[str, Any]:
    """The object that these bytes are as JSON, strictly: no NaN, and no depth without end."""
    try:
        tree = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise _error(where, kind, f"JSON of more than {_DEEPEST} levels") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        found = f"no JSON ({error})" if content.strip() else "an empty file"
        raise _error(where, kind, found) from None
    if not isinstance(tree, dict):
        raise _error(where, kind, f"JSON that is no object ({type(tree).__name__})")
    if not _is_flat(tree):
        raise _error(where, kind, f"JSON of more than {_DEEPEST} levels")
    return tree


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text[:20]} is no finite number"
        raise ValueError(message)
    return number


def _is_flat(tree: object) -> bool:
    level = [tree]
    for _ in range(_DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return not level


def _first_fault(error: ValidationError) -> str:
    """The first fault: which field, and what is wrong with it."""
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, fault["loc"])) or "the whole"
    return f"no {field}" if fault["type"] == "missing" else f"{field}: {fault['msg']}"


def _error(where: object, kind: type[StoredRecord], found: str) -> RecordError:
    line = " ".join(found.split())[:_LONGEST]
    return RecordError(
        where, found=line, expected=f"a record of gridcast ({kind.__name__})", advice=kind.advice
    )
