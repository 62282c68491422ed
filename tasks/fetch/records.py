"""What a run reads: the regional CSVs of a folder."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from gridcast.config import Labels
from gridcast.readings.records import DataKind, SourceKind
from gridcast.record import Record


class SourceFile(Record):
    """One regional CSV."""

    region: str
    path: Path


class Sources(Record):
    """The regional CSVs of one folder; ``skipped`` tells which files were passed over, and why.

    ``folder`` is what the run was given: the folder itself, an archive that was unpacked, or one
    file. ``names`` has by region what files call it, where that is not its name; ``covariates`` the
    files with its covariates.
    """

    folder: Path
    kind: DataKind
    files_folder: str = ""
    source: SourceKind = "folder"
    labels: Labels = "local"
    files: tuple[SourceFile, ...]
    skipped: dict[str, str]
    names: dict[str, str] = Field(default_factory=dict)
    covariates: dict[str, tuple[Path, ...]] = Field(default_factory=dict)

    @property
    def other_names(self) -> dict[str, str]:
        """By region the names of files that are not called ``<REGION>_hourly.csv``."""
        return {
            each.region: each.path.name
            for each in self.files
            if each.path.name != f"{each.region}_hourly.csv"
        }

    @property
    def dataset(self) -> str:
        """The folder's name, made fit for a path: where its regions are published."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.folder.resolve().name).strip(".-") or "data"
