"""What features and jobs hand on: paths, hashes and figures, never data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gridcast.config import Fitted
from gridcast.features.windows import WindowsRecord
from gridcast.kernels.engine import Engine
from gridcast.record import Record


class Features(Record):
    """The table of features: its file, each region's scale (offset, scale; MW), its windows.

    ``imputed_hours`` counts, by region, the steps whose input was filled and not read.
    ``key`` is the hash of ``parts``: all on which the table depends. Of two tables the one with the
    higher ``sequence`` is newer.
    """

    path: str
    file_sha256: str
    key: str
    scales: dict[str, tuple[float, float]]
    feature_names: list[str]
    windows: WindowsRecord
    imputed_hours: dict[str, int]
    parts: dict[str, Any]
    sequence: int = 0
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

    ``num_together`` jobs shared the training's time: seeds of one pass. ``engine`` says which
    kernels ran it, and why.
    """

    job: Job
    num_parameters: int
    weights_sha256: str
    train_seconds: float
    evaluation_seconds: float
    num_steps: int
    num_together: int = 1
    engine: Engine
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
