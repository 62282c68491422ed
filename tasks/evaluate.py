"""Hold every model and naive forecast against the same test labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.evaluation import (
    OVERALL,
    collect_forecasts,
    overall_scores,
    score_contestants,
    smape_by_region,
)
from gridcast.summary import BaselineRecord, ModelRecord
from tasks.records import Evaluation, Features, TrainedJob
from tasks.storage import publishing, require_sha256

if TYPE_CHECKING:
    from tasks.runs import Run

_log = logging.getLogger("gridcast.evaluate")
_FORECASTS = "forecasts.parquet"


@task(name="evaluate-models", cache_policy=NO_CACHE)
def evaluate_models(run: Run, features: Features, trained: list[TrainedJob]) -> Evaluation:
    """Forecasts of all jobs → one table with the naive ones → scores, by region and overall."""
    require_sha256(Path(features.path), features.file_sha256)
    table = pd.read_parquet(
        features.path,
        columns=["region", "timestamp", "local_hour", "load_mw", "input_mw", "part"],
    )
    forecasts = collect_forecasts(table, {each.job.name: _read_forecasts(each) for each in trained})
    scores = score_contestants(forecasts, table, season_length=run.config.evaluation.season_length)
    forecasts_path, scores_path = run.folder / _FORECASTS, run.folder / "scores.parquet"
    with publishing(forecasts_path) as temporary:
        forecasts.to_parquet(temporary, compression="zstd", index=False)
    with publishing(scores_path) as temporary:
        scores.to_parquet(temporary, index=False)
    evaluation = Evaluation(
        forecasts_path=str(forecasts_path),
        scores_path=str(scores_path),
        models={each.job.name: _model_record(each, scores) for each in trained},
        baselines={name: _baseline_record(name, scores) for name in _naive_names(scores)},
    )
    run.leave("evaluation", evaluation)
    overall = scores[scores["region"] == OVERALL].round(4)
    create_table_artifact(
        key="scores",
        table={str(name): list(column) for name, column in overall.items()},
        description=f"Overall scores of run {run.run_id} (sMAPE in percent, errors in MW)",
    )
    for name, model in evaluation.models.items():
        _log.info("%s: sMAPE %.3f %% on %d test labels", name, model.smape, len(forecasts))
    return evaluation


def _read_forecasts(trained: TrainedJob) -> pd.DataFrame:
    path = trained.file(_FORECASTS)
    require_sha256(path, trained.files[_FORECASTS])
    return pd.read_parquet(path)


def _naive_names(scores: pd.DataFrame) -> list[str]:
    return list(scores.loc[scores["kind"] == "naive", "contestant"].unique())


def _model_record(trained: TrainedJob, scores: pd.DataFrame) -> ModelRecord:
    job = trained.job
    overall = overall_scores(scores, job.name)
    return ModelRecord(
        cell=job.cell,
        seed=job.seed,
        device=job.device,
        num_parameters=trained.num_parameters,
        smape=overall["smape"],
        smape_by_region=smape_by_region(scores, job.name),
        mae=overall["mae"],
        rmse=overall["rmse"],
        mase=overall["mase"],
        validation_smape=trained.history[-1]["validation_smape"],
        train_seconds=trained.train_seconds,
        pass_seconds=_pass_seconds(trained),
        evaluation_seconds=trained.evaluation_seconds,
        peak_memory_bytes=trained.peak_memory_bytes,
        mlflow_run_id=None,
        weights_sha256=trained.weights_sha256,
        cached=trained.cached,
    )


def _pass_seconds(trained: TrainedJob) -> list[float]:
    """Of each pass, training alone: the last word on a pass is the one after it."""
    by_pass = {each["pass_number"]: each["pass_seconds"] for each in trained.history}
    return [seconds for seconds in by_pass.values() if seconds is not None]


def _baseline_record(name: str, scores: pd.DataFrame) -> BaselineRecord:
    return BaselineRecord(
        smape=overall_scores(scores, name)["smape"], smape_by_region=smape_by_region(scores, name)
    )
