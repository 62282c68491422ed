"""Read one region's CSV, check it, and publish it as Parquet."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.errors import RegionRefusedError, UsageError
from gridcast.readings.records import DataRecord, Ingestion, Refusal, RegionRecord
from tasks.fetch.records import Sources
from tasks.ingest.gate.validation import build_docs
from tasks.ingest.reading import read_whole
from tasks.ingest.records import Published
from tasks.ingest.region_store import (
    find_region,
    log_region,
    quarantine_of,
    read_source,
    remember_region,
    store_of,
)
from tasks.ingest.snapshot_changes import report_changes
from tasks.ingest.snapshots import publish, read_current
from tasks.runs.cached_state import unchanged
from tasks.runs.keys import key_of, require_sha256
from tasks.runs.places import resolved_path

if TYPE_CHECKING:
    from gridcast.config import Labels
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.ingest")


@task(name="ingest-region", task_run_name="ingest-{region}", cache_policy=NO_CACHE)
def ingest_region(run: Run, region: str, source: Path, labels: Labels = "local") -> Published:
    """CSV → parsed and flagged → checked by Great Expectations → Parquet, not yet published.

    Nothing is done again for the same bytes, rules and code, wherever the file lies.

    Raises:
        RegionRefusedError: with one fault a kind; what was published before stays as it is.
    """
    read = read_source(source)
    if not run.fresh:
        known = find_region(run, region, source_sha256=read.sha256, labels=labels)
        if known is not None:
            log_region(region, known)
            return unchanged(Published(region=region, record=known))
    record = read_whole(run, read, region=region, file=str(source), labels=labels)
    remember_region(run, region, record, labels)
    log_region(region, record)
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
    refusals = {error.region: _record_refusal(run, error) for error in refused}
    for name in sorted(run.config.rules.regions.keys() - passed.keys() - refusals.keys()):
        _log.warning("rules.regions.%s: no such region in %s", name, sources.folder)
    data = DataRecord(
        folder=str(sources.folder),
        kind=sources.kind,
        files_folder=sources.files_folder,
        source=sources.source,
        labels=sources.labels,
        files=sources.other_names,
        skipped=sources.skipped,
    )
    publication = publish(
        store_of(run),
        sources.dataset,
        data=data,
        published=passed,
        refused=refusals,
        rules_sha256=key_of(rules=run.config.keyed("ingestion", "rules")),
    )
    ingestion = Ingestion(
        dataset=sources.dataset,
        data=data,
        regions=dict(sorted({**passed, **refusals}.items())),
        errors=tuple(str(fault) for error in refused for fault in error.faults),
        data_docs=build_docs(run),
        snapshot=publication.snapshot.id if publication else None,
    )
    run.leave(ingestion)
    rows = [{"region": name, **_shown(record)} for name, record in ingestion.regions.items()]
    create_table_artifact(key="regions", table=rows, description=f"Regions of run {run.run_id}")
    if publication:
        report_changes(run, publication)
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
    if (ingested := run.find(Ingestion)) is not None:
        return _found(run, ingested)
    current = read_current(store_of(run), folder=run.data)
    found = {} if current is None else current.snapshot.regions
    refused = {} if current is None else current.refused
    usable = {name: _loaded(run, each) for name, each in found.items() if name not in refused}
    if current is None or not usable:
        raise UsageError(
            store_of(run),
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
    run.leave(ingestion)
    return ingestion


def _found(run: Run, ingestion: Ingestion) -> Ingestion:
    """A record of this run with its paths as they are on this machine."""

    def found(record: DataRecord | Ingestion, *names: str) -> dict[str, str]:
        places = {name: getattr(record, name) or "" for name in names}
        return {
            name: resolved_path(place, run.artifacts) for name, place in places.items() if place
        }

    data = ingestion.data
    regions = {
        name: each.placed(lambda path: resolved_path(path, run.artifacts) if path else "")
        for name, each in ingestion.regions.items()
    }
    return ingestion.model_copy(
        update={
            "data": data.model_copy(update=found(data, "folder", "files_folder")),
            "regions": regions,
            **found(ingestion, "data_docs"),
        }
    )


def _loaded(run: Run, record: RegionRecord) -> RegionRecord:
    """A region of a snapshot, for this run. One that was changed since is an error."""
    placed = record.placed(lambda path: str(store_of(run) / path))
    for path, sha256 in placed.files.items():
        require_sha256(Path(path), sha256)
    return placed.model_copy(update={"cached": True})


def _record_refusal(run: Run, error: RegionRefusedError) -> RegionRecord:
    """Tell why a region was refused, in the log and in a file; its record."""
    _log.error("%s is set aside:\n%s", error.region, error)
    run.leave(Refusal(region=error.region, faults=error.faults))
    return RegionRecord(
        rows=0, utc_hours=0, missing_hours=0, flagged=0, status="refused", reason=error.reason,
        quarantined=quarantine_of(run, error.region),
    )  # fmt: skip


def _shown(record: RegionRecord) -> dict[str, object]:
    return record.model_dump(
        include={"rows", "utc_hours", "missing_hours", "flagged", "status", "reason"}
    )
