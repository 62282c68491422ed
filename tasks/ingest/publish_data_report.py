"""Write the data report of an ingestion, for people and for Prefect's pages."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.errors import Fault
from gridcast.readings.snapshots import SnapshotChanges
from gridcast.report.data_page import (
    Changes,
    DataFacts,
    RegionChange,
    data_report_html,
    data_report_markdown,
)
from gridcast.report.data_profile import profile_region
from tasks.ingest.records import Ingestion
from tasks.runs.cached_state import unchanged
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, has_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.places import kept_path
from tasks.runs.storage import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from gridcast.report.data_profile import RegionProfile
    from tasks.runs.run import Run

_log = logging.getLogger("gridcast.data_report")


@task(name="publish-data-report", cache_policy=NO_CACHE)
def publish_data_report(run: Run, ingestion: Ingestion) -> Ingestion:
    """Published regions and refusals → pictures and tables → ``index.html``; its path is recorded.

    Nothing is drawn again for the same regions, refusals, rules and code.
    """
    folder = run.artifacts / "data-report" / ingestion.dataset
    page = folder / "index.html"
    told = ingestion.model_copy(update={"data_report": str(page)})
    key = _key(run, ingestion)
    with held(run.artifacts, f"data-report-{ingestion.dataset}"):
        known = read_json(folder / "report.json") or {}
        is_known = not run.fresh and known.get("key") == key
        is_known = is_known and has_sha256(page, known["page_sha256"])
        if not is_known:
            known = _write(run, ingestion, page) | {"key": key}
            write_json(folder / "report.json", known)
    run.leave("ingestion", told)
    markdown = known["markdown"].replace(f"`{_kept(run, page)}`", f"`{page}`")
    create_markdown_artifact(
        key="data-report", markdown=markdown, description=f"Data of run {run.run_id}"
    )
    _log.info("Data report: %s", page)
    return unchanged(told) if is_known else told


def _write(run: Run, ingestion: Ingestion, page: Path) -> dict[str, str]:
    """The page, and beside it what is needed to leave it as it is next time."""
    facts = DataFacts(
        run_id=run.run_id,
        dataset=ingestion.dataset,
        snapshot=run.find("ingestion").get("snapshot"),
        timezone=run.config.ingestion.timezone,
        data=ingestion.data,
        profiles=[_profile(run, name, each.path) for name, each in ingestion.published.items()],
        refused=_refused(run, ingestion),
        changes=_changes(run),
    )
    write_bytes(page, data_report_html(facts).encode())
    markdown = data_report_markdown(facts, Path(_kept(run, page)))
    return {"page_sha256": file_sha256(page), "markdown": markdown}


def _kept(run: Run, page: Path) -> str:
    return kept_path(page, run.artifacts)


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
    found = {name: read_json(run.folder / "refused" / f"{name}.json") or {} for name in refused}
    return {name: [Fault(**each) for each in found[name].get("faults", [])] for name in refused}


def _changes(run: Run) -> Changes | None:
    """What record_ingestion found against the snapshot before; None for the first one."""
    found = run.find("changes")
    if not found.get("before"):
        return None
    changes = SnapshotChanges.model_validate(found)
    counted = {
        name: RegionChange(*(getattr(each, kind).count for kind in RegionChange._fields))
        for name, each in changes.regions.items()
    }
    return Changes(
        since=found["before"], regions={n: each for n, each in counted.items() if any(each)}
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
