"""Who does the assignments of a run: threads of its own, workers of a pool, or a Ray cluster.

``execution.executor`` decides. Each does a job by the same task, wherever that runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.dispatch.assignments import JobAssignment, ShardAssignment
from tasks.dispatch.dispatch_job import dispatch_job
from tasks.dispatch.dispatch_shard import dispatch_shard
from tasks.dispatch.flow_runs import require_deployments, require_server
from tasks.dispatch.ray_cluster import Needs, needs_of, ray_cluster, submit_to_ray
from tasks.dispatch.shards import shards_of
from tasks.ingest.region import ingest_region
from tasks.runs.cached_state import Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prefect import Task

    from tasks.fetch.records import SourceFile, Sources
    from tasks.runs.run import Run
    from tasks.train.records import Features, Job

Future = PrefectFuture[Any]
Threads = ThreadPoolTaskRunner[Any]
_CORE: Final = Needs(num_cpus=1, num_gpus=0)
_WAITING: Final = 256  # threads at most that wait for a worker each


class Submit(Protocol):
    """Has a job done by its task, and gives at once what can be waited for."""

    def __call__(
        self, task: Task[..., Any], features: Features, job: Job, /, *more: object
    ) -> Future:
        """``more`` is what the task takes beside."""
        ...


@contextmanager
def submitting(run: Run) -> Iterator[Submit]:
    """Jobs are done where ``execution.executor`` says, as long as this lasts.

    Raises:
        UsageError: workers are asked for, and there is no server or deployment for them.
    """
    match run.config.execution.executor:
        case "workers":
            require_deployments([JobAssignment])
            with _threads() as threads:
                yield lambda _, features, job, *_more: _by_worker(threads, run, features, job)
        case "ray":
            require_server()
            split_over = run.config.training.split_over
            with ray_cluster(run) as ray:
                yield lambda task, features, job, *more: submit_to_ray(
                    ray, run, task, needs_of(job, split_over=split_over), features, job, *more
                )
        case _:
            yield lambda task, *given: task.submit(run, *given)


def _threads() -> Threads:
    return ThreadPoolTaskRunner(max_workers=_WAITING)


def _by_worker(threads: Threads, run: Run, features: Features, job: Job) -> Future:
    return threads.submit(dispatch_job, {"run": run, "features": features, "job": job})


def read_regions(run: Run, sources: Sources, files: Sequence[SourceFile]) -> Results:
    """Read the files, each as a whole: two at a time here, or elsewhere as many as there is room.

    Raises:
        UsageError: as :func:`submitting`.
    """
    given = {file.region: (file.region, file.path, sources.labels) for file in files}
    match run.config.execution.executor if files else "local":
        case "workers":
            return _read_by_workers(run, sources, files)
        case "ray":
            require_server()
            with ray_cluster(run) as ray:
                return _results_of(
                    {n: submit_to_ray(ray, run, ingest_region, _CORE, *g) for n, g in given.items()}
                )
        case _:
            return _results_of({n: ingest_region.submit(run, *g) for n, g in given.items()})


def _results_of(futures: dict[str, Future]) -> Results:
    wait(list(futures.values()))
    return Results.of({name: each.state for name, each in futures.items()})


def _read_by_workers(run: Run, sources: Sources, files: Sequence[SourceFile]) -> Results:
    require_deployments([ShardAssignment])
    shards = shards_of(files, run.config.execution.num_shards)
    labels, fresh = sources.labels, run.fresh
    assignments = [
        ShardAssignment(name=f"shard-{number}", files=shard, labels=labels, fresh=fresh)
        for number, shard in shards.items()
    ]
    with _threads() as threads:
        futures: list[Future] = [
            threads.submit(dispatch_shard, {"run": run, "assignment": assignment})
            for assignment in assignments
        ]
        wait(futures)
    results = Results()
    for shard in (each.result() for each in futures):
        results |= {published.region: published for published in shard.published}
        results |= {error.region: error for error in shard.errors}
    return results
