"""The span of a replay lived through once more, with plain retraining by the calendar.

By the same forecasts, from the same readings, with the replay's own trainings where it has trained
on that day. What is issued lies below ``plain/`` of the replay's folder.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
from pydantic import Field

from gridcast.monitoring.span_figures import MOST_LEADS
from gridcast.operation.comparison import training_days
from gridcast.record import StoredRecord
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.forecast_store import read_issued, store_rows
from tasks.forecast.model_in_charge import InCharge
from tasks.operate.replay import forecast_hours
from tasks.runs.record_files import read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.operation.comparison import Plain
    from tasks.operate.replay import Replay

_WEEK = pd.Timedelta(days=7)


class PlainState(StoredRecord):
    """What was trained on which day, and how far each way of plain retraining has come (ISO, UTC).

    ``trained`` has the run of each day; all ways take it, and the replay's own are among them.
    """

    advice: ClassVar[str] = "delete it: the ways that it tells of are lived through again"

    trained: dict[str, str] = Field(default_factory=dict)
    next_day: dict[str, str] = Field(default_factory=dict)


def live_until_plain_training(replay: Replay, plain: Plain) -> pd.Timestamp | None:
    """Live on this way until a model lacks: the day on which to train it; None at the end."""
    state = _read_state(replay)
    first, end = pd.Timestamp(replay.state.first), pd.Timestamp(replay.state.end)
    for begin, stop in pairwise((*training_days(plain, first, end), end)):
        run_id = state.trained.get(begin.isoformat())
        if run_id is None:
            return begin
        state = _live(replay, state, plain, begin, stop)
    return None


def note_plain_training(replay: Replay, day: pd.Timestamp) -> str:
    """The newest run is that of this day; its number."""
    state = _read_state(replay)
    run_id = choose_model(replay.root).run_id
    trained = {**state.trained, day.isoformat(): run_id}
    write_record(_path(replay), state.model_copy(update={"trained": trained}))
    return run_id


def plain_rows(replay: Replay, plain: Plain) -> pd.DataFrame:
    """What was issued this way."""
    return read_issued(_folder(replay, plain), replay.state.dataset)


def _live(
    replay: Replay, state: PlainState, plain: Plain, begin: pd.Timestamp, stop: pd.Timestamp
) -> PlainState:
    """The days of one model, a week at once, of the leads that are compared."""
    own = replay.config.forecasting
    asked = own.model_copy(update={"horizon": min(own.horizon, MOST_LEADS)})
    day = max(begin, pd.Timestamp(state.next_day.get(plain, begin.isoformat())))
    charge = None
    while day < stop:
        charge = charge or InCharge(
            choose_model(replay.root, run_id=state.trained[begin.isoformat()])
        )
        after = min(day + _WEEK, stop)
        _, rows = forecast_hours(replay, charge, day, after, asked)
        store_rows(_folder(replay, plain), replay.state.dataset, rows)
        next_day = {**state.next_day, plain: after.isoformat()}
        state = state.model_copy(update={"next_day": next_day})
        write_record(_path(replay), state)
        day = after
    return state


def _read_state(replay: Replay) -> PlainState:
    """With the replay's own trainings."""
    state = read_record(_path(replay), PlainState, may_lack=True) or PlainState()
    own = {each.at: each.run_id for each in replay.state.trainings}
    return state.model_copy(update={"trained": {**own, **state.trained}})


def _path(replay: Replay) -> Path:
    return replay.root / "plain.json"


def _folder(replay: Replay, plain: Plain) -> Path:
    return replay.root / "plain" / plain
