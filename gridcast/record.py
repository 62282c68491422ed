"""Records: what a stage hands on, what stands in a JSON file, and what a run leaves.

Bytes become a record here; `tasks.runs.record_files` reads and writes the files. The first line of
a record's file has the SHA-256 of all that follows: what was changed since is not believed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gridcast.errors import RecordError

_DEEPEST = 64  # lists and objects in one another; ours have about 10, and JSON can be without end
_LONGEST = 160  # characters of what is told of a fault
SEALED_SINCE: Final = 3  # from then on a record without the hash of its content is none
_SEAL: Final = "record_sha256"
_SEALED = re.compile(rb'\A\{\n  "' + _SEAL.encode() + rb'": "([0-9a-f]{64})",\n')


class Record(BaseModel):
    """An immutable record; made in code, it takes the fields that it has and no other."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredRecord(Record):
    """The whole of a JSON file.

    ``schema_version`` rises where a reader of the version before would be misled: a field gone, of
    another meaning, or one that may not be passed over. A field more, with a default, is no new
    version: `tasks.runs.record_files` passes over fields that it does not know, and fills in those
    that an older version did not write. A field that was renamed is read under its older name
    too, by ``AliasChoices``, and is a new version. A file that names no version is of version 1.
    From version 3 on the file has the hash of its content (:func:`sealed`).
    """

    advice: ClassVar[str] = "delete it, and run the same command again"  # what to do with a bad one

    schema_version: int = Field(default=SEALED_SINCE, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _without_its_seal(cls, tree: object) -> object:
        """The hash is the file's, and no part of what it says."""
        if isinstance(tree, dict) and _SEAL in tree:
            return {name: value for name, value in tree.items() if name != _SEAL}
        return tree

    @classmethod
    def newest_schema(cls) -> int:
        """The version that this code writes, and the highest that it reads."""
        return int(cls.model_fields["schema_version"].default)


T = TypeVar("T", bound=StoredRecord)


class RunRecord(StoredRecord):
    """What one stage of a run leaves in the run's folder, once: ``<kind>.json``.

    Where a kind has several, ``part`` tells them apart, as ``<kind>/<part>.json``.
    """

    advice: ClassVar[str] = "run the same command again: a run begins with a folder of its own"
    kind: ClassVar[str]

    @property
    def part(self) -> str:
        """Which one of several it is; empty if a run has one of this kind."""
        return ""

    @property
    def file_name(self) -> str:
        """Its path in the run's folder."""
        return f"{self.kind}/{self.part}.json" if self.part else f"{self.kind}.json"


def sealed(tree: dict[str, Any]) -> bytes:
    """The bytes of a record's file: indented JSON, in whose first line stands the hash of the rest.

    NaN is refused, since JSON has none.

    >>> content = sealed({"schema_version": 3, "mw": 1.5})
    >>> fault_of_seal(content), fault_of_seal(content.replace(b"1.5", b"1.6"))
    ('', 'a record that was changed after it was written')
    """
    body = json.dumps(tree, indent=2, allow_nan=False).removeprefix("{\n").encode() + b"\n"
    return b'{\n  "%b": "%b",\n%b' % (_SEAL.encode(), _digest(body), body)


def fault_of_seal(content: bytes) -> str:
    """What is wrong with a record's bytes by their hash; empty if nothing is, or if it is old."""
    if seal := _SEALED.match(content):
        is_whole = seal[1] == _digest(content[seal.end() :])
        return "" if is_whole else "a record that was changed after it was written"
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return "no JSON" if content.strip() else "an empty file"
    return _fault_without_seal(tree) if isinstance(tree, dict) else "JSON that is no object"


def _fault_without_seal(tree: dict[str, Any]) -> str:
    version = tree.get("schema_version", 1)
    is_old = isinstance(version, int) and version < SEALED_SINCE
    return "" if is_old else f"a record without the hash of its content ({_SEAL})"


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def parse_record(content: bytes, kind: type[T], *, where: object) -> T:
    """The record that these bytes are; ``where`` is what an error calls them.

    Fields that are not known are passed over, as a newer code of the same version may add some.

    Raises:
        RecordError: they are no such record, or one of a newer version.
    """
    is_sealed = _SEALED.match(content) is not None
    if is_sealed and (fault := fault_of_seal(content)):
        raise not_a_record(where, kind, fault)
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
    if not is_sealed and (fault := _fault_without_seal(tree)):
        raise not_a_record(where, kind, fault)
    try:
        record = kind.model_validate(tree, extra="ignore")
    except ValidationError as error:
        raise not_a_record(where, kind, _first_fault(error)) from None
    return record.model_copy(update={"schema_version": newest})


def _tree_of(content: bytes, kind: type[StoredRecord], where: object) -> dict[str, Any]:
    """The object that these bytes are as JSON, strictly: no NaN, and no depth without end."""
    try:
        tree = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise not_a_record(where, kind, f"JSON of more than {_DEEPEST} levels") from None
    except ValueError as error:  # UnicodeDecodeError is one too
        found = f"no JSON ({error})" if content.strip() else "an empty file"
        raise not_a_record(where, kind, found) from None
    if not isinstance(tree, dict):
        raise not_a_record(where, kind, f"JSON that is no object ({type(tree).__name__})")
    if not _is_flat(tree):
        raise not_a_record(where, kind, f"JSON of more than {_DEEPEST} levels")
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


def not_a_record(where: object, kind: type[StoredRecord], found: str) -> RecordError:
    """What is raised of a file that does not hold one: what was found, in one line."""
    line = " ".join(found.split())[:_LONGEST]
    return RecordError(
        where, found=line, expected=f"a record of gridcast ({kind.__name__})", advice=kind.advice
    )
