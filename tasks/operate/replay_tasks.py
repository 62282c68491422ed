"""The steps of a replay as tasks: live on, publish what is known, judge what was trained."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import UsageError
from gridcast.operation.comparison import PLAIN
from gridcast.operation.replay_report import day_of
from tasks.operate.plain_retraining import live_until_plain_training, note_plain_training
from tasks.operate.replay import (
    ReplayRequest,
    judge_trained,
    live_until_training,
    open_replay,
    publish_known,
    replay_folder,
)
from tasks.operate.write_replay_report import write_report

if TYPE_CHECKING:
    from gridcast.operation.comparison import Plain

_log = logging.getLogger("gridcast.replay")


@task(name="open-replay", cache_policy=NO_CACHE)
def begin_replay(asked: ReplayRequest, *, fresh: bool) -> str:
    """The folder of the replay; ``fresh`` empties it, so that it begins anew."""
    root = replay_folder(asked)
    if fresh and root.is_dir():
        shutil.rmtree(root)
    return str(root)


@task(name="live-until-training", cache_policy=NO_CACHE)
def live_on(asked: ReplayRequest) -> bool:
    """Days of forecasts and monitoring until a model is to be trained; whether one is.

    What is known by then is published for the training.
    """
    replay = open_replay(asked)
    reason = live_until_training(replay)
    if reason is None:
        return False
    _log.info("%s: training, for %s", day_of(replay.state.next_day), reason)
    publish_known(replay, pd.Timestamp(replay.state.next_day))
    return True


@task(name="judge-trained", cache_policy=NO_CACHE)
def judge(asked: ReplayRequest) -> bool:
    """The newest run's model against the champion; whether it took over."""
    note = judge_trained(open_replay(asked))
    _log.info("%s: %s", day_of(note.at), note.outcome)
    return note.is_promoted


@task(name="live-plainly", cache_policy=NO_CACHE)
def live_plainly(asked: ReplayRequest, plain: Plain) -> str:
    """Days with this way of retraining until a model is to be trained: which day (ISO, UTC).

    Empty: the span has been lived through. What is known by then is published for the training.
    """
    replay = open_replay(asked)
    day = live_until_plain_training(replay, plain)
    if day is None:
        return ""
    _log.info("%s: training, for %s retraining is compared", f"{day:%Y-%m-%d}", plain)
    publish_known(replay, day)
    return day.isoformat()


@task(name="note-plain-training", cache_policy=NO_CACHE)
def note_trained(asked: ReplayRequest, day: str) -> str:
    """The newest run is what a plain retraining of that day gave; its number."""
    return note_plain_training(open_replay(asked), pd.Timestamp(day))


@task(name="report-replay", cache_policy=NO_CACHE)
def report_replay(asked: ReplayRequest, compared: list[Plain]) -> str:
    """All of it → the report; the folder of the replay."""
    return str(write_report(open_replay(asked), compared))


def known_ways(names: list[str]) -> list[Plain]:
    """The ways of plain retraining of these names, each once.

    Raises:
        UsageError: one is none.
    """
    if unknown := sorted(set(names) - set(PLAIN)):
        where, expected = "--compare", ", ".join(PLAIN)
        raise UsageError(where, found=", ".join(unknown), expected=expected)
    return [each for each in PLAIN if each in names]
