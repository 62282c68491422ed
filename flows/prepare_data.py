"""Prepare the data: regional CSVs to validated Parquet."""

from __future__ import annotations

from typing import Any, cast

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from gridcast.errors import RegionRefusedError
from tasks.covariates.ingest_covariates import ingest_covariates
from tasks.dispatch.executors import read_regions
from tasks.fetch.sources import find_sources
from tasks.ingest.catch_up import catch_up
from tasks.ingest.publish_data_report import publish_data_report
from tasks.ingest.records import Ingestion, Published
from tasks.ingest.region import record_ingestion
from tasks.machine.run_names import run_name
from tasks.runs.run import open_run
from tasks.share.share_tasks import shared_in_store

# Two regions at a time: Great Expectations keeps one core busy, parsing and writing the other. The
# memory is that of two regions, however many there are.
_THREADS = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=2))


@flow(name="prepare-data", flow_run_name=run_name, task_runner=_THREADS)
def prepare_data(
    data: str | None = None,
    artifacts: str = "artifacts",
    profile: str = "base",
    overrides: list[str] | None = None,
    fresh: bool = False,  # noqa: FBT001, FBT002 - Prefect's pages make a form of these
    run_id: str | None = None,
) -> Ingestion:
    """Parse and check every ``<REGION>_hourly.csv`` of a folder, and publish all as one snapshot.

    Runs hourly in deployment. Safe to run again: a region whose bytes and rules are unchanged is
    not touched, and one that fails leaves what was published before as it was.
    Ad hoc: ``gridcast ingest --data folder``.

    Args:
        data: folder of the CSVs; none: ``data/``, else a synthetic set.
        artifacts: folder for everything that runs produce.
        profile: name in ``configs/``, or the path of a YAML file.
        overrides: such as ``["rules.default.flagged.max_flat_hours=12"]``.
        fresh: do everything again, whatever is unchanged.
        run_id: of the run that this is part of; none: a run of its own.
    """
    with (
        shared_in_store(artifacts, profile, overrides, "data"),
        open_run("prepare-data", data=data, artifacts=artifacts, profile=profile,
                 overrides=overrides, fresh=fresh, run_id=run_id) as run,
        run.timed("prepare_data"),
    ):  # fmt: skip
        sources = find_sources(run)
        known = catch_up(run, sources, return_state=True).result()
        results = read_regions(run, sources, known.left)
        for error in results.not_of(Published, RegionRefusedError).values():
            raise error
        published = [*known.published, *results.all_of(Published)]
        refused = results.all_of(RegionRefusedError)
        if sources.covariates:
            told = ingest_covariates(run, sources, published)
            published, refused = told.published, [*refused, *told.refused]
        ingestion = record_ingestion(run, sources, published, refused)
        publish_data_report(run, ingestion)
        return ingestion
