"""The table of features as a file, written region by region: it never lies in memory as a whole.

It knows no orchestrator: benchmarks write tables with it on a machine that has none.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gridcast.evaluation.measure import (
    MeasureName,
    mean_load,
    measure_of_run,
    near_zero_share,
)
from gridcast.features.columns import feature_columns
from gridcast.features.splits import TRAIN
from gridcast.features.table import region_features
from gridcast.features.windows import WindowsRecord, count_windows, steps_of
from tasks.runs.keys import require_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.readings.records import RegionRecord

# Of a row group: what the one who reads it has in memory beside what it makes of it.
_ROWS_AT_ONCE = 1 << 18


class Built(NamedTuple):
    """What is known of a table that was written: fields of ``Features``."""

    scales: dict[str, tuple[float, float]]
    covariate_scales: dict[str, dict[str, tuple[float, float]]]
    feature_names: list[str]
    windows: WindowsRecord
    imputed_hours: dict[str, int]
    mean_loads: dict[str, float]
    near_zero: dict[str, float]
    measure: MeasureName


def write_features(
    path: Path,
    regions: Sequence[str],
    read: Callable[[str], pd.DataFrame],
    config: Config,
    *,
    read_covariates: Callable[[str], Covariates | None] = lambda _: None,
) -> Built:
    """From each region's readings, which ``read`` gives by its name, to ``FeatureTable.frame``.

    ``regions`` is in order; ``read_covariates`` gives those of a region, if it has some.
    """
    scales, imputed, of_covariates = {}, {}, {}
    mean_loads, near_zero = dict[str, float](), dict[str, float]()
    windows = WindowsRecord(train=0, validation=0, test=0)
    names: list[str] = []
    with _row_groups(path) as write:
        for region in regions:
            frame, scale = region_features(
                region, read(region), config, regions=regions, covariates=read_covariates(region)
            )
            write(frame)
            scales[region] = (scale.offset_mw, scale.scale_mw)
            if scale.covariates:
                of_covariates[region] = dict(scale.covariates)
            imputed[region] = int(frame["is_imputed"].sum())
            trained_on = frame["load_mw"].to_numpy()[frame["part"].to_numpy() == TRAIN]
            mean_loads[region], near_zero[region] = (
                mean_load(trained_on),
                near_zero_share(trained_on),
            )
            windows = windows.plus(count_windows(steps_of(frame), config.windows))
            names = feature_columns(frame.columns)
    return Built(
        scales, of_covariates, names, windows, imputed, mean_loads, near_zero,
        measure_of_run(near_zero.values()),
    )  # fmt: skip


def read_region(region: RegionRecord) -> pd.DataFrame:
    """A region's published readings.

    Raises:
        IntegrityError: the table is not the one that was published.
    """
    require_sha256(Path(region.path), region.file_sha256)
    return pd.read_parquet(region.path)


@contextmanager
def _row_groups(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Gather frames until there are enough rows for a row group: small ones are slow to read."""
    waiting: list[pd.DataFrame] = []
    writer: pq.ParquetWriter | None = None

    def flush() -> None:
        nonlocal writer
        table = pa.Table.from_pandas(pd.concat(waiting, ignore_index=True), preserve_index=False)
        waiting.clear()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)

    def write(frame: pd.DataFrame) -> None:
        waiting.append(frame)
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            flush()

    try:
        yield write
        if waiting:
            flush()
    finally:
        if writer is not None:
            writer.close()
