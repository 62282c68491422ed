"""Issue a forecast: the newest snapshot, the recommended model, a row a region and hour to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.forecasting.issue import OLDEST_HOURS, forecast_regions, issue_time_of, utc_day_of
from gridcast.operation.baseline_model import baseline_model
from tasks.covariates.stored_covariates import all_stored
from tasks.forecast.daily_bands import with_bands_on
from tasks.forecast.forecast_store import store_rows
from tasks.forecast.model_in_charge import InCharge, as_told, model_in_charge
from tasks.ingest.snapshots import read_current
from tasks.runs.keys import require_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.forecasting.model import ForecastModel
    from tasks.ingest.snapshots import Current


@dataclass(frozen=True, slots=True)
class Issued:
    """A forecast as it was issued.

    ``missing`` tells why a region of the model has no rows, ``doubts`` why one has those of a naive
    forecast for want of data. ``ended`` has the last hour (UTC) of those that were no longer
    reported when the model was trained: nobody waits for a forecast of them. ``timezone`` is the
    model's; ``stored`` keeps the rows (None: a run was named, they are for a look).
    """

    rows: pd.DataFrame
    issue_time: pd.Timestamp
    timezone: str
    dataset: str
    model: str
    run_id: str
    stored: Path | None
    missing: dict[str, str]
    doubts: dict[str, str]
    ended: dict[str, pd.Timestamp]
    loads: pd.DataFrame  # the last known hours of each region, for pictures

    @property
    def lacking(self) -> dict[str, str]:
        """Of each region whose covariates were not known of all hours, which and of how many."""
        rows = self.rows[(self.rows["fallback"] == "") & (self.rows["fallback_reason"] != "")]
        own = rows.groupby(["region", "fallback_reason"], sort=True)["lead"].agg(["min", "size"])
        told = dict[str, str]()
        for (region, reason), (first, num) in zip(own.index, own.to_numpy(), strict=True):
            more = f"{num} hours from lead {first} on are forecast {reason}"
            told[region] = "; ".join(filter(None, (told.get(region), more)))
        return told

    @property
    def fallbacks(self) -> dict[str, str]:
        """What stands in for the model in a region, or in its later leads, and why."""
        own = self.rows[self.rows["fallback"] != ""].drop_duplicates("region")
        names = own["fallback"].str.replace("_", " ")
        told = names + " stands in: " + own["fallback_reason"]
        return dict(zip(own["region"], told, strict=True))


def issue_forecast(
    artifacts: Path,
    config: Config,
    *,
    as_of: pd.Timestamp,
    folder: Path | None = None,
    regions: Sequence[str] = (),
    run_id: str | None = None,
) -> Issued:
    """Forecast the hours from ``as_of`` on, from what was known by then.

    The rows are kept, unless a run is named: what is kept was issued by who was in charge.

    Args:
        artifacts: folder of everything that runs produce.
        config: how far ahead, and which quantiles; the rules, where no model can be loaded.
        as_of: the instant; what happened later is not looked at.
        folder: whose data; none: those that were ingested last.
        regions: only these; none: all that the model knows.
        run_id: whose model; none: the champion, or the newest run's where nobody is in charge.

    Raises:
        UsageError: there is no model, no data, or no such region.
        IntegrityError: a file of the snapshot was changed, or of a model while nobody is in charge.
    """
    current, issue_time = current_snapshot(artifacts, folder), issue_time_of(as_of)
    charge = model_in_charge(artifacts, current.dataset, as_of=as_of, run_id=run_id)
    known = charge.chosen.model.regions if charge.chosen else list(current.snapshot.regions)
    readings = published_readings(artifacts, current, known)
    day = utc_day_of(issue_time)
    model = _ready(artifacts, charge, readings, config, day=day, current=current)
    _require_known(model, regions)
    issue = forecast_regions(
        model, readings, issue_time=issue_time, horizon=config.forecasting.horizon,
        max_stale_hours=config.forecasting.max_stale_hours, regions=regions,
    )  # fmt: skip
    trained_to = charge.chosen.trained_to if charge.chosen else day
    ended = ended_regions(readings, set(issue.missing) - set(regions), trained_to=trained_to)
    missing = {n: _why(current, n, why) for n, why in issue.missing.items() if n not in ended}
    if issue.rows.empty:
        _refuse(artifacts, missing)
    rows = as_told(issue.rows, charge).assign(
        model=model.name, model_sha256=model.sha256, run_id=charge.run_id,
        snapshot=current.snapshot.id, is_backfilled=False,
    )  # fmt: skip
    stored = store_rows(artifacts, current.dataset, rows)[0] if run_id is None else None
    return Issued(
        rows, issue_time, model.config.ingestion.timezone, current.dataset, model.name,
        charge.run_id, stored, missing, issue.doubts, ended, issue.loads,
    )  # fmt: skip


def _ready(
    artifacts: Path,
    charge: InCharge,
    readings: Mapping[str, pd.DataFrame],
    config: Config,
    *,
    day: np.datetime64,
    current: Current,
) -> ForecastModel:
    """Who forecasts, with the bands of the day, and what is published of its covariates."""
    if charge.chosen is None:
        return baseline_model(readings, config, day=day)
    covariates = published_covariates(artifacts, current, charge.chosen.model.regions)
    return with_bands_on(
        artifacts, charge.chosen.given(covariates), readings, config.forecasting, day=day,
        snapshot=current.snapshot.id,
    )  # fmt: skip


def _refuse(artifacts: Path, missing: Mapping[str, str]) -> NoReturn:
    found = "; ".join(f"{name}: {why}" for name, why in missing.items())
    raise UsageError(artifacts, found=found, expected="a region with hours before the issue time")


def ended_regions(
    readings: Mapping[str, pd.DataFrame], missing: set[str], *, trained_to: np.datetime64
) -> dict[str, pd.Timestamp]:
    """The last hour of those whose series was over, for whoever trained to see."""
    oldest = pd.Timestamp(trained_to, tz="UTC") - pd.Timedelta(hours=OLDEST_HOURS)
    newest = {name: readings[name]["timestamp"].max() for name in sorted(missing & set(readings))}
    return {name: time for name, time in newest.items() if time < oldest}


def _why(current: Current, region: str, why: str) -> str:
    there = region in current.snapshot.regions
    return why if there else f"it is not in the snapshot {current.snapshot.id}"


def _require_known(model: ForecastModel, regions: Sequence[str]) -> None:
    unknown = sorted(set(regions) - set(model.regions))
    if unknown:
        where, expected = "--region", f"of {', '.join(model.regions)}"
        raise UsageError(where, found=", ".join(unknown), expected=expected)


def published_readings(
    artifacts: Path, current: Current, regions: Collection[str]
) -> dict[str, pd.DataFrame]:
    """Of each of these regions that is there, as published.

    Bands of few errors lean on those of all regions, whichever is asked for.
    """
    readings = {}
    for name, record in current.snapshot.regions.items():
        if name in regions:
            path = artifacts / "data" / record.path
            require_sha256(path, record.file_sha256)
            readings[name] = pd.read_parquet(path)
    return readings


def published_covariates(
    artifacts: Path, current: Current, regions: Collection[str]
) -> dict[str, Covariates]:
    """Of each of these regions that has some, as published."""
    return all_stored(current.snapshot.regions, artifacts / "data", names=regions)


def end_of_data(artifacts: Path, *, folder: Path | None = None) -> pd.Timestamp:
    """The end of the newest hour that any region of the snapshot has, UTC.

    Raises:
        UsageError: nothing is published.
    """
    current = current_snapshot(artifacts, folder)
    paths = [artifacts / "data" / each.path for each in current.snapshot.regions.values()]
    newest = [pd.read_parquet(path, columns=["timestamp"])["timestamp"].max() for path in paths]
    return pd.Timestamp(max(newest)).ceil("h") + pd.Timedelta(hours=1)


def current_snapshot(artifacts: Path, folder: Path | None) -> Current:
    """The newest one of a folder, or of that which was ingested last.

    Raises:
        UsageError: nothing is published.
    """
    current = read_current(artifacts / "data", folder=folder)
    if current is None:
        expected = "a published snapshot; gridcast run --data FOLDER makes one, and a model"
        raise UsageError(folder or artifacts, found="none", expected=expected)
    return current
