"""What stages hand to each other: paths, hashes and figures, never data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gridcast.config import Fitted, Labels
from gridcast.summary import (
    BaselineRecord,
    DataKind,
    DataRecord,
    MeanRecord,
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
    ``scored`` are the parts whose labels it forecasts: a trial's job never sees those of ``test``.
    """

    name: str
    cell: str
    seed: int
    device: str
    threads: int
    key: str
    folder: str
    parts: dict[str, Any]
    scored: tuple[str, ...] = ("validation", "test")


class TrainedJob(Record):
    """A job that has ended well, and what its process measured (s, bytes).

    ``num_together`` jobs shared the training's time: seeds of one pass.
    """

    job: Job
    num_parameters: int
    weights_sha256: str
    train_seconds: float
    evaluation_seconds: float
    num_steps: int
    num_together: int = 1
    peak_memory_bytes: int
    data_bytes: int
    history: list[dict[str, float | None]]
    files: dict[str, str]
    cached: bool = False

    def file(self, name: str) -> Path:
        """The path of one of the job's files."""
        return Path(self.job.folder) / name


class BaselineJob(Record):
    """One baseline to fit, in which folder; ``key`` is the hash of ``parts``, as of a job."""

    kind: Fitted
    threads: int
    key: str
    folder: str
    parts: dict[str, Any]

    @property
    def name(self) -> str:
        """As a contestant, and to people."""
        return self.kind


class FittedBaseline(Record):
    """A baseline that was fitted well, and what its process measured (s)."""

    job: BaselineJob
    train_seconds: float
    evaluation_seconds: float
    files: dict[str, str]
    cached: bool = False

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return Path(self.job.folder) / name


class TrialRecord(Record):
    """Settings that were tried, by name, and what came of them (percent, s).

    ``given up``: ended early, with the sMAPE that it had then; ``refused``: the values do not go
    together, or another trial was at them; ``interrupted``: with its run, and tried again by the
    next one.
    """

    number: int
    state: Literal["trained", "given up", "failed", "refused", "interrupted"]
    settings: dict[str, Any]
    validation_smape: float | None
    train_seconds: float | None
    reason: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is one of the ``tuning.trials`` that a study shall have."""
        return self.state in {"trained", "given up", "failed"}


def best_of(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trained trial with the smallest validation sMAPE; the first of equals."""
    first = best_first(trials)[:1]
    return first[0] if first and first[0].state == "trained" else None


def best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trained ones by their validation sMAPE, then the others as they came."""

    def place(trial: TrialRecord) -> tuple[bool, float, int]:
        is_trained = trial.state == "trained"
        return not is_trained, (trial.validation_smape or 0.0) * is_trained, trial.number

    return sorted(trials, key=place)


def shown(value: object) -> str:
    """A value as people want to read it: four digits of a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class StudyRecord(Record):
    """A study as a run left it; ``best`` is the number of its best trial, ``profile`` its file.

    ``unchanged`` is the number of the trial that has the settings as they were before the search.
    """

    name: str
    folder: str
    objective: str
    best: int
    unchanged: int | None
    profile: str
    picture: str
    trials: list[TrialRecord]


class Evaluation(Record):
    """How all contestants did; ``mlflow_run_id`` and ``report`` come later in the run."""

    forecasts_path: str
    scores_path: str
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord]
    baselines: dict[str, BaselineRecord]
    preferred: str | None
    report: str | None = None
