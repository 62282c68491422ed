"""What a replay came to: figures by month, trainings, promotions, alarms, faults noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pandas as pd
from pydantic import AliasChoices, Field

from gridcast.evaluation.measure import LABELS, SMAPE, MeasureName
from gridcast.monitoring.alarms import Alarm
from gridcast.monitoring.operator_contest import OperatorContest
from gridcast.monitoring.span_figures import ERROR, MOST_LEADS, NAIVE_ERROR, MonthFigures
from gridcast.monitoring.track_record import row_figures, with_truth
from gridcast.operation.comparison import PlainRetraining, comparison_lines
from gridcast.operation.plant import Plant
from gridcast.record import Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridcast.operation.promotion_log import Promotion

PICTURE = "comparison.svg"  # beside the report
_DAY = pd.Timedelta(days=1)
_BEFORE, _AFTER = 28 * _DAY, 7 * _DAY  # of a fault


class TrainingNote(Record):
    """A training at ``at`` (ISO, UTC), why, what came of it, and how long its run took."""

    at: str
    reason: str
    run_id: str
    is_promoted: bool
    outcome: str
    seconds: float = 0.0


class NoticedPlant(Record):
    """A planted fault, and the first alarm of its region after it began (null: none came).

    ``error`` (percent, leads 1 to 24) is that of its region against the load without the fault, in
    the week from when it began on; ``error_before`` in the four weeks before.
    """

    plant: Plant
    alarm: Alarm | None
    days: float | None
    error: float | None = Field(default=None, validation_alias=AliasChoices("error", "smape"))
    error_before: float | None = Field(
        default=None, validation_alias=AliasChoices("error_before", "smape_before")
    )


class ReplayReport(StoredRecord):
    """A span lived through, and all that happened in it; ``error`` and its like as in a month.

    ``seconds``: of its own work and of all its trainings.

    ``compared`` has what plain retraining would have given, where that was asked for.
    """

    advice: ClassVar[str] = "replay again"

    dataset: str
    snapshot: str
    first: str
    end: str
    error: float = ERROR
    naive_error: float = NAIVE_ERROR
    coverage: float
    num_rows: int
    num_fallback_rows: int
    months: tuple[MonthFigures, ...]
    trainings: tuple[TrainingNote, ...]
    promotions: tuple[str, ...]
    alarms: tuple[Alarm, ...]
    noticed: tuple[NoticedPlant, ...]
    seconds: float
    operator: tuple[OperatorContest, ...] = ()
    measure: MeasureName = SMAPE
    compared: tuple[PlainRetraining, ...] = ()


def noticed(plants: Iterable[Plant], alarms: Sequence[Alarm]) -> tuple[NoticedPlant, ...]:
    """When each fault was told of: the first alarm of its region from its first hour on."""
    found = []
    for plant in plants:
        first = pd.Timestamp(plant.first)
        own = [each for each in alarms
               if each.region == plant.region and pd.Timestamp(each.at) > first]  # fmt: skip
        alarm = min(own, key=lambda each: pd.Timestamp(each.at), default=None)
        days = None if alarm is None else (pd.Timestamp(alarm.at) - first) / _DAY
        found.append(NoticedPlant(plant=plant, alarm=alarm, days=days))
    return tuple(found)


def with_costs(
    found: Iterable[NoticedPlant],
    rows: pd.DataFrame,
    truth: Mapping[str, pd.DataFrame],
    norms: Mapping[str, float],
) -> tuple[NoticedPlant, ...]:
    """With the errors of each fault's region before and after it began.

    Args:
        found: the faults.
        rows: as they were issued, fault and all.
        truth: readings by region, without any fault.
        norms: MW, by region: in percent of what, where not of each hour's own load.
    """
    told = []
    for each in found:
        before, after = _errors(each.plant, rows, truth, norms)
        told.append(each.model_copy(update={"error_before": before, "error": after}))
    return tuple(told)


def _errors(
    plant: Plant,
    rows: pd.DataFrame,
    truth: Mapping[str, pd.DataFrame],
    norms: Mapping[str, float],
) -> tuple[float | None, float | None]:
    """Of the four weeks before a fault, and of its first week; None: no hour has a truth."""
    first = pd.Timestamp(plant.first)
    own = rows[(rows["region"] == plant.region) & (rows["lead"] <= MOST_LEADS)]
    spans = ((first - _BEFORE, first), (first, first + _AFTER))
    errors = []
    for begin, end in spans:
        span = own[(own["timestamp"] >= begin) & (own["timestamp"] < end)]
        joined = with_truth(span, truth)
        errors.append(float(row_figures(joined, norms)["error"].mean()) if len(joined) else None)
    return errors[0], errors[1]


def page_of(report: ReplayReport) -> str:
    """The report as Markdown."""
    summary = (
        f"Day ahead (leads 1 to 24, the mean of the regions): {report.error:.2f} % "
        f"{LABELS[report.measure]}, the same hour of the day before {report.naive_error:.2f} %; "
        f"bands held {report.coverage:.1f} %. "
        f"{report.num_rows:,} rows, {report.num_fallback_rows:,} of them by what stands in; "
        f"{report.seconds:.0f} s."
    )
    lines = [
        f"# {report.dataset}, {report.first} to {report.end}, lived through",
        "",
        summary,
        "",
        f"| month | {LABELS[report.measure]} % | yesterday's % | bias % | held % | width % |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {m.month} | {m.error:.2f} | {m.naive_error:.2f} | {m.bias:+.2f} | {m.coverage:.1f}"
            f" | {m.width:.1f} |"
            for m in report.months
        ),
        "",
        f"## {len(report.trainings)} trainings",
        "",
        *(f"- {day_of(t.at)}, {t.reason}: {t.outcome}" for t in report.trainings),
        "",
        f"## {len(report.promotions)} promotions",
        "",
        *(f"- {each}" for each in report.promotions),
        "",
        f"## {len(report.alarms)} alarms",
        "",
        *(f"- {day_of(a.at)} {a.severity} {a.region or 'all'}: {a.message}" for a in report.alarms),
    ]
    if report.compared:
        lines += ["", "## Beside plain retraining", "", f"![The error by week]({PICTURE})", ""]
        lines += comparison_lines(
            report.compared,
            report.months,
            num_trainings=len(report.trainings),
            measure=report.measure,
        )
    if report.operator:
        lines += ["", "## The system operator's own forecast", ""]
        lines += [f"- {each.text}" for each in report.operator]
    if report.noticed:
        lines += ["", "## Planted faults", "", *map(_noticed_line, report.noticed)]
    return "\n".join(lines) + "\n"


def _noticed_line(each: NoticedPlant) -> str:
    cost = ""
    if each.error is not None and each.error_before is not None:
        cost = f"; {each.error_before:.2f} % before it, {each.error:.2f} % in its first week"
    if each.alarm is None:
        return f"- {each.plant.text}: not noticed{cost}"
    told = f"noticed after {each.days:.1f} days ({each.alarm.message})"
    return f"- {each.plant.text}: {told}{cost}"


def promotion_line(each: Promotion) -> str:
    """For the report: since when, who, why."""
    return f"{each.since[:16]}: {each.to.short} ({each.kind}; {each.reason})"


def day_of(time: str) -> str:
    """The day of an ISO time.

    >>> day_of("2018-08-01T05:00:00+00:00")
    '2018-08-01'
    """
    return time.partition("T")[0]
