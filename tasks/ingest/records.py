"""What an ingestion hands on."""

from __future__ import annotations

from gridcast.readings.records import DataRecord, RegionRecord
from gridcast.record import Record
from tasks.fetch.records import SourceFile


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
