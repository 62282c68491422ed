"""Region tables that never change: Parquet named by its content, and which source gave which.

``objects/<REGION>-<table hash>.parquet`` is written once. ``keys/<REGION>-<key>.json`` remembers
what a source gave under certain rules and code, so that it is not read again, and
``newest/<REGION>.json`` what was stored last of a region; both can be deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridcast.readings.records import RegionRecord
from gridcast.readings.snapshots import table_sha256
from gridcast.record import StoredRecord
from tasks.runs.keys import file_sha256, has_sha256
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OBJECTS, KEYS, NEWEST = "objects", "keys", "newest"
_DIGITS = 16


class KnownRegion(StoredRecord):
    """What a source gave, and under which key: its bytes, the rules and the code."""

    # Version 1 called `quarantined` of a region `set_aside`.
    key: str
    region: RegionRecord


def known_region(path: Path) -> KnownRegion | None:
    """What a file of ``keys`` says; None if nothing that can be taken, and nothing is told."""
    return cached_record(path, KnownRegion, is_reported=False)


def find_table(store: Path, region: str, key: str) -> RegionRecord | None:
    """What was stored of ``region`` under ``key``, if its file is there and as it was written."""
    known = cached_record(_key_path(store, region, key), KnownRegion)
    if known is None or known.key != key:
        return None
    record = known.region
    if not has_sha256(store / record.path, record.file_sha256):
        return None
    return record.model_copy(update={"cached": True, "path": str(store / record.path)})


def newest_tables(store: Path) -> dict[str, RegionRecord]:
    """What was stored last of each region, under whatever key."""
    paths = (store / NEWEST).glob("*.json")
    found = {path.stem: cached_record(path, KnownRegion) for path in paths}
    return {region: each.region for region, each in found.items() if each}


def read_whole_table(path: Path, *, source_sha256: str) -> pd.DataFrame | None:
    """A stored table with its source lines, if these are of that source."""
    table = pq.read_table(path)
    if (table.schema.metadata or {}).get(b"source_sha256") != source_sha256.encode():
        return None
    frame: pd.DataFrame = table.to_pandas()
    return frame


class StoredTable(NamedTuple):
    """Where a table lies; the hash of its bytes, and that of its content."""

    path: Path
    file_sha256: str
    table_sha256: str


def store_table(
    store: Path, region: str, frame: pd.DataFrame, origin: Mapping[str, str]
) -> StoredTable:
    """Write the table, unless the same is there.

    A table that is there keeps the source lines and the ``origin`` of the file that gave it first.
    """
    sha256 = table_sha256(frame)
    path = store / OBJECTS / f"{region}-{sha256[:_DIGITS]}.parquet"
    with held(store, f"region-{region}"):
        if not _is_sound(store, region, path, sha256):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            metadata = {**(table.schema.metadata or {}), **origin, "region": region}
            with publishing(path) as temporary:
                _write(table.replace_schema_metadata(metadata), temporary)
        return StoredTable(path, file_sha256(path), sha256)


def remember_table(store: Path, region: str, key: str, record: RegionRecord) -> None:
    """Keep the record for the next time that the same source comes under the same rules."""
    known = KnownRegion(key=key, region=stored(record, store))
    write_record(_key_path(store, region, key), known)
    write_record(store / NEWEST / f"{region}.json", known)


def stored(record: RegionRecord, store: Path) -> RegionRecord:
    """The record as files keep it: its path relative to ``store``, and nothing of this run."""
    relative = record.placed(
        lambda path: (store / path).relative_to(store).as_posix()  # an absolute path stays as it is
    )
    return relative.model_copy(update={"cached": False})


def read_table(store: Path, record: RegionRecord) -> pd.DataFrame:
    """Time, load and flag of a stored table; the caller has checked its hash."""
    return pd.read_parquet(store / record.path, columns=["timestamp", "load_mw", "flag"])


def _write(table: pa.Table, path: Path) -> None:
    """Times and lines as differences, loads byte by byte, words from a dictionary.

    A tenth of the bytes of Arrow's own choice, and a third of the time.
    """
    encodings, words = {}, []
    for field in table.schema:
        if pa.types.is_floating(field.type):
            encodings[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        else:
            words.append(field.name)
    pq.write_table(table, path, compression="zstd", use_dictionary=words, column_encoding=encodings)


def _key_path(store: Path, region: str, key: str) -> Path:
    return store / KEYS / f"{region}-{key[:_DIGITS]}.json"


def _is_sound(store: Path, region: str, path: Path, sha256: str) -> bool:
    """Whether the file is there as it was written: by the keys, or by content where none knows."""
    if not path.is_file():
        return False
    name = path.relative_to(store).as_posix()
    written = {
        known.region.file_sha256
        for each in (store / KEYS).glob(f"{region}-*.json")
        if (known := known_region(each)) is not None and known.region.path == name
    }
    if written:
        return file_sha256(path) in written
    try:
        return table_sha256(pd.read_parquet(path)) == sha256
    except (OSError, ValueError, pa.ArrowException):
        return False
