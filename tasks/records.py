"""What stages hand to each other: paths, hashes and figures, never data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gridcast.config import Labels
from gridcast.summary import (
    BaselineRecord,
    DataKind,
    DataRecord,
    ModelRecord,
    Record,
    RegionRecord,
    SourceKind,
    WindowsRecord,
)


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


class Published(Record):
    """A region that readers can have, and what is known of it."""

    region: str
    record: RegionRecord


class CaughtUp(Record):
    """What is published of the files that were known, and the files that are yet to be read."""

    published: tuple[Published, ...]
    left: tuple[SourceFile, ...]


class Ingestion(Record):
    """All regions of one run: what was published and what was set aside, and why."""

    dataset: str
    data: DataRecord
    regions: dict[str, RegionRecord]
    errors: tuple[str, ...] = ()
    data_docs: str | None = None
    snapshot: str | None = None
    data_report: str | None = None

    @property
    def published(self) -> dict[str, RegionRecord]:
        """The regions that passed."""
        return {name: region for name, region in self.regions.items() if region.path}


class Features(Record):
    """The table of features: its file, each region's scale (offset, scale; MW), its windows.

    ``imputed_hours`` counts, by region, the steps whose input was filled and not read.
    ``key`` is the hash of ``parts``: all on which the table depends.
    """

    path: str
    file_sha256: str
    key: str
    scales: dict[str, tuple[float, float]]
    feature_names: list[str]
    windows: WindowsRecord
    imputed_hours: dict[str, int]
    parts: dict[str, Any]
    cached: bool = False


class Job(Record):
    """One model to train: what, on which device, in which folder.

    ``key`` is the hash of ``parts``, all on which the result depends: it tells the job apart.
    """

    name: str
    cell: str
    seed: int
    device: str
    threads: int
    key: str
    folder: str
    parts: dict[str, Any]


class TrainedJob(Record):
    """A job that has ended well, and what its process measured (s, bytes)."""

    job: Job
    num_parameters: int
    weights_sha256: str
    train_seconds: float
    evaluation_seconds: float
    num_steps: int
    peak_memory_bytes: int
    data_bytes: int
    history: list[dict[str, float | None]]
    files: dict[str, str]
    cached: bool = False

    def file(self, name: str) -> Path:
        """The path of one of the job's files."""
        return Path(self.job.folder) / name


class Evaluation(Record):
    """How all contestants did; ``mlflow_run_id`` and ``report`` come later in the run."""

    forecasts_path: str
    scores_path: str
    models: dict[str, ModelRecord]
    baselines: dict[str, BaselineRecord]
    report: str | None = None
