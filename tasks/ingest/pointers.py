"""What a data set points at, and where history goes on if that can't be read any more."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from gridcast.readings.records import DataRecord, RegionRecord, Snapshot
from gridcast.record import Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger("gridcast.snapshots")


class Ingested(Record):
    """The last ingestion of one folder: the snapshot that came of it, and what it refused."""

    snapshot: str
    data: DataRecord
    refused: dict[str, RegionRecord]


class Pointer(StoredRecord):
    """What readers of a data set get, what they got before, and the last ingestion of each folder.

    ``folder`` is the one that was ingested last: folders of the same name share a data set. Of all
    data sets, the one with the highest ``sequence`` was published last.
    """

    advice: ClassVar[str] = "ingest again: it is made anew, and history goes on"

    # Version 1 called `quarantined` of a region `set_aside`.
    sequence: int = 0
    snapshot: str
    previous: str | None
    folder: str
    ingestions: dict[str, Ingested]


def recovered_pointer(snapshots: Iterable[Snapshot], dataset: str) -> Pointer | None:
    """In the place of one that is damaged: that to the newest of the data set's snapshots.

    What each folder refused is not known any more, and that readers were given an older snapshot
    (`gridcast snapshots use`) neither. None where no snapshot is kept.
    """
    own = [each for each in snapshots if each.dataset == dataset]
    if not own:
        return None
    newest = max(own, key=lambda each: (each.sequence, each.created))
    _log.warning("%s: history goes on from snapshot %s, the newest kept", dataset, newest.id)
    ingested = Ingested(snapshot=newest.id, data=newest.data, refused={})
    return Pointer(
        sequence=newest.sequence,
        snapshot=newest.id,
        previous=newest.parent,
        folder=newest.data.folder,
        ingestions={newest.data.folder: ingested},
    )
