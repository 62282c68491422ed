"""The covariates of a region as bytes: what a file beside the loads gave, or why it was refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridcast.covariates.values import ISSUED, TIME, Covariates
from gridcast.errors import Fault, RegionRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIX: Final = "_covariates.parquet"
_NOTES: Final = b"gridcast_covariates"


def bytes_of(region: str, found: Covariates | RegionRefusedError) -> bytes:
    """As the bytes of a Parquet file; equal values give equal bytes."""
    if isinstance(found, RegionRefusedError):
        frame, faults = pd.DataFrame(), [asdict(fault) for fault in found.faults]
    else:
        frame, faults = found.frame, []
    table = pa.Table.from_pandas(frame, preserve_index=False)
    notes = json.dumps({"region": region, "faults": faults}, sort_keys=True).encode()
    metadata = {**(table.schema.metadata or {}), _NOTES: notes}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue())


def is_kept(content: bytes) -> bool:
    """Whether these bytes are such a file, and no CSV."""
    return content.startswith(b"PAR1")


def covariates_of(content: bytes) -> Covariates:
    """What :func:`bytes_of` has kept.

    Raises:
        RegionRefusedError: that which was kept.
    """
    table = pq.read_table(pa.BufferReader(content))
    notes = json.loads((table.schema.metadata or {})[_NOTES])
    if notes["faults"]:
        faults = [Fault(**each) for each in notes["faults"]]
        raise RegionRefusedError(notes["region"], faults, rows=faults)
    return Covariates(table.to_pandas())


def joined(parts: Sequence[Covariates]) -> Covariates:
    """Those of several sources, each of which has columns of its own."""
    if len(parts) == 1:
        return parts[0]
    frame = parts[0].frame
    for other in parts[1:]:
        # Two rows without an issue time are of one: pandas takes what is missing for the same.
        frame = frame.merge(other.frame, on=[TIME, ISSUED], how="outer")
    return Covariates(frame.sort_values([TIME, ISSUED], na_position="first", ignore_index=True))
