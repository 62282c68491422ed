"""A version in MLflow's registry of what a run recommends: once per model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gridcast.evaluation.records import recommended_model
from gridcast.readings.records import Ingestion
from tasks.runs.locks import held
from tasks.track.logged.contestant_runs import uri_of
from tasks.track.mlflow_client import open_client, told_as_tracking_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from gridcast.evaluation.records import Evaluation, KeptModels
    from tasks.runs.run import Run

ALIAS: Final = "challenger"  # the newest that is recommended; no run says who is in charge


def register_recommended(
    run: Run, evaluation: Evaluation, kept: KeptModels, mlflow_run_ids: Mapping[str, str]
) -> str | None:
    """What the validation part recommends → a version with the alias; its ``models:/`` address.

    A model that has a version keeps it. None where no model is kept, or MLflow has no run of it.

    Raises:
        TrackingError: the registry refuses.
    """
    name = recommended_model(
        evaluation.preferred, evaluation.models, evaluation.means, evaluation.measure
    )
    if name not in kept.folders or name not in mlflow_run_ids:
        return None
    uri = uri_of(run)
    with (
        told_as_tracking_error(uri),
        held(run.artifacts, "mlflow", is_cancelled=run.stop_file.exists),
    ):
        return _register(run, open_client(uri), name, mlflow_run_ids[name])


def _register(run: Run, client: MlflowClient, contestant: str, mlflow_run_id: str) -> str:
    ingestion = run.find(Ingestion)
    dataset = ingestion.dataset if ingestion else ""
    name = run.config.tracking.registered_model.format(dataset=dataset)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    known = client.search_model_versions(f"name = '{name}'")
    found = next((each for each in known if each.run_id == mlflow_run_id), None)
    if found is None:
        logged = client.get_run(mlflow_run_id)
        (output,) = logged.outputs.model_outputs if logged.outputs else []
        location = client.get_logged_model(output.model_id).artifact_location
        tags = {
            "contestant": contestant,
            "weights_sha256": logged.data.tags["weights_sha256"],
            "pipeline_run": run.run_id,
            "snapshot": (ingestion.snapshot if ingestion else None) or "",
        }
        found = client.create_model_version(
            name, location, mlflow_run_id, tags=tags, model_id=output.model_id
        )
    client.set_registered_model_alias(name, ALIAS, str(found.version))
    return f"models:/{name}/{found.version}"
