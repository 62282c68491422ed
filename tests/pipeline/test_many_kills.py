"""Kills at random instants of many runs in one folder; then one run more ends as if none had been.

The run itself, a training process of it and Prefect's embedded server are killed in turn.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
import pytest

from tasks.track.verify import verify
from tests.builders.pipelines import (
    GRIDCAST,
    SMALL_MODEL,
    PipelineRun,
    Started,
    clean_environment,
    command_of,
    run_flow,
    settings,
    small_data,
    started,
    temporary_files,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.soak]

NUM_ROUNDS, TARGETS = (
    5,
    ("main", "training", "server", "main", "server", "training", "main", "main"),
)
# Five seconds of training, in passes of half a second.
MODEL = (
    *SMALL_MODEL, "training.passes=10", "model.hidden_size=128", "windows.lookback=168",
    "training.checkpoint_seconds=1",
)  # fmt: skip
NUM_REGIONS = 3


def settings_of(*seeds: int) -> list[str]:
    return settings(*MODEL, f"training.seeds={list(seeds)}")


@dataclass
class Killed:
    """What was killed, what the runs after each round came to, and the same without a kill."""

    artifacts: Path
    undisturbed: PipelineRun
    kills: Counter[str] = field(default_factory=Counter)
    after: list[PipelineRun] = field(default_factory=list)
    families: list[psutil.Process] = field(default_factory=list)


def find(run: Started, target: str) -> psutil.Process | None:
    """The process to be killed, if the run has it now."""
    with suppress(psutil.NoSuchProcess):
        if target == "main":
            return psutil.Process(run.pid)
        word = "uvicorn" if target == "server" else "tasks.train.training_process"
        for each in run.children(recursive=True):
            if any(word in part for part in command_of(each)):
                return each
    return None


def kill_one(
    data: Path, killed: Killed, seed: int, target: str, *, after_seconds: float, log: Path
) -> None:
    """Begin a run, kill ``target`` after so long, and wait for the end of all that it started."""
    command = (GRIDCAST, "run", "--data", data, "--artifacts", killed.artifacts)
    with started(*command, *settings_of(seed), log=log, environment=clean_environment()) as run:
        time.sleep(after_seconds)
        while (victim := find(run, target)) is None and run.poll() is None:
            time.sleep(0.02)
        family = list[psutil.Process]()
        with suppress(psutil.NoSuchProcess):
            family = run.children(recursive=True)
        if victim is not None and run.poll() is None:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                killed.kills[target] += 1
        wait_for("the end of the run", lambda: run.poll() is not None)
        killed.families += family
        wait_for("the end of what it started", lambda: not alive(family))


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("kills")
    data = folder / "load"
    data.mkdir()
    for path in sorted(small_data().glob("*_hourly.csv"))[:NUM_REGIONS]:
        shutil.copy(path, data)
    begun = time.monotonic()
    first = run_flow("run", data, folder / "without", *settings_of(0))
    seconds = time.monotonic() - begun
    assert first.result.returncode == 0, first.result.stderr
    undisturbed = run_flow("run", data, folder / "without", *settings_of(*range(NUM_ROUNDS)))
    assert undisturbed.result.returncode == 0, undisturbed.result.stderr
    chance, killed = random.Random(20), Killed(folder / "artifacts", undisturbed)  # noqa: S311
    for seed in range(NUM_ROUNDS):
        for number, target in enumerate(TARGETS):
            log = folder / f"log-{seed}-{number}-{target}.txt"
            at = chance.uniform(0.0, seconds)
            kill_one(data, killed, seed, target, after_seconds=at, log=log)
            print(f"round {seed}: {target} killed after {at:.1f} s, {dict(killed.kills)}")  # noqa: T201
        killed.after.append(run_flow("run", data, killed.artifacts, *settings_of(seed)))
    return killed


def test_forty_kills_were_tried_and_most_met_their_target(killed: Killed) -> None:
    assert NUM_ROUNDS * len(TARGETS) == 40
    assert killed.kills.total() >= 30, killed.kills
    assert set(killed.kills) == set(TARGETS)


def test_the_run_after_the_kills_ends_well(killed: Killed) -> None:
    for run in killed.after:
        assert run.result.returncode == 0, run.result.stderr
        assert run.summary.status == "completed"


def test_the_weights_are_those_of_runs_in_which_nothing_was_killed(killed: Killed) -> None:
    undisturbed = {n: m.weights_sha256 for n, m in killed.undisturbed.summary.models.items()}
    found = {n: m.weights_sha256 for run in killed.after for n, m in run.summary.models.items()}
    assert found == undisturbed
    assert len(found) == 2 * NUM_ROUNDS


def test_nothing_of_the_killed_runs_lives_on(killed: Killed) -> None:
    assert alive(killed.families) == []
    words = str(killed.artifacts)
    own = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    others = [each for each in psutil.process_iter() if each.pid not in own]
    assert [command_of(each) for each in others if words in " ".join(command_of(each))] == []


def test_no_temporary_file_and_no_lock_is_left(killed: Killed) -> None:
    assert temporary_files(killed.artifacts) == []
    locks = [path for path in killed.artifacts.rglob("*.lock") if "places" not in path.parts]
    assert locks == []


def test_every_run_has_ended_and_none_is_running_for_prefect(killed: Killed) -> None:
    folders = [each for each in (killed.artifacts / "runs").glob("*Z-*") if each.is_dir()]
    assert [each for each in folders if not (each / "summary.json").is_file()] == []
    database = killed.artifacts / "prefect" / "prefect.db"
    for table in ("flow_run", "task_run"):
        query = f"SELECT state_type, count(*) FROM {table} GROUP BY 1"  # noqa: S608
        with closing(sqlite3.connect(database)) as connection:
            states = dict(connection.execute(query).fetchall())
        assert states.keys() <= {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}, (table, states)


def test_mlflow_has_each_model_once_and_none_running(killed: Killed) -> None:
    with closing(sqlite3.connect(killed.artifacts / "mlflow" / "mlflow.db")) as connection:
        rows = connection.execute("SELECT name, status FROM runs").fetchall()
    finished = Counter(name for name, status in rows if status == "FINISHED")
    assert {status for _, status in rows} <= {"FINISHED", "KILLED", "FAILED"}
    assert set(finished.values()) == {1}, finished
    assert len(finished) == 3 * NUM_ROUNDS  # both cells, and their mean


def test_data_are_published_once_and_what_is_left_passes_its_audit(killed: Killed) -> None:
    snapshots = [
        each for each in (killed.artifacts / "data" / "snapshots").iterdir()
        if "changes" not in each.name
    ]  # fmt: skip
    assert len(snapshots) == 1
    for run in killed.after:
        states = {each.state for each in verify(run.summary.run_id, killed.artifacts).findings}
        assert states == {"ok"}
