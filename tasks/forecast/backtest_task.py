"""A backtest as a step of a flow, with its leaderboard on Prefect's pages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.config import Config
from gridcast.evaluation.measure import LABELS
from gridcast.forecasting.issue import with_zone
from tasks.forecast.run_backtest import run_backtest


@task(name="backtest", cache_policy=NO_CACHE)
def keep_backtest(
    data: str | None,
    artifacts: str,
    profile: str,
    overrides: list[str],
    first: str | None,
    end: str | None,
) -> str:
    """Newest snapshot and recommended model → forecasts and scores of the span; their folder."""
    config = Config.load(profile, overrides=tuple(overrides))
    done = run_backtest(
        Path(artifacts).resolve(), config, first=_instant(first), end=_instant(end),
        folder=None if data is None else Path(data).resolve(),
    )  # fmt: skip
    record = done.record
    create_table_artifact(
        key="backtest",
        table={"contestant": list(record.error), record.measure: list(record.error.values())},
        description=f"{LABELS[record.measure]} (%) of forecasts of every hour from {record.first} "
        f"to {record.end}, mean of {record.horizon} leads; bands held {record.coverage:.1f} %",
    )
    return str(done.folder)


def _instant(text: str | None) -> pd.Timestamp | None:
    return None if text is None else with_zone(pd.Timestamp(text))
