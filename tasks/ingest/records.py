"""What an ingestion hands on."""

from __future__ import annotations

from gridcast.readings.records import Ingestion, RegionRecord
from gridcast.record import Record
from tasks.fetch.records import SourceFile

__all__ = ["CaughtUp", "Ingestion", "Published"]  # flows know records of stages, not the core


class Published(Record):
    """A region that readers can have, and what is known of it."""

    region: str
    record: RegionRecord


class CaughtUp(Record):
    """What is published of the files that were known, and the files that are yet to be read."""

    published: tuple[Published, ...]
    left: tuple[SourceFile, ...]
