"""Replay operation: a span of the real data lived through, trainings and promotions included."""

from __future__ import annotations

from prefect import flow

from flows.train_models import train_models
from tasks.machine.run_names import run_name
from tasks.operate.replay import SHARES_NOTHING, ReplayRequest
from tasks.operate.replay_tasks import (
    begin_replay,
    judge,
    known_ways,
    live_on,
    live_plainly,
    note_trained,
    report_replay,
)
from tasks.operate.retrain_tasks import retraining_settings


@flow(name="replay-operation", flow_run_name=run_name)
def replay_operation(  # noqa: PLR0913, PLR0917 - Prefect's pages make a form of these
    first: str,
    end: str,
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    plants: list[str] | None = None,
    regions: list[str] | None = None,
    compare: list[str] | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Forecast from every hour, monitor every day, train and promote when due; the replay's folder.

    Nothing is known before its time. Safe to run again: it goes on where it stopped.
    Ad hoc: ``gridcast replay --from 2017-08-01 --to 2018-08-01``.

    Args:
        first: ISO day (UTC), the first that is lived through.
        end: ISO day after the last one.
        data: the folder that was ingested; none: the one ingested last.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["operation.retraining.every_days=null"]``.
        fresh: begin anew.
        plants: faults, such as ``["AEP level*1.1 from 2017-12-01"]``.
        regions: that there are meanwhile; none: all that were ingested.
        compare: ways of plain retraining to be told beside it, such as ``["never", "weekly"]``.
    """
    given, ways = tuple(overrides or ()), known_ways(compare or [])
    asked = ReplayRequest(
        data=data, artifacts=artifacts, profile=profile, overrides=given, first=first, end=end,
        plants=tuple(plants or ()), regions=tuple(regions or ()),
    )  # fmt: skip
    root = begin_replay(asked, fresh=fresh)

    def train() -> None:
        settings = retraining_settings(None, root, profile, [*given, SHARES_NOTHING])
        train_models(artifacts=root, profile=profile, overrides=settings)

    while live_on(asked):
        train()
        judge(asked)
    for plain in ways:
        while day := live_plainly(asked, plain):
            train()
            note_trained(asked, day)
    return report_replay(asked, ways)
