"""The report of a replay: figures of the span, what happened in it, plain retraining beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gridcast.evaluation.measure import measure_by
from gridcast.monitoring.alarms import AlarmLog
from gridcast.monitoring.span_figures import hourly_errors, mean_of_months, month_figures
from gridcast.operation.comparison import PlainRetraining, plain_retraining, training_days
from gridcast.operation.comparison_figure import draw_comparison
from gridcast.operation.replay_report import (
    PICTURE,
    ReplayReport,
    noticed,
    page_of,
    promotion_line,
    with_costs,
)
from tasks.forecast.forecast_store import read_issued
from tasks.forecast.model_in_charge import model_in_charge
from tasks.operate.monitor_forecasts import against_operator
from tasks.operate.plain_retraining import plain_rows
from tasks.promote.promotion_files import read_log
from tasks.runs.record_files import write_record
from tasks.runs.storage import publishing, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gridcast.operation.comparison import Plain
    from tasks.operate.replay import Replay


def write_report(replay: Replay, compared: Sequence[Plain] = ()) -> Path:
    """The figures of the whole span as ``report.json`` and ``report.md``; the folder's path.

    ``compared``: ways of plain retraining that have been lived through too.
    """
    state = replay.state
    rows = _of_span(replay, read_issued(replay.root, state.dataset))
    charge = model_in_charge(replay.root, state.dataset, as_of=pd.Timestamp(state.end))
    norms = charge.chosen.model.norms if charge.chosen else {}
    months = month_figures(rows, replay.tables, norms)
    report = ReplayReport(
        dataset=state.dataset,
        snapshot=state.snapshot,
        first=state.first[:10],
        end=state.end[:10],
        error=mean_of_months(months, "error"),
        naive_error=mean_of_months(months, "naive_error"),
        coverage=mean_of_months(months, "coverage"),
        num_rows=len(rows),
        num_fallback_rows=int((rows["fallback"] != "").sum()),
        months=tuple(months),
        trainings=state.trainings,
        promotions=tuple(map(promotion_line, read_log(replay.root, state.dataset).entries)),
        alarms=state.alarms,
        noticed=with_costs(noticed(state.plants, state.alarms), rows, replay.truth, norms),
        seconds=state.seconds + sum(each.seconds for each in state.trainings),
        operator=against_operator(rows, replay.tables, replay.current, replay.config, norms),
        compared=_compared(replay, rows, compared, norms),
        measure=measure_by(norms),
    )
    write_record(replay.root / "report.json", report)
    write_bytes(replay.root / "report.md", page_of(report).encode())
    monitoring = replay.root / "monitoring" / state.dataset / "alarms.json"
    write_record(monitoring, AlarmLog(alarms=state.alarms))
    return replay.root


def _of_span(replay: Replay, rows: pd.DataFrame) -> pd.DataFrame:
    first, end = pd.Timestamp(replay.state.first), pd.Timestamp(replay.state.end)
    return rows[(rows["timestamp"] >= first) & (rows["timestamp"] < end)]


def _compared(
    replay: Replay, own_rows: pd.DataFrame, ways: Sequence[Plain], norms: Mapping[str, float]
) -> tuple[PlainRetraining, ...]:
    """The figures of each way, and their picture beside the report."""
    if not ways:
        return ()
    first, end = pd.Timestamp(replay.state.first), pd.Timestamp(replay.state.end)
    errors = {"as decided": hourly_errors(own_rows, replay.tables, norms)}
    trained = {"as decided": pd.DatetimeIndex([t.at for t in replay.state.trainings])}
    found = list[PlainRetraining]()
    for plain in ways:
        rows, days = _of_span(replay, plain_rows(replay, plain)), training_days(plain, first, end)
        months = month_figures(rows, replay.tables, norms)
        errors[plain] = hourly_errors(rows, replay.tables, norms)
        found.append(
            plain_retraining(
                plain, months, errors[plain], errors["as decided"], num_trainings=len(days)
            )
        )
        trained[plain] = pd.DatetimeIndex(days)
    figure = draw_comparison(errors, trained, measure_by(norms))
    with publishing(replay.root / PICTURE) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    return tuple(found)
