"""Rows that were kept, against what comes of computing them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from gridcast.audit.differences import require_table
from gridcast.audit.lineage import require_same
from gridcast.covariates.values import Covariates
from gridcast.readings.snapshots import table_sha256
from tasks.covariates.stored_covariates import read_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gridcast.config import Config


# Another version of a package may round otherwise: scaled loads, MW, percent.
ROUNDING = 1e-5


class Checked(NamedTuple):
    """Covariates that are as they were, and what was done to find that out."""

    covariates: Covariates
    note: str


def check_covariates(
    path: Path, region: str, expected: str, *, sources: Sequence[Path], config: Config
) -> Checked:
    """The table of a region's covariates against the hash ``expected``.

    ``sources``: the files that it was read from; none, where they are not as they were.

    Raises:
        UnlikeError: it is another table, or another one comes of the files.
        RegionRefusedError: the files are refused.
    """
    covariates = Covariates(pd.read_parquet(path))
    require_same(f"the rows of {path}", table_sha256(covariates.frame), expected)
    if not sources:
        return Checked(covariates, f"{len(covariates.frame):,} rows")
    again = read_files(sources, region, config)
    require_same(f"the rows of {region}'s files", table_sha256(again.frame), expected)
    return Checked(covariates, f"{len(covariates.frame):,} rows, read from the files again")


def require_scores(
    where: str, found: pd.DataFrame, expected: pd.DataFrame, keys: Sequence[str]
) -> None:
    """Refuse another table of scores; its rows are told by their keys.

    Raises:
        UnlikeError: naming the first figure that differs.
    """
    columns = ["region", *(name for name in expected.columns if name not in keys)]
    found, expected = (
        table.assign(region=table[list(keys)].astype(str).agg(", ".join, axis=1), timestamp=None)
        for table in (found, expected)
    )
    require_table(where, found, expected, columns, tolerance=ROUNDING)
