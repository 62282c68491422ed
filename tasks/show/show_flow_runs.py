"""What ``gridcast forget-flow-runs`` prints: how many Prefect forgot, and what room that made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gridcast.config import Config
from gridcast.errors import UsageError
from tasks.operate.flow_run_history import forget_flow_runs, give_back_space
from tasks.runs.servers import start_embedded_prefect, stop_embedded_prefect

if TYPE_CHECKING:
    from pathlib import Path


def forget_and_show(
    artifacts: Path, profile: str, overrides: tuple[str, ...], *, days: int | None, is_dry_run: bool
) -> None:
    """Let Prefect forget what ended longer ago than ``days`` (None: the setting's).

    Raises:
        UsageError: nobody says after how many days, or the server that is named does not answer.
    """
    days = days or Config.load(profile, overrides=overrides).run.keep_prefect_days
    if days is None:
        where, expected = "run.keep_prefect_days", "--days, or that setting"
        raise UsageError(where, found="no number of days", expected=expected)
    start_embedded_prefect(artifacts)
    forgotten = forget_flow_runs(days, is_dry_run=is_dry_run)
    verb = "would go" if is_dry_run else "are gone"
    ended = f"{forgotten.before:%Y-%m-%d %H:%M} UTC"
    sys.stdout.write(
        f"Prefect:   {forgotten.num_runs} flow runs that ended before {ended} {verb}\n"
    )
    if not is_dry_run and stop_embedded_prefect():
        _make_room(artifacts / "prefect" / "prefect.db")


def _make_room(database: Path) -> None:
    before = database.stat().st_size
    if why_not := give_back_space(database):
        sys.stdout.write(f"Space:     {database} is as large as before: {why_not}\n")
        return
    after = database.stat().st_size
    sys.stdout.write(
        f"Space:     {database}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} now\n"
    )
