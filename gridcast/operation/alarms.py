"""Alarms: what is not as it should be, since when it is noticed, and how bad it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd

from gridcast.forecasting.issue import maker_of
from gridcast.forecasting.model import NETWORK
from gridcast.record import Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridcast.config import MonitoringConfig, RetrainingConfig
    from gridcast.forecasting.model import ForecastModel

Kind = Literal["degraded", "coverage", "bias", "level", "late", "stuck", "missing_forecast"]
Severity = Literal["warning", "critical"]
NOBODY = "nobody is in charge"  # a reason to train
# What a new training may mend.
RETRAINED_KINDS: tuple[Kind, ...] = ("degraded", "bias", "level")
_DAILY: tuple[Kind, ...] = ("late", "stuck", "missing_forecast")
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

    ``smape`` is that of whoever forecasts the region, ``next_hour_smape`` of its first lead,
    ``naive_smape`` of the same hour of the day before; ``share`` of hours the band is to hold.
    """

    smape: dict[str, float]
    next_hour_smape: dict[str, float]
    naive_smape: dict[str, float]
    share: float


def promise_of(model: ForecastModel) -> Promise:
    """By its validation part: at each lead that of whoever forecasts it."""
    smape, naive, next_hour = dict[str, float](), dict[str, float](), dict[str, float]()
    for number, region in enumerate(model.regions):
        maker = maker_of("", number, model.calibrations)
        error_K = {name: each.smape_RK[number] for name, each in model.calibrations.items()}
        is_network_K = np.arange(len(error_K[NETWORK])) < maker.num_network_leads
        day_K = np.where(is_network_K, error_K[NETWORK], error_K[maker.stand_in])[:_HOURS]
        if np.isnan(day_K).any():
            continue  # it had no labels
        smape[region], next_hour[region] = float(day_K.mean()), float(day_K[0])
        naive[region] = float(np.nanmean(error_K["same_hour_yesterday"][:_HOURS]))
    levels = model.config.forecasting.quantiles
    return Promise(
        smape=smape, next_hour_smape=next_hour, naive_smape=naive,
        share=100 * (levels[-1] - levels[0]),
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
        if name not in promise.smape:
            continue
        promised, usual = promise.smape[name], promise.naive_smape.get(name, np.nan)
        harder = own["naive_smape"] / usual if usual > 0 else np.nan
        expected = promised * (harder if harder > 1 else 1.0)
        limit = config.degraded_ratio * expected
        if own["smape"] > limit:
            message = f"an error of {own['smape']:.2f} %, {expected:.2f} % was to be expected"
            found.append(_alarm("degraded", name, at, own["smape"], limit, message,
                                is_severe=own["smape"] > _SEVERE * limit))  # fmt: skip
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


def level_alarms(
    joined: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    promise: Promise,
    config: MonitoringConfig,
    *,
    at: pd.Timestamp,
) -> list[Alarm]:
    """Regions whose load has changed at one hour, and stayed so for a day, as no model foresaw.

    The next hour's forecast was off by ``level_ratio`` times its promised error; and against the
    week before, the 24 hours from there on differ from the 24 before by at least half of that more
    than those of the other regions do, which have the same weather and holidays.

    Args:
        joined: rows of the last days with their truth (see ``with_truth``).
        readings: as known, by region, two weeks and two days back.
        promise: of the next hour.
        config: when it alarms.
        at: the instant.
    """
    found = []
    next_hours = joined[(joined["lead"] == 1) & (joined["timestamp"] + _DAY <= at)]
    changes = {name: weekly_change(own) for name, own in readings.items() if len(own)}
    for region, own in next_hours.groupby("region"):
        name = str(region)
        if name not in promise.next_hour_smape or name not in changes:
            continue
        limit = config.level_ratio * promise.next_hour_smape[name]
        jump_N = 100 * np.log(own["y_true"].to_numpy() / own["load_mw"].to_numpy())
        for jump, time in zip(jump_N, own["timestamp"], strict=True):
            if abs(jump) <= limit:
                continue
            step = level_step(changes, name, time)
            if step * np.sign(jump) >= abs(jump) / 2:
                message = (
                    f"the load changed by {step:+.1f} % at {time:%Y-%m-%d %H:%M} UTC, and stays"
                )
                found.append(_alarm("level", name, at, step, limit, message, is_severe=True))
                break
    return found


def level_step(changes: Mapping[str, pd.Series[float]], region: str, time: pd.Timestamp) -> float:
    """By how much (percent) a region's level changed at an hour, less the median of the others."""
    steps = {
        name: 100 * (_mean_of(each, time, time + _DAY) - _mean_of(each, time - _DAY, time))
        for name, each in changes.items()
    }
    own = steps.pop(region)
    known = [each for each in steps.values() if np.isfinite(each)]
    return own - float(np.median(known)) if known else own


def weekly_change(readings: pd.DataFrame) -> pd.Series[float]:
    """The logarithm of the load over that of the same hour a week before, by hour; NaN: unknown."""
    clean = readings[(readings["flag"] == "") & (readings["load_mw"] > 0)]
    hours = pd.date_range(clean["timestamp"].min(), clean["timestamp"].max(), freq="h")
    load_T = clean.set_index("timestamp")["load_mw"].astype(float).reindex(hours)
    return pd.Series(np.log((load_T / load_T.shift(7 * _HOURS)).to_numpy()), hours)


def _mean_of(change: pd.Series[float], first: pd.Timestamp, end: pd.Timestamp) -> float:
    """Of a day, of which at least 12 hours are known; else NaN: it says nothing."""
    own = change[(change.index >= first) & (change.index < end)].dropna()
    return float(own.mean()) if len(own) >= _HOURS // 2 else float("nan")


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
    config: RetrainingConfig,
    *,
    at: pd.Timestamp,
) -> str:
    """Why a model is to be trained at ``at``; empty: none is.

    Args:
        alarms: those that were raised; what was raised by ``last`` was answered then.
        last: when one was trained and judged last; None: never.
        config: how often, and how soon after the last one.
        at: the instant.
    """
    if last is None:
        return NOBODY
    asking = [
        each for each in alarms
        if each.kind in RETRAINED_KINDS and last < pd.Timestamp(each.at) <= at
    ]  # fmt: skip
    if asking and at - last >= config.cooldown_days * _DAY:
        return f"{asking[0].region}: {asking[0].message}"
    if config.every_days is not None and at - last >= config.every_days * _DAY:
        return f"{config.every_days} days since the last training"
    return ""
