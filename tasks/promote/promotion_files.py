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

from gridcast.errors import LockHeldError, UsageError
from gridcast.operation.promotion_log import Promotion, PromotionLog
from tasks.runs.locks import held
from tasks.runs.record_files import read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from gridcast.operation.decision import Decision
    from gridcast.operation.model_reference import ModelReference

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


def promote(
    artifacts: Path,
    dataset: str,
    to: ModelReference,
    *,
    read: PromotionLog,
    since: pd.Timestamp,
    reason: str,
    kind: Literal["promotion", "rollback", "order"] = "promotion",
    decision: Decision | None = None,
) -> Promotion:
    """Put a model in charge from ``since`` on; ``read`` is the log on which that was decided.

    Raises:
        LockHeldError: somebody else promoted meanwhile.
        UsageError: ``since`` is before the last entry's.
    """
    with held(artifacts, f"champion-{dataset}"):
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
    _log.info("In charge from %s on: %s (%s)", entry.since, to.short, reason)
    return entry


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
