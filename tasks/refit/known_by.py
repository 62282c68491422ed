"""The data as they were known at a time, published as the snapshot that a training reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.forecasting.hindcast import num_leads_of
from tasks.covariates.stored_covariates import store_covariates
from tasks.ingest.region_tables import store_table
from tasks.ingest.snapshots import publish
from tasks.runs.keys import require_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.readings.records import CovariatesRecord
    from tasks.ingest.snapshots import Current


@dataclass(frozen=True, slots=True)
class WholePast:
    """All that is published of a data set: what was known at a time is cut out of it.

    ``tables`` are as published, with all columns.
    """

    current: Current
    tables: Mapping[str, pd.DataFrame]
    covariates: Mapping[str, Covariates]


def published_tables(
    artifacts: Path, current: Current, *, only: Collection[str] = ()
) -> dict[str, pd.DataFrame]:
    """Each region's table as published; ``only`` these, none named: all.

    Raises:
        IntegrityError: a file of the snapshot was changed.
    """
    found = {}
    for name, record in current.snapshot.regions.items():
        if only and name not in only:
            continue
        path = artifacts / "data" / record.path
        require_sha256(path, record.file_sha256)
        found[name] = pd.read_parquet(path)
    return found


def publish_known_by(root: Path, past: WholePast, config: Config, until: pd.Timestamp) -> None:
    """What was known at ``until`` becomes the newest snapshot of the folder ``root``.

    A region without an hour by then is left out.
    """
    store, current = root / "data", past.current
    published = {}
    for name, table in past.tables.items():
        known = table[table["timestamp"] < until].reset_index(drop=True)
        if known.empty:
            continue
        record = current.snapshot.regions[name]
        kept = store_table(store, name, known, {"source_sha256": record.source_sha256})
        published[name] = record.model_copy(update={
            "path": str(kept.path), "file_sha256": kept.file_sha256, "rows": len(known),
            "table_sha256": kept.table_sha256, "content_sha256": kept.table_sha256,
            "quarantined": "", "cached": False,
            "covariates": _covariates_known(store, past, config, name, until),
        })  # fmt: skip
    publish(
        store,
        current.dataset,
        data=current.data,
        published=published,
        refused={},
        rules_sha256=current.snapshot.rules_sha256,
    )


def _covariates_known(
    store: Path, past: WholePast, config: Config, region: str, until: pd.Timestamp
) -> CovariatesRecord | None:
    """The table of what had been issued by then; None: the region has none."""
    if region not in past.covariates:
        return None
    known = past.covariates[region].known_by(
        until, config.covariates.as_known, hours_ahead=num_leads_of(config.forecasting)
    )
    return store_covariates(store, region, known, ())
