"""Hold every model, mean, fitted baseline and naive forecast against the same labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.evaluation.contestants import (
    OVERALL,
    collect_forecasts,
    kind_of,
    mean_members,
    mean_smapes,
    overall_scores,
    score_contestants,
    smape_by_region,
)
from gridcast.evaluation.records import BaselineRecord, MeanRecord, ModelRecord, seconds_together
from gridcast.features.splits import VALIDATION
from tasks.evaluate.records import Evaluation
from tasks.runs.keys import require_sha256
from tasks.runs.storage import publishing
from tasks.train.records import Features, FittedBaseline, TrainedJob

if TYPE_CHECKING:
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.evaluate")
_FORECASTS = "forecasts.parquet"


@task(name="evaluate-models", cache_policy=NO_CACHE)
def evaluate_models(
    run: Run, features: Features, trained: list[TrainedJob], fitted: list[FittedBaseline]
) -> Evaluation:
    """Forecasts of all jobs → one table with means and naive ones → scores, and who is preferred.

    Preferred is who has the smallest error on the validation part: the test part is only reported.
    """
    require_sha256(Path(features.path), features.file_sha256)
    table = pd.read_parquet(
        features.path,
        columns=["region", "timestamp", "local_hour", "load_mw", "input_mw", "part"],
    )
    done: list[TrainedJob | FittedBaseline] = [*trained, *fitted]
    jobs = {each.job.name: _read_forecasts(each) for each in done}
    forecasts = collect_forecasts(table, jobs)
    scores = score_contestants(forecasts, table, season_length=run.config.evaluation.season_length)
    validation = mean_smapes(collect_forecasts(table, jobs, part=VALIDATION))
    models = {each.job.name: _model_record(each, scores) for each in trained}
    evaluation = Evaluation(
        forecasts_path=_publish(run.folder / _FORECASTS, forecasts),
        scores_path=_publish(run.folder / "scores.parquet", scores),
        models=models,
        means=_mean_records(models, scores, validation),
        baselines=_baseline_records(fitted, scores, validation),
        preferred=min(validation, key=lambda name: validation[name], default=None),
    )
    run.leave("evaluation", evaluation)
    _show_scores(run, scores, validation)
    _log.info("The validation part prefers %s", evaluation.preferred or "nobody: there is none")
    return evaluation


def _read_forecasts(job: TrainedJob | FittedBaseline) -> pd.DataFrame:
    path = job.file(_FORECASTS)
    require_sha256(path, job.files[_FORECASTS])
    return pd.read_parquet(path)


def _publish(path: Path, table: pd.DataFrame) -> str:
    with publishing(path) as temporary:
        table.to_parquet(temporary, compression="zstd", index=False)
    return str(path)


def _show_scores(run: Run, scores: pd.DataFrame, validation: dict[str, float]) -> None:
    """The overall scores on Prefect's pages, and a log line for each that was trained."""
    overall = scores[scores["region"] == OVERALL]
    if validation:
        overall = overall.assign(validation_smape=overall["contestant"].map(validation))
    create_table_artifact(
        key="scores",
        table={str(name): list(column) for name, column in overall.round(4).items()},
        description=f"Overall scores of run {run.run_id} (sMAPE in percent, errors in MW)",
    )
    for row in overall[overall["kind"] != "naive"].itertuples():
        _log.info("%s: sMAPE %.3f %% on %d test labels", row.contestant, row.smape, row.num_labels)


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
        num_together=trained.num_together,
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


def _mean_records(
    models: dict[str, ModelRecord], scores: pd.DataFrame, validation: dict[str, float]
) -> dict[str, MeanRecord]:
    records = {}
    for name, members in mean_members(models).items():
        own = [models[member] for member in members]
        records[name] = MeanRecord(
            members=members,
            num_parameters=sum(each.num_parameters for each in own),
            **overall_scores(scores, name),
            smape_by_region=smape_by_region(scores, name),
            validation_smape=validation.get(name),
            train_seconds=seconds_together(own),
        )
    return records


def _baseline_records(
    fitted: list[FittedBaseline], scores: pd.DataFrame, validation: dict[str, float]
) -> dict[str, BaselineRecord]:
    """The fitted baselines and the naive forecasts."""
    known = {each.job.name: each for each in fitted}
    records = {}
    for name in map(str, scores["contestant"].unique()):
        own, overall = known.get(name), overall_scores(scores, name)
        if kind_of(name) in {"fitted", "naive"}:
            records[name] = BaselineRecord(
                kind="fitted" if own else "naive",
                smape=overall["smape"],
                smape_by_region=smape_by_region(scores, name),
                mae=overall["mae"],
                rmse=overall["rmse"],
                mase=overall["mase"],
                validation_smape=validation.get(name),
                train_seconds=own.train_seconds if own else None,
                cached=own.cached if own else False,
            )
    return records
