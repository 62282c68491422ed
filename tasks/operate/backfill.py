"""Forecasts of issue times that were missed: issued in order, each by who was in charge then."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.errors import UsageError
from gridcast.forecasting.issue import issue_time_of, utc_day_of
from gridcast.operation.baseline_model import ALWAYS, baseline_model
from gridcast.operation.issue_span import issue_span
from tasks.forecast.forecast_store import store_rows, stored_issue_times
from tasks.forecast.issue_forecast import (
    current_snapshot,
    end_of_data,
    published_covariates,
    published_readings,
)
from tasks.forecast.model_in_charge import InCharge, as_told, model_in_charge
from tasks.promote.promotion_files import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gridcast.config import Config, ForecastingConfig
    from gridcast.forecasting.model import ForecastModel

_HOUR = pd.Timedelta(hours=1)
_log = logging.getLogger("gridcast.forecast")


@dataclass(frozen=True, slots=True)
class Backfilled:
    """Issue times of a span: which were made now, and how many were there."""

    dataset: str
    made: pd.DatetimeIndex
    num_there: int
    num_rows: int
    num_fallback_rows: int


def backfill(
    artifacts: Path,
    config: Config,
    *,
    first: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    folder: Path | None = None,
    is_again: bool = False,
) -> Backfilled:
    """Issue the forecasts of a span that are not in the store, from what was known by then.

    Of revised loads it knows the newest: ``is_backfilled`` of a row says that it was made later.

    Args:
        artifacts: folder of everything that runs produce.
        config: how far ahead, with which bands.
        first: first issue time; none: the oldest that is in the store.
        end: after the last one; none: that at the end of the data is the last.
        folder: whose data; none: those that were ingested last.
        is_again: also those that are there.

    Raises:
        UsageError: there is no model, no data, or nothing to begin with.
        IntegrityError: a file of the snapshot was changed.
    """
    current = current_snapshot(artifacts, folder)
    there = stored_issue_times(artifacts, current.dataset)
    span = _span(artifacts, there, first, end, folder)
    missing = span if is_again else span.difference(there)
    num_rows = num_fallback = 0
    for charge, times in _by_model(artifacts, current.dataset, missing):
        _log.info("Forecasting from %d issue times, %s to %s", len(times), times[0], times[-1])
        model = charge.chosen.model if charge.chosen else None
        known = list(current.snapshot.regions) if model is None else model.regions
        readings = published_readings(artifacts, current, known)
        if model is not None:
            model = model.given(published_covariates(artifacts, current, known))
        else:
            model = baseline_model(readings, config, day=utc_day_of(times[0]))
            readings = {name: readings[name] for name in model.regions}
        rows = issue_at(
            charge, model, readings, config.forecasting, issue_times=times,
            snapshot=current.snapshot.id,
        )  # fmt: skip
        if rows.empty:
            continue
        store_rows(artifacts, current.dataset, rows.assign(is_backfilled=True))
        num_rows += len(rows)
        num_fallback += int((rows["fallback"] != "").sum())
    return Backfilled(current.dataset, missing, len(span) - len(missing), num_rows, num_fallback)


def make_up_missed(
    artifacts: Path, config: Config, *, issue_time: pd.Timestamp, folder: Path | None = None
) -> int:
    """Issue what was missed in ``operation.backfill_hours`` before an issue time; how many.

    Hours before the first forecast in the store were not missed.

    Raises:
        UsageError: there is no model or no data.
        IntegrityError: a file of the snapshot was changed.
    """
    there = stored_issue_times(artifacts, current_snapshot(artifacts, folder).dataset)
    if there.empty or there[0] >= issue_time:
        return 0
    first = max(there[0], issue_time - config.operation.backfill_hours * _HOUR)
    done = backfill(artifacts, config, first=first, end=issue_time, folder=folder)
    return len(done.made)


def _span(
    artifacts: Path,
    there: pd.DatetimeIndex,
    first: pd.Timestamp | None,
    end: pd.Timestamp | None,
    folder: Path | None,
) -> pd.DatetimeIndex:
    if first is None and there.empty:
        where, found = "--from", "none, and no forecast in the store"
        raise UsageError(where, found=found, expected="the first issue time, as 2018-07-01T00:00")
    begin = there[0] if first is None else first.ceil("h")
    if end is None:
        end = issue_time_of(end_of_data(artifacts, folder=folder)) + _HOUR
    return pd.date_range(begin, end, freq="h", inclusive="left")


def _by_model(
    artifacts: Path, dataset: str, issue_times: pd.DatetimeIndex
) -> Iterator[tuple[InCharge, pd.DatetimeIndex]]:
    """Issue times in their order, those in a row of one model together."""
    log = read_log(artifacts, dataset)
    for _, own in groupby(issue_times, key=log.succession):
        times = pd.DatetimeIndex(list(own))
        yield model_in_charge(artifacts, dataset, as_of=times[0]), times


def issue_at(
    charge: InCharge,
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    asked: ForecastingConfig,
    *,
    issue_times: pd.DatetimeIndex,
    snapshot: str,
) -> pd.DataFrame:
    """The rows of issue times by one model, as a live forecast would have left them.

    ``model`` is that of ``charge``, or the naive forecasts where none can be loaded.
    """
    since = charge.chosen.unseen_since if charge.chosen else dict.fromkeys(model.regions, ALWAYS)
    rows = issue_span(model, readings, since, asked, issue_times=issue_times)
    return as_told(rows, charge).assign(
        model=model.name, model_sha256=model.sha256, run_id=charge.run_id, snapshot=snapshot,
        is_backfilled=False,
    )  # fmt: skip
