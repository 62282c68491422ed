"""A region of files of any layout, kept as bytes: what is read once, and then region by region.

A file may hold many regions, and a region many files. They are read once; each region is kept as a
small Parquet with its hours, or with why it was refused, and goes from there the way of all others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridcast.errors import Fault, RegionRefusedError
from gridcast.layouts.places import Origin, Places
from gridcast.readings.local_time import RegionLoad
from gridcast.readings.parsing import parse_region

if TYPE_CHECKING:
    from gridcast.config import RegionIngestion
    from gridcast.layouts.region_rows import LaidOutRegion

SUFFIX: Final = "_hourly.parquet"
_MAGIC: Final = b"PAR1"
_NOTES: Final = b"gridcast_region"
_COLUMNS: Final = ("timestamp", "local_label", "source_line", "load_mw")


@dataclass(frozen=True, slots=True)
class KeptRegion:
    """What is kept of a region; without ``load`` it was refused."""

    load: RegionLoad | None
    refusal: RegionRefusedError | None
    places: Places


def bytes_of(region: str, laid_out: LaidOutRegion) -> bytes:
    """The region as the bytes of a Parquet file; equal regions give equal bytes."""
    load, refusal, places = laid_out.load, laid_out.refusal, laid_out.places
    frame = pd.DataFrame(columns=list(_COLUMNS)) if load is None else load.frame
    notes = {
        "region": region,
        "content_sha256": "" if load is None else load.content_sha256,
        "origins": [list(origin) for origin in places.origins],
        "separator": places.separator,
        "faults": [] if refusal is None else [asdict(fault) for fault in refusal.faults],
        "rows": [] if refusal is None else [asdict(fault) for fault in refusal.rows],
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _NOTES: json.dumps(notes, sort_keys=True).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue())


def is_kept(content: bytes) -> bool:
    """Whether these bytes are a region that was kept, and no CSV."""
    return content.startswith(_MAGIC)


def kept_region(content: bytes) -> KeptRegion:
    """The region that :func:`bytes_of` has kept."""
    table = pq.read_table(pa.BufferReader(content))
    notes = json.loads((table.schema.metadata or {})[_NOTES])
    places = Places(tuple(Origin(*each) for each in notes["origins"]), notes["separator"])
    if notes["faults"]:
        faults, rows = ([Fault(**each) for each in notes[key]] for key in ("faults", "rows"))
        return KeptRegion(None, RegionRefusedError(notes["region"], faults, rows=rows), places)
    load = RegionLoad(notes["region"], table.to_pandas(), notes["content_sha256"])
    return KeptRegion(load, None, places)


def load_of(content: bytes, *, region: str, file: str, config: RegionIngestion) -> RegionLoad:
    """The hours of a region's file: a kept one, or a CSV as :func:`parse_region` reads it.

    Raises:
        RegionRefusedError: as :func:`parse_region`; of a kept region why it was refused.
    """
    if not is_kept(content):
        return parse_region(content, region=region, file=file, config=config)
    kept = kept_region(content)
    if kept.load is None:
        raise kept.refusal or RegionRefusedError(region, [])
    return kept.load
