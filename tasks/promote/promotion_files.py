"""The log of promotions as files: one an entry, written once, its number its name.

``champions/<dataset>/000001.json``. Who adds one holds the data set's lock and reads the log again:
where somebody else was sooner, what was decided is of another champion, and is not written.
"""

from __future__ import annotations

import getpass
import logging
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.errors import LockHeldError, StoreError, UsageError
from gridcast.operation.promotion_log import Promotion, PromotionLog
from tasks.runs.locks import held
from tasks.runs.record_files import read_record, write_record
from tasks.store.kept_sets import bring_published, publish, working_copy

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from gridcast.operation.decision import Decision
    from gridcast.operation.model_reference import ModelReference
    from tasks.store.kept_sets import WorkingCopy

FOLDER, DECISIONS = "champions", "decisions"
_FORM = "%Y-%m-%dT%H%MZ"
_NUMBERED = "[0-9]" * 6 + ".json"
_log = logging.getLogger("gridcast.promote")


def read_log(artifacts: Path, dataset: str) -> PromotionLog:
    """All promotions of a data set; empty without any.

    Raises:
        RecordError: an entry is damaged, or of a newer version.
        UsageError: an entry is gone.
    """
    paths = sorted((artifacts / FOLDER / dataset).glob(_NUMBERED))
    log = PromotionLog.of(read_record(path, Promotion) for path in paths)
    numbers = [each.number for each in log.entries]
    if numbers != list(range(1, len(numbers) + 1)):
        where, found = artifacts / FOLDER / dataset, f"entries {', '.join(map(str, numbers))}"
        raise UsageError(where, found=found, expected=f"all from 1 on; {Promotion.advice}")
    return log


def promote(  # noqa: PLR0913 - what an entry says
    artifacts: Path,
    dataset: str,
    to: ModelReference,
    *,
    read: PromotionLog,
    since: pd.Timestamp,
    reason: str,
    kind: Literal["promotion", "rollback", "order"] = "promotion",
    decision: Decision | None = None,
    store: str = "",
) -> Promotion:
    """Put a model in charge from ``since`` on; ``read`` is the log on which that was decided.

    Where machines share a ``store``, it is believed once it is published there.

    Raises:
        LockHeldError: somebody else promoted meanwhile.
        StoreError: the store does not answer; all stays as it is.
        UsageError: ``since`` is before the last entry's.
    """
    copy = working_copy(artifacts, store)
    with held(artifacts, f"champion-{dataset}"):
        if copy is not None:
            bring_published(copy, f"{FOLDER}/{dataset}")
        newest = read_log(artifacts, dataset).newest
        known = read.newest.number if read.newest else 0
        if newest is not None and newest.number != known:
            found = f"promotion {newest.number} of {newest.to.short} by {newest.decided_by}"
            expected = f"none after number {known}, on which this was decided; decide again"
            raise LockHeldError(artifacts / FOLDER / dataset, found=found, expected=expected)
        if newest is not None and since < newest.since_time:
            where, expected = "--as-of", f"{newest.since} or later, when {newest.to.name} took over"
            raise UsageError(where, found=since.isoformat(), expected=expected)
        entry = Promotion(
            number=known + 1, dataset=dataset, kind=kind, since=since.isoformat(),
            written_at=datetime.now(UTC).isoformat(timespec="seconds"),
            decided_by=f"{getpass.getuser()}@{socket.gethostname()}",
            left=newest.to if newest else None, to=to, reason=reason, decision=decision,
        )  # fmt: skip
        write_record(_path(artifacts, entry), entry)
        if copy is not None:
            _publish(copy, entry)
    _log.info("In charge from %s on: %s (%s)", entry.since, to.short, reason)
    return entry


def _publish(copy: WorkingCopy, entry: Promotion) -> None:
    """Let other machines know; an entry that they do not take never was."""
    try:
        publish(copy, f"{FOLDER}/{entry.dataset}", log_files(copy.artifacts, entry.dataset))
    except (LockHeldError, StoreError):
        _path(copy.artifacts, entry).unlink()
        raise


def log_files(artifacts: Path, dataset: str) -> list[Path]:
    """Its decisions and entries, in order, the newest entry last."""
    folder = artifacts / FOLDER / dataset
    return [*sorted((folder / DECISIONS).glob("*.json")), *sorted(folder.glob(_NUMBERED))]


def _path(artifacts: Path, entry: Promotion) -> Path:
    return artifacts / FOLDER / entry.dataset / f"{entry.number:06d}.json"


def keep_decision(
    artifacts: Path, dataset: str, decision: Decision, *, as_of: pd.Timestamp
) -> Path:
    """Keep what was decided, also where nobody took over."""
    name = f"{as_of.strftime(_FORM)}-{decision.challenger.sha256[:12]}.json"
    path = artifacts / FOLDER / dataset / DECISIONS / name
    write_record(path, decision)
    return path


def last_judged(artifacts: Path, dataset: str) -> pd.Timestamp | None:
    """As of when somebody was last judged or put in charge; None: nobody ever was.

    Raises:
        RecordError: the log is damaged.
    """
    newest = read_log(artifacts, dataset).newest
    times = [] if newest is None else [newest.since_time]
    for path in (artifacts / FOLDER / dataset / DECISIONS).glob("*.json"):
        written = path.stem.rpartition("-")[0]
        times.append(pd.to_datetime(written, format=_FORM, utc=True))
    return max(times, default=None)
