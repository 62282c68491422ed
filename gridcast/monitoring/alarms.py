"""Alarms: what is not as it should be, since when it is noticed, and how bad it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from gridcast.evaluation.measure import norms_by_row, sizes_of
from gridcast.forecasting.makers import makers_of
from gridcast.forecasting.model import NETWORK
from gridcast.monitoring.level import level_steps
from gridcast.record import Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridcast.config import MonitoringConfig, OperationConfig
    from gridcast.forecasting.model import ForecastModel
    from gridcast.monitoring.level import LevelScores

Kind = Literal[
    "degraded", "coverage", "bias", "level", "outlier", "late", "stuck", "missing_forecast"
]
Severity = Literal["warning", "critical"]
NOBODY = "nobody is in charge"  # a reason to train
# What a new training may mend.
RETRAINED_KINDS: tuple[Kind, ...] = ("degraded", "bias", "level")
_DAILY: tuple[Kind, ...] = ("outlier", "late", "stuck", "missing_forecast")
_FAULTY = ("zero", "dropout", "spike", "level")  # flags of readings
_HOUR, _DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
_SEVERE = 1.5  # beyond a limit by this factor
_HOURS = 24


class Alarm(Record):
    """Something that was noticed at ``at`` (ISO, UTC); ``region`` empty: it is of all.

    ``value`` and ``limit`` are in the unit that the message names.
    """

    kind: Kind
    severity: Severity
    region: str
    at: str
    value: float
    limit: float
    message: str


class AlarmLog(StoredRecord):
    """All alarms of a data set, in their order."""

    advice: ClassVar[str] = "delete it: alarms that were raised are forgotten"

    alarms: tuple[Alarm, ...] = ()


class Promise(Record):
    """What the evaluation promised of a model: percent, by region the mean over the next day.

    ``error`` is that of whoever forecasts the region, ``next_hour_error`` of its first lead,
    ``naive_error`` of the same hour of the day before; ``share`` of hours the band is to hold.
    ``norms``: what errors are told in percent of, as the model has them.
    """

    error: dict[str, float]
    next_hour_error: dict[str, float]
    naive_error: dict[str, float]
    share: float
    norms: dict[str, float] = Field(default_factory=dict)


def promise_of(model: ForecastModel) -> Promise:
    """By its validation part: at each lead that of whoever forecasts it."""
    error, naive, next_hour = dict[str, float](), dict[str, float](), dict[str, float]()
    makers = makers_of(model)
    for number, (region, maker) in enumerate(zip(model.regions, makers, strict=True)):
        error_K = {name: each.error_RK[number] for name, each in model.calibrations.items()}
        is_network_K = np.arange(len(error_K[NETWORK])) < maker.num_network_leads
        day_K = np.where(is_network_K, error_K[NETWORK], error_K[maker.stand_in])[:_HOURS]
        if np.isnan(day_K).any():
            continue  # it had no labels
        error[region], next_hour[region] = float(day_K.mean()), float(day_K[0])
        naive[region] = float(np.nanmean(error_K["same_hour_yesterday"][:_HOURS]))
    levels = model.config.forecasting.quantiles
    return Promise(
        error=error, next_hour_error=next_hour, naive_error=naive,
        share=100 * (levels[-1] - levels[0]), norms=model.norms,
    )  # fmt: skip


def forecast_alarms(
    figures: pd.DataFrame, promise: Promise, config: MonitoringConfig, *, at: pd.Timestamp
) -> list[Alarm]:
    """Of a window's figures by region: errors, bands and bias that are not as promised.

    Where the naive forecast has a harder time than on the validation part, so may the model.
    """
    found = []
    enough = figures[figures["num_hours"] >= config.min_hours]
    for region, own in enough.iterrows():
        name = str(region)
        lowest = promise.share - 100 * config.coverage_drop
        if own["coverage"] < lowest:
            message = f"the band of {promise.share:.0f} % held {own['coverage']:.1f} % of the hours"
            found.append(_alarm("coverage", name, at, own["coverage"], lowest, message,
                                is_severe=own["coverage"] < lowest - 10))  # fmt: skip
        if name not in promise.error:
            continue
        promised, usual = promise.error[name], promise.naive_error.get(name, np.nan)
        harder = own["naive_error"] / usual if usual > 0 else np.nan
        expected = promised * (harder if harder > 1 else 1.0)
        limit = config.degraded_ratio * expected
        if own["error"] > limit:
            message = f"an error of {own['error']:.2f} %, {expected:.2f} % was to be expected"
            found.append(_alarm("degraded", name, at, own["error"], limit, message,
                                is_severe=own["error"] > _SEVERE * limit))  # fmt: skip
        limit = config.bias_ratio * expected
        if abs(own["bias"]) > limit:
            message = (
                f"a bias of {own['bias']:+.2f} %, where errors of {expected:.2f} % were expected"
            )
            found.append(_alarm("bias", name, at, own["bias"], limit, message,
                                is_severe=abs(own["bias"]) > _SEVERE * limit))  # fmt: skip
    return found


def _alarm(
    kind: Kind,
    region: str,
    at: pd.Timestamp,
    value: float,
    limit: float,
    message: str,
    *,
    is_severe: bool = False,
) -> Alarm:
    severity: Severity = "critical" if is_severe else "warning"
    return Alarm(
        kind=kind, severity=severity, region=region, at=at.isoformat(), value=float(value),
        limit=float(limit), message=message,
    )  # fmt: skip


def data_alarms(
    readings: Mapping[str, pd.DataFrame], config: MonitoringConfig, *, at: pd.Timestamp
) -> list[Alarm]:
    """Regions that are late, or stuck on a value.

    Of each region the readings of hours that had ended at ``at``; one that ended before
    ``watched_days`` is not watched any more.
    """
    oldest = at - config.watched_days * _DAY
    found = []
    for name, own in readings.items():
        if not len(own) or own["timestamp"].iloc[-1] < oldest:
            continue
        late = int((at.floor("h") - own["timestamp"].iloc[-1]) / _HOUR) - 1
        if late >= config.late_hours:
            message = f"no reading for {late} hours"
            found.append(_alarm("late", name, at, late, config.late_hours, message,
                                is_severe=late >= _HOURS))  # fmt: skip
        alike = num_alike(own["load_mw"].to_numpy())
        if alike >= config.stuck_hours:
            message = f"the last {alike} readings are the same"
            found.append(_alarm("stuck", name, at, alike, config.stuck_hours, message))
    return found


def num_alike(load_mw: np.ndarray) -> int:
    """How many of the last readings are the same, at least 1.

    >>> num_alike(np.array([1.0, 2.0, 2.0, 2.0]))
    3
    """
    changed = np.flatnonzero(np.diff(load_mw) != 0)
    return len(load_mw) - 1 - int(changed[-1]) if len(changed) else len(load_mw)


def outlier_alarms(
    joined: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    config: MonitoringConfig,
    *,
    at: pd.Timestamp,
    norms: Mapping[str, float],
) -> list[Alarm]:
    """Regions of which an hour of the last day can hardly be right.

    The next hour's forecast was off by ``outlier_percent``, or the rules have flagged the reading.

    Args:
        joined: rows of the last days with their truth (see ``with_truth``).
        readings: as known, by region.
        config: what is too far off.
        at: the instant.
        norms: MW, by region: in percent of what, where not of the forecast.
    """
    found = []
    next_hours = joined[(joined["lead"] == 1) & (joined["timestamp"] >= at - _DAY)]
    forecast_N = next_hours["load_mw"].astype(float)
    size_N = sizes_of(forecast_N.to_numpy(), norms_by_row(next_hours["region"], norms))
    off_N = 100 * (next_hours["y_true"].astype(float) - forecast_N) / size_N
    far = next_hours.assign(off=off_N)[off_N.abs() > config.outlier_percent]
    for region, own in far.groupby("region"):
        worst = int(np.argmax(np.abs(own["off"].to_numpy())))
        off, hour = float(own["off"].iloc[worst]), own["timestamp"].iloc[worst]
        message = f"the load at {hour:%Y-%m-%d %H:%M} UTC is {off:+.0f} % off its forecast"
        limit = config.outlier_percent
        found.append(_alarm("outlier", str(region), at, off, limit, message))
    known = {each.region for each in found}
    for name, own in readings.items():
        flagged = own[own["flag"].isin(_FAULTY) & (own["timestamp"] >= at - _DAY)]
        if name not in known and len(flagged):
            first = flagged.iloc[0]
            message = f"the load at {first['timestamp']:%Y-%m-%d %H:%M} UTC is a {first['flag']}"
            found.append(_alarm("outlier", name, at, len(flagged), 0, message))
    return found


def level_alarms(
    scores: LevelScores, promise: Promise, config: MonitoringConfig, *, at: pd.Timestamp
) -> list[Alarm]:
    """Regions whose load has changed at one hour, and stayed so for a day, as no model foresaw."""
    return [
        _alarm(
            "level", step.region, at, step.score, step.limit,
            f"the load changed by {step.percent:+.1f} % at {step.time:%Y-%m-%d %H:%M} UTC, "
            "and stays",
            is_severe=True,
        )
        for step in level_steps(scores, promise.next_hour_error, config, at=at)
    ]  # fmt: skip


def missing_forecast_alarm(
    issue_times: Sequence[pd.Timestamp],
    config: MonitoringConfig,
    *,
    at: pd.Timestamp,
) -> list[Alarm]:
    """No forecast of an hour that was due ``due_minutes`` after it began."""
    due = (at - pd.Timedelta(minutes=config.due_minutes)).floor("h")
    known = [each for each in issue_times if each <= at]
    newest = max(known, default=None)
    if newest is not None and newest >= due:
        return []
    lacking = float("nan") if newest is None else (due - newest) / _HOUR
    since = "none was ever issued" if newest is None else f"the newest is of {newest:%m-%d %H:%M}"
    message = f"no forecast of {due:%Y-%m-%d %H:%M} UTC; {since}"
    value = 1.0 if newest is None else float(lacking)
    return [_alarm("missing_forecast", "", at, value, 0.0, message, is_severe=True)]


def raised(found: Iterable[Alarm], known: Sequence[Alarm], config: MonitoringConfig) -> list[Alarm]:
    """Those of ``found`` that are new: of a kind and region not raised in ``quiet_days``.

    What is late, stuck or missing is told again each day.
    """
    new = list[Alarm]()
    for each in found:
        quiet = 1 if each.kind in _DAILY else config.quiet_days
        since = pd.Timestamp(each.at) - quiet * _DAY
        is_known = any(
            (other.kind, other.region) == (each.kind, each.region)
            and pd.Timestamp(other.at) > since
            for other in known
        )
        if not is_known:
            new.append(each)
    return new


def reason_to_train(
    alarms: Sequence[Alarm],
    last: pd.Timestamp | None,
    config: OperationConfig,
    *,
    at: pd.Timestamp,
) -> str:
    """Why a model is to be trained at ``at``; empty: none is.

    Args:
        alarms: those that were raised; what was raised by ``last`` was answered then, and does not
            ask again as long as it stands.
        last: when one was trained and judged last; None: never.
        config: how often, and how soon after the last one; how long an alarm stays quiet.
        at: the instant.
    """
    if last is None:
        return NOBODY
    known = [each for each in alarms if pd.Timestamp(each.at) <= at]
    asking = [
        each for each in known
        if each.kind in RETRAINED_KINDS and last < pd.Timestamp(each.at)
        and not _was_answered(each, known, last, quiet_days=config.monitoring.quiet_days)
    ]  # fmt: skip
    retraining = config.retraining
    if asking and at - last >= retraining.cooldown_days * _DAY:
        return f"{asking[0].region}: {asking[0].message}"
    if retraining.every_days is not None and at - last >= retraining.every_days * _DAY:
        return f"{retraining.every_days} days since the last training"
    return ""


def _was_answered(
    alarm: Alarm, known: Sequence[Alarm], last: pd.Timestamp, *, quiet_days: int
) -> bool:
    """Whether it has stood since before ``last``, raised again each time as soon as it might be."""
    begin = pd.Timestamp(alarm.at)
    same = [each for each in known if (each.kind, each.region) == (alarm.kind, alarm.region)]
    for time in sorted((pd.Timestamp(each.at) for each in same), reverse=True):
        if begin - (quiet_days + 1) * _DAY <= time < begin:
            begin = time
    return begin <= last
