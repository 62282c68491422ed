"""What the terminal shows of a study: its trials, best first, and how to run the best one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridcast.evaluation.measure import LABELS
from gridcast.evaluation.search import StudyRecord, best_first, shown
from tasks.runs.places import resolved_path
from tasks.runs.record_files import read_record

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.evaluation.search import TrialRecord

_WIDTH_OF_FILES = 140
_ROWS = 12


def show_study(path: Path) -> None:
    """Print the study of a run that has ended; ``path`` is that of its ``study.json``."""
    study = read_record(path, StudyRecord)
    out = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    trials = [each for each in best_first(study.trials) if each.counts]
    out.print(_trials_table(study, trials[:_ROWS]))
    if len(trials) > _ROWS:
        out.print(
            f"and {len(trials) - _ROWS} more trials in {path}", highlight=False, soft_wrap=True
        )
    artifacts = path.absolute().parents[2]
    picture, profile = (resolved_path(each, artifacts) for each in (study.picture, study.profile))
    out.print(f"{'Picture:':10s} {picture}", highlight=False)
    out.print(f"{'Run it:':10s} gridcast run --profile {profile}", highlight=False)


def _trials_table(study: StudyRecord, trials: list[TrialRecord]) -> Table:
    table = Table(title=f"Study {study.name}", box=box.SIMPLE_HEAD)
    settings = list(study.trials[0].settings)
    numbers = ("trial", f"validation {LABELS[study.trials[0].measure]} %", "training s")
    for name in (*numbers, "", *(setting.partition(".")[2] for setting in settings)):
        table.add_column(name, justify="right" if name in numbers else "left")
    for trial in trials:
        error = "" if trial.validation_error is None else f"{trial.validation_error:.3f}"
        seconds = "" if trial.train_seconds is None else f"{trial.train_seconds:.1f}"
        note = "settings as they were" if trial.number == study.unchanged else trial.state
        values = (escape(shown(trial.settings.get(setting, ""))) for setting in settings)
        style = "bold green" if trial.number == study.best else ""
        table.add_row(str(trial.number), error, seconds, note, *values, style=style)
    return table
