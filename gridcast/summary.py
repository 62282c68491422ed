"""What a run tells machines: the shape of ``summary.json``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from gridcast.config import Labels

if TYPE_CHECKING:
    from collections.abc import Sequence

Status = Literal["completed", "partial", "failed"]
DataKind = Literal["real", "synthetic"]
SourceKind = Literal["folder", "archive", "kaggle", "eia", "synthetic"]


class Record(BaseModel):
    """An immutable record that is written as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecord(Record):
    """Where the rows came from, and which files of the folder were passed over, and why.

    ``folder`` is what the run was given, a folder or an archive; ``files_folder`` is where an
    archive's files were unpacked to (empty: they lie in ``folder``); ``source`` is how its files
    came to be there; ``labels`` tells which hours they name.
    """

    folder: str
    kind: DataKind
    files_folder: str = ""
    source: SourceKind = "folder"
    labels: Labels = "local"
    skipped: dict[str, str] = {}


class RegionRecord(Record):
    """One region's file after ingestion. Where it was refused, ``reason`` names file and line.

    ``set_aside`` is the file of flagged readings and refused rows, below the artifacts folder;
    empty if there are none. Of an unchanged region it is that of the run which read it.
    """

    rows: int
    utc_hours: int
    missing_hours: int
    flagged: int
    status: Literal["published", "refused"]
    reason: str = ""
    set_aside: str = ""
    cached: bool = False
    path: str = ""
    file_sha256: str = ""
    content_sha256: str = ""
    source_sha256: str = ""
    source_bytes: int = 0
    table_sha256: str = ""


class Snapshot(Record):
    """All regions of one data set as they were published together; ``id`` names their content.

    ``parent`` is what was published before it (null: nothing), ``created`` a time in ISO 8601, UTC;
    ``path`` of each region is relative to the folder ``data``.
    """

    id: str
    dataset: str
    parent: str | None
    created: str
    data: DataRecord
    rules_sha256: str
    code_version: str
    regions: dict[str, RegionRecord]


class WindowsRecord(Record):
    """How many windows each part has: starts in training, labels forecast in the others."""

    train: int
    validation: int
    test: int
    unscored_test: int = 0

    def plus(self, other: WindowsRecord) -> WindowsRecord:
        """Those of both."""
        both = self.model_dump(), other.model_dump()
        return WindowsRecord(**{name: both[0][name] + both[1][name] for name in both[0]})


class ModelRecord(Record):
    """One trained job and how it did on the test part (sMAPE in percent, errors in MW)."""

    cell: str
    seed: int
    device: str
    num_parameters: int
    smape: float
    smape_by_region: dict[str, float]
    mae: float
    rmse: float
    mase: float
    validation_smape: float | None
    train_seconds: float
    num_together: int = 1  # seeds that shared this time: those of a pass
    pass_seconds: list[float]
    evaluation_seconds: float
    peak_memory_bytes: int
    mlflow_run_id: str | None
    weights_sha256: str
    cached: bool


def seconds_together(models: Sequence[ModelRecord]) -> float:
    """What models took (s), the time of a pass that several of them shared counted once.

    >>> alone = ModelRecord.model_construct(cell="gru", train_seconds=10.0, num_together=1)
    >>> shared = ModelRecord.model_construct(cell="lstm", train_seconds=12.0, num_together=4)
    >>> seconds_together([alone, alone, shared]), seconds_together([shared] * 4)
    (32.0, 12.0)
    """
    num_of_cell = Counter(each.cell for each in models)
    return sum(
        each.train_seconds / min(each.num_together, num_of_cell[each.cell]) for each in models
    )


class MeanRecord(Record):
    """The mean of several models' forecasts (``members``) on the same labels.

    It costs what they cost together, a time that seeds share once; ``smape`` and its like as in
    :class:`ModelRecord`.
    """

    members: tuple[str, ...]
    num_parameters: int
    smape: float
    smape_by_region: dict[str, float]
    mae: float
    rmse: float
    mase: float
    validation_smape: float | None
    train_seconds: float


class BaselineRecord(Record):
    """One naive forecast or fitted baseline on the same labels; a naive one has no seconds."""

    kind: Literal["naive", "fitted"] = "naive"
    smape: float
    smape_by_region: dict[str, float]
    mae: float | None = None
    rmse: float | None = None
    mase: float | None = None
    validation_smape: float | None = None
    train_seconds: float | None = None
    cached: bool = False


class Summary(Record):
    """One run, whole. ``timings`` are seconds a stage, and ``total``.

    ``preferred`` is the contestant with the smallest error on the validation part (null: there is
    no such part); the test part has no say in it. ``failed_jobs`` has fitted baselines too.
    ``imputed_hours`` counts by region the hours that models get as inputs filled, not as read.
    """

    run_id: str
    flow: str
    status: Status
    exit_code: int
    profile: str
    overrides: list[str]
    data: DataRecord | None
    regions: dict[str, RegionRecord]
    windows: WindowsRecord | None
    imputed_hours: dict[str, int] = {}
    models: dict[str, ModelRecord]
    means: dict[str, MeanRecord] = {}
    failed_jobs: dict[str, str]
    baselines: dict[str, BaselineRecord]
    preferred: str | None = None
    timings: dict[str, float]
    errors: list[str]
    code_version: str
    config_sha256: str
    report: str | None = None
    data_docs: str | None = None
    snapshot: str | None = None
    data_report: str | None = None
