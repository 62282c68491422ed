"""What a person sees in the terminal: log lines while it runs, then the comparison."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from gridcast.audit.records import LeakChecks
from gridcast.config import Config
from gridcast.errors import BrokenChainError, printable
from gridcast.evaluation.measure import LABELS, SMAPE, MeasureName, format_mw
from gridcast.evaluation.records import BaselineRecord, MeanRecord, ModelRecord
from gridcast.evaluation.scores import shown_regions
from tasks.machine.progress import console
from tasks.runs.places import resolved_path
from tasks.runs.record_files import read_record
from tasks.runs.run import read_summary
from tasks.show.show_study import show_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.audit.lineage import Finding
    from gridcast.summary import Summary


_WIDTH_OF_FILES = 120
_MOST_REGIONS, _MOST_COLUMNS = 100, 10  # in a table of the terminal
_WIDTH_OF_NAMES, _WIDTH_OF_STATES = 24, 10  # columns of the links


def show_log(level: int) -> None:
    """Show gridcast's own log lines on standard error, beside the progress display."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, markup=False,
                              omit_repeated_times=False, log_time_format="%H:%M:%S")  # fmt: skip
        handler.setFormatter(_Printable("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Printable("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("gridcast")
    logger.setLevel(level)
    logger.addHandler(handler)
    logger.propagate = False


class _Printable(logging.Formatter):
    """Names of files reach the terminal with what would steer it spelt out."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def show_summary(path: Path, *, seconds_since_enter: float | None = None) -> None:
    """Print the comparison and where to look next; the last line is the summary's path.

    ``seconds_since_enter``: how long the command has taken by now, the start of Python and Prefect
    with it.
    """
    summary = read_summary(path)
    out = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    study = path.with_name("study.json")
    if study.is_file():
        show_study(study)
    elif summary.models:
        out.print(_scores_table(summary))
        out.print(_models_table(summary))
        if summary.preferred is not None:
            out.print(_choice(summary), highlight=False)
    elif summary.regions:
        out.print(_regions_table(summary))
    if (leaks := path.with_name("leaks.json")).is_file():
        show_leaks(leaks)
    _show_what_to_know(out, summary, seconds_since_enter)
    _show_places(out, summary, artifacts=path.absolute().parents[2])
    out.print(str(path), highlight=False, markup=False, soft_wrap=True)


def _show_what_to_know(out: Console, summary: Summary, since_enter: float | None) -> None:
    refused = [name for name, region in summary.regions.items() if region.status == "refused"]
    if refused:
        out.print(f"Set aside: {', '.join(refused)} (see the ERROR lines above)", style="red")
    if summary.data is not None and summary.data.kind == "synthetic":
        out.print("The data are SYNTHETIC: a look at gridcast, no statement about a real load.",
                  style="yellow")  # fmt: skip
    seconds = summary.timings.get("total", 0.0)
    told = f"{summary.status.capitalize()} in {seconds:.0f} s (profile {summary.profile})"
    if since_enter is not None:
        told += f"; {since_enter:.0f} s since Enter, the start of Python and Prefect among them"
    out.print(told)


def _show_places(out: Console, summary: Summary, *, artifacts: Path) -> None:
    model = summary.model_folders.get(summary.preferred or "")
    pages = {
        "Model": model,
        "Report": summary.report,
        "Data": summary.data_report,
        "Data Docs": summary.data_docs,
    }
    found = {name: resolved_path(page, artifacts) for name, page in pages.items() if page}
    for name, place in {"Snapshot": summary.snapshot, **found}.items():
        if place:
            out.print(f"{name + ':':10s} {place}", highlight=False, markup=False, soft_wrap=True)
    if model:
        out.print("Forecast the hours to come: gridcast forecast", highlight=False)
    if summary.models:
        out.print("Compare runs in MLflow and Prefect: gridcast ui", highlight=False)


def show_verification(target: str, artifacts: Path) -> None:
    """Check the chain that leads to ``target`` and print each link as it is checked.

    Raises:
        BrokenChainError: naming the first broken link.
        UsageError: there is no such run, job or model.
    """
    from tasks.track.verify import verify

    out = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    verdict = verify(target, artifacts, on_finding=lambda finding: _show_finding(out, finding))
    others = [each for each in verdict.findings if each.state not in {"ok", "broken"}]
    num = len(verdict.findings)
    if verdict.broken:
        raise BrokenChainError(verdict.broken.name, str(verdict.broken))
    out.print(f"Run {verdict.run_id}: no link of {num} is broken", style="green", highlight=False)
    if others:
        out.print(f"{len(others)} cannot be compared any more; see above", highlight=False)


def show_unlogged(artifacts: Path, profile: str, overrides: tuple[str, ...]) -> None:
    """Log what MLflow did not take before, and print of how many runs it was.

    Raises:
        TrackingError: it does not take it now either.
    """
    from tasks.track.logged.unlogged import log_unlogged, num_unlogged

    config = Config.load(profile, overrides=overrides)
    num = log_unlogged(artifacts, config.tracking)
    left = num_unlogged(artifacts)
    sys.stdout.write(f"{num} runs logged to MLflow, {left} left\n")


def _show_finding(out: Console, finding: Finding) -> None:
    style = {"ok": "green", "broken": "bold red"}.get(finding.state, "yellow")
    shown = finding.found if finding.state == "ok" else str(finding)
    row = Table.grid(padding=(0, 2))
    row.add_column(min_width=_WIDTH_OF_NAMES, no_wrap=True)
    row.add_column(width=_WIDTH_OF_STATES)
    row.add_column(overflow="fold")
    row.add_row(escape(finding.name), f"[{style}]{finding.state}[/]", escape(shown))
    out.print(row, highlight=False)


def show_leaks(path: Path) -> None:
    """Print what a check for leaks did, compared and found."""
    table = Table(title="Leaks", box=box.SIMPLE_HEAD)
    for name in ("check", "done", "compared", "found"):
        table.add_column(name)
    for check in read_record(path, LeakChecks).checks:
        found = check.leak or "nothing has moved"
        style = "green" if check.is_passed else "bold red"
        about = map(escape, (check.name, check.done, check.compared))
        table.add_row(*about, f"[{style}]{escape(found)}[/]")
    out = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    out.print(table)


def _scores_table(summary: Summary) -> Table:
    label = LABELS[summary.measure]
    table = Table(title=f"{label} on the test part (percent)", box=box.SIMPLE_HEAD)
    table.add_column("region")
    columns = _columns(summary)
    is_naive = [each.is_naive for each in columns.values()]
    for name in columns:
        table.add_column(re.sub("[-_]", " ", name), justify="right")  # so that it may be wrapped
    errors = next(iter(columns.values())).error_by_region if columns else {}
    shown = [name for name in summary.regions if name in set(shown_regions(errors))]
    captions = []
    if len(shown) < len(errors):
        captions.append(f"of {len(errors):,} regions the best and the worst {len(shown) // 2}")
    if len(columns) < len(_contestants(summary)):
        captions.append("of several seeds the mean error; each by itself below")
    table.caption = "\n".join(captions) or None
    for region in shown:
        values = [each.error_by_region.get(region) for each in columns.values()]
        if None not in values:
            table.add_row(region, *_marked([value or 0.0 for value in values], is_naive))
    table.add_section()
    table.add_row("mean", *_marked([each.error for each in columns.values()], is_naive))
    if summary.preferred is not None:
        table.add_section()
        table.add_row("validation", *_validation_row(columns, summary.preferred))
    return table


Contested = ModelRecord | MeanRecord | BaselineRecord


class _Column(NamedTuple):
    """The errors (percent) of one contestant, or the mean ones of several seeds."""

    error: float
    error_by_region: dict[str, float]
    validation_error: float | None
    is_naive: bool

    @classmethod
    def of(cls, own: Sequence[Contested], measure: MeasureName) -> _Column:
        by_region: dict[str, list[float]] = {}
        for each in own:
            for region, error in each.by_region(measure).items():
                by_region.setdefault(region, []).append(error)
        told = (each.validation_error(measure) for each in own)
        validation = [error for error in told if error is not None]
        return cls(
            fmean(each.error(measure) for each in own),
            {region: fmean(errors) for region, errors in by_region.items()},
            fmean(validation) if validation else None,
            isinstance(own[0], BaselineRecord) and own[0].kind == "naive",
        )


def _columns(summary: Summary) -> dict[str, _Column]:
    """A column for each contestant, or where that were too many, one for the seeds of each cell."""
    contestants = _contestants(summary)
    if len(contestants) <= _MOST_COLUMNS:
        return {name: _Column.of([each], summary.measure) for name, each in contestants.items()}
    by_family: dict[str, list[Contested]] = {}
    for name, each in contestants.items():
        by_family.setdefault(_family(name, each, summary), []).append(each)
    return {
        f"{name} ({len(own)} seeds)" if len(own) > 1 else name: _Column.of(own, summary.measure)
        for name, own in by_family.items()
    }


def _family(name: str, each: Contested, summary: Summary) -> str:
    """Whom a contestant shares a column with: the seeds of its cell, or the means of one seed."""
    if isinstance(each, ModelRecord):
        return each.cell
    if isinstance(each, MeanRecord) and each.linear is None:
        seeds = {summary.models[member].seed for member in each.members}
        return "mean" if len(seeds) == 1 else name
    return name


def _contestants(summary: Summary) -> dict[str, Contested]:
    """All of them, the naive ones last."""
    return {**summary.models, **summary.means, **summary.baselines}


def _marked(values: list[float], is_naive: list[bool]) -> list[str]:
    """The smallest error that took training bold; one that loses to a naive forecast red."""
    trained, naive = (
        min(value for value, each in zip(values, is_naive, strict=True) if each == wanted)
        for wanted in (False, True)
    )
    cells = []
    for value, each in zip(values, is_naive, strict=True):
        style = ""
        if not each:
            style = "red" if value >= naive else "bold green" if value == trained else ""
        cells.append(f"[{style}]{value:.3f}[/]" if style else f"{value:.3f}")
    return cells


def _validation_row(columns: dict[str, _Column], preferred: str) -> list[str]:
    """The errors that a choice may be made by; the smallest is marked."""
    cells = []
    for name, each in columns.items():
        shown = _number(each.validation_error, 3)
        cells.append(f"[bold]{shown}←[/]" if name == preferred else shown)
    return cells


def _choice(summary: Summary) -> str:
    """Which one the validation part prefers, and what that one then showed in the test part."""
    name = summary.preferred or ""
    chosen = _contestants(summary)[name]
    shown = (
        f"The validation part prefers {name} ({LABELS[summary.measure]} "
        f"{_number(chosen.validation_error(summary.measure), 3)} %); "
        f"in the test part it has {chosen.error(summary.measure):.3f} %"
    )
    if summary.why_measure:
        shown += f"\n{summary.why_measure}"
    if name in summary.baselines:
        shown += f"\n{name} is a baseline: on these data no network is better"
    return shown


def _models_table(summary: Summary) -> Table:
    """What each cost, and its errors; MAE, RMSE and MASE lead where loads pass near zero."""
    table = Table(title="Models", box=box.SIMPLE_HEAD)
    label, is_smape = f"{LABELS[summary.measure]} %", summary.measure == SMAPE
    costs, scaled = ("training s", "parameters"), ("MAE MW", "RMSE MW", "MASE")
    figures = (label, *costs, *scaled) if is_smape else (*scaled, label, *costs)
    for name in ("model", *figures, "memory MB", "device"):
        table.add_column(name, justify="left" if name in {"model", "device"} else "right")
    fitted = {n.replace("_", " "): e for n, e in summary.baselines.items() if e.kind == "fitted"}
    shown: dict[str, Contested] = {**summary.models, **summary.means, **fitted}
    for name, each in shown.items():
        error, costs = f"{each.error(summary.measure):.3f}", _costs(each)
        scaled = (format_mw(each.mae), format_mw(each.rmse), _number(each.mase, 3))
        figures = (error, *costs, *scaled) if is_smape else (*scaled, error, *costs)
        table.add_row(name, *figures, *_place(each))
    return table


def _costs(each: Contested) -> tuple[str, str]:
    """Training and parameters."""
    seconds = _number(each.train_seconds, 1)
    if not isinstance(each, MeanRecord) and each.cached:
        seconds += " (cached)"
    return seconds, "–" if isinstance(each, BaselineRecord) else f"{each.num_parameters:,}"


def _place(each: Contested) -> tuple[str, str]:
    """Memory and device."""
    if isinstance(each, ModelRecord):
        return f"{each.peak_memory_bytes / 1e6:.0f}", each.device
    return "–", "cpu" if isinstance(each, BaselineRecord) else "–"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _regions_table(summary: Summary) -> Table:
    table = Table(title="Regions", box=box.SIMPLE_HEAD)
    for name in ("region", "status", "UTC hours", "missing", "flagged"):
        table.add_column(name, justify="left" if name in {"region", "status"} else "right")
    shown = list(summary.regions.items())[:_MOST_REGIONS]
    if len(shown) < len(summary.regions):
        table.caption = f"the first {len(shown)} of {len(summary.regions):,}"
    for name, region in shown:
        counts = (region.utc_hours, region.missing_hours, region.flagged)
        table.add_row(name, region.status, *(f"{count:,}" for count in counts))
    return table
