"""The process that fits one baseline: ``python -m tasks.train.fitting_process <job folder>``.

It reads ``job.json`` and leaves ``forecasts.parquet``, of linear models their coefficients, and,
last of all, ``result.json``. It imports neither torch nor Prefect nor MLflow, and ends when its
owner is gone, as the training process does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from gridcast.array_file import packed
from gridcast.baselines.fitted_baselines import fit_baseline, forecast_parts
from gridcast.baselines.linear_baselines import LinearForecasts
from gridcast.errors import GridcastError
from gridcast.features.columns import issued_columns
from gridcast.serving.model_card import linear_file
from tasks.machine.owned_process import end_with_owner, exit_process, send_event
from tasks.runs.keys import file_sha256, require_sha256
from tasks.runs.locks import held_file
from tasks.runs.places import artifacts_of, resolved_path
from tasks.runs.record_files import read_record, write_record
from tasks.runs.storage import publishing
from tasks.train.records import BaselineJob, FittingResult, Specification

if TYPE_CHECKING:
    from tasks.train.records import FeaturesFile

_FORECASTS = "forecasts.parquet"


def main(folder: Path) -> int:
    """Fit the job in ``folder``; 0, or 1 after an ``error`` line."""
    end_with_owner()
    with held_file(folder / "process.lock", folder.name):  # its last owner may have been killed
        return _main(folder)


def _main(folder: Path) -> int:
    try:
        asked = read_record(folder / "job.json", Specification[BaselineJob])
        result = fit(asked, folder)
    except (GridcastError, MemoryError) as error:
        send_event("error", reason=str(error) or type(error).__name__)
        return 1
    write_record(folder / "result.json", result)
    return 0


def fit(asked: Specification[BaselineJob], folder: Path) -> FittingResult:
    """Features → fitted baseline → its forecasts, and what they cost."""
    job, features = asked.job, asked.features
    frame = _read_table(features, artifacts_of(folder))
    begun = perf_counter()
    baseline = fit_baseline(job.kind, frame, threads=job.threads)
    train_seconds = perf_counter() - begun
    begun = perf_counter()
    windows = asked.config.windows
    forecasts = forecast_parts(baseline, frame, scales=features.scales, windows=windows)
    evaluation_seconds = perf_counter() - begun
    with publishing(folder / _FORECASTS) as temporary:
        forecasts.to_parquet(temporary, compression="zstd", index=False)
    files = [_FORECASTS]
    if isinstance(baseline, LinearForecasts):
        files.append(linear_file(job.kind))
        with publishing(folder / files[-1]) as temporary:
            temporary.write_bytes(packed(baseline.models.arrays()))
    return FittingResult(
        train_seconds=train_seconds,
        evaluation_seconds=evaluation_seconds,
        files={name: file_sha256(folder / name) for name in files},
    )


def _read_table(features: FeaturesFile, artifacts: Path) -> pd.DataFrame:
    """The table of features. Refused if it is not the file that was written."""
    path = Path(resolved_path(features.path, artifacts))
    require_sha256(path, features.file_sha256)
    columns = ["region", "timestamp", "local_hour", "part", "is_input", "target"]
    columns += [*features.feature_names, *issued_columns(pq.read_schema(path).names)]
    return pd.read_parquet(path, columns=columns)


if __name__ == "__main__":
    exit_process(main(Path(sys.argv[1])))
