"""Jobs and regions on a Ray cluster, by Prefect's own task runner for it (the extra ``ray``).

Ray places a job where it finds the cores and GPUs that it asks for, and starts it again elsewhere
if a node dies: the job goes on at its last checkpoint.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from prefect.utilities.callables import get_call_parameters

from gridcast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect import Task
    from prefect.futures import PrefectFuture
    from prefect_ray import RayTaskRunner

    from tasks.runs.run import Run
    from tasks.train.records import Job


class Needs(NamedTuple):
    """What a node must have left for a task."""

    num_cpus: int
    num_gpus: int


def needs_of(job: Job, *, split_over: int) -> Needs:
    """A core for each thread; on GPUs those that share its batches."""
    return Needs(job.threads, 0 if job.device == "cpu" else split_over)


@contextmanager
def ray_cluster(run: Run) -> Iterator[RayTaskRunner[Any]]:
    """The cluster at ``execution.ray_address``, or one of this machine for as long as this lasts.

    Raises:
        UsageError: Ray is not installed.
    """
    if find_spec("prefect_ray") is None:
        where, expected = "execution.executor", "it: pip install 'gridcast[ray]'"
        raise UsageError(where, found="ray, which is not installed", expected=expected)
    from prefect_ray import RayTaskRunner

    with RayTaskRunner[Any](address=run.config.execution.ray_address) as runner:
        yield runner


def submit_to_ray(
    runner: RayTaskRunner[Any], run: Run, task: Task[..., Any], needs: Needs, *given: object
) -> PrefectFuture[Any]:
    """Have ``task`` done with ``run`` and what is ``given``; again where its node dies."""
    from prefect_ray.context import remote_options

    parameters = get_call_parameters(task.fn, (run, *given), {})
    with remote_options(
        num_cpus=needs.num_cpus, num_gpus=needs.num_gpus,
        max_retries=run.config.execution.attempts - 1,
    ):  # fmt: skip
        return cast("PrefectFuture[Any]", runner.submit(task, parameters))
