"""Live through a span with the recommended model; keep what was forecast, and how good it was."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.evaluation.backtest_scores import Backtest, BacktestScores, record_of
from gridcast.features.table import build_features
from gridcast.forecasting.backtest import backtest
from gridcast.forecasting.hindcast import num_leads_of
from gridcast.forecasting.issue import utc_day_of
from gridcast.monitoring.operator_contest import OperatorContest, operator_contests
from gridcast.record import Record
from tasks.fetch.operator_forecast import read_operator_forecasts
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.daily_bands import readings_since_learned
from tasks.forecast.issue_forecast import (
    current_snapshot,
    end_of_data,
    published_covariates,
    published_readings,
)
from tasks.runs.record_files import write_record
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import Config
    from gridcast.forecasting.model import ForecastModel
    from tasks.forecast.chosen_model import ChosenModel
    from tasks.ingest.snapshots import Current

_ONE_DAY = np.timedelta64(1, "D")
_DEFAULT_DAYS = 28
_log = logging.getLogger("gridcast.forecast")


class Refit(Record):
    """A training on what was known by ``day`` (UTC), and the run that did it."""

    day: str
    run_id: str
    model_sha256: str


class BacktestRecord(BacktestScores):
    """With what was lived through: the snapshot, by the model of which run.

    ``operator`` has what a system operator has forecast of its region, where that is known;
    ``refits`` the trainings of a model that was trained anew as the span went on.
    """

    run_id: str
    snapshot: str
    refits: tuple[Refit, ...] = ()
    operator: tuple[OperatorContest, ...] = ()


@dataclass(frozen=True, slots=True)
class Backtested:
    """The record, the tables, and the folder in which both stand."""

    record: BacktestRecord
    result: Backtest
    folder: Path


def run_backtest(
    artifacts: Path,
    config: Config,
    *,
    first: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    folder: Path | None = None,
    run_id: str | None = None,
) -> Backtested:
    """Forecast from every hour of whole days (UTC), with what was known by then, and score it.

    Args:
        artifacts: folder of everything that runs produce.
        config: how far ahead, and with which bands; when an operator's own forecast is there.
        first: the first day; none: four weeks before ``end``.
        end: the day after the last one; none: where the data end.
        folder: whose data; none: those that were ingested last.
        run_id: whose model; none: the newest run's.

    Raises:
        UsageError: there is no model, no data, or no hour in the span that is new to the model.
        IntegrityError: a file of the model or the snapshot was changed.
    """
    chosen, current = choose_model(artifacts, run_id=run_id), current_snapshot(artifacts, folder)
    begin, last = span_of(artifacts, first=first, end=end, folder=folder)
    past = PublishedPast(artifacts, current, config)
    result = live_through(chosen, past, first=begin, end=last)
    model = chosen.model
    told = Told(model.name, model.sha256, model.stand_ins, chosen.run_id, model.norms)
    return keep_backtested(result, told, past, first=begin, end=last)


def span_of(
    artifacts: Path,
    *,
    first: pd.Timestamp | None,
    end: pd.Timestamp | None,
    folder: Path | None,
) -> tuple[np.datetime64, np.datetime64]:
    """The first day (UTC) and that after the last one, as :func:`run_backtest` takes them.

    Raises:
        UsageError: there is no day in it, or no data.
    """
    last = utc_day_of(end if end is not None else end_of_data(artifacts, folder=folder))
    begin = last - _DEFAULT_DAYS * _ONE_DAY if first is None else utc_day_of(first)
    if begin >= last:
        where, found = "--from and --to", f"{begin} and {last}"
        raise UsageError(where, found=found, expected="a span of at least a day (UTC)")
    return begin, last


@dataclass(frozen=True, slots=True)
class PublishedPast:
    """A snapshot that is lived through with these settings."""

    artifacts: Path
    current: Current
    config: Config


def live_through(
    chosen: ChosenModel, past: PublishedPast, *, first: np.datetime64, end: np.datetime64
) -> Backtest:
    """What a model would have issued at each hour of these days, and how good that was.

    Raises:
        UsageError: no hour in the span has readings and is new to the model.
        IntegrityError: a file of the snapshot was changed.
    """
    known, asked = chosen.model.regions, past.config.forecasting
    model = chosen.model.given(published_covariates(past.artifacts, past.current, known))
    model = replace(model, config=model.config.model_copy(update={"forecasting": asked}))
    readings = published_readings(past.artifacts, past.current, known)
    _log.info("Forecasting from every hour from %s to %s with %s", first, end, model.name)
    frame = _frame(model, readings, first, end)
    return backtest(model, frame, chosen.unseen_since, first=first, end=end, horizon=asked.horizon)


@dataclass(frozen=True, slots=True)
class Told:
    """Whose figures are told: a contestant, which others beside it, and of which run it is.

    ``norms``: what its errors are told in percent of, as its model has them.
    """

    name: str
    sha256: str
    beside: tuple[str, ...]
    run_id: str
    norms: Mapping[str, float]
    refits: tuple[Refit, ...] = ()


def keep_backtested(
    result: Backtest,
    told: Told,
    past: PublishedPast,
    *,
    first: np.datetime64,
    end: np.datetime64,
) -> Backtested:
    """The figures as a record, the tables and a picture: in a folder a span and model."""
    scores = record_of(
        result, told.name, told.sha256, past.config.forecasting.quantiles, beside=told.beside,
        first=first, end=end,
    )  # fmt: skip
    regions = result.rows["region"].cat.categories
    readings = published_readings(past.artifacts, past.current, list(map(str, regions)))
    record = BacktestRecord(
        **dict(scores), run_id=told.run_id, snapshot=past.current.snapshot.id, refits=told.refits,
        operator=_against_operator(result, told, readings, past),
    )  # fmt: skip
    place = past.artifacts / "backtests" / f"{first}--{end}-{told.sha256[:12]}"
    _keep(place, record, result)
    return Backtested(record, result, place)


def _frame(
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    first: np.datetime64,
    end: np.datetime64,
) -> pd.DataFrame:
    """The steps of all regions that have a say, and those of the truth."""
    until = end + np.timedelta64(num_leads_of(model.config.forecasting), "h")
    known = readings_since_learned(model, readings, first, until=until)
    some = {name: table for name, table in known.items() if len(table)}
    if not some:
        where, found = "--from and --to", f"no reading from {first} to {end} or before"
        raise UsageError(where, found=found, expected="a span of the published data")
    return build_features(
        some, model.config, covariates=model.covariates, scales=model.scales, regions=model.regions
    ).frame


def _against_operator(
    result: Backtest, told: Told, readings: Mapping[str, pd.DataFrame], past: PublishedPast
) -> tuple[OperatorContest, ...]:
    rows = result.rows[result.rows["contestant"] == told.name]
    own = past.config.operation.monitoring
    columns = {"y_pred": "load_mw"}
    return operator_contests(
        rows.drop(columns="y_true").rename(columns=columns).astype({"region": str}), readings,
        read_operator_forecasts(Path(past.current.data.folder)),
        timezone=past.config.ingestion.timezone, hour=own.operator_hour, min_hours=own.min_hours,
        norms=told.norms,
    )  # fmt: skip


def _keep(place: Path, record: BacktestRecord, result: Backtest) -> None:
    """The forecasts as Parquet, the figures as CSV and as a picture, the record last."""
    with publishing(place / "forecasts.parquet") as temporary:
        result.rows.to_parquet(temporary, compression="zstd", index=False)
    bands = [each.by_lead.assign(contestant=name) for name, each in result.bands.items()]
    tables = {
        "by_lead": result.by_lead, "by_region": result.by_region, "bands": pd.concat(bands),
        "next_day": result.next_day,
    }  # fmt: skip
    for name, table in tables.items():
        with publishing(place / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    from gridcast.report.figures import draw_backtest

    with publishing(place / "backtest.svg") as temporary:
        draw_backtest(record).savefig(temporary, format="svg")
    write_record(place / "backtest.json", record)
