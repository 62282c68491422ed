"""Hold every model, mean, fitted baseline and naive forecast against the same labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.evaluation.comparison import Comparison, compare_contestants
from gridcast.evaluation.contestants import Contestant, fitted_baseline, network, of_kind
from gridcast.evaluation.forecasts import TABLE_COLUMNS
from gridcast.evaluation.measure import LABELS, NMAE, why_nmae
from gridcast.evaluation.records import (
    BaselineRecord,
    Evaluation,
    MeanRecord,
    ModelRecord,
    total_train_seconds,
)
from gridcast.evaluation.scores import Scores, errors_by_region, overall_scores
from gridcast.features.table import calendars_of
from gridcast.serving.model_card import linear_file
from tasks.evaluate.evaluation_tables import write_forecast_table, write_scores
from tasks.runs.keys import require_sha256
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
    table = pd.read_parquet(features.path, columns=list(TABLE_COLUMNS))
    done: list[TrainedJob | FittedBaseline] = [*trained, *fitted]
    comparison = compare_contestants(
        table,
        {contestant_of(each): _read_forecasts(each) for each in done},
        season_length=run.config.evaluation.season_length,
        calendars=calendars_of(run.config, features.scales),
        measure=features.measure,
    )
    write_forecast_table(run.folder / _FORECASTS, comparison.forecasts)
    evaluation = evaluation_of(
        comparison,
        trained,
        fitted,
        forecasts_path=str(run.folder / _FORECASTS),
        scores_paths=write_scores(run.folder, comparison.scores),
    ).model_copy(update=_measured(features))
    run.leave(evaluation)
    if evaluation.why_measure:
        _log.warning("%s", evaluation.why_measure)
    _show_scores(run, comparison, evaluation)
    _log.info("The validation part prefers %s", evaluation.preferred or "nobody: there is none")
    return evaluation


def _measured(features: Features) -> dict[str, Any]:
    """How errors are told, of an ``Evaluation``."""
    why = why_nmae(features.near_zero)
    return {"measure": features.measure, "why_measure": why, "norms": features.norms}


def contestant_of(done: TrainedJob | FittedBaseline) -> Contestant:
    """Who made the forecasts that a job has left."""
    if isinstance(done, FittedBaseline):
        return fitted_baseline(done.job.kind)
    return network(done.job.name, cell=done.job.cell, seed=done.job.seed)


def evaluation_of(
    comparison: Comparison,
    trained: list[TrainedJob],
    fitted: list[FittedBaseline],
    *,
    forecasts_path: str,
    scores_paths: dict[str, str],
) -> Evaluation:
    """What a comparison says of each contestant, with what each one cost."""
    models = {each.job.name: _model_record(each, comparison.scores) for each in trained}
    return Evaluation(
        forecasts_path=forecasts_path,
        scores_paths=scores_paths,
        num_test_labels=len(comparison.forecasts.labels),
        contestants=comparison.forecasts.contestants,
        models=models,
        means=_mean_records(models, fitted, comparison),
        baselines=_baseline_records(fitted, comparison),
        preferred=comparison.preferred,
    )


def _read_forecasts(job: TrainedJob | FittedBaseline) -> pd.DataFrame:
    path = job.file(_FORECASTS)
    require_sha256(path, job.files[_FORECASTS])
    return pd.read_parquet(path)


def _show_scores(run: Run, comparison: Comparison, evaluation: Evaluation) -> None:
    """The overall scores on Prefect's pages, and a log line for each that was trained."""
    overall, measure = comparison.scores.overall, evaluation.measure
    validation = comparison.validation_nmae if measure == NMAE else comparison.validation_smape
    if validation:
        overall = overall.assign(**{f"validation_{measure}": overall["contestant"].map(validation)})
    create_table_artifact(
        key="scores",
        table={str(name): list(column) for name, column in overall.round(4).items()},
        description=f"Overall scores of run {run.run_id} (sMAPE and nMAE in percent, errors in MW)",
    )
    create_markdown_artifact(
        key="verdict", markdown=_verdict(evaluation, overall),
        description=f"Which forecast to use, by run {run.run_id}",
    )  # fmt: skip
    for row in overall[overall["kind"] != "naive"].itertuples():
        error = getattr(row, measure)
        _log.info("%s: %s %.3f %% on %d test labels", row.contestant, LABELS[measure], error,
                  row.num_labels)  # fmt: skip


def _verdict(evaluation: Evaluation, overall: pd.DataFrame) -> str:
    """In Markdown: what the validation part prefers, and all by their error on the test part."""
    preferred, measure = evaluation.preferred, evaluation.measure
    said = f"The validation part prefers **{preferred}**." if preferred else "Nobody is preferred."
    if evaluation.why_measure:
        said += f" {evaluation.why_measure}"
    head = f"| contestant | test {LABELS[measure]} % | validation | MAE MW | RMSE MW | MASE |"
    lines = [said, "", head, "|---|--:|--:|--:|--:|--:|"]
    for row in overall.sort_values(measure, kind="stable").to_dict("records"):
        validation = row.get(f"validation_{measure}")
        told = "" if validation is None or pd.isna(validation) else f"{validation:.3f}"
        figures = f"{row['mae']:.4g} | {row['rmse']:.4g} | {row['mase']:.3f}"
        lines.append(f"| {row['contestant']} | {row[measure]:.3f} | {told} | {figures} |")
    return "\n".join(lines)


def _model_record(trained: TrainedJob, scores: Scores) -> ModelRecord:
    job, last = trained.job, trained.history[-1]
    return ModelRecord(
        **_errors(scores, job.name),
        cell=job.cell,
        seed=job.seed,
        device=job.device,
        num_parameters=trained.num_parameters,
        validation_smape=last["validation_smape"],
        validation_nmae=last.get("validation_nmae"),
        train_seconds=trained.train_seconds,
        seeds_per_pass=trained.seeds_per_pass,
        pass_seconds=_pass_seconds(trained),
        evaluation_seconds=trained.evaluation_seconds,
        peak_memory_bytes=trained.peak_memory_bytes,
        mlflow_run_id=None,
        weights_sha256=trained.weights_sha256,
        cached=trained.cached,
    )


def _errors(scores: Scores, name: str) -> dict[str, Any]:
    """Of a contestant, on the test part."""
    by_region = {f"{each}_by_region": errors_by_region(scores, name, each) for each in LABELS}
    return {**overall_scores(scores, name), **by_region}


def _pass_seconds(trained: TrainedJob) -> list[float]:
    """Of each pass, training alone: the last word on a pass is the one after it."""
    by_pass = {each["pass_number"]: each["pass_seconds"] for each in trained.history}
    return list(by_pass.values())


def _mean_records(
    models: dict[str, ModelRecord], fitted: list[FittedBaseline], comparison: Comparison
) -> dict[str, MeanRecord]:
    """The means of networks, and the blend with linear models."""
    records, known = {}, {each.job.kind: each for each in fitted}
    contestants = comparison.forecasts.contestants
    for mean in [*of_kind(contestants, "mean"), *of_kind(contestants, "blend")]:
        own = [models[member] for member in mean.members]
        linear = next((each for kind, each in known.items() if kind == mean.linear), None)
        records[mean.name] = MeanRecord(
            **_errors(comparison.scores, mean.name),
            members=mean.members,
            linear=mean.linear,
            linear_sha256=linear.files[linear_file(linear.job.kind)] if linear else "",
            weights=tuple(map(float, comparison.blend_K)) if linear else (),
            num_parameters=sum(each.num_parameters for each in own),
            validation_smape=comparison.validation_smape.get(mean.name),
            validation_nmae=comparison.validation_nmae.get(mean.name),
            train_seconds=total_train_seconds(own) + (linear.train_seconds if linear else 0.0),
        )
    return records


def _baseline_records(
    fitted: list[FittedBaseline], comparison: Comparison
) -> dict[str, BaselineRecord]:
    """The fitted baselines and the naive forecasts."""
    known = {contestant_of(each): each for each in fitted}
    records = {}
    for kind in ("fitted", "naive"):
        for each in of_kind(comparison.forecasts.contestants, kind):
            own = known.get(each)
            records[each.name] = BaselineRecord(
                kind=kind,
                **_errors(comparison.scores, each.name),
                validation_smape=comparison.validation_smape.get(each.name),
                validation_nmae=comparison.validation_nmae.get(each.name),
                train_seconds=own.train_seconds if own else None,
                cached=own.cached if own else False,
            )
    return records
