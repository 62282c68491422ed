"""What ``gridcast backtest`` prints and draws: the error of each contestant by lead."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from gridcast.config import Config
from gridcast.evaluation.measure import LABELS
from tasks.forecast.run_backtest import BacktestRecord, run_backtest
from tasks.runs.record_files import read_record
from tasks.show.show_forecast import instant_of

if TYPE_CHECKING:
    from gridcast.evaluation.next_day_scores import NextDay

_SHOWN_LEADS = (1, 2, 3, 6, 12, 18, 24, 36, 48, 72, 96, 120, 144, 168)
_WIDTH_OF_FILES = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRequest:
    """What is asked for on the command line; times are ISO text."""

    artifacts: Path
    profile: str
    overrides: tuple[str, ...]
    first: str | None
    end: str | None
    folder: Path | None
    run_id: str | None


def backtest_and_show(asked: BacktestRequest) -> None:
    """Live through the span, show the leaderboard, draw it beside the tables.

    Raises:
        UsageError, ConfigError, IntegrityError: nothing was forecast.
    """
    config = Config.load(asked.profile, overrides=asked.overrides)
    first, end = (None if text is None else instant_of(text) for text in (asked.first, asked.end))
    done = run_backtest(
        asked.artifacts, config, first=first, end=end, folder=asked.folder,
        run_id=asked.run_id,
    )  # fmt: skip
    show_backtest(done.record, done.folder)


def show_kept(folder: str) -> None:
    """The same of one whose record stands in a folder."""
    show_backtest(read_record(Path(folder) / "backtest.json", BacktestRecord), Path(folder))


def show_backtest(record: BacktestRecord, folder: Path) -> None:
    """A row a contestant: its error at some leads, and the mean; below it how good bands are."""
    label = LABELS[record.measure]
    leads = [lead for lead in _SHOWN_LEADS if lead <= record.horizon]
    table = Table(
        title=f"{label} (%) by lead, forecast every hour from {record.first} to {record.end} (UTC)",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("contestant")
    for lead in leads:
        table.add_column(f"{lead} h", justify="right")
    table.add_column("mean", justify="right")
    errors = {each.lead: each.error for each in record.by_lead}
    for name in sorted(record.error, key=lambda name: errors[record.horizon][name]):
        cells = [f"{errors[lead][name]:.2f}" for lead in leads]
        table.add_row(name.replace("_", " "), *cells, f"{record.error[name]:.2f}")
    table.add_section()
    held = {each.lead: each.coverage for each in record.by_lead}
    cells = [f"{held[lead]:.1f}" if lead in held else "" for lead in leads]
    table.add_row(f"within bands of {record.share:.0f} %", *cells, f"{record.coverage:.1f}")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    console.print(table)
    console.print(
        f"Bands of {record.share:.0f} % held {record.coverage:.1f} % of {record.num_forecasts:,} "
        f"truths; Winkler score {record.winkler:.2f} % of load",
        highlight=False,
    )
    if record.next_day is not None:
        console.print(next_day_table(record.next_day, label))
    for contest in record.operator:
        console.print(contest.text, highlight=False, soft_wrap=True)
    if record.refits:
        days = ", ".join(each.day for each in record.refits)
        console.print(f"Trained on what was known by {days}", highlight=False, soft_wrap=True)
    console.print(f"Kept:      {folder}", highlight=False, soft_wrap=True)


def next_day_table(found: NextDay, label: str) -> Table:
    """A row a contestant: how well it knew the next day."""
    at = f"{found.issue_hour:02}:00 local time"
    table = Table(
        title=f"The next day as forecast at {at}, {found.num_days} days",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("contestant")
    for column in (f"{label} %", "peak, error %", "peak, hours beside", "hours too low %"):
        table.add_column(column, justify="right")
    for name, each in sorted(found.contestants.items(), key=lambda item: item[1].error):
        cells = (
            f"{each.error:.2f}",
            f"{each.peak:.2f}",
            f"{each.peak_hours:.2f}",
            f"{each.under:.1f}",
        )
        table.add_row(name.replace("_", " "), *cells)
    return table
