"""Retraining as steps of a flow: whether one is due, and what the newest run's model is worth."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from gridcast.config import Config
from gridcast.monitoring.alarms import reason_to_train
from gridcast.monitoring.retraining import settings_to_be_judged
from gridcast.operation.clock import asked_instant, instant_of
from tasks.forecast.issue_forecast import current_snapshot
from tasks.operate.judge_challenger import judge_challenger
from tasks.operate.monitor_forecasts import read_alarms
from tasks.promote.prefect_events import tell_promotion
from tasks.promote.promotion_files import last_judged

_log = logging.getLogger("gridcast.promote")


@task(name="training-due", cache_policy=NO_CACHE)
def training_due(
    data: str | None, artifacts: str, profile: str, overrides: list[str], as_of: str | None
) -> str:
    """Alarms, promotions and decisions → why a challenger is to be trained; empty: none is."""
    config = Config.load(profile, overrides=tuple(overrides))
    folder = Path(artifacts).resolve()
    dataset = current_snapshot(folder, None if data is None else Path(data).resolve()).dataset
    reason = reason_to_train(
        read_alarms(folder, dataset), last_judged(folder, dataset), config.operation,
        at=asked_instant(as_of, flow_run.scheduled_start_time, config.operation.clock),
    )  # fmt: skip
    _log.info("Training: %s", reason or "none is due")
    return reason


@task(name="retraining-settings", cache_policy=NO_CACHE)
def retraining_settings(
    data: str | None, artifacts: str, profile: str, overrides: list[str]
) -> list[str]:
    """Profile and snapshot → the settings that a challenger is trained with.

    Those of ``operation.retraining`` lie below what was asked for; a validation part that is too
    short to be judged by is made longer.
    """
    own = Config.load(profile, overrides=tuple(overrides)).operation.retraining.settings
    config = Config.load(profile, overrides=(*own, *overrides))
    folder = None if data is None else Path(data).resolve()
    snapshot = current_snapshot(Path(artifacts).resolve(), folder).snapshot
    longer = settings_to_be_judged(config, [each.rows for each in snapshot.regions.values()])
    if longer:
        _log.info("The validation part is made longer: %s", longer[0])
    return [*own, *longer, *overrides]


@task(name="judge-challenger", cache_policy=NO_CACHE)
def judge_newest(
    data: str | None, artifacts: str, profile: str, overrides: list[str], as_of: str | None
) -> str:
    """The newest run's model against the champion → a promotion if it wins; the outcome in words.

    It is in charge from ``as_of`` on; none: from when it is written that it is, since training
    takes a while, in which its predecessor goes on forecasting.

    Raises:
        LockHeldError: somebody else promoted meanwhile.
    """
    config = Config.load(profile, overrides=tuple(overrides))
    clock = config.operation.clock
    judged = judge_challenger(
        Path(artifacts).resolve(), config,
        as_of=asked_instant(as_of, flow_run.scheduled_start_time, clock),
        now=None if as_of else lambda: instant_of(datetime.now(UTC), clock),
        folder=None if data is None else Path(data).resolve(),
    )  # fmt: skip
    if judged.promotion is not None:
        tell_promotion(judged.promotion)
    _log.info("%s: %s", judged.challenger.short, judged.reason)
    return judged.reason
