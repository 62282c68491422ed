"""Snapshots: all regions of a data set as they were published together, never changed again.

``snapshots/<id>.json`` is a manifest; ``<dataset>.json`` points at the one that readers get, and
its rename is the publication. Until then nothing of a new snapshot is seen, and after a crash at
any point the pointer names a whole snapshot, the old or the new one. Writers hold the data set's
lock; readers need none.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from gridcast.errors import IntegrityError, RecordError, UsageError
from gridcast.readings.records import DataRecord, RegionRecord, Snapshot
from gridcast.readings.snapshots import RegionChange, SnapshotChanges, compare_tables, snapshot_id
from tasks.ingest.pointers import Ingested, Pointer, recovered_pointer
from tasks.ingest.region_tables import read_table, stored
from tasks.runs.keys import has_sha256, require_sha256
from tasks.runs.locks import held
from tasks.runs.places import resolved_path
from tasks.runs.record_files import cached_record, mended_record, read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MANIFESTS = "snapshots"
_AT_ONCE = 2  # regions compared: their tables are in memory
_MANIFEST_PATTERN = "[0-9a-f]" * 16 + ".json"
_log = logging.getLogger("gridcast.snapshots")


class Publication(NamedTuple):
    """A published snapshot and what it changed; None where that can't be told any more."""

    snapshot: Snapshot
    changes: SnapshotChanges | None


class Current(NamedTuple):
    """What a reader gets: a whole snapshot, whence, and the regions that were refused since."""

    snapshot: Snapshot
    dataset: str
    data: DataRecord
    refused: dict[str, RegionRecord]


# -- publication ---------------------------------------------------------------------------------


def publish(
    store: Path,
    dataset: str,
    *,
    data: DataRecord,
    published: Mapping[str, RegionRecord],
    refused: Mapping[str, RegionRecord],
    rules_sha256: str,
) -> Publication | None:
    """Make the stored regions what readers of ``dataset`` get, in one step.

    A refused region keeps what was published of it before. The same content as before makes no new
    snapshot. None where there is nothing to publish.
    """
    with dataset_held(store, dataset):
        pointer = _mended_pointer(store, dataset)
        current = _mended_manifest(store, pointer.snapshot) if pointer else None
        before = current.regions if current else {}
        regions = {name: before[name] for name in refused if name in before}
        regions |= {name: stored(record, store) for name, record in published.items()}
        if not regions:
            return None
        made = Snapshot(
            id=snapshot_id(regions),
            dataset=dataset,
            parent=current.id if current else None,
            sequence=_next_number(store),
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            data=data,
            rules_sha256=rules_sha256,
            code_version=version("gridcast"),
            regions=dict(sorted(regions.items())),
        )
        snapshot, changes = _keep(store, current, made)
        ingested = Ingested(snapshot=snapshot.id, data=data, refused=dict(refused))
        _point(store, dataset, pointer, ingested)
        return Publication(snapshot, changes)


def dataset_held(store: Path, dataset: str) -> AbstractContextManager[None]:
    """Hold what ``dataset`` points at: who publishes, goes back or prunes does so alone."""
    return held(store, f"data-set-{dataset}")


def _keep(store: Path, current: Snapshot | None, made: Snapshot) -> Publication:
    """Write the manifest unless it is there: a snapshot of the same content keeps its first one."""
    snapshot, known = made, _mended_manifest(store, made.id)
    if known is not None:  # the same content; a file that was damaged may have been made anew
        regions_found = known.regions if _is_whole(store, known) else made.regions
        snapshot = known.model_copy(update={"regions": regions_found})
    changes = _changes_of(store, current, snapshot)
    if snapshot != known:
        _write_manifest(store, snapshot, changes)
    return Publication(snapshot, changes)


def _write_manifest(store: Path, snapshot: Snapshot, changes: SnapshotChanges | None) -> None:
    """The report first: a snapshot that is there has its report."""
    if changes is not None and snapshot.parent and changes.before == snapshot.parent:
        write_record(report_path(store, snapshot.id), changes)
    write_record(manifest_path(store, snapshot.id), snapshot, artifacts=store.parent)


def _point(store: Path, dataset: str, pointer: Pointer | None, ingested: Ingested) -> None:
    """The publication. What is pointed at already, and was published last, is not written again."""
    folder = ingested.data.folder
    others = pointer.ingestions if pointer else {}
    those = {
        name: each
        for name, each in others.items()
        if name != folder and manifest_path(store, each.snapshot).is_file()
    }
    previous = pointer.snapshot if pointer else None
    if pointer is not None and previous == ingested.snapshot:
        previous = pointer.previous
    with held(store, "newest-data-set"):
        number = _next_number(store)
        new = Pointer(
            sequence=number - 1,
            snapshot=ingested.snapshot,
            previous=previous,
            folder=folder,
            ingestions={**those, folder: ingested},
        )
        if new == pointer:
            return
        new = new.model_copy(update={"sequence": number})
        write_record(_pointer_path(store, dataset), new, artifacts=store.parent)


def _next_number(store: Path) -> int:
    """One above the number of what was published last, of all data sets."""
    pointers, unreadable = _pointers(store)
    numbers = [pointer.sequence for pointer in pointers.values()]
    if unreadable:  # what they count is in the snapshots too, of which there may be many
        numbers += [each.sequence for each in _readable_snapshots(store)]
    return 1 + max(numbers, default=0)


def use_snapshot(store: Path, snapshot: Snapshot) -> None:
    """Give readers ``snapshot`` again, until the next ingestion publishes another.

    Raises:
        IntegrityError: a file of it was changed or is gone.
    """
    with dataset_held(store, snapshot.dataset):
        for record in snapshot.regions.values():
            for path, sha256 in record.files.items():
                require_sha256(store / path, sha256)
        pointer = read_pointer(store, snapshot.dataset)
        folder = pointer.folder if pointer else snapshot.data.folder
        data = snapshot.data.model_copy(update={"folder": folder})
        ingested = Ingested(snapshot=snapshot.id, data=data, refused={})
        _point(store, snapshot.dataset, pointer, ingested)


# -- reading -------------------------------------------------------------------------------------


def read_pointer(store: Path, dataset: str) -> Pointer | None:
    """What ``dataset`` points at; None where nothing is published.

    Raises:
        RecordError: the pointer can't be taken.
    """
    pointer = read_record(_pointer_path(store, dataset), Pointer, may_lack=True)
    return _pointer_found(pointer, store) if pointer else None


def _mended_pointer(store: Path, dataset: str) -> Pointer | None:
    """For who publishes over it: in the place of a damaged one that to the newest snapshot."""
    path = _pointer_path(store, dataset)
    pointer = mended_record(path, Pointer)
    if pointer is None and path.exists():
        return recovered_pointer(_readable_snapshots(store), dataset)
    return _pointer_found(pointer, store) if pointer else None


def _pointer_found(pointer: Pointer, store: Path) -> Pointer:
    """Its paths on this machine."""
    folders = {
        resolved_path(folder, store.parent): each.model_copy(
            update={"data": _found(each.data, store)}
        )
        for folder, each in pointer.ingestions.items()
    }
    folder = resolved_path(pointer.folder, store.parent)
    return pointer.model_copy(update={"folder": folder, "ingestions": folders})


def _pointers(store: Path) -> tuple[dict[str, Pointer], list[RecordError]]:
    """Those of all data sets, what was published last first; an error for each that is damaged."""
    known: dict[str, Pointer] = {}
    unreadable: list[RecordError] = []
    for path in sorted(store.glob("*.json")):
        try:
            if (pointer := read_pointer(store, path.stem)) is not None:
                known[path.stem] = pointer
        except RecordError as error:
            unreadable.append(error)
    return dict(sorted(known.items(), key=lambda each: -each[1].sequence)), unreadable


def _found(data: DataRecord, store: Path) -> DataRecord:
    """Where the rows came from, on this machine."""
    places = {name: getattr(data, name) for name in ("folder", "files_folder")}
    return data.model_copy(
        update={name: resolved_path(place, store.parent) for name, place in places.items()}
    )


def read_current(store: Path, *, folder: Path | None = None) -> Current | None:
    """The snapshot that was published last, of ``folder`` or (none) of any; None without one.

    Raises:
        RecordError: a pointer or a manifest on the way to it can't be taken.
    """
    pointers, unreadable = _pointers(store)
    if folder is None and unreadable:
        raise unreadable[0]  # it may be the newest
    for dataset, pointer in pointers.items():
        ingested = pointer.ingestions.get(pointer.folder if folder is None else str(folder))
        snapshot = _read_manifest(store, ingested.snapshot) if ingested else None
        if ingested is not None and snapshot is not None:
            return Current(snapshot, dataset, ingested.data, ingested.refused)
    if unreadable:
        raise unreadable[0]
    return None


def list_snapshots(store: Path) -> list[Snapshot]:
    """Every snapshot that is kept, the oldest first.

    Raises:
        RecordError: a manifest can't be taken.
    """
    paths = (store / _MANIFESTS).glob(_MANIFEST_PATTERN)
    found = [_manifest_found(read_record(path, Snapshot), store) for path in paths]
    return sorted(found, key=lambda each: (each.sequence, each.created))


def _readable_snapshots(store: Path) -> list[Snapshot]:
    paths = sorted((store / _MANIFESTS).glob(_MANIFEST_PATTERN))
    found = [cached_record(path, Snapshot, is_reported=False) for path in paths]
    return [_manifest_found(each, store) for each in found if each]


def read_snapshot(store: Path, name: str) -> Snapshot:
    """The snapshot whose id begins with ``name``.

    Raises:
        UsageError: none does, or several do.
    """
    found = [snapshot for snapshot in list_snapshots(store) if snapshot.id.startswith(name)]
    if len(found) != 1 or not name:
        listed = ", ".join(snapshot.id for snapshot in found) or "none"
        expected = "the first digits of one; `gridcast snapshots list` shows them"
        where = f"snapshot {name!r}"
        raise UsageError(where, found=f"{len(found)} ({listed})", expected=expected)
    return found[0]


def current_ids(store: Path) -> dict[str, str]:
    """Which snapshot each data set points at.

    Raises:
        RecordError: a pointer can't be taken, so that nobody knows.
    """
    pointers, unreadable = _pointers(store)
    if unreadable:
        raise unreadable[0]
    return {name: pointer.snapshot for name, pointer in sorted(pointers.items())}


def last_two(store: Path) -> tuple[Snapshot, Snapshot]:
    """What was published last and what before it, of the data set published last.

    Raises:
        UsageError: there is no such pair.
    """
    current = read_current(store)
    pointer = read_pointer(store, current.dataset) if current else None
    previous = _read_manifest(store, pointer.previous) if pointer and pointer.previous else None
    if current is None or previous is None:
        expected = "two; name them: `gridcast snapshots compare OLD NEW`"
        raise UsageError(store, found="no two snapshots published in a row", expected=expected)
    return previous, current.snapshot


# -- comparison ----------------------------------------------------------------------------------


def compare(store: Path, before: Snapshot | None, after: Snapshot) -> SnapshotChanges:
    """What differs, region by region; few tables at a time are read, and only such as differ.

    Raises:
        IntegrityError: a file that is needed was changed or is gone.
    """
    old = before.regions if before else {}
    names = sorted(old.keys() | after.regions.keys())
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        changes = threads.map(
            lambda name: _change(store, old.get(name), after.regions.get(name)), names
        )
        return SnapshotChanges(
            before=before.id if before else None,
            after=after.id,
            regions=dict(zip(names, changes, strict=True)),
        )


def _change(store: Path, old: RegionRecord | None, new: RegionRecord | None) -> RegionChange:
    rows_before, rows_after = old.rows if old else 0, new.rows if new else 0
    if old is None:
        return RegionChange(status="added", rows_before=0, rows_after=rows_after)
    if new is None:
        return RegionChange(status="removed", rows_before=rows_before, rows_after=0)
    old_own, new_own = old.covariates, new.covariates
    is_other = (old_own and old_own.table_sha256) != (new_own and new_own.table_sha256)
    if old.table_sha256 == new.table_sha256 and not is_other:
        return RegionChange(status="unchanged", rows_before=rows_before, rows_after=rows_after)
    for record in (old, new):
        require_sha256(store / record.path, record.file_sha256)
    changes = compare_tables(read_table(store, old), read_table(store, new))
    return changes.model_copy(update={"has_other_covariates": True}) if is_other else changes


def _changes_of(store: Path, before: Snapshot | None, after: Snapshot) -> SnapshotChanges | None:
    """Damage to an older snapshot must not keep a new one from being published."""
    try:
        return compare(store, before, after)
    except IntegrityError as error:
        _log.warning("What changed can't be told: %s", error)
        return None


# -- files ---------------------------------------------------------------------------------------


def _pointer_path(store: Path, dataset: str) -> Path:
    return store / f"{dataset}.json"


def manifest_path(store: Path, name: str) -> Path:
    """The file of the snapshot ``name``."""
    return store / _MANIFESTS / f"{name}.json"


def report_path(store: Path, name: str) -> Path:
    """The report of what the snapshot ``name`` changed."""
    return store / _MANIFESTS / f"{name}.changes.json"


def _read_manifest(store: Path, name: str) -> Snapshot | None:
    snapshot = read_record(manifest_path(store, name), Snapshot, may_lack=True)
    return _manifest_found(snapshot, store) if snapshot else None


def _mended_manifest(store: Path, name: str) -> Snapshot | None:
    """For who writes it anew: a damaged one is as good as none."""
    snapshot = mended_record(manifest_path(store, name), Snapshot)
    return _manifest_found(snapshot, store) if snapshot else None


def _manifest_found(snapshot: Snapshot, store: Path) -> Snapshot:
    return snapshot.model_copy(update={"data": _found(snapshot.data, store)})


def _is_whole(store: Path, snapshot: Snapshot) -> bool:
    return all(
        has_sha256(store / path, sha256)
        for each in snapshot.regions.values()
        for path, sha256 in each.files.items()
    )
