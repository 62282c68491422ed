"""Three workers on one folder, one killed while it trains: its job is done by another, once."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from gridcast.summary import Summary
from tasks.track.verify import verify
from tests.builders.pipelines import (
    GRIDCAST,
    SECONDS,
    SMALL_MODEL,
    Command,
    PipelineRun,
    Started,
    command_of,
    kill_tree,
    read_json,
    run_flow,
    settings,
    small_data,
    started,
    temporary_files,
    wait_for,
)
from tests.builders.worker_pools import Pool, worker_pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.soak]

# Passes of half a second: long enough for a worker to be killed in the middle of them.
JOBS = (
    *SMALL_MODEL, "training.passes=12", "model.hidden_size=128", "windows.lookback=168",
    "training.seeds=[0, 1]", "training.checkpoint_seconds=1", "baselines.fitted=[linear]",
)  # fmt: skip
NUM_REGIONS, NUM_SHARDS, NUM_JOBS = 6, 3, 5
BY_WORKERS = (
    "execution.executor=workers", f"execution.num_shards={NUM_SHARDS}",
    "execution.lost_seconds=20", "training.jobs_per_device=3",
)  # fmt: skip


@dataclass(frozen=True)
class Dispatched:
    """What a run by workers left, of whom one was killed; and the same run by processes here."""

    pool: Pool
    log: str
    status: int
    summary: Summary
    artifacts: Path
    killed_job: str
    ended: Counter[tuple[str, str]]  # trainings by workers: name and state, how many
    here: PipelineRun

    def flow_runs(self, flow: str) -> list[str]:
        """How those of a flow ended, in any order."""
        found = self.pool.ask("flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
        return sorted(each["state_type"] for each in found)


def trains(worker: Started) -> psutil.Process | None:
    """The training process of a worker's job, if it has one."""
    for each in worker.children(recursive=True):
        if "tasks.train.training_process" in command_of(each):
            return each
    return None


@pytest.fixture(scope="module")
def dispatched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatched]:
    folder = tmp_path_factory.mktemp("workers")
    data, artifacts, log = folder / "load", folder / "artifacts", folder / "run.txt"
    data.mkdir()
    for path in sorted(small_data().glob("*_hourly.csv"))[:NUM_REGIONS]:
        shutil.copy(path, data)
    where: Command = ("--data", data, "--artifacts", artifacts)
    with ExitStack() as stack:
        pool = stack.enter_context(worker_pool(folder / "pool"))
        environment, logs = pool.environment, [folder / f"worker-{n}.txt" for n in range(3)]
        workers = [
            stack.enter_context(started(*pool.worker(w.stem), log=w, environment=environment))
            for w in logs
        ]
        command: Command = (GRIDCAST, "run", *where, *settings(*JOBS, *BY_WORKERS))
        run = stack.enter_context(started(*command, log=log, environment=environment))

        def passed() -> tuple[Started, str] | None:
            """A worker in the middle of a training, and the job's folder."""
            assert run.poll() is None, log.read_text("utf-8")
            for worker in workers:
                process = trains(worker)
                if process is not None:
                    job = command_of(process)[-1]
                    if list((artifacts / "jobs").glob(f"{job.rpartition('/')[2]}/checkpoints/*")):
                        return worker, job
            return None

        worker, job = wait_for("a training that has kept a state", passed)
        kill_tree(worker)  # as a machine that goes down: nobody tells anybody
        wait_for("the run's end", lambda: run.poll() is not None)
        found = pool.ask("task_runs/filter", {"task_runs": {"name": {"like_": "train-"}}})
        ended = Counter((each["name"], each["state_name"]) for each in found)
        text = log.read_text("utf-8") + "".join(each.read_text("utf-8") for each in logs)
        here = run_flow("run", data, folder / "here", *settings(*JOBS), environment=environment)
        latest = (artifacts / "runs" / "latest").resolve() / "summary.json"
        summary = Summary.model_validate_json(latest.read_bytes())
        yield Dispatched(
            pool, text, run.wait(SECONDS), summary, artifacts,
            job.rpartition("/")[2].rpartition("-")[0], ended, here,
        )  # fmt: skip


def test_the_run_ends_well_though_a_worker_was_killed(dispatched: Dispatched) -> None:
    assert dispatched.status == 0, dispatched.log
    assert dispatched.summary.status == "completed"
    assert temporary_files(dispatched.artifacts) == []


def test_the_killed_workers_job_was_given_to_another_and_went_on_where_it_was(
    dispatched: Dispatched,
) -> None:
    assert f"{dispatched.killed_job}: silent for " in dispatched.log
    assert f"{dispatched.killed_job}: given to the queue cpu (2 of 3)" in dispatched.log
    assert "goes on from step" in dispatched.log


def test_nothing_was_done_twice(dispatched: Dispatched) -> None:
    ended = {key: n for key, n in dispatched.ended.items() if key[0] != "train-models"}
    models = dispatched.summary.models
    assert {name: ended.get((f"train-{name}", "Completed")) for name in models} == dict.fromkeys(
        models, 1
    )
    assert ended[f"train-{dispatched.killed_job}", "Crashed"] == 1
    assert {state for _, state in ended} <= {"Completed", "Crashed", "Cached"}
    assert not any(model.cached for model in models.values())
    assert len(list((dispatched.artifacts / "jobs").iterdir())) == NUM_JOBS
    assert len(list((dispatched.artifacts / "data" / "objects").iterdir())) == NUM_REGIONS


def test_no_flow_run_is_left_running(dispatched: Dispatched) -> None:
    for flow in ("run-pipeline", "prepare-data", "train-models", "run-job", "ingest-shard"):
        states = set(dispatched.flow_runs(flow)) - {"SCHEDULED"}  # the nights to come
        assert states <= {"COMPLETED", "CRASHED"}, flow
    assert "CRASHED" in dispatched.flow_runs("run-job")


def test_there_was_one_publication_by_the_run_itself(dispatched: Dispatched) -> None:
    assert read_json(dispatched.artifacts / "data" / "load.json")["sequence"] == 1
    assert not any(region.cached for region in dispatched.summary.regions.values())
    assert len(dispatched.summary.regions) == NUM_REGIONS


def test_the_weights_are_those_of_processes_here(dispatched: Dispatched) -> None:
    assert dispatched.here.result.returncode == 0, dispatched.here.result.stderr
    here = {n: m.weights_sha256 for n, m in dispatched.here.summary.models.items()}
    assert here == {n: m.weights_sha256 for n, m in dispatched.summary.models.items()}
    assert dispatched.here.summary.snapshot == dispatched.summary.snapshot


def test_what_workers_did_passes_the_audit(dispatched: Dispatched) -> None:
    findings = verify("latest", dispatched.artifacts).findings
    assert {each.state for each in findings} == {"ok"}


def test_the_same_again_gives_nothing_to_workers(dispatched: Dispatched) -> None:
    data = dispatched.here.data
    words = settings(*JOBS, *BY_WORKERS)
    environment = dispatched.pool.environment
    before = len(dispatched.flow_runs("run-job"))
    again = run_flow("run", data, dispatched.artifacts, *words, environment=environment)
    assert again.result.returncode == 0, again.result.stderr
    assert all(model.cached for model in again.summary.models.values())
    assert len(dispatched.flow_runs("run-job")) == before
