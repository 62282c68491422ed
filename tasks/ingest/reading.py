"""Read a region's CSV as a whole, or only what was added to it; its key holds the code of this.

Parsed, flagged and stored here; a whole file is held against its rules here too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gridcast.errors import Fault, RegionRefusedError
from gridcast.layouts.kept import is_kept, load_of
from gridcast.readings.appending import append_rows, rows_to_judge
from gridcast.readings.quality import flag_readings
from gridcast.readings.quarantine import flagged_rows, refused_rows
from gridcast.readings.required import broken_level
from tasks.ingest.gate.validation import require_expectations
from tasks.ingest.original_lines import located, original_lines
from tasks.ingest.region_store import find_region, quarantine_rows, store_region
from tasks.ingest.region_tables import read_whole_table
from tasks.runs.keys import sha256_of

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.config import Labels
    from gridcast.readings.local_time import RegionLoad
    from gridcast.readings.records import RegionRecord
    from tasks.fetch.records import SourceFile
    from tasks.ingest.region_store import Source
    from tasks.runs.run import Run


class Grown(NamedTuple):
    """A region whose file has grown: its new record, and the rows of which no rule was asked."""

    record: RegionRecord
    added: pd.DataFrame


def read_whole(run: Run, source: Source, *, region: str, file: str, labels: Labels) -> RegionRecord:
    """Parse, flag, check, store; set aside what is flagged or refused, whatever becomes of it.

    Raises:
        RegionRefusedError: with one fault a kind.
    """
    rules, quarantined = run.config.rules.of(region).flagged, []
    lines = original_lines(source.content) if is_kept(source.content) else source.content
    try:
        reading = run.config.ingestion.of(region).reading(labels)
        load = load_of(source.content, region=region, file=file, config=reading)
        load.frame["flag"] = flag_readings(load.frame["load_mw"], rules)
        quarantined.append(flagged_rows(lines, load.frame, region=region, rules=rules))
        with located(lines):
            _require_level(run, load, file=file)
            require_expectations(run, load, file=file)
    except RegionRefusedError as error:
        quarantined.append(refused_rows(lines, error.rows, region=region))
        raise
    finally:
        quarantine_rows(run, region, quarantined)
    return store_region(run, load, source)


def _require_level(run: Run, load: RegionLoad, *, file: str) -> None:
    """Refuse loads in two units, or a meter's register.

    Raises:
        RegionRefusedError: naming the line and the hour from which on it is so.
    """
    config, region = run.config.rules, load.region
    broken = broken_level(load.frame["load_mw"], config.of(region).required)
    if broken is None:
        return
    row = load.frame.iloc[broken.row]
    key = config.key_of(region, "required", broken.rule)
    reason = f"found {broken.found} ('{row['local_label']}'), expected {broken.expected} ({key})"
    line = int(row["source_line"])
    raise RegionRefusedError(region, [Fault(file, line, 1, broken.rule, reason)])


def read_grown(
    run: Run, file: SourceFile, source: Source, last: RegionRecord, labels: Labels
) -> Grown | None:
    """Read on from where the file ended before; its table is stored, and not yet to be found.

    None: it did not only grow, so it is to be read as a whole.
    """
    content, num_bytes = source.content, last.source_bytes
    known = _read_before(run, file.region, content[:num_bytes], last, labels)
    if known is None:
        return None
    rules = run.config.rules.of(file.region)
    load = append_rows(
        known,
        content[num_bytes:],
        region=file.region,
        file=str(file.path),
        config=run.config.ingestion.of(file.region).reading(labels),
        rules=rules.flagged,
    )
    if load is None:
        return None
    flagged = flagged_rows(content, load.frame, region=file.region, rules=rules.flagged)
    quarantine_rows(run, file.region, [flagged])
    if broken_level(load.frame["load_mw"], rules.required) is not None:
        return None  # a full reading refuses it
    record = store_region(run, load, source)
    added = rows_to_judge(load, record, num_known=len(known), required=rules.required)
    return Grown(record, added)


def _read_before(
    run: Run, region: str, content: bytes, last: RegionRecord, labels: Labels
) -> pd.DataFrame | None:
    """The table of ``content``, if it is that of ``last``, read by the same rules and code."""
    if not content or sha256_of(content) != last.source_sha256:
        return None
    record = find_region(run, region, source_sha256=last.source_sha256, labels=labels)
    if record is None:
        return None
    return read_whole_table(Path(record.path), source_sha256=last.source_sha256)
