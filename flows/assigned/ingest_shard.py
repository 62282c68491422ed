"""Ingest a shard of another machine's run: its regions' files to Parquet, not yet published."""

from __future__ import annotations

from typing import Any, cast

from prefect import flow
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from gridcast.errors import RegionRefusedError
from tasks.dispatch.assignments import ShardAssignment, leave_shard, taking_part
from tasks.ingest.records import Published
from tasks.ingest.region import ingest_region
from tasks.runs.cached_state import Results

_THREADS = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=2))


@flow(name="ingest-shard", task_runner=_THREADS)
def ingest_shard(artifacts: str, run_id: str, assignment: str) -> None:
    """Read the shard's regions as the run's own machine would, and tell what became of each.

    Started by a run with ``execution.executor: workers`` alone. Safe to run again: a region that is
    read is taken.

    Args:
        artifacts: the folder that the machines share.
        run_id: of the run that gave it out.
        assignment: the shard's name in that run.
    """
    with taking_part(artifacts, run_id, assignment, ShardAssignment) as (run, given):
        futures: dict[str, PrefectFuture[Any]] = {
            file.region: ingest_region.submit(run, file.region, file.path, given.labels)
            for file in given.files
        }
        wait(list(futures.values()))
        results = Results.of({name: each.state for name, each in futures.items()})
        for error in results.not_of(Published, RegionRefusedError).values():
            raise error
        leave_shard(run, given, results.all_of(Published), results.all_of(RegionRefusedError))
