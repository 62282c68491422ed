"""Monitor forecasts: what was forecast against what came, and both against what was promised."""

from __future__ import annotations

from prefect import flow

from tasks.machine.run_names import run_name
from tasks.operate.monitor_task import keep_monitoring
from tasks.share.share_tasks import shared_in_store


@flow(name="monitor-forecasts", flow_run_name=run_name)
def monitor_forecasts(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    as_of: str | None = None,
) -> str:
    """Figures of the last days and alarms, each an event once; the folder of both.

    Runs hourly in deployment. Safe to run again: an alarm that was raised stays quiet for a while.
    Ad hoc: ``gridcast monitor``, which needs no Prefect.

    Args:
        data: the folder that was ingested; none: the one ingested last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["operation.monitoring.window_days=14"]``.
        as_of: ISO time at which is looked; none: when the flow was to start.
    """
    with shared_in_store(artifacts, profile, overrides, "data", "runs", "operation"):
        return keep_monitoring(data, artifacts, profile, overrides or [], as_of)
