"""Records: what a stage hands on, what stands in a JSON file, and what a run leaves."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


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
    """

    advice: ClassVar[str] = "delete it, and run the same command again"  # what to do with a bad one

    schema_version: int = Field(default=1, ge=1)

    @classmethod
    def newest_schema(cls) -> int:
        """The version that this code writes, and the highest that it reads."""
        return int(cls.model_fields["schema_version"].default)


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
