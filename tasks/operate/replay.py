"""Live through a span of the real data: forecasts, monitoring, trainings, promotions, as they come.

A replay has an artifacts folder of its own, below ``replays/``: its store, its log of promotions,
its models, and the data as they were known when a model was trained. It goes on where it stopped.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from gridcast.config import Config
from gridcast.errors import UsageError
from gridcast.forecasting.issue import with_zone
from gridcast.monitoring.alarms import NOBODY, Alarm, promise_of, reason_to_train
from gridcast.monitoring.look import MOST_LEADS, first_issue_time, monitor
from gridcast.operation.baseline_model import baseline_model
from gridcast.operation.plant import Plant, parse_plant, planted
from gridcast.operation.replay_report import TrainingNote, day_of
from gridcast.record import Record, StoredRecord
from tasks.forecast.forecast_store import read_issued, store_rows
from tasks.forecast.issue_forecast import current_snapshot, published_covariates
from tasks.forecast.model_in_charge import model_in_charge
from tasks.operate.backfill import issue_at
from tasks.operate.judge_challenger import judge_challenger
from tasks.refit.known_by import WholePast, publish_known_by, published_tables
from tasks.runs.keys import key_of
from tasks.runs.record_files import read_record, write_record
from tasks.runs.run import read_summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import ForecastingConfig
    from gridcast.covariates.values import Covariates
    from gridcast.forecasting.model import ForecastModel
    from tasks.forecast.model_in_charge import InCharge
    from tasks.ingest.snapshots import Current

_DAY, _HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
_WEEK = 7
SHARES_NOTHING = 'run.store=""'  # what is only lived through is nobody else's
_log = logging.getLogger("gridcast.replay")


class ReplayState(StoredRecord):
    """How far a replay has come: all before ``next_day`` (ISO, UTC) has been lived through.

    ``due`` says why a model is to be trained before it goes on (empty: none is).
    """

    advice: ClassVar[str] = "delete the folder of the replay, and begin it again"

    dataset: str
    snapshot: str
    first: str
    end: str
    next_day: str
    due: str = ""
    plants: tuple[Plant, ...] = ()
    trainings: tuple[TrainingNote, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    seconds: float = 0.0


class ReplayRequest(Record):
    """What is lived through: the data, the settings, whole days (ISO, UTC), planted faults.

    ``regions`` are those that there are meanwhile; none: all of the data.
    """

    data: str | None
    artifacts: str
    profile: str
    overrides: tuple[str, ...]
    first: str
    end: str
    plants: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        """Its settings."""
        return Config.load(self.profile, overrides=(*self.overrides, SHARES_NOTHING))


@dataclass(slots=True)
class Replay:
    """A replay at work: its folder, settings, readings (whole; nobody looks ahead in them).

    ``tables`` are as published, with all columns, and the faults in them; ``truth`` without.
    """

    root: Path
    config: Config
    current: Current
    tables: dict[str, pd.DataFrame]
    truth: dict[str, pd.DataFrame]
    covariates: dict[str, Covariates]
    state: ReplayState
    begun: float = field(default_factory=time.monotonic)

    def save(self, **changes: object) -> None:
        """Keep how far it has come."""
        now = time.monotonic()
        changes["seconds"] = self.state.seconds + now - self.begun
        self.begun = now
        self.state = self.state.model_copy(update=changes)
        write_record(self.root / "replay.json", self.state)


def replay_folder(asked: ReplayRequest) -> Path:
    """Where a replay of these data, settings, span and faults has its files.

    Raises:
        UsageError: no data, no such fault, or no day in the span.
    """
    begin, stop = _span_of(asked)
    current = _current(asked)
    some = {"regions": sorted(asked.regions)} if asked.regions else {}
    key = key_of(
        snapshot=current.snapshot.id, config=asked.config.model_dump(mode="json"),
        plants=[parse_plant(each).text for each in asked.plants], **some,
    )  # fmt: skip
    name = f"{begin:%Y-%m-%d}--{stop:%Y-%m-%d}-{key[:8]}"
    return Path(asked.artifacts).resolve() / "replays" / name


def _span_of(asked: ReplayRequest) -> tuple[pd.Timestamp, pd.Timestamp]:
    begin, stop = (with_zone(pd.Timestamp(each)).floor("D") for each in (asked.first, asked.end))
    if begin >= stop:
        where, expected = "--from and --to", "a span of at least a day (UTC)"
        raise UsageError(where, found=f"{begin:%Y-%m-%d} and {stop:%Y-%m-%d}", expected=expected)
    return begin, stop


def _current(asked: ReplayRequest) -> Current:
    folder = None if asked.data is None else Path(asked.data).resolve()
    return current_snapshot(Path(asked.artifacts).resolve(), folder)


def open_replay(asked: ReplayRequest) -> Replay:
    """Begin a replay, or go on with it where it stopped.

    Raises:
        UsageError: no data, no such region or fault, or no day in the span.
        IntegrityError: a file of the snapshot was changed.
    """
    begin, stop = _span_of(asked)
    config, current, root = asked.config, _current(asked), replay_folder(asked)
    faults = tuple(map(parse_plant, asked.plants))
    _require_known(asked.regions, current)
    truth = published_tables(Path(asked.artifacts).resolve(), current, only=asked.regions)
    tables = planted(truth, faults, config.rules)
    state = read_record(root / "replay.json", ReplayState, may_lack=True)
    if state is None:
        state = ReplayState(
            dataset=current.dataset, snapshot=current.snapshot.id, first=begin.isoformat(),
            end=stop.isoformat(), next_day=begin.isoformat(), due=NOBODY, plants=faults,
        )  # fmt: skip
    _log.info("Replay in %s, from %s on", root, day_of(state.next_day))
    artifacts = Path(asked.artifacts).resolve()
    covariates = published_covariates(artifacts, current, tables)
    return Replay(root, config, current, tables, truth, covariates, state)


def _require_known(wanted: tuple[str, ...], current: Current) -> None:
    known = current.snapshot.regions
    if unknown := sorted(set(wanted) - set(known)):
        where, expected = "--region", f"some of {', '.join(sorted(known))}"
        raise UsageError(where, found=", ".join(unknown), expected=expected)


def live_until_training(replay: Replay) -> str | None:
    """Live day after day until a model is to be trained: why; None at the end of the span.

    A week is forecast at once; where a day of it changes who is in charge, the rest is discarded.
    """
    if replay.state.due:
        return replay.state.due
    end = pd.Timestamp(replay.state.end)
    while (day := pd.Timestamp(replay.state.next_day)) < end:
        stop = min(end, day + (_WEEK - day.weekday()) * _DAY)
        if due := _live_week(replay, day, stop):
            return due
    return None


def _live_week(replay: Replay, first: pd.Timestamp, stop: pd.Timestamp) -> str:
    """Live on to ``stop``, or until a model is to be trained: why (empty: none is)."""
    dataset, own = replay.state.dataset, replay.config.operation.monitoring
    charge = model_in_charge(replay.root, dataset, as_of=first)
    model, rows = forecast_hours(replay, charge, first, stop, replay.config.forecasting)
    promise = promise_of(model)
    before = read_issued(replay.root, dataset, first=first_issue_time(own, at=first), end=first)
    known = pd.concat([before, rows], ignore_index=True) if len(before) else rows
    for day in pd.date_range(first, stop, freq="D", inclusive="left"):
        at = day + _DAY
        store_rows(
            replay.root, dataset, rows[(rows["issue_time"] >= day) & (rows["issue_time"] < at)]
        )
        issued = known[(known["issue_time"] < at) & (known["lead"] <= MOST_LEADS)]
        seen = monitor(issued, replay.tables, promise, own, at=at, known=replay.state.alarms)
        for each in seen.alarms:
            _log.warning("%s %s %s: %s", day_of(each.at), each.severity, each.region, each.message)
        alarms = (*replay.state.alarms, *seen.alarms)
        due = _reason(replay, alarms, at)
        replay.save(next_day=at.isoformat(), alarms=alarms, due=due)
        if due:
            return due
    return ""


def forecast_hours(
    replay: Replay,
    charge: InCharge,
    first: pd.Timestamp,
    stop: pd.Timestamp,
    asked: ForecastingConfig,
) -> tuple[ForecastModel, pd.DataFrame]:
    """Who forecasts, and the rows of all issue times from ``first`` to before ``stop``."""
    model = charge.chosen.model.given(replay.covariates) if charge.chosen else None
    if model is None:
        model = baseline_model(replay.tables, replay.config, day=first.to_datetime64())
    times = pd.date_range(first, stop, freq="h", inclusive="left")
    rows = issue_at(
        charge, model, replay.tables, asked, issue_times=times, snapshot=replay.state.snapshot
    )
    return model, rows


def _reason(replay: Replay, alarms: Sequence[Alarm], at: pd.Timestamp) -> str:
    """Why a model is to be trained (empty: none is); at the end of the span nobody would use it."""
    if at >= pd.Timestamp(replay.state.end):
        return ""
    last = pd.Timestamp(replay.state.trainings[-1].at)
    return reason_to_train(alarms, last, replay.config.operation, at=at)


def publish_known(replay: Replay, until: pd.Timestamp) -> None:
    """What is known of the data by then becomes the snapshot that a training reads."""
    past = WholePast(replay.current, replay.tables, replay.covariates)
    publish_known_by(replay.root, past, replay.config, until)


def judge_trained(replay: Replay) -> TrainingNote:
    """Hold what was trained against the champion, note what came of it, and go on."""
    at, reason = pd.Timestamp(replay.state.next_day), replay.state.due
    because = "the first one of the replay" if reason == NOBODY else None
    judged = judge_challenger(replay.root, replay.config, as_of=at, because=because)
    note = TrainingNote(
        at=at.isoformat(), reason=reason, run_id=judged.challenger.run_id,
        is_promoted=judged.promotion is not None, outcome=judged.reason,
        seconds=_seconds_of(replay.root / "runs" / judged.challenger.run_id / "summary.json"),
    )  # fmt: skip
    replay.save(due="", trainings=(*replay.state.trainings, note))
    return note


def _seconds_of(summary: Path) -> float:
    """How long a run took, by its summary."""
    return read_summary(summary).timings.get("total", 0.0)
