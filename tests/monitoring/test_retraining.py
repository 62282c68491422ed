"""When a challenger is to be trained: nobody there, an alarm, time; not too soon."""

from __future__ import annotations

import pandas as pd
import pytest

from gridcast.config import Config, RetrainingConfig
from gridcast.monitoring.alarms import NOBODY, Alarm, reason_to_train

LAST = pd.Timestamp("2018-01-01", tz="UTC")
RETRAINING = RetrainingConfig(every_days=100, cooldown_days=28, settings=())
CONFIG = Config.load().operation.model_copy(update={"retraining": RETRAINING})
QUIET = CONFIG.monitoring.quiet_days


def alarm(kind: str, days: int) -> Alarm:
    return Alarm.model_validate({
        "kind": kind, "severity": "warning", "region": "AEP", "value": 1.0, "limit": 1.0,
        "at": (LAST + pd.Timedelta(days=days)).isoformat(), "message": "so",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("alarms", "days", "reason"),
    [
        ((), 99, ""),
        ((), 100, "100 days since the last training"),
        ((alarm("level", 27),), 27, ""),  # too soon
        ((alarm("level", 27),), 28, "AEP: so"),
        ((alarm("degraded", 40),), 40, "AEP: so"),
        ((alarm("late", 40),), 40, ""),  # no training mends a feed
        ((alarm("bias", 0),), 60, ""),  # answered by the last one
        ((alarm("bias", 60),), 50, ""),  # not raised yet
        # It stands since before the last training, raised again whenever it might be.
        (tuple(alarm("bias", QUIET * n) for n in range(5)), 60, ""),
        ((alarm("bias", 0), alarm("bias", 40)), 60, "AEP: so"),  # it had gone meanwhile
    ],
)  # fmt: skip
def test_a_training_is_due(alarms: tuple[Alarm, ...], days: int, reason: str) -> None:
    at = LAST + pd.Timedelta(days=days)
    assert reason_to_train(alarms, LAST, CONFIG, at=at) == reason


def test_where_nobody_was_ever_judged_one_is_due() -> None:
    assert reason_to_train((), None, CONFIG, at=LAST) == NOBODY


def test_without_a_period_time_alone_is_no_reason() -> None:
    never = CONFIG.model_copy(
        update={"retraining": RETRAINING.model_copy(update={"every_days": None})}
    )
    assert reason_to_train((), LAST, never, at=LAST + pd.Timedelta(days=9999)) == ""
