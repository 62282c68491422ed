"""A shard of regions that a worker reads; it publishes nothing, the run that asked does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.errors import Fault, NotDoneError
from tasks.dispatch.assignments import RefusedRegion, ShardAssignment, ShardResult, found_shard
from tasks.dispatch.flow_runs import done_elsewhere

if TYPE_CHECKING:
    from tasks.runs.run import Run

_QUEUE = "cpu"


@task(name="dispatch-shard", task_run_name="dispatch-{assignment.name}", cache_policy=NO_CACHE)
def dispatch_shard(run: Run, assignment: ShardAssignment) -> ShardResult:
    """What became of its regions. Where nobody could read them, each is refused for that reason."""
    try:
        return done_elsewhere(
            run, assignment, queue=_QUEUE, result=partial(found_shard, run, assignment)
        )
    except NotDoneError as error:
        refused = tuple(
            RefusedRegion(
                region=file.region,
                faults=(
                    Fault(
                        file=str(file.path), line=1, column=1, kind="not_read",
                        reason=f"found nobody to read it ({error.assignment}: {error.reason}), "
                        "expected a worker; run the same command again",
                    ),
                ),
            )
            for file in assignment.files
        )  # fmt: skip
        return ShardResult(published=(), refused=refused)
