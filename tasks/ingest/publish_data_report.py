"""Write the data report of an ingestion, for people and for Prefect's pages."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.readings.records import DataReport, Refusal
from gridcast.readings.snapshots import SnapshotChanges
from gridcast.record import StoredRecord
from gridcast.report.data_page import (
    Changes,
    DataFacts,
    RegionChange,
    data_report_html,
    data_report_markdown,
)
from gridcast.report.data_profile import profile_region
from tasks.runs.cached_state import unchanged
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, has_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.places import relative_path
from tasks.runs.record_files import cached_record, write_record
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from gridcast.errors import Fault
    from gridcast.readings.records import Ingestion
    from gridcast.report.data_profile import RegionProfile
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.data_report")


class PageNote(StoredRecord):
    """Of what the page was made (``key``), and what it came to."""

    key: str
    page_sha256: str
    markdown: str


@task(name="publish-data-report", cache_policy=NO_CACHE)
def publish_data_report(run: Run, ingestion: Ingestion) -> DataReport:
    """Published regions and refusals → pictures and tables → ``index.html``; its path is recorded.

    Nothing is drawn again for the same regions, refusals, rules and code.
    """
    folder = run.artifacts / "data-report" / ingestion.dataset
    page = folder / "index.html"
    report, key = DataReport(path=str(page)), _key(run, ingestion)
    with held(run.artifacts, f"data-report-{ingestion.dataset}"):
        known = None if run.fresh else cached_record(folder / "report.json", PageNote)
        is_known = known and known.key == key and has_sha256(page, known.page_sha256)
        if known is None or not is_known:
            known = _write(run, ingestion, page, key)
            write_record(folder / "report.json", known)
    run.leave(report)
    markdown = known.markdown.replace(f"`{_kept(run, page)}`", f"`{page}`")
    create_markdown_artifact(
        key="data-report", markdown=markdown, description=f"Data of run {run.run_id}"
    )
    _log.info("Data report: %s", page)
    return unchanged(report) if is_known else report


def _write(run: Run, ingestion: Ingestion, page: Path, key: str) -> PageNote:
    """The page, and beside it what is needed to leave it as it is next time."""
    facts = DataFacts(
        run_id=run.run_id,
        dataset=ingestion.dataset,
        snapshot=ingestion.snapshot,
        timezone=run.config.ingestion.timezone,
        data=ingestion.data,
        profiles=[_profile(run, name, each.path) for name, each in ingestion.published.items()],
        refused=_refused(run, ingestion),
        changes=_changes(run),
    )
    write_bytes(page, data_report_html(facts).encode())
    markdown = data_report_markdown(facts, Path(_kept(run, page)))
    return PageNote(key=key, page_sha256=file_sha256(page), markdown=markdown)


def _kept(run: Run, page: Path) -> str:
    return relative_path(page, run.artifacts)


def _profile(run: Run, region: str, path: str) -> RegionProfile:
    """One region at a time is held in memory."""
    return profile_region(
        pd.read_parquet(path),
        region=region,
        timezone=run.config.ingestion.timezone,
        rules=run.config.rules.of(region).repaired,
    )


def _refused(run: Run, ingestion: Ingestion) -> dict[str, list[Fault]]:
    refused = [name for name, each in ingestion.regions.items() if each.status == "refused"]
    found = {each.region: list(each.faults) for each in run.find_all(Refusal)}
    return {name: found.get(name, []) for name in refused}


def _changes(run: Run) -> Changes | None:
    """What record_ingestion found against the snapshot before; None for the first one."""
    changes = run.find(SnapshotChanges)
    if changes is None or not changes.before:
        return None
    counted = {
        name: RegionChange(*(getattr(each, kind).count for kind in RegionChange._fields))
        for name, each in changes.regions.items()
    }
    return Changes(
        since=changes.before, regions={n: each for n, each in counted.items() if any(each)}
    )


def _key(run: Run, ingestion: Ingestion) -> str:
    regions = {name: each.file_sha256 for name, each in ingestion.regions.items()}
    return key_of(
        regions=regions,
        refused=_refused(run, ingestion),
        data=ingestion.data.model_dump(mode="json"),
        rules=run.config.keyed("ingestion", "rules"),
        code=code_sha256(__name__),
    )
