"""Write the figures of a year lived through in docs/operation.md, so that none is typed.

``python benchmarks/write_operation.py artifacts/replays/2017-08-01--2018-08-01-.../report.json``
keeps the report of ``gridcast replay`` in ``benchmarks/results/replay-cpu.json``, with what else
the machine did meanwhile if more words say so, and writes the table from there. Without a path it
writes the table again from what is kept. Run it on the machine of the replay: it notes its cores.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import envelope, write_kept
from benchmarks.tables import RESULTS, about, table
from benchmarks.update_readme import with_block
from gridcast.evaluation.measure import LABELS
from gridcast.monitoring.alarms import Alarm
from gridcast.operation.comparison import comparison_lines
from gridcast.operation.replay_report import ReplayReport
from gridcast.record import parse_record

ROOT = Path(__file__).resolve().parent.parent
PAGE, BLOCK = ROOT / "docs" / "operation.md", "year"
KEPT = RESULTS / "replay-cpu.json"
LEAST_COVERAGE, MOST_ALARMS, MOST_MINUTES = 86.0, 12, 20
# Readings of PJM's set that are wrong, as docs/data-card.md has them: region, first and last day on
# which a look at the week before sees them. What is told then is no false alarm.
KNOWN_FAULTS = (
    ("DEOK", "2017-11-05", "2017-11-12", "its second 02:00 of 5 November"),
    ("DEOK", "2018-04-22", "2018-05-02", "its days of 22 to 25 April"),
)

Json = dict[str, Any]


def figures_of(content: bytes, where: Path, beside: str) -> Json:
    """What the page needs of a report, with the machine that it was made on (this one).

    Raises:
        RecordError: it is no report of a replay.
    """
    report = parse_record(content, ReplayReport, where=where)
    told = report.model_dump(mode="json", exclude={"schema_version", "noticed", "operator"})
    kept = envelope("replay", torch.device("cpu"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {**kept, "date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": cores, "beside": beside,
            "report": told}  # fmt: skip


def year_block(kept: Json) -> str:
    """The table of months, the bars, each training, promotion and alarm."""
    report = ReplayReport.model_validate({**kept["report"], "noticed": ()})
    months = [
        [m.month, f"{m.error:.2f}", f"{m.naive_error:.2f}", f"{m.bias:+.2f}", f"{m.coverage:.1f}",
         f"{m.width:.1f}"]
        for m in report.months
    ]  # fmt: skip
    head = ["month", f"{LABELS[report.measure]} %", "yesterday's %", "bias %", "held %", "width %"]
    whole = ["whole", f"**{report.error:.2f}**", f"{report.naive_error:.2f}", "",
             f"**{report.coverage:.1f}**", ""]  # fmt: skip
    introduction = (
        f"`gridcast replay --from {report.first} --to {report.end}` on the PJM data, "
        f"{kept['cores']} cores. Day ahead: leads 1 to 24, the mean of the regions; bands of 90 %."
    )
    parts = [
        introduction,
        table(head, [*months, whole]),
        bars(report, f"; {kept['beside']}" if kept.get("beside") else ""),
        "Trainings:",
        _list([f"{t.at[:10]}, {t.reason}: {t.outcome}" for t in report.trainings]),
        "Alarms:",
        _list([_alarm_line(each) for each in report.alarms]),
    ]
    if report.compared:
        parts += ["\n".join(comparison_lines(report.compared, report.months,
                                             num_trainings=len(report.trainings),
                                             measure=report.measure))]  # fmt: skip
    return "\n\n".join([*parts, about(kept)])


def bars(report: ReplayReport, beside: str = "") -> str:
    """What was to be reached, and what was; ``beside`` says what else the machine did."""
    worst = min(report.months, key=lambda each: each.coverage)
    kinds = Counter(each.kind for each in report.alarms)
    of_kinds = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    num_false = sum(not of_known_fault(each) for each in report.alarms)
    minutes, trained = report.seconds / 60, sum(each.seconds for each in report.trainings) / 60
    rows = [
        ["least share held in a month", f"{LEAST_COVERAGE:.0f} %",
         f"{worst.coverage:.1f} % ({worst.month})", _met(worst.coverage >= LEAST_COVERAGE)],
        [f"alarms: {of_kinds or 'none'}", "", f"{len(report.alarms)}", ""],
        ["of them false, of no known fault of the data", f"at most {MOST_ALARMS}", f"{num_false}",
         _met(num_false <= MOST_ALARMS)],
        [f"wall time ({trained:.0f} min of it trainings){beside}", f"{MOST_MINUTES} min",
         f"{minutes:.0f} min", _met(minutes <= MOST_MINUTES)],
        ["trainings", "", f"{len(report.trainings)}", ""],
        ["promotions", "", f"{len(report.promotions)}", ""],
        ["rows; of them by what stands in", "",
         f"{report.num_rows:,}; {report.num_fallback_rows:,}", ""],
    ]  # fmt: skip
    return table(["", "bar", "found", ""], rows)


def of_known_fault(alarm: Alarm) -> str:
    """Which fault of the data it tells of; empty: none that is known."""
    return next((what for region, first, last, what in KNOWN_FAULTS
                 if alarm.region == region and first <= alarm.at[:10] <= last), "")  # fmt: skip


def _alarm_line(alarm: Alarm) -> str:
    fault = of_known_fault(alarm)
    known = f" (a fault of the data: {fault})" if fault else ""
    return f"{alarm.at[:10]} {alarm.kind} {alarm.region or 'all'}: {alarm.message}{known}"


def _met(is_met: bool) -> str:  # noqa: FBT001
    return "met" if is_met else "missed"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {each}" for each in lines) or "- none"


def page(kept: Json) -> str:
    """The page as it has to be."""
    return with_block(PAGE.read_text(encoding="utf-8"), BLOCK, year_block(kept))


def main(arguments: list[str]) -> None:
    """Keep the report that is named, if one is; then write the page."""
    if arguments:
        path = Path(arguments[0])
        write_kept(KEPT, figures_of(path.read_bytes(), path, " ".join(arguments[1:])))
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(page(kept), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
