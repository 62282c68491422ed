"""What a run keeps of one region: its key, its table and record, its rows that are set aside."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from gridcast.readings.quality import NO_FLAG, lasting_change, off_levels
from gridcast.readings.records import RegionRecord
from tasks.ingest.region_tables import find_table, remember_table, store_table
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of, sha256_of
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import Labels, RegionRules
    from gridcast.readings.local_time import RegionLoad
    from tasks.runs.run import Run

_MOST_LEVELS = 3  # that are named
_READING = "tasks.ingest.reading"  # what makes a record
_log = logging.getLogger("gridcast.ingest")


def store_of(run: Run) -> Path:
    """The folder of tables and snapshots."""
    return run.artifacts / "data"


class Source(NamedTuple):
    """The bytes of a file and their SHA-256."""

    content: bytes
    sha256: str


def read_source(path: Path) -> Source:
    """Read a file and hash it, once."""
    content = path.read_bytes()
    return Source(content, sha256_of(content))


def find_region(
    run: Run, region: str, *, source_sha256: str, labels: Labels
) -> RegionRecord | None:
    """What such a file gave by the rules and the code of this run, if its table is still whole."""
    return find_table(store_of(run), region, _key(run, region, source_sha256, labels))


def store_region(run: Run, load: RegionLoad, source: Source) -> RegionRecord:
    """Store the table that ``source`` gave; nobody finds it before it is remembered."""
    origin = {"source_sha256": source.sha256, "content_sha256": load.content_sha256}
    table = store_table(store_of(run), load.region, load.frame, origin)
    return RegionRecord(
        rows=len(load.frame),
        utc_hours=load.frame["timestamp"].nunique(),
        missing_hours=_span_hours(load.frame) - len(load.frame),
        flagged=int((load.frame["flag"] != NO_FLAG).sum()),
        status="published",
        level_change=level_in_words(load.frame, run.config.rules.of(load.region)),
        quarantined=quarantine_of(run, load.region),
        path=str(table.path),
        file_sha256=table.file_sha256,
        content_sha256=load.content_sha256,
        source_sha256=source.sha256,
        source_bytes=len(source.content),
        table_sha256=table.table_sha256,
    )


def remember_region(run: Run, region: str, record: RegionRecord, labels: Labels) -> None:
    """Let the record be found when the same file comes again. Only for what passed both gates."""
    key = _key(run, region, record.source_sha256, labels)
    remember_table(store_of(run), region, key, record)


def log_region(region: str, record: RegionRecord) -> None:
    """Tell people what became of a region that passed."""
    if record.level_change:
        _log.warning("%s: %s", region, record.level_change)
    if record.cached:
        _log.info("%s: unchanged, %d hours", region, record.utc_hours)
        return
    _log.info(
        "%s: %d hours, %d missing, %d flagged",
        region, record.utc_hours, record.missing_hours, record.flagged,
    )  # fmt: skip


def level_in_words(frame: pd.DataFrame, rules: RegionRules) -> str:
    """Doubtful levels in words: a lasting change, and days beside their level; empty: none."""
    told = []
    if (change := lasting_change(frame["load_mw"])) is not None:
        told.append(
            f"from {_hour(frame, change.row)} on the load is about {change.after_mw:,.6g} MW, "
            f"before it was {change.before_mw:,.6g} MW, for weeks: another unit?"
        )
    off = off_levels(frame["load_mw"], rules.flagged) if rules.required.min_mw >= 0 else []
    if off:
        first = "; ".join(
            f"from {_hour(frame, each.row)} for {each.num} hours, {each.factor:.2f} times"
            for each in off[:_MOST_LEVELS]
        )
        more = f", and {len(off) - _MOST_LEVELS} more" if len(off) > _MOST_LEVELS else ""
        end = "" if rules.flagged.level_ratio else "; flagged.level_ratio of the rules flags them"
        told.append(f"the load stands beside the level of the days before: {first}{more}{end}")
    return ". ".join(told)


def _hour(frame: pd.DataFrame, row: int) -> str:
    label, line = (frame[name].iloc[row] for name in ("local_label", "source_line"))
    return f"'{label}' (line {line})"


def quarantine_rows(run: Run, region: str, tables: list[pd.DataFrame]) -> None:
    """Write the rows of a region that are refused or flagged, if there are any."""
    rows = [table for table in tables if len(table)]
    if rows:
        with publishing(_quarantine_path(run, region)) as temporary:
            pd.concat(rows).to_parquet(temporary, index=False, compression="zstd")


def quarantine_of(run: Run, region: str) -> str:
    """The file of this run's set-aside rows below the artifacts folder; empty if it has none."""
    path = _quarantine_path(run, region)
    return str(path.relative_to(run.artifacts)) if path.is_file() else ""


def _quarantine_path(run: Run, region: str) -> Path:
    return run.folder / "quarantine" / f"{region}.parquet"


def _key(run: Run, region: str, source_sha256: str, labels: Labels) -> str:
    return key_of(
        source=source_sha256,
        region=region,
        labels=run.config.ingestion.of(region).reading(labels).keyed(),
        rules=run.config.rules.of(region).keyed("required", "flagged"),
        code=code_sha256(_READING),
    )


def _span_hours(frame: pd.DataFrame) -> int:
    span = frame["timestamp"].iloc[-1] - frame["timestamp"].iloc[0]
    return int(span / pd.Timedelta(hours=1)) + 1
