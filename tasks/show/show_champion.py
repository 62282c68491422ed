"""What ``gridcast promote``, ``rollback`` and ``champion`` print: who, since when, figures."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridcast.config import Config
from gridcast.evaluation.measure import LABELS
from gridcast.operation.significance import EVERY_REGION
from tasks.forecast.issue_forecast import current_snapshot, end_of_data
from tasks.operate.judge_challenger import Judged, judge_challenger, roll_back
from tasks.promote.champion_alias import follow_log
from tasks.promote.prefect_events import tell_promotion
from tasks.promote.promotion_files import read_log
from tasks.show.show_forecast import instant_of

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.operation.decision import Contest
    from gridcast.operation.promotion_log import Promotion

_WIDTH_OF_FILES = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """What is asked for on the command line; ``as_of`` is ISO text, none: where the data end."""

    artifacts: Path
    profile: str = "base"
    overrides: tuple[str, ...] = ()
    as_of: str | None = None
    folder: Path | None = None
    run_id: str | None = None
    because: str | None = None
    as_json: bool = False


def promote_and_show(asked: PromotionRequest) -> None:
    """Judge the challenger and show the figures.

    Raises:
        UsageError, ConfigError, IntegrityError: nothing was decided.
        LockHeldError: somebody else promoted meanwhile.
    """
    config = Config.load(asked.profile, overrides=asked.overrides)
    as_of = None if asked.as_of is None else instant_of(asked.as_of)
    _show(judge_challenger(
        asked.artifacts, config, as_of=as_of, folder=asked.folder, run_id=asked.run_id,
        because=asked.because,
    ))  # fmt: skip


def roll_back_and_show(asked: PromotionRequest) -> None:
    """Put the champion before back in charge, and say so.

    Raises:
        UsageError, ConfigError, IntegrityError: all stays as it is.
        LockHeldError: somebody else promoted meanwhile.
    """
    config = Config.load(asked.profile, overrides=asked.overrides)
    as_of = None if asked.as_of is None else instant_of(asked.as_of)
    because = asked.because or "rolled back by hand"
    _show(roll_back(asked.artifacts, config, because=because, as_of=as_of, folder=asked.folder))


def show_champion(asked: PromotionRequest, *, is_followed: bool = False) -> None:
    """Who is in charge at an instant, and all promotions; ``is_followed`` moves MLflow's alias.

    Raises:
        UsageError: nothing is published.
        RecordError: the log is damaged.
    """
    dataset = current_snapshot(asked.artifacts, asked.folder).dataset
    log = read_log(asked.artifacts, dataset)
    if asked.as_of is None:
        at = end_of_data(asked.artifacts, folder=asked.folder)
    else:
        at = instant_of(asked.as_of)
    found = log.champion_at(at)
    if is_followed:
        config = Config.load(asked.profile, overrides=asked.overrides)
        follow_log(asked.artifacts, dataset, config.tracking)
    if asked.as_json:
        champion = None if found is None else found.model_dump(mode="json")
        entries = [each.model_dump(mode="json") for each in log.entries]
        told = {"at": at.isoformat(), "champion": champion, "promotions": entries}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    console = _console()
    if log.entries:
        console.print(_log_table(log.entries))
    nobody = "nobody; gridcast forecast uses what the newest run recommends"
    said = found.short if found else nobody
    console.print(f"In charge of {dataset} at {at:%Y-%m-%d %H:%M} UTC: {said}", highlight=False)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def _log_table(entries: tuple[Promotion, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "since (UTC)", "in charge", "instead of", "how", "reason", "by"):
        table.add_column(name, justify="right" if not name else "left")
    for each in entries:
        left = each.left.short if each.left else "nobody"
        cells = (str(each.number), f"{each.since_time:%Y-%m-%d %H:%M}", each.to.short, left,
                 each.kind, each.reason, each.decided_by)  # fmt: skip
        table.add_row(*map(escape, cells))
    return table


def _show(judged: Judged) -> None:
    console = _console()
    if (decision := judged.decision) is not None:
        for contest in decision.contests:
            console.print(_contest_table(contest, LABELS[decision.measure]))
    if judged.promotion is not None:
        tell_promotion(judged.promotion)
        console.print(
            f"In charge: {judged.promotion.to.short}, from {judged.promotion.since} on",
            highlight=False,
        )
    else:
        console.print("All stays as it is", highlight=False)
    console.print(f"Reason:    {judged.reason}", highlight=False, soft_wrap=True, markup=False)
    if judged.alias_problem:
        console.print(
            f"MLflow:    the alias does not follow yet: {judged.alias_problem}", highlight=False,
            soft_wrap=True, markup=False,
        )  # fmt: skip


def _contest_table(contest: Contest, label: str) -> Table:
    table = Table(title=f"against {contest.opponent}", box=box.SIMPLE_HEAD)
    table.add_column("region")
    names = ("hours", f"{label} %", f"its {label} %", "change %", "at most %", "p", "p (Holm)")
    for name in names:
        table.add_column(name, justify="right")
    for region, each in contest.regions.items():
        figures = (
            f"{each.num_hours:,}", f"{each.error:.3f}", f"{each.other_error:.3f}",
            f"{each.change:+.2f}", f"{each.most:+.2f}", f"{each.p_value:.2g}",
            f"{each.p_adjusted:.2g}",
        )  # fmt: skip
        table.add_row("mean" if region == EVERY_REGION else region, *figures)
    return table
