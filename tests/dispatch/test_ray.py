"""A real Ray cluster of two nodes on this machine, one killed while it trains a job."""

from __future__ import annotations

import pickle
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gridcast.errors import Fault, RegionRefusedError, TrainingJobError
from gridcast.summary import Summary
from tasks.train.records import BaselineJob
from tests.builders.pipelines import (
    GRIDCAST,
    SECONDS,
    SMALL_MODEL,
    Command,
    PipelineRun,
    Started,
    command_of,
    free_port,
    kill_tree,
    on_a_server,
    read_json,
    run_flow,
    settings,
    small_data,
    started,
    temporary_files,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

RAY = Path(sys.executable).with_name("ray")
# Passes of half a second: long enough for a node to be killed in the middle of them.
JOBS = (
    *SMALL_MODEL, "training.passes=12", "model.hidden_size=128", "windows.lookback=168",
    "training.seeds=[0, 1]", "training.checkpoint_seconds=1", "baselines.fitted=[linear]",
)  # fmt: skip
NUM_REGIONS, NUM_JOBS = 3, 5


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        TrainingJobError("gru-seed0", reason="it was killed", log="log.txt"),
        RegionRefusedError("AEP", [Fault("AEP_hourly.csv", 3, 1, "label", "found 25:00")]),
    ],
    ids=["job", "region"],
)
def test_an_error_comes_whole_from_another_process(error: TrainingJobError) -> None:
    come = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, as Ray hands it over
    assert type(come) is type(error)
    assert (str(come), vars(come)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", (3, 0)), ("cuda:0", (3, 2))], ids=["cpu", "gpus"]
)
def test_a_job_needs_a_core_a_thread_and_the_gpus_that_share_its_batches(
    device: str, expected: tuple[int, int]
) -> None:
    from tasks.dispatch.ray_cluster import needs_of

    job = BaselineJob(
        name="linear", kind="linear", device=device, threads=3, limit_seconds=1.0, key="",
        folder="", parts={},
    )  # fmt: skip
    assert needs_of(job, split_over=2) == expected


# -- a cluster -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnRay:
    """What a run on two nodes left, of which one was killed; and the same run by processes here."""

    log: str
    status: int
    summary: Summary
    artifacts: Path
    killed_job: str
    here: PipelineRun


def trained_by(node: Started, jobs: Path) -> str:
    """The folder of the job that a node trains and has kept a state of; empty: none now."""
    for each in node.children(recursive=True):
        words = command_of(each)
        if "tasks.train.training_process" in words and list(
            (jobs / Path(words[-1]).name / "checkpoints").glob("*.checkpoint")
        ):
            return Path(words[-1]).name
    return ""


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnRay]:
    pytest.importorskip("prefect_ray", reason="the extra `ray` is not installed")
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    data, artifacts, log = folder / "load", folder / "artifacts", folder / "run.txt"
    data.mkdir()
    for path in sorted(small_data().glob("*_hourly.csv"))[:NUM_REGIONS]:
        shutil.copy(path, data)
    environment = on_a_server() | {"RAY_USAGE_STATS_ENABLED": "0"}
    address = f"127.0.0.1:{port}"
    by_ray = (
        "execution.executor=ray", f"execution.ray_address={address}", "training.jobs_per_device=4"
    )  # fmt: skip
    node = (RAY, "start", "--num-cpus", "2", "--object-store-memory", "100000000", "--block")
    head = (*node, "--head", "--port", str(port), "--include-dashboard", "false")
    with ExitStack() as stack:
        stack.enter_context(started(*head, log=folder / "head.txt", environment=environment))
        wait_for("the head", lambda: "runtime started" in (folder / "head.txt").read_text("utf-8"))
        second = stack.enter_context(
            started(*node, "--address", address, log=folder / "2.txt", environment=environment)
        )
        wait_for("the node", lambda: "runtime started" in (folder / "2.txt").read_text("utf-8"))
        where: Command = ("--data", data, "--artifacts", artifacts)
        command: Command = (GRIDCAST, "run", *where, *settings(*JOBS, *by_ray))
        run = stack.enter_context(started(*command, log=log, environment=environment))

        def passed() -> str:
            assert run.poll() is None, log.read_text("utf-8")
            return trained_by(second, artifacts / "jobs")

        job = wait_for("a training on the second node that has kept a state", passed)
        kill_tree(second)
        wait_for("the run's end", lambda: run.poll() is not None)
        here = run_flow("run", data, folder / "here", *settings(*JOBS), environment=on_a_server())
        latest = (artifacts / "runs" / "latest").resolve() / "summary.json"
        assert latest.is_file(), log.read_text("utf-8")
        summary = Summary.model_validate_json(latest.read_bytes())
        yield OnRay(
            log.read_text("utf-8"), run.wait(SECONDS), summary, artifacts, job.rpartition("-")[0],
            here,
        )  # fmt: skip


@pytest.mark.soak
def test_a_run_on_ray_ends_well_though_a_node_was_killed(on_ray: OnRay) -> None:
    assert on_ray.status == 0, on_ray.log
    assert on_ray.summary.status == "completed"
    assert temporary_files(on_ray.artifacts) == []


@pytest.mark.soak
def test_ray_does_each_job_once_and_publishes_once(on_ray: OnRay) -> None:
    assert len(list((on_ray.artifacts / "jobs").iterdir())) == NUM_JOBS
    assert not any(model.cached for model in on_ray.summary.models.values())
    assert read_json(on_ray.artifacts / "data" / "load.json")["sequence"] == 1
    assert not any(region.cached for region in on_ray.summary.regions.values())
    assert len(list((on_ray.artifacts / "data" / "objects").iterdir())) == NUM_REGIONS


@pytest.mark.soak
def test_weights_from_ray_are_those_of_processes_here(on_ray: OnRay) -> None:
    assert on_ray.here.result.returncode == 0, on_ray.here.result.stderr
    here = {n: m.weights_sha256 for n, m in on_ray.here.summary.models.items()}
    assert here == {n: m.weights_sha256 for n, m in on_ray.summary.models.items()}
    assert on_ray.here.summary.snapshot == on_ray.summary.snapshot
