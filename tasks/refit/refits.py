"""A backtest whose model is trained anew as the span goes on, each time on what was known by then.

The trainings have an artifacts folder of their own, below ``refits/``: one a snapshot and settings,
whatever the span and the interval are. A day that was trained before is taken from it.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from gridcast.config import Config
from gridcast.errors import UsageError
from gridcast.forecasting.backtest import beside_refits
from gridcast.forecasting.issue import with_zone
from gridcast.record import Record, StoredRecord
from tasks.forecast.chosen_model import ChosenModel, choose_model
from tasks.forecast.issue_forecast import current_snapshot, published_covariates
from tasks.forecast.run_backtest import (
    Backtested,
    PublishedPast,
    Refit,
    Told,
    keep_backtested,
    live_through,
    span_of,
)
from tasks.ingest.snapshots import Current
from tasks.refit.known_by import WholePast, publish_known_by, published_tables
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of
from tasks.runs.record_files import read_record, write_record

_FEWEST_DAYS = 28  # of data before the first training
_log = logging.getLogger("gridcast.forecast")


class RefitRequest(Record):
    """What is asked for: the data, the settings, whole days (ISO, UTC; none: as in a backtest)."""

    data: str | None
    artifacts: str
    profile: str
    overrides: tuple[str, ...]
    first: str | None
    end: str | None

    @property
    def config(self) -> Config:
        """Its settings."""
        return Config.load(self.profile, overrides=self.overrides)

    @property
    def root(self) -> Path:
        """The folder of everything that runs produce."""
        return Path(self.artifacts).resolve()

    @property
    def folder(self) -> Path | None:
        """Whose data; None: those that were ingested last."""
        return None if self.data is None else Path(self.data).resolve()

    @property
    def current(self) -> Current:
        """The snapshot that is lived through."""
        return current_snapshot(self.root, self.folder)


class RefitLog(StoredRecord):
    """Which run trained on what was known by a day, by that day and the key of its training."""

    advice: ClassVar[str] = "delete its folder; what it held is trained again"

    runs: dict[str, Refit] = Field(default_factory=dict)


def refit_days(asked: RefitRequest) -> list[str]:
    """The days of the span at whose begin a model is trained; none without ``refit_days``.

    Raises:
        UsageError: there is no day in the span, or no data.
    """
    every = asked.config.evaluation.refit_days
    if every is None:
        return []
    first, end = _span(asked)
    return [str(day) for day in np.arange(first, end, np.timedelta64(every, "D"))]


def refit_folder(asked: RefitRequest) -> Path:
    """Where the trainings of this snapshot and these settings have their files."""
    config = asked.config
    same = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"refit_days": None})}
    )
    key = key_of(snapshot=asked.current.snapshot.id, config=same.model_dump(mode="json"))
    return asked.root / "refits" / f"{asked.current.dataset}-{key[:12]}"


def publish_for_refit(asked: RefitRequest, day: str) -> bool:
    """What was known by the day becomes what a training reads; whether there is one to be made.

    Raises:
        UsageError: too little was known by then.
        IntegrityError: a file of the snapshot was changed.
    """
    current, until = asked.current, pd.Timestamp(day, tz="UTC")
    tables = published_tables(asked.root, current)
    begin = min(table["timestamp"].iloc[0] for table in tables.values())
    if until - begin < pd.Timedelta(days=_FEWEST_DAYS):
        found, expected = f"{day}, data from {begin:%Y-%m-%d} on", f"{_FEWEST_DAYS} days before it"
        raise UsageError(asked.first or "--from", found=found, expected=expected)
    past = WholePast(current, tables, published_covariates(asked.root, current, list(tables)))
    folder = refit_folder(asked)
    publish_known_by(folder, past, asked.config, until)
    return _key(current_snapshot(folder, None).snapshot.id) not in _log_of(asked).runs


def note_refit(asked: RefitRequest, day: str) -> None:
    """The newest run of the folder trained on what was known by the day.

    Raises:
        UsageError: it read another snapshot, or kept no model.
    """
    folder = refit_folder(asked)
    chosen, published = choose_model(folder), current_snapshot(folder, None).snapshot.id
    if chosen.snapshot != published:
        found, expected = f"run {chosen.run_id} of another snapshot", f"one of {published}"
        raise UsageError(folder, found=found, expected=expected)
    refit = Refit(day=day, run_id=chosen.run_id, model_sha256=chosen.model.sha256)
    runs = {**_log_of(asked).runs, _key(published): refit}
    write_record(folder / "refits.json", RefitLog(runs=runs))


def _log_of(asked: RefitRequest) -> RefitLog:
    return read_record(refit_folder(asked) / "refits.json", RefitLog, may_lack=True) or RefitLog()


def _key(snapshot: str) -> str:
    return key_of(snapshot=snapshot, code=code_sha256("tasks.train.training_process"))


def run_refitted_backtest(asked: RefitRequest) -> Backtested:
    """All models of the span, each until the next one's day, beside the first one all along.

    Raises:
        UsageError: a day was not trained, or no hour of the span has a truth.
        IntegrityError: a file of a model or the snapshot was changed.
    """
    config, folder = asked.config, refit_folder(asked)
    first, end = _span(asked)
    days = [np.datetime64(each, "D") for each in refit_days(asked)]
    refits = [_refit_of(asked, str(day)) for day in days]
    past = PublishedPast(asked.root, asked.current, config)
    models = [choose_model(folder, run_id=each.run_id) for each in refits]
    once = live_through(models[0], past, first=first, end=end)
    spans = pairwise([*days, end])
    pieces = [
        _rows(model, past, begin, stop) for model, (begin, stop) in zip(models, spans, strict=True)
    ]
    name = f"{models[0].model.name} refitted every {config.evaluation.refit_days} days"
    norms = models[0].model.norms
    result = beside_refits(once, pieces, config, name=name, norms=norms)
    told = Told(
        name, key_of(models=[each.model_sha256 for each in refits]),
        (models[0].model.name, *models[0].model.stand_ins), refits[0].run_id, norms,
        tuple(refits),
    )  # fmt: skip
    return keep_backtested(result, told, past, first=first, end=end)


def _rows(
    chosen: ChosenModel, past: PublishedPast, first: np.datetime64, end: np.datetime64
) -> pd.DataFrame:
    """Those of the model alone."""
    rows = live_through(chosen, past, first=first, end=end).rows
    own: pd.DataFrame = rows[rows["contestant"] == chosen.model.name]
    return own


def _refit_of(asked: RefitRequest, day: str) -> Refit:
    found = [each for each in _log_of(asked).runs.values() if each.day == day]
    if not found:
        where, expected = refit_folder(asked), f"a training on what was known by {day}"
        raise UsageError(where, found="none", expected=expected)
    return found[-1]


def _span(asked: RefitRequest) -> tuple[np.datetime64, np.datetime64]:
    first, end = (
        None if text is None else with_zone(pd.Timestamp(text)) for text in (asked.first, asked.end)
    )
    return span_of(asked.root, first=first, end=end, folder=asked.folder)
