"""Delete old snapshots: which may go, and in which order, so that what is left is always whole."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gridcast.record import Record
from gridcast.summary import Summary
from tasks.ingest.region_tables import KEYS, NEWEST, OBJECTS, known_region
from tasks.ingest.snapshots import (
    current_ids,
    dataset_held,
    list_snapshots,
    manifest_path,
    report_path,
)
from tasks.runs.record_files import read_record
from tasks.runs.storage import delete_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Pruned(Record):
    """What was deleted, or would be, and what stays."""

    snapshots: tuple[str, ...]
    num_objects: int
    freed_bytes: int
    kept: tuple[str, ...]


def prune(store: Path, *, keep: int, used: Iterable[str] = (), is_dry_run: bool = False) -> Pruned:
    """Delete all snapshots of each data set but the newest ``keep``, the current and the ``used``.

    A manifest goes before its tables: whatever manifest is there, its tables are. Tables that no
    snapshot names go too, such as an ingestion leaves that was killed before it published. So no
    run may be at work, which its caller makes sure of; who goes back to a snapshot is waited for.
    """
    with ExitStack() as held:
        for dataset in sorted({each.dataset for each in list_snapshots(store)}):
            held.enter_context(dataset_held(store, dataset))
        return _prune(store, keep=keep, used=used, is_dry_run=is_dry_run)


def _prune(store: Path, *, keep: int, used: Iterable[str], is_dry_run: bool) -> Pruned:
    snapshots = list_snapshots(store)
    by_dataset = defaultdict[str, list[str]](list)
    for snapshot in snapshots:
        by_dataset[snapshot.dataset].append(snapshot.id)
    newest = {name for names in by_dataset.values() for name in names[max(0, len(names) - keep) :]}
    spared = newest | set(current_ids(store).values()) | set(used)
    gone = [snapshot.id for snapshot in snapshots if snapshot.id not in spared]
    kept = [each for s in snapshots if s.id in spared for each in s.regions.values()]
    needed = {path for each in kept for path in each.files}
    objects = [
        each for each in (store / OBJECTS).glob("*") if f"{OBJECTS}/{each.name}" not in needed
    ]
    manifests = [manifest_path(store, name) for name in gone]
    reports = [report_path(store, name) for name in gone]
    num_bytes = sum(path.stat().st_size for path in [*manifests, *objects])
    if not is_dry_run:
        delete_files(manifests)
        delete_files([*reports, *objects, *_forgotten_keys(store, needed)])
    return Pruned(
        snapshots=tuple(gone),
        num_objects=len(objects),
        freed_bytes=num_bytes,
        kept=tuple(snapshot.id for snapshot in snapshots if snapshot.id in spared),
    )


def used_snapshots(runs: Path) -> dict[str, list[str]]:
    """The snapshots that summaries of finished runs refer to, with the runs' ids.

    Raises:
        RecordError: one can't be read, so that nobody knows which snapshot its run used.
    """
    users = defaultdict[str, list[str]](list)
    for path in sorted(runs.glob("*/summary.json")):
        if path.parent.is_symlink():
            continue
        name = read_record(path, Summary).snapshot
        if name:
            users[name].append(path.parent.name)
    return dict(users)


def _forgotten_keys(store: Path, needed: set[str]) -> list[Path]:
    paths = [each for kind in (KEYS, NEWEST) for each in (store / kind).glob("*.json")]
    return [each for each in paths if _path_of_key(each) not in needed]


def _path_of_key(path: Path) -> object:
    known = known_region(path)
    return known.region.path if known else None
