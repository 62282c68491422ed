"""Write the run's report for people."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.covariates.inputs import note_on
from gridcast.evaluation.contestants import of_kind
from gridcast.evaluation.records import recommended_model
from gridcast.report.facts import ModelFacts, OtherFacts, RegionFacts, RunFacts
from gridcast.report.figures import (
    draw_backtest,
    draw_error_by_lead,
    draw_error_heat_map,
    draw_scores,
)
from gridcast.report.forecast_panels import draw_panels
from gridcast.report.outlook import draw_paths
from gridcast.report.run_page import run_report_html
from gridcast.serving.backtest_files import read_backtest
from gridcast.summary import Report
from tasks.evaluate.evaluation_tables import read_forecast_table, read_scores
from tasks.runs.servers import PAGES
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from gridcast.evaluation.backtest_scores import BacktestScores
    from gridcast.evaluation.records import Evaluation, KeptModels, ModelRecord
    from gridcast.evaluation.scores import Scores
    from gridcast.readings.records import Ingestion, RegionRecord
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.report")


@task(name="publish-report", cache_policy=NO_CACHE)
def publish_report(
    run: Run,
    ingestion: Ingestion,
    evaluation: Evaluation,
    kept: KeptModels,
    mlflow_run_ids: Mapping[str, str],
) -> str:
    """Forecasts and scores → pictures and tables → ``report.html``; its path."""
    scores = read_scores(evaluation.scores_paths)
    kind = ingestion.data.kind
    facts = RunFacts(
        run_id=run.run_id,
        profile=run.profile,
        data_kind=kind,
        data_folder=ingestion.data.folder,
        regions=[_region(name, region) for name, region in ingestion.regions.items()],
        models=[
            _model(name, model, mlflow_run_ids.get(name))
            for name, model in evaluation.models.items()
        ],
        timings=run.timings,
        contestants=evaluation.contestants,
        horizon=run.config.windows.horizon,
        num_test_labels=evaluation.num_test_labels,
        follows_article=run.config.features.kind == "article",
        others=_others(evaluation, mlflow_run_ids),
        validation_error=_validation(evaluation),
        measure=evaluation.measure,
        why_measure=evaluation.why_measure,
        preferred=evaluation.preferred,
        note=note_on(run.config.covariates),
    )
    figures = _figures(facts, evaluation, scores)
    path = run.folder / "report.html"
    backtest, paths = _backtest(evaluation, kept) or (None, None)
    drawn = [] if backtest is None else [draw_backtest(backtest)]
    if paths is not None and len(paths):
        drawn.insert(0, draw_paths(paths, timezone=run.config.ingestion.timezone))
    html = run_report_html(
        title="GRU and LSTM", summary=facts, scores=scores, figures=figures, backtest=backtest,
        backtest_figures=drawn,
    )  # fmt: skip
    write_bytes(path, html.encode())
    run.leave(Report(path=str(path)))
    create_link_artifact(
        key="report", link=f"{PAGES}/runs/{run.run_id}/report.html",
        description=f"Report of {run.run_id}, while `gridcast ui` serves it",
    )  # fmt: skip
    return str(path)


def _backtest(
    evaluation: Evaluation, kept: KeptModels
) -> tuple[BacktestScores, pd.DataFrame] | None:
    """Of the model that a forecast is made with."""
    name = recommended_model(
        evaluation.preferred, evaluation.models, evaluation.means, evaluation.measure
    )
    return read_backtest(Path(kept.folders[name])) if name in kept.folders else None


def _figures(facts: RunFacts, evaluation: Evaluation, scores: Scores) -> dict[str, Figure]:
    """The pictures under their headings; forecasts are read of those who are drawn."""
    models = of_kind(evaluation.contestants, "model")
    drawn = [*models, *(e for e in evaluation.contestants if e.name == evaluation.preferred)]
    drawn = list(dict.fromkeys(drawn))
    forecasts = read_forecast_table(evaluation.forecasts_path, {each.name for each in drawn})
    shown = evaluation.contestants
    figures = {
        "Error by region": draw_scores(
            scores, shown, show_article=facts.has_articles_labels, measure=facts.measure
        )
    }
    if facts.horizon > 1:
        figures["Error by lead"] = draw_error_by_lead(scores, shown, measure=facts.measure)
    figures["Forecast and actual"] = draw_panels(forecasts, models, norms=evaluation.norms)
    return figures | {
        f"Error by hour, {each.name}": draw_error_heat_map(forecasts, each, norms=evaluation.norms)
        for each in drawn
    }


def _region(name: str, region: RegionRecord) -> RegionFacts:
    refused = region.status == "refused"
    return RegionFacts(
        region=name,
        num_rows=None if refused else region.rows,
        num_hours=None if refused else region.utc_hours,
        num_missing_hours=None if refused else region.missing_hours,
        num_flagged=None if refused else region.flagged,
        status="set aside" if refused else "used",
        reason=region.reason,
    )


def _model(name: str, model: ModelRecord, mlflow_run_id: str | None) -> ModelFacts:
    return ModelFacts(
        job=name,
        cell=model.cell,
        seed=model.seed,
        device=model.device,
        num_parameters=model.num_parameters,
        training_seconds=model.train_seconds,
        pass_seconds=model.pass_seconds,
        evaluation_seconds=model.evaluation_seconds,
        peak_memory_bytes=model.peak_memory_bytes,
        mlflow_run_id=mlflow_run_id,
        weights_sha256=model.weights_sha256,
    )


def _others(evaluation: Evaluation, mlflow_run_ids: Mapping[str, str]) -> list[OtherFacts]:
    """The means and the fitted baselines."""
    means = [
        OtherFacts(
            contestant=each,
            training_seconds=evaluation.means[each.name].train_seconds,
            num_parameters=evaluation.means[each.name].num_parameters,
            mlflow_run_id=mlflow_run_ids.get(each.name),
        )
        for kind in ("mean", "blend")
        for each in of_kind(evaluation.contestants, kind)
    ]
    return means + [
        OtherFacts(
            contestant=each,
            training_seconds=evaluation.baselines[each.name].train_seconds,
            num_parameters=None,
        )
        for each in of_kind(evaluation.contestants, "fitted")
    ]


def _validation(evaluation: Evaluation) -> dict[str, float]:
    """Errors on the validation part (percent), by contestant."""
    parts = (evaluation.models, evaluation.means, evaluation.baselines)
    return {
        name: error
        for part in parts
        for name, each in part.items()
        if (error := each.validation_error(evaluation.measure)) is not None
    }
