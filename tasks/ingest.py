"""Read one region's CSV, check it, and publish it as Parquet."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.appending import append_rows
from gridcast.errors import Fault, RegionRefusedError, UsageError
from gridcast.parsing import parse_region
from gridcast.quality import NO_FLAG, flag_readings
from gridcast.set_aside import flagged_rows, refused_rows
from gridcast.summary import DataRecord, RegionRecord
from tasks.changes import tell_changes
from tasks.records import Ingestion, Published, Sources
from tasks.region_tables import (
    find_table,
    newest_table,
    read_whole_table,
    remember_table,
    store_table,
)
from tasks.snapshots import publish, read_current
from tasks.states import unchanged
from tasks.storage import (
    code_sha256,
    key_of,
    publishing,
    require_sha256,
    sha256_of,
    write_json,
)

if TYPE_CHECKING:
    from gridcast.config import Labels
    from gridcast.parsing import RegionLoad
    from tasks.expectations import DataDocs
    from tasks.runs import Run

_CODE = (
    "gridcast.appending", "gridcast.parsing", "gridcast.quality", "gridcast.set_aside",
    "gridcast.snapshots", "tasks.expectations", "tasks.ingest", "tasks.region_tables",
)  # fmt: skip
_RULES: Any = {"ingestion", "rules"}
_docs_lock = Lock()
_log = logging.getLogger("gridcast.ingest")


@task(name="ingest-region", task_run_name="ingest-{region}", cache_policy=NO_CACHE)
def ingest_region(run: Run, region: str, source: Path, labels: Labels = "local") -> Published:
    """CSV → parsed and flagged → checked by Great Expectations → Parquet, not yet published.

    Nothing is done again for the same bytes, rules and code, wherever the file lies.

    Raises:
        RegionRefusedError: with one fault a kind; what was published before stays as it is.
    """
    content = source.read_bytes()
    source_sha256 = sha256_of(content)
    key = _key(run, region, source_sha256, labels)
    if not run.fresh and (record := find_table(_store_of(run), region, key)) is not None:
        _log.info("%s: unchanged, %d hours", region, record.utc_hours)
        return unchanged(Published(region=region, record=record))
    load = _read_and_check(run, content, region=region, file=str(source), labels=labels)
    record = _store(run, load, source_sha256=source_sha256, source_bytes=len(content), key=key)
    _log.info(
        "%s: %d hours, %d missing, %d flagged",
        region, record.utc_hours, record.missing_hours, record.flagged,
    )  # fmt: skip
    return Published(region=region, record=record)


@task(name="record-ingestion", cache_policy=NO_CACHE)
def record_ingestion(
    run: Run,
    sources: Sources,
    published: list[Published],
    refused: list[RegionRefusedError],
) -> Ingestion:
    """Publish the regions as one snapshot, set the refused ones aside, record all of it.

    Until the snapshot is published, readers have the one before, whole.
    """
    passed = {each.region: each.record for each in published}
    set_aside = {error.region: _record_refusal(run, error) for error in refused}
    for name in sorted(run.config.rules.regions.keys() - passed.keys() - set_aside.keys()):
        _log.warning("rules.regions.%s: no such region in %s", name, sources.folder)
    data = DataRecord(
        folder=str(sources.folder),
        kind=sources.kind,
        files_folder=sources.files_folder,
        source=sources.source,
        labels=sources.labels,
        skipped=sources.skipped,
    )
    publication = publish(
        _store_of(run),
        sources.dataset,
        data=data,
        published=passed,
        refused=set_aside,
        rules_sha256=key_of(rules=run.config.model_dump(mode="json", include=_RULES)),
    )
    ingestion = Ingestion(
        dataset=sources.dataset,
        data=data,
        regions=dict(sorted({**passed, **set_aside}.items())),
        errors=tuple(str(fault) for error in refused for fault in error.faults),
        data_docs=_build_docs(run),
        snapshot=publication.snapshot.id if publication else None,
    )
    run.leave("ingestion", ingestion)
    rows = [{"region": name, **_shown(record)} for name, record in ingestion.regions.items()]
    create_table_artifact(key="regions", table=rows, description=f"Regions of run {run.run_id}")
    if publication:
        tell_changes(run, publication)
    return ingestion


@task(name="load-ingestion", cache_policy=NO_CACHE)
def load_ingestion(run: Run) -> Ingestion:
    """What this run ingested, or else the snapshot published of its data folder (none: the newest).

    A region that the last ingestion refused is left out, as it was left out of that run: its table
    in the snapshot is older than the others.

    Raises:
        UsageError: nothing is published there, or every region was refused.
        IntegrityError: a table was changed since.
    """
    if part := run.find("ingestion"):
        return Ingestion.model_validate(part)
    current = read_current(_store_of(run), folder=run.data)
    found = {} if current is None else current.snapshot.regions
    refused = {} if current is None else current.refused
    usable = {name: _loaded(run, each) for name, each in found.items() if name not in refused}
    if current is None or not usable:
        raise UsageError(
            _store_of(run),
            found=f"nothing published from {run.data or 'any folder'}"
            + (" that the last ingestion did not refuse" if refused else ""),
            expected="published regions; run `gridcast ingest` first, or `gridcast run`",
        )
    for name, record in refused.items():
        _log.error(
            "%s is left out, the last ingestion set it aside:\nERROR %s", name, record.reason
        )
    ingestion = Ingestion(
        dataset=current.dataset,
        data=current.data,
        regions=dict(sorted({**usable, **refused}.items())),
        snapshot=current.snapshot.id,
    )
    run.leave("ingestion", ingestion)
    return ingestion


def _store_of(run: Run) -> Path:
    return run.artifacts / "data"


def _loaded(run: Run, record: RegionRecord) -> RegionRecord:
    """A region of a snapshot, for this run. One that was changed since is an error."""
    path = _store_of(run) / record.path
    require_sha256(path, record.file_sha256)
    return record.model_copy(update={"cached": True, "path": str(path)})


def _key(run: Run, region: str, source_sha256: str, labels: Labels) -> str:
    return key_of(
        source=source_sha256,
        region=region,
        labels=run.config.ingestion.reading(labels).model_dump(mode="json"),
        rules=run.config.rules.of(region).model_dump(mode="json", include={"required", "flagged"}),
        code=code_sha256(*_CODE),
    )


def _read(run: Run, content: bytes, *, region: str, file: str, labels: Labels) -> RegionLoad:
    """Parse and flag; of a file that has only grown since it was last read, the new lines alone."""
    reading, rules = run.config.ingestion.reading(labels), run.config.rules.of(region).flagged
    if not run.fresh and (before := _read_before(run, content, region, labels)) is not None:
        known, num_bytes = before
        added = content[num_bytes:]
        load = append_rows(known, added, region=region, file=file, config=reading, rules=rules)
        if load is not None:
            return load
    load = parse_region(content, region=region, file=file, config=reading)
    load.frame["flag"] = flag_readings(load.frame["load_mw"], rules)
    return load


def _read_before(
    run: Run, content: bytes, region: str, labels: Labels
) -> tuple[pd.DataFrame, int] | None:
    """The table of the file that this one begins with, by the same rules and code; its size."""
    last = newest_table(_store_of(run), region)
    if last is None or not 0 < last.source_bytes < len(content):
        return None
    if sha256_of(content[: last.source_bytes]) != last.source_sha256:
        return None
    record = find_table(_store_of(run), region, _key(run, region, last.source_sha256, labels))
    if record is None:
        return None
    known = read_whole_table(Path(record.path), source_sha256=last.source_sha256)
    return None if known is None else (known, last.source_bytes)


def _read_and_check(
    run: Run, content: bytes, *, region: str, file: str, labels: Labels
) -> RegionLoad:
    """Parse, flag, check; set aside what is flagged or refused, whatever becomes of the region."""
    rules, aside = run.config.rules.of(region).flagged, []
    try:
        load = _read(run, content, region=region, file=file, labels=labels)
        aside.append(flagged_rows(content, load.frame, region=region, rules=rules))
        _require_expectations(run, load, file=file)
    except RegionRefusedError as error:
        aside.append(refused_rows(content, error.rows, region=region))
        raise
    finally:
        _set_aside(run, region, aside)
    return load


def _set_aside(run: Run, region: str, tables: list[pd.DataFrame]) -> None:
    rows = [table for table in tables if len(table)]
    if rows:
        with publishing(_set_aside_path(run, region)) as temporary:
            pd.concat(rows).to_parquet(temporary, index=False, compression="zstd")


def _set_aside_path(run: Run, region: str) -> Path:
    return run.folder / "set_aside" / f"{region}.parquet"


def _set_aside_of(run: Run, region: str) -> str:
    """The file of this run's set-aside rows below the artifacts folder; empty if it has none."""
    path = _set_aside_path(run, region)
    return str(path.relative_to(run.artifacts)) if path.is_file() else ""


def _store(
    run: Run, load: RegionLoad, *, source_sha256: str, source_bytes: int, key: str
) -> RegionRecord:
    origin = {"source_sha256": source_sha256, "content_sha256": load.content_sha256}
    table = store_table(_store_of(run), load.region, load.frame, origin)
    record = RegionRecord(
        rows=len(load.frame),
        utc_hours=load.frame["timestamp"].nunique(),
        missing_hours=_span_hours(load.frame) - len(load.frame),
        flagged=int((load.frame["flag"] != NO_FLAG).sum()),
        status="published",
        set_aside=_set_aside_of(run, load.region),
        path=str(table.path),
        file_sha256=table.file_sha256,
        content_sha256=load.content_sha256,
        source_sha256=source_sha256,
        source_bytes=source_bytes,
        table_sha256=table.table_sha256,
    )
    remember_table(_store_of(run), load.region, key, record)
    return record


def _require_expectations(run: Run, load: RegionLoad, *, file: str) -> None:
    from tasks.expectations import validate_region  # 4 s: paid only where something is validated

    validate_region(
        load.frame,
        region=load.region,
        file=file,
        rules=run.config.rules,
        docs=_docs_of(run.artifacts / "data-docs"),
    )


def _docs_of(folder: Path) -> DataDocs:
    with _docs_lock:  # regions are validated side by side, and one context serves all
        return _open_docs(folder)


@cache
def _open_docs(folder: Path) -> DataDocs:
    from tasks.expectations import DataDocs

    return DataDocs(folder)


def _build_docs(run: Run) -> str | None:
    """Rebuild the Data Docs if a region was validated in this process; the path of their page."""
    folder = run.artifacts / "data-docs"
    if _open_docs.cache_info().currsize:
        _open_docs(folder).build()
        _open_docs.cache_clear()
    page = folder / "site" / "index.html"
    return str(page) if page.is_file() else None


def _record_refusal(run: Run, error: RegionRefusedError) -> RegionRecord:
    """Tell why a region was refused, in the log and in a file; its record."""
    _log.error("%s is set aside:\n%s", error.region, error)
    faults = [{name: getattr(fault, name) for name in Fault.__slots__} for fault in error.faults]
    write_json(run.folder / "refused" / f"{error.region}.json", {"faults": faults})
    return RegionRecord(
        rows=0, utc_hours=0, missing_hours=0, flagged=0, status="refused", reason=error.reason,
        set_aside=_set_aside_of(run, error.region),
    )  # fmt: skip


def _span_hours(frame: pd.DataFrame) -> int:
    span = frame["timestamp"].iloc[-1] - frame["timestamp"].iloc[0]
    return int(span / pd.Timedelta(hours=1)) + 1


def _shown(record: RegionRecord) -> dict[str, object]:
    return record.model_dump(
        include={"rows", "utc_hours", "missing_hours", "flagged", "status", "reason"}
    )
