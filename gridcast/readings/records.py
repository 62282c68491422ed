"""What is kept of ingested regions, and of a snapshot of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import AliasChoices, Field

from gridcast.config import Labels
from gridcast.errors import Fault
from gridcast.record import Record, RunRecord, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Callable

DataKind = Literal["real", "synthetic"]
SourceKind = Literal["folder", "archive", "kaggle", "eia", "synthetic"]


class DataRecord(Record):
    """Where the rows came from, and which files of the folder were passed over, and why.

    ``folder`` is what the run was given, a folder or an archive; ``files_folder`` is where an
    archive's files were unpacked to (empty: they lie in ``folder``); ``source`` is how its files
    came to be there; ``labels`` tells which hours they name; ``files`` has by region those that are
    not called ``<REGION>_hourly.csv``.
    """

    folder: str
    kind: DataKind
    files_folder: str = ""
    source: SourceKind = "folder"
    labels: Labels = "local"
    files: dict[str, str] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)

    def file_of(self, region: str) -> str:
        """The name of a region's file."""
        return self.files.get(region, f"{region}_hourly.csv")


class CovariatesRecord(Record):
    """The table of a region's covariates, and the SHA-256 of the files that it was read from.

    ``rows`` counts hours and issues.
    """

    rows: int
    path: str
    file_sha256: str
    table_sha256: str
    sources: dict[str, str] = Field(default_factory=dict)


class RegionRecord(Record):
    """One region's file after ingestion. Where it was refused, ``reason`` names file and line.

    ``level_change`` tells of a lasting change of level, as of a unit (empty: there is none).
    ``quarantined`` is the file of flagged readings and refused rows, below the artifacts folder;
    empty if there are none. Of an unchanged region it is that of the run which read it.
    """

    rows: int
    utc_hours: int
    missing_hours: int
    flagged: int
    status: Literal["published", "refused"]
    reason: str = ""
    level_change: str = ""
    quarantined: str = Field(default="", validation_alias=AliasChoices("quarantined", "set_aside"))
    cached: bool = False
    path: str = ""
    file_sha256: str = ""
    content_sha256: str = ""
    source_sha256: str = ""
    source_bytes: int = 0
    table_sha256: str = ""
    covariates: CovariatesRecord | None = None

    @property
    def files(self) -> dict[str, str]:
        """The region's files and their SHA-256: of its loads, and of its covariates."""
        own = {self.path: self.file_sha256}
        return own | (
            {self.covariates.path: self.covariates.file_sha256} if self.covariates else {}
        )

    def placed(self, path: Callable[[str], str]) -> RegionRecord:
        """The same with its files' paths told otherwise."""
        covariates = self.covariates
        if covariates is not None:
            covariates = covariates.model_copy(update={"path": path(covariates.path)})
        return self.model_copy(update={"path": path(self.path), "covariates": covariates})


class Snapshot(StoredRecord):
    """All regions of one data set as they were published together; ``id`` names their content.

    ``parent`` is what was published before it (null: nothing), ``created`` a time in ISO 8601, UTC;
    which of two is newer ``sequence`` tells, since a clock may be set back. ``path`` of each region
    is relative to the folder ``data``.
    """

    advice: ClassVar[str] = "delete it, and ingest again"

    # Version 1 called `quarantined` of a region `set_aside`.
    id: str
    dataset: str
    parent: str | None
    sequence: int = 0
    created: str
    data: DataRecord
    rules_sha256: str
    code_version: str
    regions: dict[str, RegionRecord]


class Ingestion(RunRecord):
    """All regions of one run: what was published and what was set aside, and why."""

    kind: ClassVar[str] = "ingestion"

    # Version 1 called `quarantined` of a region `set_aside`.
    dataset: str
    data: DataRecord
    regions: dict[str, RegionRecord]
    errors: tuple[str, ...] = ()
    data_docs: str | None = None
    snapshot: str | None = None

    @property
    def published(self) -> dict[str, RegionRecord]:
        """The regions that passed."""
        return {name: region for name, region in self.regions.items() if region.path}


class Refusal(RunRecord):
    """Why a region was refused: the first fault of each kind."""

    kind: ClassVar[str] = "refused"

    region: str
    faults: tuple[Fault, ...]

    @property
    def part(self) -> str:
        """The region."""
        return self.region


class DataReport(RunRecord):
    """Where the page on the ingested data stands."""

    kind: ClassVar[str] = "data_report"

    path: str
