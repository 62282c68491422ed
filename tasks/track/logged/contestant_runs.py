"""The MLflow runs of a run's contestants: each is logged once, whoever asks for it again."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridcast.readings.records import Ingestion
from gridcast.record import StoredRecord
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.track.logged_contestant import LoggedContestant, logged_contestants
from tasks.track.logged_folder import log_folder
from tasks.track.mlflow_client import (
    LATEST,
    LINEAGE_TAG,
    create_database,
    open_client,
    own_database,
    require_usable,
    told_as_tracking_error,
    tracking_uri,
    written_uri,
)
from tasks.track.moved_database import relocate_addresses

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.entities import Run as MlflowRun

    from gridcast.evaluation.records import Evaluation, KeptModels
    from tasks.runs.run import Run
    from tasks.train.records import Features, TrainedJob

_log = logging.getLogger("gridcast.track")
_KEY_TAG = "tracking_key"
_BATCH = 1000  # metrics; a server takes no more at once
_SECTIONS = ("features", "scaling", "split", "windows", "model", "training")  # logged as parameters
_SERVED = "tasks.track.served_model"  # whose file goes with the model


class TrackedNote(StoredRecord):
    """The MLflow run that was made of a job, and of what it was made (``key``)."""

    key: str
    run_id: str


def log_contestants(
    run: Run,
    features: Features,
    trained: list[TrainedJob],
    evaluation: Evaluation,
    kept: KeptModels,
) -> dict[str, str]:
    """Log each network and each mean once; the MLflow run of each, by its name.

    Raises:
        TrackingError: MLflow does not answer or refuses.
    """
    run_ids: dict[str, str] = {}
    with told_as_tracking_error(uri_of(run)):
        with alone_with_mlflow(run):
            client = client_of(run)
        for each in logged_contestants(
            run, features, trained, evaluation, kept, sections=_SECTIONS
        ):
            with alone_with_mlflow(run):  # two runs that have the same job log it once
                experiment_id = experiment_of(run, client)
                key = _tracking_key(run, each)
                run_id = _known_run(run, client, experiment_id, each, key) or _log_contestant(
                    run, client, experiment_id, features, each, evaluation, key
                )
            run_ids[each.name] = run_id
    return run_ids


def prepare(run: Run) -> None:
    """Make the database and the experiment, if they are not there.

    Raises:
        TrackingError: MLflow does not answer or refuses.
    """
    with told_as_tracking_error(uri_of(run)), alone_with_mlflow(run):
        experiment_of(run, client_of(run))


def experiment_of(run: Run, client: MlflowClient) -> str:
    """The id of the run's experiment in MLflow, which is made if it is not there."""
    name = run.config.tracking.experiment
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    location = None
    if uri_of(run).startswith("sqlite:///"):
        location = (run.artifacts / "mlflow" / "artifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=location))


def end_unfinished(run: Run) -> None:
    """Runs that were begun for ``run`` and never ended: whoever did was killed."""
    with alone_with_mlflow(run):
        client = client_of(run)
        wanted = f"tags.pipeline_run = '{run.run_id}' and attributes.status = 'RUNNING'"
        for each in client.search_runs([experiment_of(run, client)], wanted):
            client.set_terminated(each.info.run_id, "KILLED")


def alone_with_mlflow(run: Run) -> AbstractContextManager[None]:
    """One run at a time makes the database and the experiment, or logs a model."""
    return held(run.artifacts, "mlflow", is_cancelled=run.stop_file.exists)


def uri_of(run: Run) -> str:
    """The address of the run's server."""
    return tracking_uri(run.artifacts, run.config.tracking)


def client_of(run: Run) -> MlflowClient:
    """The client of the run's server; a database of its own is made if it is not there."""
    database, uri = own_database(run.artifacts), uri_of(run)
    database.parent.mkdir(parents=True, exist_ok=True)
    if uri == f"sqlite:///{database}":
        if not database.exists():
            create_database(database)
        require_usable(database)
    relocate_addresses(database)
    return open_client(uri)


def _known_run(
    run: Run, client: MlflowClient, experiment_id: str, logged: LoggedContestant, key: str
) -> str | None:
    """The MLflow run of an earlier pipeline run with the same job, if it is still there."""
    known = cached_record(logged.note, TrackedNote) if logged.note else None
    noted = known.run_id if known and known.key == key else None
    run_id = noted if noted and _is_finished(client, noted) else None
    run_id = run_id or _finished_without_a_note(client, experiment_id, key)
    if run_id is None:
        return None
    if run_id != noted:
        _note(logged, key, run_id)
    client.set_tag(run_id, "pipeline_run_latest", run.run_id)
    return str(run_id)


def _note(logged: LoggedContestant, key: str, run_id: str) -> None:
    if logged.note:
        write_record(logged.note, TrackedNote(key=key, run_id=run_id))


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


def _tracking_key(run: Run, logged: LoggedContestant) -> str:
    """A training that was done again, with ``--fresh``, is another one by its result."""
    return key_of(
        uri=written_uri(uri_of(run), run.artifacts),
        name=logged.name,
        made_of=logged.made_of,
        metrics=logged.metrics,
        config=run.config.keyed(
            *_SECTIONS, "covariates", "evaluation", "forecasting", "ingestion", "tracking"
        ),
        rules=run.config.rules.default.keyed("flagged", "repaired"),
        code=code_sha256(__name__, _SERVED),
    )


def _log_contestant(
    run: Run,
    client: MlflowClient,
    experiment_id: str,
    features: Features,
    logged: LoggedContestant,
    evaluation: Evaluation,
    key: str,
) -> str:
    import mlflow

    # MLflow would tell the path of the program, and of a training how long it took to log it.
    tags = {**logged.tags, _KEY_TAG: key, "mlflow.source.name": "gridcast"}
    end = int(time.time() * 1000)
    made = client.create_run(
        experiment_id, start_time=end - int(1000 * logged.seconds), tags=tags, run_name=logged.name
    )
    run_id = str(made.info.run_id)
    with mlflow.start_run(run_id=run_id):
        client.log_inputs(run_id, datasets=[_dataset(run, features)])
        metrics = logged.all_metrics()
        client.log_batch(run_id, metrics=metrics[:_BATCH], params=logged.all_params())
        for first in range(_BATCH, len(metrics), _BATCH):
            client.log_batch(run_id, metrics=metrics[first : first + _BATCH])
        by_region: dict[str, Any] = {
            measure: dict(each) for measure, each in logged.errors_by_region.items()
        }
        client.log_dict(run_id, by_region, "errors_by_region.json")
        for file, figure in logged.figures(evaluation).items():
            client.log_figure(run_id, figure, f"figures/{file}")
        client.log_dict(run_id, run.config.model_dump(mode="json"), "config.json")
        if logged.folder:
            log_folder(logged.folder, Path(features.path))
    client.set_terminated(run_id, end_time=end)
    _note(logged, key, run_id)
    _log.info("%s: MLflow run %s", logged.name, run_id)
    return run_id


def _dataset(run: Run, features: Features) -> DatasetInput:
    """The snapshot that was read, and what became of it, as MLflow lists data sets."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    ingestion = run.find(Ingestion)
    snapshot = (ingestion.snapshot if ingestion else None) or features.file_sha256[:16]
    name = ingestion.dataset if ingestion else "features"
    profile = {"regions": len(features.scales), "windows": features.windows.model_dump()}
    dataset = Dataset(
        name=name, digest=snapshot, source_type="gridcast snapshot",
        source=json.dumps({"uri": f"data/snapshots/{snapshot}.json"}), profile=json.dumps(profile),
    )  # fmt: skip
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training, validation, test")])


def leave_lineage(run: Run, client: MlflowClient, found: MlflowRun) -> None:
    """The run that logged the model leaves the whole lineage, a later one its hash."""
    path = run.folder / "lineage.json"
    is_own = found.data.tags.get("pipeline_run") == run.run_id
    if is_own:
        client.log_artifact(found.info.run_id, str(path))
    tag = LINEAGE_TAG if is_own else LINEAGE_TAG + LATEST
    client.set_tag(found.info.run_id, tag, file_sha256(path))
