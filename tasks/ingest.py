"""Read one region's CSV, check it, and publish it as Parquet."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from gridcast.errors import Fault, RegionRefusedError, UsageError
from gridcast.parsing import parse_region
from gridcast.quality import NO_FLAG, flag_readings
from gridcast.set_aside import flagged_rows, refused_rows
from gridcast.summary import DataRecord, RegionRecord
from tasks.records import Ingestion, Published, Sources
from tasks.states import unchanged
from tasks.storage import (
    code_sha256,
    file_sha256,
    has_sha256,
    keep_newest,
    key_of,
    publishing,
    read_json,
    require_sha256,
    sha256_of,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import Labels
    from gridcast.parsing import RegionLoad
    from tasks.expectations import DataDocs
    from tasks.runs import Run

_CODE = (
    "gridcast.parsing", "gridcast.quality", "gridcast.set_aside", "tasks.expectations",
    "tasks.ingest",
)  # fmt: skip
_KEPT_VERSIONS = 2
_log = logging.getLogger("gridcast.ingest")


@task(name="ingest-region", task_run_name="ingest-{region}", cache_policy=NO_CACHE)
def ingest_region(
    run: Run, region: str, source: Path, dataset: str, labels: Labels = "local"
) -> Published:
    """CSV → parsed and flagged → checked by Great Expectations → Parquet, published by rename.

    Nothing is done again for the same bytes, rules and code.

    Raises:
        RegionRefusedError: with one fault a kind; what was published before stays as it is.
    """
    content = source.read_bytes()
    source_sha256 = sha256_of(content)
    folder = run.artifacts / "data" / dataset
    rules = run.config.rules.of(region)
    key = key_of(
        source=source_sha256,
        region=region,
        labels=run.config.ingestion.reading(labels).model_dump(mode="json"),
        rules=rules.model_dump(mode="json", include={"required", "flagged"}),
        code=code_sha256(*_CODE),
    )
    if not run.fresh and (record := _already_published(folder, region, key)) is not None:
        _log.info("%s: unchanged, %d hours", region, record.utc_hours)
        return unchanged(Published(region=region, record=record))
    load = _read_and_check(run, content, region=region, file=str(source), labels=labels)
    record = _publish(
        folder, load, source_sha256=source_sha256, key=key, set_aside=_set_aside_of(run, region)
    )
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
    """Build the Data Docs, set the refused regions aside with their reports, record all of it."""
    regions = {each.region: each.record for each in published}
    for error in refused:
        _log.error("%s is set aside:\n%s", error.region, error)
        _write_refusal(run, error)
        regions[error.region] = RegionRecord(
            rows=0, utc_hours=0, missing_hours=0, flagged=0, status="refused", reason=error.reason,
            set_aside=_set_aside_of(run, error.region),
        )  # fmt: skip
    for name in sorted(run.config.rules.regions.keys() - regions.keys()):
        _log.warning("rules.regions.%s: no such region in %s", name, sources.folder)
    ingestion = Ingestion(
        dataset=sources.dataset,
        data=DataRecord(
            folder=str(sources.folder),
            kind=sources.kind,
            source=sources.source,
            labels=sources.labels,
            skipped=sources.skipped,
        ),
        regions=dict(sorted(regions.items())),
        errors=tuple(str(fault) for error in refused for fault in error.faults),
        data_docs=_build_docs(run),
    )
    run.leave("ingestion", ingestion)
    if ingestion.published:
        about = ingestion.data.model_dump(mode="json")
        write_json(run.artifacts / "data" / f"{ingestion.dataset}.json", about)
    rows = [{"region": name, **_shown(record)} for name, record in ingestion.regions.items()]
    create_table_artifact(key="regions", table=rows, description=f"Regions of run {run.run_id}")
    return ingestion


@task(name="load-ingestion", cache_policy=NO_CACHE)
def load_ingestion(run: Run) -> Ingestion:
    """What this run ingested, or else what is published of its data folder (none: the newest).

    Raises:
        UsageError: nothing is published there.
    """
    if part := run.find("ingestion"):
        return Ingestion.model_validate(part)
    datasets = sorted(
        (run.artifacts / "data").glob("*.json"), key=lambda path: path.stat().st_mtime
    )
    if run.data is not None:
        datasets = [path for path in datasets if _folder_of(path) == str(run.data)]
    regions = _load_published(datasets[-1].with_suffix("")) if datasets else {}
    if not regions:
        raise UsageError(
            run.artifacts / "data",
            found=f"nothing published from {run.data or 'any folder'}",
            expected="published regions; run `gridcast ingest` first, or `gridcast run`",
        )
    data = DataRecord.model_validate(read_json(datasets[-1]))
    ingestion = Ingestion(dataset=datasets[-1].stem, data=data, regions=regions)
    run.leave("ingestion", ingestion)
    return ingestion


def _folder_of(path: Path) -> str:
    return str((read_json(path) or {}).get("folder"))


def _load_published(folder: Path) -> dict[str, RegionRecord]:
    """Every region that is published in ``folder``. One that was changed since is an error."""
    found = {}
    for pointer in sorted(folder.glob("*.json")):
        record = RegionRecord.model_validate((read_json(pointer) or {})["region"])
        path = folder / record.path
        require_sha256(path, record.file_sha256)
        found[pointer.stem] = record.model_copy(update={"cached": True, "path": str(path)})
    return found


def _already_published(folder: Path, region: str, key: str) -> RegionRecord | None:
    published = read_json(folder / f"{region}.json")
    if published is None or published.get("key") != key:
        return None
    record = RegionRecord.model_validate(published["region"])
    if not has_sha256(folder / record.path, record.file_sha256):
        return None
    return record.model_copy(update={"cached": True, "path": str(folder / record.path)})


def _read_and_check(
    run: Run, content: bytes, *, region: str, file: str, labels: Labels
) -> RegionLoad:
    """Parse, flag, check; set aside what is flagged or refused, whatever becomes of the region."""
    rules, aside = run.config.rules.of(region).flagged, []
    try:
        reading = run.config.ingestion.reading(labels)
        load = parse_region(content, region=region, file=file, config=reading)
        load.frame["flag"] = flag_readings(load.frame["load_mw"], rules)
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


def _publish(
    folder: Path, load: RegionLoad, *, source_sha256: str, key: str, set_aside: str
) -> RegionRecord:
    """Write the Parquet under a name of its own, then point ``<REGION>.json`` at it."""
    path = folder / f"{load.region}-{key[:12]}.parquet"
    table = pa.Table.from_pandas(load.frame, preserve_index=False)
    origin = {"source_sha256": source_sha256, "content_sha256": load.content_sha256}
    metadata = {**(table.schema.metadata or {}), **origin, "region": load.region}
    with publishing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    record = RegionRecord(
        rows=len(load.frame),
        utc_hours=load.frame["timestamp"].nunique(),
        missing_hours=_span_hours(load.frame) - len(load.frame),
        flagged=int((load.frame["flag"] != NO_FLAG).sum()),
        status="published",
        set_aside=set_aside,
        path=path.name,
        file_sha256=file_sha256(path),
        content_sha256=load.content_sha256,
        source_sha256=source_sha256,
    )
    write_json(
        folder / f"{load.region}.json", {"key": key, "region": record.model_dump(mode="json")}
    )
    keep_newest(list(folder.glob(f"{load.region}-*.parquet")), num=_KEPT_VERSIONS)
    return record.model_copy(update={"path": str(path)})


def _require_expectations(run: Run, load: RegionLoad, *, file: str) -> None:
    from tasks.expectations import validate_region  # 4 s: paid only where something is validated

    validate_region(
        load.frame,
        region=load.region,
        file=file,
        rules=run.config.rules,
        docs=_docs_of(run.artifacts / "data-docs"),
    )


@cache
def _docs_of(folder: Path) -> DataDocs:
    from tasks.expectations import DataDocs

    return DataDocs(folder)


def _build_docs(run: Run) -> str | None:
    """Rebuild the Data Docs if a region was validated in this process; the path of their page."""
    folder = run.artifacts / "data-docs"
    if _docs_of.cache_info().currsize:
        _docs_of(folder).build()
        _docs_of.cache_clear()
    page = folder / "site" / "index.html"
    return str(page) if page.is_file() else None


def _write_refusal(run: Run, error: RegionRefusedError) -> None:
    faults = [{name: getattr(fault, name) for name in Fault.__slots__} for fault in error.faults]
    write_json(run.folder / "refused" / f"{error.region}.json", {"faults": faults})


def _span_hours(frame: pd.DataFrame) -> int:
    span = frame["timestamp"].iloc[-1] - frame["timestamp"].iloc[0]
    return int(span / pd.Timedelta(hours=1)) + 1


def _shown(record: RegionRecord) -> dict[str, object]:
    return record.model_dump(
        include={"rows", "utc_hours", "missing_hours", "flagged", "status", "reason"}
    )
