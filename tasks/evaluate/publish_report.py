"""Write the run's report for people."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.report.facts import ModelFacts, OtherFacts, RegionFacts, RunFacts
from gridcast.report.figures import draw_error_heat_map, draw_panels, draw_scores
from gridcast.report.run_page import run_report_html
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from gridcast.evaluation.records import ModelRecord
    from gridcast.readings.records import RegionRecord
    from tasks.evaluate.records import Evaluation
    from tasks.ingest.records import Ingestion
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.report")


@task(name="publish-report", cache_policy=NO_CACHE)
def publish_report(run: Run, ingestion: Ingestion, evaluation: Evaluation) -> str:
    """Forecasts and scores → pictures and tables → ``report.html``; its path."""
    forecasts = pd.read_parquet(evaluation.forecasts_path)
    scores = pd.read_parquet(evaluation.scores_path)
    kind = ingestion.data.kind
    figures = {"Error by region": draw_scores(scores, show_article=kind == "real"),
               "Forecast and actual": draw_panels(forecasts, list(evaluation.models))}  # fmt: skip
    drawn = dict.fromkeys([*evaluation.models, *filter(None, [evaluation.preferred])])
    figures |= {f"Error by hour, {name}": draw_error_heat_map(forecasts, name) for name in drawn}
    facts = RunFacts(
        run_id=run.run_id,
        profile=run.profile,
        data_kind=kind,
        data_folder=ingestion.data.folder,
        regions=[_region(name, region) for name, region in ingestion.regions.items()],
        models=[_model(name, model) for name, model in evaluation.models.items()],
        timings=run.find("timings"),
        num_test_labels=len(forecasts),
        follows_article=run.config.features.kind == "article",
        others=_others(evaluation),
        validation_smape=_validation(evaluation),
        preferred=evaluation.preferred,
    )
    path = run.folder / "report.html"
    html = run_report_html(title="GRU and LSTM", summary=facts, scores=scores, figures=figures)
    write_bytes(path, html.encode())
    run.leave("evaluation", evaluation.model_copy(update={"report": str(path)}))
    create_link_artifact(key="report", link=path.as_uri(), description=f"Report of {run.run_id}")
    return str(path)


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


def _model(name: str, model: ModelRecord) -> ModelFacts:
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
        mlflow_run_id=model.mlflow_run_id,
        weights_sha256=model.weights_sha256,
    )


def _others(evaluation: Evaluation) -> list[OtherFacts]:
    """The means and the fitted baselines."""
    means = [
        OtherFacts(
            contestant=name,
            training_seconds=mean.train_seconds,
            num_parameters=mean.num_parameters,
        )
        for name, mean in evaluation.means.items()
    ]
    return means + [
        OtherFacts(contestant=name, training_seconds=each.train_seconds, num_parameters=None)
        for name, each in evaluation.baselines.items()
        if each.kind == "fitted"
    ]


def _validation(evaluation: Evaluation) -> dict[str, float]:
    """SMAPE on the validation part (percent), by contestant."""
    parts = (evaluation.models, evaluation.means, evaluation.baselines)
    return {
        name: each.validation_smape
        for part in parts
        for name, each in part.items()
        if each.validation_smape is not None
    }
