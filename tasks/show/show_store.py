"""What ``gridcast store`` prints: what went there or came from there, and what there is."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridcast.config import Config
from gridcast.errors import UsageError
from tasks.runs.storage import check_folder
from tasks.share.sharing import PARTS, bring_all, bring_parts, keep_parts
from tasks.share.store_status import KindStatus, status_of
from tasks.store.kept_sets import working_copy

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.store.kept_sets import WorkingCopy

_WIDTH_OF_FILES = 140


def push_and_show(artifacts: Path, profile: str, overrides: tuple[str, ...]) -> None:
    """Give the store what it lacks.

    Raises:
        UsageError: no store is named.
        StoreError: it does not answer.
        LockHeldError: another machine published meanwhile.
    """
    copy = _copy_of(artifacts, profile, overrides)
    keep_parts(copy, *PARTS)
    _show(status_of(copy), copy.address)


def pull_and_show(
    artifacts: Path, profile: str, overrides: tuple[str, ...], *, everything: bool
) -> None:
    """Take what is newest, or all of it.

    Raises:
        UsageError: no store is named.
        StoreError, IntegrityError, RecordError: it does not answer, or is damaged.
    """
    copy = _copy_of(artifacts, profile, overrides)
    if everything:
        bring_all(copy)
    else:
        bring_parts(copy, *PARTS)
    _show(status_of(copy), copy.address)


def show_status(
    artifacts: Path, profile: str, overrides: tuple[str, ...], *, as_json: bool
) -> None:
    """What the store has, by kind.

    Raises:
        UsageError: no store is named.
        StoreError, RecordError: it does not answer, or is damaged.
    """
    copy = _copy_of(artifacts, profile, overrides)
    found = status_of(copy)
    if as_json:
        told = {"store": copy.address, "kinds": [asdict(each) for each in found]}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    _show(found, copy.address)


def _copy_of(artifacts: Path, profile: str, overrides: tuple[str, ...]) -> WorkingCopy:
    address = Config.load(profile, overrides=overrides).run.store
    check_folder(artifacts)
    copy = working_copy(artifacts, address)
    if copy is None:
        where, expected = "run.store", "an address: --set run.store=s3://BUCKET/PREFIX"
        raise UsageError(where, found="none", expected=expected)
    return copy


def _show(kinds: list[KindStatus], address: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    table = Table(title=f"Store {escape(address)}", box=box.SIMPLE_HEAD)
    table.add_column("kind")
    for name in ("sets", "MB", "only here", "otherwise here"):
        table.add_column(name, justify="right")
    for each in kinds:
        counts = (each.num_sets, f"{each.size / 1e6:,.1f}", len(each.only_here),
                  len(each.differing))  # fmt: skip
        table.add_row(each.kind, *map(str, counts))
    console.print(table)
    for each in kinds:
        for name in each.only_here:
            console.print(f"only here: {escape(name)}", highlight=False, soft_wrap=True)
        for name in each.differing:
            console.print(f"otherwise here: {escape(name)}", highlight=False, soft_wrap=True)
