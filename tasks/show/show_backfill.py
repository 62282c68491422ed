"""What ``gridcast backfill`` prints: how many issue times were made up, and how many were there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridcast.config import Config
from tasks.operate.backfill import backfill
from tasks.show.show_forecast import instant_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """What is asked for on the command line; times are ISO text."""

    artifacts: Path
    profile: str
    overrides: tuple[str, ...]
    first: str | None
    end: str | None
    folder: Path | None
    is_again: bool


def backfill_and_show(asked: BackfillRequest) -> None:
    """Issue what lacks and say what came of it.

    Raises:
        UsageError, ConfigError, IntegrityError: nothing was forecast.
    """
    done = backfill(
        asked.artifacts, Config.load(asked.profile, overrides=asked.overrides),
        first=None if asked.first is None else instant_of(asked.first),
        end=None if asked.end is None else instant_of(asked.end),
        folder=asked.folder, is_again=asked.is_again,
    )  # fmt: skip
    span = (
        f", {done.made[0]:%Y-%m-%dT%H:%MZ} to {done.made[-1]:%Y-%m-%dT%H:%MZ}"
        if len(done.made)
        else ""
    )
    sys.stdout.write(
        f"Made:      {len(done.made)} issue times of {done.dataset}{span}\n"
        f"There:     {done.num_there}\n"
        f"Rows:      {done.num_rows}, {done.num_fallback_rows} of them by what stands in\n"
    )
