"""Retrain models: a challenger where one is due, which takes over if it wins."""

from __future__ import annotations

from prefect import flow

from flows.train_models import train_models
from tasks.machine.run_names import run_name
from tasks.operate.retrain_tasks import judge_newest, retraining_settings, training_due
from tasks.share.share_tasks import shared_in_store


@flow(name="retrain-models", flow_run_name=run_name)
def retrain_models(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    as_of: str | None = None,
    is_due: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
) -> str:
    """Train if nobody is in charge, an alarm asks for it or it is time; what came of it in words.

    Runs weekly in deployment, and when an alarm is raised. Safe to run again: where nothing is due,
    nothing is done. Ad hoc: ``gridcast train``, then ``gridcast promote``.

    Args:
        data: the folder that was ingested; none: the one ingested last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["operation.retraining.cooldown_days=7"]``.
        as_of: ISO time at which is decided; none: when the flow was to start.
        is_due: train, whether or not there is a reason.
    """
    given = overrides or []
    with shared_in_store(artifacts, profile, overrides, "data", "runs", "operation"):
        reason = training_due(data, artifacts, profile, given, as_of)
        if not (reason or is_due):
            return "no training is due"
        settings = retraining_settings(data, artifacts, profile, given)
        train_models(data=data, artifacts=artifacts, profile=profile, overrides=settings)
        return judge_newest(data, artifacts, profile, given, as_of)
