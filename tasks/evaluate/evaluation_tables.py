"""Forecasts and scores as files.

In the long table of forecasts the rows of a contestant lie together, so that they are read alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridcast.evaluation.forecasts import COLUMNS
from gridcast.evaluation.scores import Scores
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from gridcast.evaluation.forecasts import Forecasts

_CONTESTANT = "contestant"
_DICTIONARY = [_CONTESTANT, "region", "lead", "local_hour", "y_true"]
# Hours follow one another, and the high bytes of loads are alike.
_ENCODING = {
    "issue_time": "DELTA_BINARY_PACKED",
    "timestamp": "DELTA_BINARY_PACKED",
    "y_pred": "BYTE_STREAM_SPLIT",
}


def write_forecast_table(path: Path, forecasts: Forecasts) -> None:
    """One contestant after another: with many regions the table does not fit into memory."""
    labels = pa.Table.from_pandas(forecasts.labels, preserve_index=False)
    labels = labels.replace_schema_metadata(None)
    names = pa.array([each.name for each in forecasts.contestants])
    with publishing(path) as temporary:
        writer: pq.ParquetWriter | None = None
        for number, y_pred in enumerate(forecasts.y_pred.values()):
            code = pa.repeat(pa.scalar(number, pa.int16()), len(y_pred))
            table = labels.append_column("y_pred", pa.array(y_pred)).append_column(
                _CONTESTANT, pa.DictionaryArray.from_arrays(code, names)
            )
            table = table.select(COLUMNS)
            if writer is None:
                writer = pq.ParquetWriter(
                    temporary, table.schema, compression="zstd", use_dictionary=_DICTIONARY,
                    column_encoding=_ENCODING,
                )  # fmt: skip
            writer.write_table(table)
        if writer is not None:
            writer.close()


def read_forecast_table(path: Path | str, contestants: Collection[str]) -> pd.DataFrame:
    """The rows of these contestants, and no others from the disk."""
    file = pq.ParquetFile(path)
    groups = [
        number
        for number in range(file.num_row_groups)
        if _contestant_of(file.metadata.row_group(number)) in contestants
    ]
    rows: pd.DataFrame = file.read_row_groups(groups).to_pandas()
    return rows


def _contestant_of(group: pq.RowGroupMetaData) -> str | None:
    """Whose rows they are, by the statistics; None: there are no rows."""
    columns = (group.column(number) for number in range(group.num_columns))
    (own,) = (column for column in columns if column.path_in_schema == _CONTESTANT)
    return own.statistics.min if own.statistics is not None and group.num_rows else None


def write_scores(folder: Path, scores: Scores) -> dict[str, str]:
    """A file a table; their paths by the table's name."""
    paths = {}
    for name, table in scores.tables().items():
        path = folder / f"scores_{name}.parquet"
        with publishing(path) as temporary:
            table.to_parquet(temporary, compression="zstd", index=False)
        paths[name] = str(path)
    return paths


def read_scores(paths: Mapping[str, Path | str]) -> Scores:
    """The tables of scores from their files, by the table's name."""
    return Scores(**{name: pd.read_parquet(path) for name, path in paths.items()})
