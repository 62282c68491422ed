"""Backtest forecasts: a span lived through as it would have been, every hour forecast."""

from __future__ import annotations

from prefect import flow

from tasks.forecast.backtest_task import keep_backtest
from tasks.machine.run_names import run_name


@flow(name="backtest-forecasts", flow_run_name=run_name)
def backtest_forecasts(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    first: str | None = None,
    end: str | None = None,
) -> str:
    """Forecast from every hour of the span with the recommended model; the folder of its scores.

    Safe to run again: the same span and model has one folder.
    Ad hoc: ``gridcast backtest``, which needs no Prefect.

    Args:
        data: the folder that was ingested; none: the one ingested last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["forecasting.horizon=24"]``.
        first: ISO day (UTC); none: four weeks before ``end``.
        end: ISO day after the last one; none: where the data end.
    """
    return keep_backtest(data, artifacts, profile, overrides or [], first, end)
