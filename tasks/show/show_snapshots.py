"""What ``gridcast snapshots`` prints: tables for people, or JSON for machines."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from gridcast.errors import UsageError
from tasks.ingest.pruning import prune, used_snapshots
from tasks.ingest.snapshots import (
    compare,
    current_ids,
    last_two,
    list_snapshots,
    read_snapshot,
    use_snapshot,
)
from tasks.runs.lives import no_run_alive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gridcast.readings.records import Snapshot
    from gridcast.readings.snapshots import Hours, SnapshotChanges
    from gridcast.record import Record

_WIDTH_OF_FILES = 140
_SHORT = 12  # digits of a hash that people compare


def show_list(artifacts: Path, *, as_json: bool) -> None:
    """All snapshots, the oldest first."""
    store = _store_of(artifacts)
    users, current = used_snapshots(artifacts / "runs"), current_ids(store)
    rows = [_row(store, each, users.get(each.id, []), current) for each in list_snapshots(store)]
    if as_json:
        _print_json(rows)
        return
    table = _table(f"Snapshots in {store}", ["snapshot", "data set", "created (UTC)", "parent"],
                   ["regions", "rows", "MB", "runs"])  # fmt: skip
    for row in rows:
        mark = " (current)" if row["current_of"] else ""
        cells = (row["id"] + mark, row["dataset"], row["created"][:19], row["parent"] or "")
        counts = (row["regions"], row["rows"], round(row["bytes"] / 1e6), len(row["used_by"]))
        table.add_row(*cells, *(f"{count:,}" for count in counts))
    _console().print(table)


def _row(
    store: Path, snapshot: Snapshot, used_by: list[str], current: dict[str, str]
) -> dict[str, Any]:
    paths = [store / record.path for record in snapshot.regions.values()]
    return {
        **snapshot.model_dump(mode="json", include={"id", "dataset", "parent", "created"}),
        "current_of": sorted(name for name, each in current.items() if each == snapshot.id),
        "regions": len(snapshot.regions),
        "rows": sum(record.rows for record in snapshot.regions.values()),
        "bytes": sum(path.stat().st_size for path in paths if path.is_file()),
        "used_by": used_by,
    }


def show_one(artifacts: Path, name: str, *, as_json: bool) -> None:
    """One snapshot, region by region."""
    snapshot = read_snapshot(_store_of(artifacts), name)
    if as_json:
        _print_json(snapshot)
        return
    table = _table(f"Snapshot {snapshot.id} of {snapshot.dataset}", ["region"],
                   ["UTC hours", "missing", "flagged", "content", "CSV"])  # fmt: skip
    for region, each in snapshot.regions.items():
        counts = (each.utc_hours, each.missing_hours, each.flagged)
        hashes = (each.content_sha256[:_SHORT], each.source_sha256[:_SHORT])
        table.add_row(region, *(f"{count:,}" for count in counts), *hashes)
    out = _console()
    out.print(table)
    out.print(f"Created:   {snapshot.created} by gridcast {snapshot.code_version}", highlight=False)
    source = f"From:      {snapshot.data.folder} ({snapshot.data.kind})"
    out.print(source, highlight=False, markup=False, soft_wrap=True)
    out.print(f"Parent:    {snapshot.parent or '(none)'}", highlight=False)


def show_changes(artifacts: Path, old: str | None, new: str | None, *, as_json: bool) -> None:
    """What changed between two snapshots, none named: the last two.

    Raises:
        UsageError: one is named without the other, or not there.
    """
    store = _store_of(artifacts)
    if old is not None and new is not None:
        pair = read_snapshot(store, old), read_snapshot(store, new)
    elif old is None and new is None:
        pair = last_two(store)
    else:
        where = "gridcast snapshots compare"
        raise UsageError(where, found="one snapshot", expected="two, or none: the last two")
    changes = compare(store, *pair)
    if as_json:
        _print_json(changes)
        return
    out = _console()
    out.print(_changes_table(changes))
    unchanged = len(changes.regions) - len(changes.changed)
    out.print(f"{unchanged} of {len(changes.regions)} regions are the same", highlight=False)
    for region, change in changes.changed.items():
        for each in change.examples:
            before, after = (
                _reading(each.before_mw, each.before_flag),
                _reading(each.after_mw, each.after_flag),
            )
            out.print(f"  {region} {each.timestamp:%Y-%m-%d %H:%M} UTC: {before} → {after}",
                      highlight=False)  # fmt: skip


def _changes_table(changes: SnapshotChanges) -> Table:
    table = _table(f"From {changes.before} to {changes.after}", ["region", "status"],
                   ["added", "removed", "revised", "largest MW", "flagged otherwise"])  # fmt: skip
    for region, each in changes.changed.items():
        hours = [_span(each.added), _span(each.removed), _span(each.revised)]
        largest = f"{each.largest_change_mw:,.1f}" if each.revised.count else ""
        table.add_row(region, each.status, *hours, largest, _span(each.reflagged))
    return table


def _span(hours: Hours) -> str:
    if not hours.count or hours.first is None or hours.last is None:
        return ""
    return f"{hours.count:,}\n{hours.first:%Y-%m-%d %H:%M}\n{hours.last:%Y-%m-%d %H:%M}"


def _reading(load_mw: float | None, flag: str | None) -> str:
    if flag is None:
        return "no row"
    return f"{load_mw} MW" + (f" ({flag})" if flag else "")


def use_and_show(artifacts: Path, name: str) -> None:
    """Give readers an older snapshot."""
    store = _store_of(artifacts)
    snapshot = read_snapshot(store, name)
    use_snapshot(store, snapshot)
    _console().print(f"{snapshot.dataset} is {snapshot.id} until the next ingestion",
                     highlight=False)  # fmt: skip


def prune_and_show(
    artifacts: Path, *, keep: int, also_used: bool, is_dry_run: bool, as_json: bool
) -> None:
    """Delete what is old, and say what went.

    Raises:
        LockHeldError: a run lives, which may read what would go.
    """
    store = _store_of(artifacts)
    with nullcontext() if is_dry_run else no_run_alive(artifacts):
        used = [] if also_used else used_snapshots(artifacts / "runs")
        pruned = prune(store, keep=keep, used=used, is_dry_run=is_dry_run)
    if as_json:
        _print_json(pruned)
        return
    verb = "Would delete" if is_dry_run else "Deleted"
    out = _console()
    out.print(f"{verb} {len(pruned.snapshots)} snapshots and {pruned.num_objects} tables "
              f"({pruned.freed_bytes / 1e6:.0f} MB); {len(pruned.kept)} stay",
              highlight=False)  # fmt: skip
    for snapshot in pruned.snapshots:
        out.print(f"  {snapshot}", highlight=False)


def _store_of(artifacts: Path) -> Path:
    """The folder of what is published.

    Raises:
        UsageError: there is none.
    """
    store = artifacts / "data"
    if not store.is_dir():
        expected = "published regions; run `gridcast ingest` first, or name --artifacts"
        raise UsageError(store, found="no such folder", expected=expected)
    return store


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)


def _print_json(content: Record | list[dict[str, Any]]) -> None:
    record = content if isinstance(content, list) else content.model_dump(mode="json")
    sys.stdout.write(json.dumps(record, indent=2) + "\n")
