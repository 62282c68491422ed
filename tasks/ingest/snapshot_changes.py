"""What an ingestion changed, for people on Prefect's pages and for reports of the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect.artifacts import create_table_artifact

if TYPE_CHECKING:
    from gridcast.readings.snapshots import RegionChange
    from tasks.ingest.snapshots import Publication
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.ingest")


def report_changes(run: Run, publication: Publication) -> None:
    """Leave what changed since the snapshot before for people and for reports."""
    snapshot, changes = publication
    if changes is None:
        return
    run.leave(changes)
    _log.info("Snapshot %s: %d of %d regions changed", snapshot.id, len(changes.changed),
              len(changes.regions))  # fmt: skip
    rows = [{"region": name, **_counted(each)} for name, each in changes.changed.items()]
    about = f"What changed from snapshot {changes.before or '(none)'} to {changes.after}"
    create_table_artifact(key="changes", table=rows, description=about)


def _counted(change: RegionChange) -> dict[str, object]:
    """One row of the table of changes: numbers of rows, hours of the revised ones, MW."""
    return {
        "status": change.status,
        "rows": change.rows_after,
        "added": change.added.count,
        "removed": change.removed.count,
        "revised": change.revised.count,
        "first revised": str(change.revised.first or ""),
        "last revised": str(change.revised.last or ""),
        "largest change, MW": change.largest_change_mw,
        "flagged otherwise": change.reflagged.count,
    }
