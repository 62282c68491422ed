"""Where forecasts are kept, by the issue time, and how they leave as CSV or Parquet.

A store of a data set has a file a day (UTC) of issue times; the same region's issue again replaces
its rows whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gridcast.errors import UsageError
from tasks.runs.locks import held
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STORE = "forecasts"
_RUN_BY_A_SPREADSHEET = ("=", "+", "-", "@", "\t", "\r")
_FORM, _DAYS = "%Y-%m-%d", "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9].parquet"
_ORDER = ["issue_time", "region", "lead"]


def store_rows(artifacts: Path, dataset: str, rows: pd.DataFrame) -> list[Path]:
    """Put rows into the store, in the place of those of the same regions and issue times.

    The files of their days, each whole or as it was before, in the order of time.
    """
    paths = []
    for day, new in rows.groupby(rows["issue_time"].dt.floor("D"), sort=True):
        path = artifacts / STORE / dataset / f"{pd.Timestamp(str(day)).strftime(_FORM)}.parquet"
        with held(artifacts, f"forecasts-{dataset}"):
            kept = _others(path, new)
            both = new if kept is None else pd.concat([kept, new], ignore_index=True)
            with publishing(path) as temporary:
                both.sort_values(_ORDER, kind="stable").to_parquet(
                    temporary, compression="zstd", index=False
                )
        paths.append(path)
    return paths


def _others(path: Path, new: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of a day's file that are not made anew."""
    if not path.is_file():
        return None
    kept = pd.read_parquet(path)
    again = pd.MultiIndex.from_frame(new[["issue_time", "region"]].drop_duplicates())
    return kept[~pd.MultiIndex.from_frame(kept[["issue_time", "region"]]).isin(again)]


def read_issued(
    artifacts: Path,
    dataset: str,
    *,
    first: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The forecasts of a data set as they were issued, the oldest first; empty without any.

    Args:
        artifacts: folder of everything that runs produce.
        dataset: its name.
        first: of the issue times; none: the oldest.
        end: no issue time from then on; none: to the newest.
        columns: only these; none: all.
    """
    tables = list[pd.DataFrame]()
    for path in sorted((artifacts / STORE / dataset).glob(_DAYS)):
        day = pd.Timestamp(path.stem, tz="UTC")
        is_before = first is not None and day + pd.Timedelta(days=1) <= first
        if is_before or (end is not None and day >= end):
            continue
        wanted = None if columns is None else list(dict.fromkeys(["issue_time", *columns]))
        table = pd.read_parquet(path, columns=wanted)
        if first is not None:
            table = table[table["issue_time"] >= first]
        tables.append(table if end is None else table[table["issue_time"] < end])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def stored_issue_times(artifacts: Path, dataset: str) -> pd.DatetimeIndex:
    """The issue times (UTC) of which there are rows, ascending."""
    found = read_issued(artifacts, dataset, columns=["issue_time"])
    if found.empty:
        return pd.DatetimeIndex([], tz="UTC")
    return pd.DatetimeIndex(found["issue_time"].unique()).sort_values()


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
