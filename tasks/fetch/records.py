"""What a run reads: the regional CSVs of a folder."""

from __future__ import annotations

import re
from pathlib import Path

from gridcast.config import Labels
from gridcast.readings.records import DataKind, SourceKind
from gridcast.record import Record


class SourceFile(Record):
    """One regional CSV."""

    region: str
    path: Path


class Sources(Record):
    """The regional CSVs of one folder; ``skipped`` tells which files were passed over, and why.

    ``folder`` is what the run was given: the folder itself, or the archive that was unpacked.
    """

    folder: Path
    kind: DataKind
    files_folder: str = ""
    source: SourceKind = "folder"
    labels: Labels = "local"
    files: tuple[SourceFile, ...]
    skipped: dict[str, str]

    @property
    def dataset(self) -> str:
        """The folder's name, made fit for a path: where its regions are published."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.folder.resolve().name).strip(".-") or "data"
