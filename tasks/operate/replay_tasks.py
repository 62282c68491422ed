"""The steps of a replay as tasks: live on, publish what is known, judge what was trained."""

from __future__ import annotations

import logging
import shutil

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.operation.replay_report import day_of
from tasks.operate.replay import (
    ReplayRequest,
    judge_trained,
    live_until_training,
    open_replay,
    publish_known,
    replay_folder,
    write_report,
)

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
    publish_known(replay)
    return True


@task(name="judge-trained", cache_policy=NO_CACHE)
def judge(asked: ReplayRequest) -> bool:
    """The newest run's model against the champion; whether it took over."""
    note = judge_trained(open_replay(asked))
    _log.info("%s: %s", day_of(note.at), note.outcome)
    return note.is_promoted


@task(name="report-replay", cache_policy=NO_CACHE)
def report_replay(asked: ReplayRequest) -> str:
    """All of it → the report; the folder of the replay."""
    return str(write_report(open_replay(asked)))
