"""Log each model to MLflow as a flat run: parameters, metrics, figures, and the model itself."""

from __future__ import annotations

import logging
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import TrackingError
from gridcast.evaluation.forecasts import quantile_column
from gridcast.evaluation.records import Evaluation, KeptModels
from gridcast.evaluation.scores import shown_regions
from gridcast.readings.records import Ingestion
from gridcast.record import StoredRecord
from gridcast.report.figures import draw_error_heat_map, draw_scores
from gridcast.report.forecast_panels import draw_panels
from gridcast.serving.model_folder import read_files
from gridcast.summary import Tracking
from tasks.evaluate.evaluation_tables import read_forecast_table, read_scores
from tasks.runs.import_closure import ROOT, all_code_sha256, code_sha256
from tasks.runs.keys import file_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.track.mlflow_client import (
    create_database,
    open_client,
    own_database,
    tracking_uri,
    written_uri,
)
from tasks.track.moved_database import relocate_addresses
from tasks.train.records import Features, TrainedJob

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.track")
_STAGE = "track_models"
_KEY_TAG = "tracking_key"
_BATCH = 1000  # metrics; a server takes no more at once
_SECTIONS = ("features", "scaling", "split", "windows", "model", "training")  # logged as parameters
_SERVED = "tasks.track.served_model"  # whose file goes with the model
# What a served model imports, beside gridcast itself, which goes with it.
_REQUIRED = ("mlflow", "numpy", "pandas", "pydantic", "holidays", "torch")


class TrackedNote(StoredRecord):
    """The MLflow run that was made of a job, and of what it was made (``key``)."""

    key: str
    run_id: str


@task(name="prepare-tracking", cache_policy=NO_CACHE)
def prepare_tracking(run: Run) -> None:
    """Create the database and the experiment once, while the models train."""
    from mlflow.exceptions import MlflowException

    try:
        with _alone(run):
            _experiment_id(run, _client(run))
    except MlflowException as error:
        raise TrackingError(_uri(run), error.message) from error


def _experiment_id(run: Run, client: MlflowClient) -> str:
    name = run.config.tracking.experiment
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    location = None
    if _uri(run).startswith("sqlite:///"):
        location = (run.artifacts / "mlflow" / "artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=location))


@task(name="track-models", cache_policy=NO_CACHE)
def track_models(
    run: Run,
    features: Features,
    trained: list[TrainedJob],
    evaluation: Evaluation,
    kept: KeptModels,
) -> dict[str, str]:
    """Log each model once: a run that is there for the same job and scores is used again.

    Gives the MLflow run of each model, by its job's name.

    Raises:
        TrackingError: the server does not answer or refuses; the next run logs what is missing.
    """
    from mlflow.exceptions import MlflowException

    run_ids: dict[str, str] = {}
    try:
        with _alone(run):
            client = _client(run)
        for each in trained:
            with _alone(run):  # two runs that have the same job log it once
                experiment_id = _experiment_id(run, client)
                key = _tracking_key(run, each, evaluation)
                run_id = _known_run(run, client, experiment_id, each, key) or _log_model(
                    run, client, experiment_id, features, each, evaluation, kept
                )
            run_ids[each.job.name] = run_id
    except MlflowException as error:
        untracked = TrackingError(_uri(run), error.message)
        run.leave(Tracking(stage=_STAGE, error=str(untracked)))
        raise untracked from error
    run.leave(Tracking(stage=_STAGE, mlflow_run_ids=run_ids))
    return run_ids


def _alone(run: Run) -> AbstractContextManager[None]:
    """One run at a time makes the database and the experiment, or logs a model."""
    return held(run.artifacts, "mlflow", is_cancelled=run.stop_file.exists)


def _uri(run: Run) -> str:
    return tracking_uri(run.artifacts, run.config.tracking)


def _client(run: Run) -> MlflowClient:
    database, uri = own_database(run.artifacts), _uri(run)
    database.parent.mkdir(parents=True, exist_ok=True)
    if uri == f"sqlite:///{database}" and not database.exists():
        create_database(database)
    relocate_addresses(database)
    return open_client(uri)


def _known_run(
    run: Run, client: MlflowClient, experiment_id: str, trained: TrainedJob, key: str
) -> str | None:
    """The MLflow run of an earlier pipeline run with the same job, if it is still there."""
    note = trained.file("mlflow.json")
    known = cached_record(note, TrackedNote)
    noted = known.run_id if known and known.key == key else None
    run_id = noted if noted and _is_finished(client, noted) else None
    run_id = run_id or _finished_without_a_note(client, experiment_id, key)
    if run_id is None:
        return None
    if run_id != noted:
        write_record(note, TrackedNote(key=key, run_id=run_id))
    client.set_tag(run_id, "pipeline_run_latest", run.run_id)
    return str(run_id)


def _is_finished(client: MlflowClient, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException:
        return False
    return found.info.lifecycle_stage == "active" and found.info.status == "FINISHED"


def _finished_without_a_note(client: MlflowClient, experiment_id: str, key: str) -> str | None:
    """What a run logged that was killed before it noted so; what it had not finished is ended."""
    finished = None
    for found in client.search_runs([experiment_id], f"tags.{_KEY_TAG} = '{key}'"):
        if found.info.status == "FINISHED":
            finished = str(found.info.run_id)
        elif found.info.status == "RUNNING":  # by nobody: who logs holds the lock
            client.set_terminated(found.info.run_id, "KILLED")
    return finished


def _tracking_key(run: Run, trained: TrainedJob, evaluation: Evaluation) -> str:
    """A training that was done again, with ``--fresh``, is another one by its result."""
    return key_of(
        uri=written_uri(_uri(run), run.artifacts),
        job=trained.job.key,
        weights=trained.weights_sha256,
        result=file_sha256(trained.file("result.json")),
        metrics=_final_metrics(trained, evaluation),
        config=run.config.keyed(*_SECTIONS, "evaluation", "forecasting", "tracking"),
        rules=run.config.rules.default.keyed("flagged", "repaired"),
        code=code_sha256(__name__, _SERVED),
    )


def _log_model(
    run: Run,
    client: MlflowClient,
    experiment_id: str,
    features: Features,
    trained: TrainedJob,
    evaluation: Evaluation,
    kept: KeptModels,
) -> str:
    import mlflow

    name = trained.job.name
    key = _tracking_key(run, trained, evaluation)
    tags = {**_tags(run, features, trained), _KEY_TAG: key}
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags) as active:
        run_id = str(active.info.run_id)
        metrics = _metrics(trained, evaluation)
        client.log_batch(run_id, metrics=metrics[:_BATCH], params=_params(run, trained))
        for first in range(_BATCH, len(metrics), _BATCH):
            client.log_batch(run_id, metrics=metrics[first : first + _BATCH])
        model = evaluation.models[name]
        client.log_dict(run_id, model.smape_by_region, "smape_by_region.json")
        for file, figure in _figures(evaluation, name).items():
            client.log_figure(run_id, figure, f"figures/{file}")
        client.log_dict(run_id, run.config.model_dump(mode="json"), "config.json")
        if name in kept.folders:
            _log_folder(Path(kept.folders[name]))
    write_record(trained.file("mlflow.json"), TrackedNote(key=key, run_id=run_id))
    _log.info("%s: MLflow run %s", name, run_id)
    return run_id


def _log_folder(folder: Path) -> None:
    """The folder that forecasts as a pyfunc from code: it holds no pickle and can be served."""
    import mlflow

    card, _ = read_files(folder)
    quantiles = [quantile_column(each) for each in card.config.forecasting.quantiles]
    texts = ("fallback", "fallback_reason", "model", "model_sha256")
    with warnings.catch_warnings():  # it asks for a type hint; the signature says all
        warnings.filterwarnings("ignore", message=".*(Add type hints|An input example was not)")
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(folder)},
            code_paths=[str(ROOT / "gridcast")],
            signature=_signature(quantiles, texts),
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIRED],
        )


def _signature(quantiles: Sequence[str], texts: Sequence[str]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    # MLflow's datetime has no zone: times come as they are, text or with a zone.
    given: dict[str, Any] = {"region": "string", "timestamp": AnyType(), "load_mw": "double"}  # type: ignore[no-untyped-call]
    made = {"region": "string", "issue_time": "datetime", "timestamp": "datetime", "lead": "long"}
    made |= dict.fromkeys(("load_mw", *quantiles), "double") | dict.fromkeys(texts, "string")
    params = [
        ParamSpec("as_of", DataType.string, ""),
        ParamSpec("horizon", DataType.long, 0),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name) for name, kind in given.items()]),
        outputs=Schema([ColSpec(kind, name) for name, kind in made.items()]),
        params=ParamSchema(params),
    )


def _tags(run: Run, features: Features, trained: TrainedJob) -> dict[str, str]:
    ingestion = run.find(Ingestion)
    regions = ingestion.regions if ingestion else {}
    contents = {name: region.content_sha256 for name, region in regions.items()}
    return {
        "pipeline_run": run.run_id,
        "profile": run.profile,
        "cell": trained.job.cell,
        "seed": str(trained.job.seed),
        "data_kind": ingestion.data.kind if ingestion else "",
        "data_folder": ingestion.data.folder if ingestion else "",
        "data_sha256": key_of(regions=contents),
        "code_sha256": all_code_sha256(),
        "features_sha256": features.file_sha256,
        "features_key": features.key,
        "weights_sha256": trained.weights_sha256,
        "engine": trained.engine.layers,
        "engine_reason": trained.engine.reason,
        "config_sha256": key_of(config=run.config.model_dump(mode="json")),
        "job_key": trained.job.key,
    }


def _params(run: Run, trained: TrainedJob) -> list[Any]:
    from mlflow.entities import Param

    sections = run.config.model_dump(mode="json", include=set(_SECTIONS))
    flat = {
        f"{section}.{key}": value
        for section, keys in sections.items()
        for key, value in keys.items()
    }
    rules = run.config.rules.default.model_dump(mode="json", include={"flagged", "repaired"})
    flat |= {
        f"rules.{part}.{rule}": value
        for part, each in rules.items()
        for rule, value in each.items()
    }
    own = {
        "cell": trained.job.cell,
        "seed": trained.job.seed,
        "device": trained.job.device,
        "num_parameters": trained.num_parameters,
        "seeds_per_pass": trained.seeds_per_pass,
        "engine": trained.engine.layers,
        "weights_sha256": trained.weights_sha256,
    }
    return [Param(key, str(value)) for key, value in (flat | own).items()]


def _final_metrics(trained: TrainedJob, evaluation: Evaluation) -> dict[str, float]:
    model = evaluation.models[trained.job.name]
    shown = shown_regions(model.smape_by_region)
    return {
        "smape": model.smape,
        "mae": model.mae,
        "rmse": model.rmse,
        "mase": model.mase,
        "train_seconds": trained.train_seconds,
        "evaluation_seconds": trained.evaluation_seconds,
        "peak_memory_bytes": float(trained.peak_memory_bytes),
        **{f"smape/{region}": model.smape_by_region[region] for region in shown},
        **{
            f"naive/{name}": each.smape
            for name, each in evaluation.baselines.items()
            if each.kind == "naive"  # those that there are in every run
        },
    }


def _metrics(trained: TrainedJob, evaluation: Evaluation) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    final = _final_metrics(trained, evaluation)
    metrics = [Metric(name, value, now, 0) for name, value in final.items()]
    end = trained.history[-1]["elapsed_seconds"] or 0.0
    for progress in trained.history:
        at = now - int(1000 * (end - (progress["elapsed_seconds"] or 0.0)))
        number = int(progress["pass_number"] or 0)
        metrics += [
            Metric(f"pass_{key}", value, at, number)
            for key in ("loss", "validation_smape", "steps_per_second")
            if (value := progress[key]) is not None
        ]
    return metrics


def _figures(evaluation: Evaluation, job: str) -> dict[str, Any]:
    model = next(each for each in evaluation.contestants if each.name == job)
    forecasts = read_forecast_table(evaluation.forecasts_path, {job})
    shown = [each for each in evaluation.contestants if each == model or each.kind == "naive"]
    return {
        "forecast_and_actual.png": draw_panels(forecasts, [model]),
        "smape_by_hour_and_region.png": draw_error_heat_map(forecasts, model),
        "smape_by_region.png": draw_scores(read_scores(evaluation.scores_paths).of(shown), shown),
    }
