"""Forecast load: tomorrow's hours of every region, from the newest snapshot and model."""

from __future__ import annotations

from prefect import flow

from tasks.forecast.forecast_task import store_forecast
from tasks.machine.run_names import run_name
from tasks.operate.backfill_task import make_up_forecasts
from tasks.share.share_tasks import shared_in_store


@flow(name="forecast-load", flow_run_name=run_name)
def forecast_load(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    as_of: str | None = None,
) -> str:
    """Forecast the hours to come and keep the rows by issue time; the path of their file.

    Runs hourly in deployment, by the champion. Safe to run again: an issue time has one set of
    rows. Hours that were missed are made up first, in their order. Where a region
    has no data to go by, it gets a naive forecast or none, and the flow fails at the end.
    Ad hoc: ``gridcast forecast``, which needs no Prefect.

    Args:
        data: the folder that was ingested; none: the one ingested last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["forecasting.horizon=24"]``.
        as_of: ISO time from which is forecast; none: when the flow was to start.
    """
    with shared_in_store(artifacts, profile, overrides, "data", "runs", "operation"):
        make_up_forecasts(data, artifacts, profile, overrides or [], as_of)
        return store_forecast(data, artifacts, profile, overrides or [], as_of)
