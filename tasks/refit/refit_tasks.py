"""The steps of a backtest with refitting as tasks: which days, what was known, what came of it."""

from __future__ import annotations

import logging

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.evaluation.measure import LABELS
from tasks.refit.refits import (
    RefitRequest,
    note_refit,
    publish_for_refit,
    refit_days,
    refit_folder,
    run_refitted_backtest,
)

_log = logging.getLogger("gridcast.forecast")


@task(name="refit-days", cache_policy=NO_CACHE)
def days_to_refit(asked: RefitRequest) -> list[str]:
    """Settings and span → the days at whose begin a model is trained; none without refitting."""
    return refit_days(asked)


@task(name="publish-known-by", cache_policy=NO_CACHE)
def known_for_refit(asked: RefitRequest, day: str, *, fresh: bool) -> str:
    """What was known by the day → published; the folder to train in, empty where that is done."""
    is_due = publish_for_refit(asked, day) or fresh
    _log.info("%s: %s", day, "training on what was known" if is_due else "was trained before")
    return str(refit_folder(asked)) if is_due else ""


@task(name="note-refit", cache_policy=NO_CACHE)
def trained_for(asked: RefitRequest, day: str) -> None:
    """The newest training belongs to the day."""
    note_refit(asked, day)


@task(name="backtest-with-refits", cache_policy=NO_CACHE)
def keep_refitted_backtest(asked: RefitRequest) -> str:
    """Snapshot and models of the days → forecasts and scores of the span; their folder."""
    done = run_refitted_backtest(asked)
    record = done.record
    create_table_artifact(
        key="backtest",
        table={
            "lead": [each.lead for each in record.by_lead],
            **{name: [each.error[name] for each in record.by_lead] for name in record.error},
        },
        description=f"{LABELS[record.measure]} (%) by lead of forecasts of every hour from "
        f"{record.first} to {record.end}; bands of the refitted models held "
        f"{record.coverage:.1f} %",
    )
    return str(done.folder)
