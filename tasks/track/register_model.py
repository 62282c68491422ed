"""Register what a run recommends: a version of the one model of its data set, once per model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import TrackingError
from gridcast.evaluation.records import Evaluation, KeptModels, recommended_model
from gridcast.readings.records import Ingestion
from gridcast.summary import Tracking
from tasks.runs.locks import held
from tasks.track.mlflow_client import open_client, tracking_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from tasks.runs.run import Run

ALIAS: Final = "challenger"  # the newest that is recommended; no run says who is in charge
_STAGE = "register_model"
_log = logging.getLogger("gridcast.track")


@task(name="register-model", cache_policy=NO_CACHE)
def register_model(
    run: Run, evaluation: Evaluation, kept: KeptModels, mlflow_run_ids: Mapping[str, str]
) -> str | None:
    """What the validation part recommends → a version with the alias; its ``models:/`` address.

    A model that has a version keeps it. None where no model is kept, or MLflow has no run of it.
    A registry that refuses is told in the summary; the run goes on, and the next one registers.
    """
    from mlflow.exceptions import MlflowException

    name = recommended_model(evaluation.preferred, evaluation.models, evaluation.means)
    if name not in kept.folders or name not in mlflow_run_ids:
        return None
    uri = tracking_uri(run.artifacts, run.config.tracking)
    try:
        with held(run.artifacts, "mlflow", is_cancelled=run.stop_file.exists):
            registered = _register(run, open_client(uri), name, mlflow_run_ids[name])
    except MlflowException as error:
        run.leave(Tracking(stage=_STAGE, error=str(TrackingError(uri, error.message))))
        return None
    run.leave(Tracking(stage=_STAGE, registered_model=registered))
    _log.info("%s: %s, alias %s", name, registered, ALIAS)
    return registered


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
