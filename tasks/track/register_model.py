"""Register what a run recommends: a version of the one model of its data set, once per model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import TrackingError
from gridcast.evaluation.records import Evaluation, KeptModels
from gridcast.summary import Tracking
from tasks.track.logged.registration import ALIAS, register_recommended

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.runs.run import Run

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
    try:
        registered = register_recommended(run, evaluation, kept, mlflow_run_ids)
    except TrackingError as error:
        run.leave(Tracking(stage=_STAGE, error=str(error)))
        return None
    if registered is None:
        return None
    run.leave(Tracking(stage=_STAGE, registered_model=registered))
    _log.info("%s, alias %s", registered, ALIAS)
    return registered
