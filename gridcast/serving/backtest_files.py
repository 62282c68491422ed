"""How good a model was in the last weeks of its data: files of its folder, figures and paths."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.evaluation.backtest_scores import BacktestScores, paths_at_midnight, record_of
from gridcast.forecasting.model import stand_ins_of
from gridcast.record import parse_record, sealed
from gridcast.serving.model_folder import read_files

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.evaluation.backtest_scores import Backtest
    from gridcast.forecasting.calibration import Learned
    from gridcast.serving.model_card import ModelCard

BACKTEST, PATHS = "backtest.json", "paths.parquet"
_DAYS_OF_PATHS = 8


def backtest_files(learned: Learned, found: Backtest | None, card: ModelCard) -> dict[str, bytes]:
    """What ``found`` tells of a model, by the name of the file; empty where it tells nothing."""
    if found is None:
        return {}
    config = card.config
    record = record_of(
        found,
        card.name,
        card.sha256,
        config.forecasting.quantiles,
        beside=stand_ins_of(learned.calibrations[card.name]),
        first=learned.first,
        end=learned.day,
    )
    paths = paths_at_midnight(
        found.rows, card.name, timezone=config.ingestion.timezone, horizon=record.horizon,
        num_days=_DAYS_OF_PATHS,
    )  # fmt: skip
    shown = shown_regions(found, card.name)
    paths = paths[paths["region"].isin(shown)].astype({"region": str, "contestant": str})
    file = io.BytesIO()
    paths.to_parquet(file, index=False)
    return {BACKTEST: sealed(record.model_dump(mode="json")), PATHS: file.getvalue()}


def shown_regions(found: Backtest, name: str) -> list[str]:
    """The largest one, those with the least, the middle and the largest error; each once."""
    own = found.by_region[found.by_region["contestant"] == name]
    by_error = own.sort_values("error", kind="stable")["region"].astype(str).tolist()
    load = found.rows.groupby("region", observed=True)["y_true"].mean()
    chosen = [str(load.idxmax()), by_error[0], by_error[len(by_error) // 2], by_error[-1]]
    return list(dict.fromkeys(chosen))


def read_backtest(folder: Path) -> tuple[BacktestScores, pd.DataFrame] | None:
    """The figures of a model's folder, and whole paths beside their truth; None: it has none.

    The paths are of some regions: ``region``, ``issue_time``, ``timestamp`` (UTC), ``lead`` (h),
    ``y_true``, ``y_pred`` and the quantiles (MW).

    Raises:
        UsageError, RecordError, IntegrityError: as :func:`read_files`.
    """
    _, files = read_files(folder)
    if BACKTEST not in files:
        return None
    scores = parse_record(files[BACKTEST], BacktestScores, where=folder / BACKTEST)
    return scores, pd.read_parquet(io.BytesIO(files[PATHS]))
