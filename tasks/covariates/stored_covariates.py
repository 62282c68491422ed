"""The covariates of a region as they are stored: written once, read if they are as written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.covariates.kept import covariates_of, is_kept, joined
from gridcast.covariates.reading import asked_of_weather, read_covariates
from gridcast.covariates.values import Covariates
from gridcast.layouts.reading import File
from gridcast.readings.records import CovariatesRecord
from tasks.ingest.region_tables import store_table
from tasks.runs.keys import require_sha256, sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gridcast.config import Config
    from gridcast.readings.records import RegionRecord


def read_files(paths: Sequence[Path], region: str, config: Config) -> Covariates:
    """All covariates of a region, from the files that a run has found.

    Raises:
        RegionRefusedError: a file is not as it should be; told by file, line and column.
    """
    parts = list[Covariates]()
    for path in paths:
        content = path.read_bytes()
        if is_kept(content):
            parts.append(covariates_of(content))
        else:
            asked = asked_of_weather(region, config.covariates, config.ingestion.of(region))
            parts.append(read_covariates([File(path.name, str(path), content)], asked))
    return joined(parts)


def store_covariates(
    store: Path, region: str, covariates: Covariates, paths: Sequence[Path]
) -> CovariatesRecord:
    """Write them to the folder of tables, named by their content, unless they are there."""
    sources = {str(path): sha256_of(path.read_bytes()) for path in paths}
    table = store_table(store, f"{region}-covariates", covariates.frame, {})
    return CovariatesRecord(
        rows=len(covariates.frame), path=str(table.path), file_sha256=table.file_sha256,
        table_sha256=table.table_sha256, sources=sources,
    )  # fmt: skip


def read_stored(record: RegionRecord, store: Path = Path()) -> Covariates | None:
    """Those of a region; None: it has none. ``store``: the folder of a relative path.

    Raises:
        IntegrityError: the file is not the one that was published.
    """
    own = record.covariates
    if own is None:
        return None
    path = store / own.path  # an absolute path stays as it is
    require_sha256(path, own.file_sha256)
    return Covariates(pd.read_parquet(path))


def all_stored(
    regions: Mapping[str, RegionRecord],
    store: Path = Path(),
    *,
    names: Collection[str] | None = None,
) -> dict[str, Covariates]:
    """Those of all regions that have some, or of these ``names``."""
    found = {
        name: read_stored(record, store)
        for name, record in regions.items()
        if names is None or name in names
    }
    return {name: each for name, each in found.items() if each is not None}


def hashes_of(regions: Mapping[str, RegionRecord]) -> dict[str, str]:
    """Of each region that has some: what tells their content, as keys hold it."""
    return {
        name: each.covariates.table_sha256
        for name, each in sorted(regions.items())
        if each.covariates
    }
