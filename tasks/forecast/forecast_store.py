"""Where forecasts are kept, by the issue time, and how they leave as CSV or Parquet.

A store of a data set has a file an issue time; the same issue again replaces its rows whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gridcast.errors import UsageError
from tasks.runs.locks import held
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from pathlib import Path

STORE = "forecasts"
_RUN_BY_A_SPREADSHEET = ("=", "+", "-", "@", "\t", "\r")
_FORM = "%Y-%m-%dT%H%MZ"


def store_rows(
    artifacts: Path, dataset: str, rows: pd.DataFrame, *, issue_time: pd.Timestamp
) -> Path:
    """Put the rows of one issue time into the store, in the place of what was there."""
    path = artifacts / STORE / dataset / f"{issue_time.strftime(_FORM)}.parquet"
    with held(artifacts, f"forecasts-{dataset}"), publishing(path) as temporary:
        rows.to_parquet(temporary, compression="zstd", index=False)
    return path


def read_issued(artifacts: Path, dataset: str) -> pd.DataFrame:
    """All forecasts of a data set as they were issued, the oldest first; empty without any."""
    paths = sorted((artifacts / STORE / dataset).glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths]) if paths else pd.DataFrame()


def export(rows: pd.DataFrame, path: Path) -> None:
    """Write rows as CSV or Parquet, as the path's name asks for.

    In a CSV times are ISO 8601 in UTC, and a text that a spreadsheet would run begins with ``'``.

    Raises:
        UsageError: the name ends otherwise, or the folder is not there.
    """
    require_known_form(path)
    if not path.resolve().parent.is_dir():
        raise UsageError(path, found="no such folder", expected="one that is there")
    with publishing(path) as temporary:
        if path.suffix == ".parquet":
            rows.to_parquet(temporary, index=False)
        else:
            safe_for_spreadsheets(rows).to_csv(
                temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ"
            )


def require_known_form(path: Path) -> None:
    """Refuse a name of which nobody knows what is to be written.

    Raises:
        UsageError: it does not end in .csv or .parquet.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(
            path, found=f"the ending {path.suffix!r}", expected=".csv or .parquet, as tomorrow.csv"
        )


def safe_for_spreadsheets(rows: pd.DataFrame) -> pd.DataFrame:
    """The same with texts that a spreadsheet takes for texts, whatever they begin with."""
    safe = rows.copy()
    for name in safe.select_dtypes(include=["object", "string", "category"]).columns:
        safe[name] = safe[name].map(_safe)
    return safe


def _safe(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(_RUN_BY_A_SPREADSHEET):
        return f"'{cell}"
    return cell
