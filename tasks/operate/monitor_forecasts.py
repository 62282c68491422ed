"""Look at the forecasts of the last days as they were issued; keep figures, raise alarms once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import AliasChoices, Field

from gridcast.evaluation.measure import SMAPE, MeasureName
from gridcast.monitoring.alarms import Alarm, AlarmLog, promise_of
from gridcast.monitoring.look import Monitored, first_issue_time, monitor
from gridcast.monitoring.operator_contest import OperatorContest, operator_contests
from gridcast.record import StoredRecord
from tasks.fetch.operator_forecast import read_operator_forecasts
from tasks.forecast.forecast_store import read_issued
from tasks.forecast.issue_forecast import current_snapshot, published_readings
from tasks.forecast.model_in_charge import InCharge, model_in_charge
from tasks.runs.locks import held
from tasks.runs.record_files import read_record, write_record
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import Config, MonitoringConfig
    from tasks.ingest.snapshots import Current

FOLDER = "monitoring"
_log = logging.getLogger("gridcast.monitor")


class MonitoringRecord(StoredRecord):
    """The last look at a data set: percent, the means over the regions; open alarms beside it.

    Errors are told as ``measure`` has them. ``operator`` has what its system
    operator has forecast itself, where that is known.
    """

    dataset: str
    at: str
    model: str
    model_sha256: str
    snapshot: str
    window_days: int
    error: float | None = Field(validation_alias=AliasChoices("error", "smape"))
    measure: MeasureName = SMAPE
    coverage: float | None
    num_regions: int
    operator: tuple[OperatorContest, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look; the folder has its tables. ``norms`` as in :class:`Promise`."""

    record: MonitoringRecord
    monitored: Monitored
    folder: Path
    norms: Mapping[str, float]


def monitor_forecasts(
    artifacts: Path, config: Config, *, as_of: pd.Timestamp, folder: Path | None = None
) -> Looked:
    """Figures of the last ``operation.monitoring.window_days``, and alarms that are new.

    Args:
        artifacts: folder of everything that runs produce.
        config: window and limits.
        as_of: the instant; no later hour is looked at.
        folder: whose data; none: those that were ingested last.

    Raises:
        UsageError: there is no data, or no model was ever trained.
        IntegrityError: a file of the snapshot was changed.
    """
    current, own = current_snapshot(artifacts, folder), config.operation.monitoring
    charge = model_in_charge(artifacts, current.dataset, as_of=as_of)
    readings = published_readings(artifacts, current, list(current.snapshot.regions))
    rows = read_issued(
        artifacts, current.dataset, first=first_issue_time(own, at=as_of),
        end=as_of + pd.Timedelta(seconds=1),
    )  # fmt: skip
    promise = promise_of(charge.chosen.model) if charge.chosen else None
    norms = promise.norms if promise else {}
    place = artifacts / FOLDER / current.dataset
    with held(artifacts, f"monitoring-{current.dataset}"):
        known = read_alarms(artifacts, current.dataset)
        seen = monitor(rows, readings, promise, own, at=as_of, known=known)
        record = _record(
            seen, charge, own, dataset=current.dataset, snapshot=current.snapshot.id
        ).model_copy(update={"operator": against_operator(rows, readings, current, config, norms)})
        _keep(place, seen, record, known)
    for each in seen.alarms:
        _log.warning("%s %s: %s", each.severity.upper(), each.region or "all", each.message)
    return Looked(record, seen, place, norms)


def against_operator(
    rows: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    current: Current,
    config: Config,
    norms: Mapping[str, float],
) -> tuple[OperatorContest, ...]:
    """Ours and the operator's own forecast, where the data's folder has one; else nothing.

    Raises:
        UsageError: the file of the operator's forecasts is not what a fetch wrote.
    """
    own = config.operation.monitoring
    return operator_contests(
        rows, readings, read_operator_forecasts(Path(current.data.folder)),
        timezone=config.ingestion.timezone, hour=own.operator_hour, min_hours=own.min_hours,
        norms=norms,
    )  # fmt: skip


def read_alarms(artifacts: Path, dataset: str) -> tuple[Alarm, ...]:
    """All alarms that were raised, the oldest first.

    Raises:
        RecordError: the file is damaged, or of a newer version.
    """
    path = artifacts / FOLDER / dataset / "alarms.json"
    log = read_record(path, AlarmLog, may_lack=True)
    return log.alarms if log else ()


def _keep(place: Path, seen: Monitored, record: MonitoringRecord, known: tuple[Alarm, ...]) -> None:
    """The tables as CSV, the alarms, the record last."""
    for name in ("by_region", "by_lead"):
        with publishing(place / f"{name}.csv") as temporary:
            getattr(seen, name).round(4).to_csv(temporary, index=name == "by_region")
    if seen.alarms or not (place / "alarms.json").is_file():
        write_record(place / "alarms.json", AlarmLog(alarms=(*known, *seen.alarms)))
    write_record(place / "monitoring.json", record)


def _record(
    seen: Monitored, charge: InCharge, config: MonitoringConfig, *, dataset: str, snapshot: str
) -> MonitoringRecord:
    figures = seen.by_region
    model = charge.chosen.model if charge.chosen else None
    return MonitoringRecord(
        dataset=dataset,
        at=seen.at.isoformat(),
        model=model.name if model else "baseline",
        model_sha256=model.sha256 if model else "",
        snapshot=snapshot,
        window_days=config.window_days,
        error=float(figures["error"].mean()) if len(figures) else None,
        measure=model.measure if model else SMAPE,
        coverage=float(figures["coverage"].mean()) if len(figures) else None,
        num_regions=len(figures),
    )
