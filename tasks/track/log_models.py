"""Log each model to MLflow as a flat run: parameters, metrics, figures, and the model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import TrackingError
from gridcast.evaluation.records import Evaluation, KeptModels
from gridcast.summary import Tracking
from tasks.track.logged.contestant_runs import log_contestants, prepare
from tasks.track.logged.unlogged import forget, log_unlogged, remember
from tasks.train.records import Features, TrainedJob

if TYPE_CHECKING:
    from tasks.runs.run import Run

_STAGE = "track_models"


@task(name="prepare-tracking", cache_policy=NO_CACHE)
def prepare_tracking(run: Run) -> None:
    """Create the database and the experiment once, while the models train.

    Raises:
        TrackingError: the server does not answer or refuses.
    """
    prepare(run)


@task(name="track-models", cache_policy=NO_CACHE)
def track_models(
    run: Run,
    features: Features,
    trained: list[TrainedJob],
    evaluation: Evaluation,
    kept: KeptModels,
) -> dict[str, str]:
    """Log each network and each mean once: a run that is there for the same one is used again.

    Gives the MLflow run of each, by its name. What earlier runs could not log is logged first; what
    this one cannot is kept for the next, or for ``gridcast track``.

    Raises:
        TrackingError: the server does not answer or refuses.
    """
    entry = remember(run, features, trained, evaluation, kept)
    try:
        log_unlogged(run.artifacts, run.config.tracking, but=run.run_id)
        run_ids = log_contestants(run, features, trained, evaluation, kept)
    except TrackingError as error:
        run.leave(Tracking(stage=_STAGE, error=str(error)))
        raise
    forget(entry)
    run.leave(Tracking(stage=_STAGE, mlflow_run_ids=run_ids))
    return run_ids
