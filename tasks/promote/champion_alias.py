"""MLflow's alias ``champion``: it follows the log of promotions, which is the truth.

Where MLflow does not answer the promotion stands all the same; the next one, or `gridcast champion
--follow`, moves the alias.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from tasks.promote.promotion_files import read_log
from tasks.runs.locks import held
from tasks.track.mlflow_client import open_client, tracking_uri

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from gridcast.config import TrackingConfig
    from gridcast.operation.promotion_log import Promotion

ALIAS: Final = "champion"
_log = logging.getLogger("gridcast.promote")


def follow_log(artifacts: Path, dataset: str, config: TrackingConfig) -> str | None:
    """Let the alias name whoever is in charge by the log now; why it does not (None: it does)."""
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(artifacts, config)
    name = config.registered_model.format(dataset=dataset)
    try:
        with held(artifacts, "mlflow"):
            newest = read_log(artifacts, dataset).newest  # again: another may have been sooner
            if newest is None:
                return None
            problem = _follow(open_client(uri), name, newest)
    except MlflowException as error:
        problem = f"MLflow does not take it ({error.message.splitlines()[0]})"
    if problem:
        _log.warning("The alias %s of %s is not moved: %s", ALIAS, name, problem)
    return problem


def _follow(client: MlflowClient, name: str, newest: Promotion) -> str | None:
    version = _version_of(client, name, newest)
    if version is None:
        if client.search_registered_models(f"name = '{name}'"):
            client.delete_registered_model_alias(name, ALIAS)  # it names who is not in charge
        return f"no version of {name} has the weights of {newest.to.short}"
    number = str(version.version)
    client.set_registered_model_alias(name, ALIAS, number)
    for key, value in _tags(newest).items():
        client.set_model_version_tag(name, number, key, value)
    return None


def _version_of(client: MlflowClient, name: str, newest: Promotion) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}'")
    return next((e for e in found if e.tags.get("weights_sha256") == newest.to.sha256), None)


def _tags(newest: Promotion) -> dict[str, str]:
    """What stands at the version: since when, by whom, why, and by which figures."""
    tags = {
        "champion_since": newest.since,
        "champion_number": str(newest.number),
        "champion_by": newest.decided_by,
        "champion_reason": newest.reason,
        "champion_run": newest.to.run_id,
    }
    if newest.decision is None:
        return tags
    for each in newest.decision.contests:
        if mean := each.regions.get("*"):
            tags[f"champion_{newest.decision.measure}_against_{each.kind}"] = (
                f"{mean.error:.4f} against {mean.other_error:.4f}"
            )
    return tags
