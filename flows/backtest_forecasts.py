"""Backtest forecasts: a span lived through as it would have been, every hour forecast."""

from __future__ import annotations

from prefect import flow

from flows.train_models import train_models
from tasks.forecast.backtest_task import keep_backtest
from tasks.machine.run_names import run_name
from tasks.operate.replay import SHARES_NOTHING
from tasks.operate.retrain_tasks import retraining_settings
from tasks.refit.refit_tasks import (
    days_to_refit,
    keep_refitted_backtest,
    known_for_refit,
    trained_for,
)
from tasks.refit.refits import RefitRequest


@flow(name="backtest-forecasts", flow_run_name=run_name)
def backtest_forecasts(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    first: str | None = None,
    end: str | None = None,
    refit_days: int | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
) -> str:
    """Forecast from every hour of the span; the folder of the scores.

    With the recommended model, or, where it is to be refitted, with one trained on what was known
    by the first day and every so many days after, beside the first of these all along. Safe to run
    again: the same span and model has one folder, and a day that was trained is not trained again.
    Ad hoc: ``gridcast backtest``, which needs no Prefect; ``gridcast backtest --refit-every 28d``.

    Args:
        data: the folder that was ingested; none: the one ingested last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["forecasting.horizon=24"]``.
        first: ISO day (UTC); none: four weeks before ``end``.
        end: ISO day after the last one; none: where the data end.
        refit_days: train anew after so many days; none: as ``evaluation.refit_days`` says.
        fresh: train again what was trained.
    """
    given = [*(overrides or []), *_refitting(refit_days)]
    asked = RefitRequest(
        data=data, artifacts=artifacts, profile=profile, overrides=tuple(given), first=first,
        end=end,
    )  # fmt: skip
    days = days_to_refit(asked)
    if not days:
        return keep_backtest(data, artifacts, profile, given, first, end)
    for day in days:
        if root := known_for_refit(asked, day, fresh=fresh):
            own = retraining_settings(None, root, profile, [*given, SHARES_NOTHING])
            train_models(artifacts=root, profile=profile, overrides=own, fresh=fresh)
            trained_for(asked, day)
    return keep_refitted_backtest(asked)


def _refitting(days: int | None) -> list[str]:
    return [] if days is None else [f"evaluation.refit_days={days}"]
