"""Builders of the tests of snapshots: small tables, published as ingestion publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from gridcast.readings.records import DataRecord, RegionRecord, Snapshot
from tasks.ingest.region_tables import remember_table, store_table
from tasks.ingest.snapshots import Publication, publish
from tests.builders.values import make_load_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REFUSED = RegionRecord(
    rows=0, utc_hours=0, missing_hours=0, flagged=0, status="refused", reason="x.csv:2:1: found"
)


class Names(NamedTuple):
    """What a snapshot is published as."""

    dataset: str = "load"
    folder: str = "/csv/load"


def make_table(load_mw: Sequence[float], **more: object) -> pd.DataFrame:
    """A region's table as ingestion makes it; ``load_mw`` is one value an hour."""
    frame = make_load_frame(load_mw, flags={}, **more)  # type: ignore[arg-type]
    return frame.assign(source_line=range(2, len(frame) + 2))


def stage(store: Path, region: str, frame: pd.DataFrame) -> RegionRecord:
    """The table in the store, not yet published."""
    table = store_table(store, region, frame, {"source_sha256": "0" * 64})
    record = RegionRecord(
        rows=len(frame), utc_hours=len(frame), missing_hours=0, flagged=0, status="published",
        path=str(table.path), file_sha256=table.file_sha256, table_sha256=table.table_sha256,
        content_sha256=table.table_sha256, source_sha256="0" * 64,
    )  # fmt: skip
    remember_table(store, region, table.table_sha256, record)
    return record


def publish_tables(
    store: Path,
    tables: Mapping[str, pd.DataFrame],
    *,
    names: Names = Names(),  # noqa: B008 - immutable
    refused: Sequence[str] = (),
) -> Publication:
    """Stage the tables and publish them as one snapshot."""
    publication = publish(
        store,
        names.dataset,
        data=DataRecord(folder=names.folder, kind="real"),
        published={region: stage(store, region, frame) for region, frame in tables.items()},
        refused=dict.fromkeys(refused, REFUSED),
        rules_sha256="1" * 64,
    )
    assert publication is not None
    return publication


def publish_loads(store: Path, names: Names = Names(), **loads: Sequence[float]) -> Snapshot:  # noqa: B008
    """A snapshot of these regions with these loads."""
    tables = {region: make_table(load_mw) for region, load_mw in loads.items()}
    return publish_tables(store, tables, names=names).snapshot
