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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from tasks.track.verify import verify
from tests.builders.pipelines import (
    GRIDCAST,
    SMALL_MODEL,
    Command,
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

# Of each run, one after the other. Without its only training process a run comes to its end.
TARGETS = (("server", "main"), ("server", "training"), ("main",), ("training", "main"))
NUM_RUNS, RUNS_A_SEED = 23, 2  # 40 kills are tried
NUM_SEEDS = -(-NUM_RUNS // RUNS_A_SEED)
# Some seconds of training, and little else: any stage may be met.
MODEL = (
    *SMALL_MODEL, "training.passes=10", "model.hidden_size=64", "windows.lookback=168",
    "training.checkpoint_seconds=1", "model.cells=[gru]", "evaluation.backtest_days=0",
    "forecasting.calibration_origins=20", "forecasting.horizon=3",
)  # fmt: skip
NUM_REGIONS = 3


def settings_of(*seeds: int) -> list[str]:
    return settings(*MODEL, f"training.seeds={list(seeds)}")


@dataclass(frozen=True)
class Killed:
    """What was killed, what the run after all of it came to, and the same without a kill."""

    artifacts: Path
    undisturbed: PipelineRun
    after: PipelineRun
    kills: Counter[str]


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


def kill(command: Command, moments: list[tuple[float, str]], *, log: Path) -> list[str]:
    """Begin a run, kill what is to be at each moment (s), and wait for the end of all of it.

    What was met is given.
    """
    met, family, begun = list[str](), list[psutil.Process](), time.monotonic()
    with started(*command, log=log, environment=clean_environment()) as run:
        for moment, target in moments:
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            while (victim := find(run, target)) is None and run.poll() is None:
                time.sleep(0.02)
            with suppress(psutil.NoSuchProcess):
                family += run.children(recursive=True)
                if victim is not None and run.poll() is None:
                    victim.kill()
                    met.append(target)
        wait_for("the end of the run", lambda: run.poll() is not None)
        wait_for("the end of what it started", lambda: not alive(family))
    return met


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
    without = run_flow("run", data, folder / "without", *settings_of(*range(NUM_SEEDS)))
    assert without.result.returncode == 0, without.result.stderr
    begun = time.monotonic()
    timed = run_flow("run", data, folder / "timed", *settings_of(0))
    assert timed.result.returncode == 0, timed.result.stderr
    return with_kills(folder, without, seconds=time.monotonic() - begun)


def with_kills(folder: Path, without: PipelineRun, *, seconds: float) -> Killed:
    """Runs of about ``seconds`` in which something is killed, then one of all their seeds."""
    data, artifacts = without.data, folder / "artifacts"
    chance, kills = random.Random(20), Counter[str]()  # noqa: S311
    command: Command = (GRIDCAST, "run", "--data", data, "--artifacts", artifacts)
    for number in range(NUM_RUNS):
        targets = TARGETS[number % len(TARGETS)]
        at = sorted(chance.uniform(0.0, seconds) for _ in targets)
        words, log = settings_of(number // RUNS_A_SEED), folder / f"log-{number}.txt"
        met = kill((*command, *words), list(zip(at, targets, strict=True)), log=log)
        kills.update(met)
        print(f"run {number}: {targets} at {at} of {seconds:.0f} s, met {met}", flush=True)  # noqa: T201
    after = run_flow("run", data, artifacts, *settings_of(*range(NUM_SEEDS)))
    return Killed(artifacts, without, after, kills)


def test_forty_kills_were_tried_and_most_met_their_target(killed: Killed) -> None:
    assert sum(len(TARGETS[number % len(TARGETS)]) for number in range(NUM_RUNS)) == 40
    assert killed.kills.total() >= 20, killed.kills
    assert set(killed.kills) == {"main", "training", "server"}


def test_the_run_after_the_kills_ends_well(killed: Killed) -> None:
    assert killed.after.result.returncode == 0, killed.after.result.stderr
    assert killed.after.summary.status == "completed"


def test_the_weights_are_those_of_runs_in_which_nothing_was_killed(killed: Killed) -> None:
    undisturbed = {n: m.weights_sha256 for n, m in killed.undisturbed.summary.models.items()}
    found = {n: m.weights_sha256 for n, m in killed.after.summary.models.items()}
    assert found == undisturbed
    assert len(found) == NUM_SEEDS


def test_nothing_of_the_killed_runs_lives_on(killed: Killed) -> None:
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
    assert {f"gru-seed{seed}" for seed in range(NUM_SEEDS)} <= finished.keys()


def test_data_are_published_once_and_what_is_left_passes_its_audit(killed: Killed) -> None:
    snapshots = [
        each for each in (killed.artifacts / "data" / "snapshots").iterdir()
        if "changes" not in each.name
    ]  # fmt: skip
    assert len(snapshots) == 1
    findings = verify(killed.after.summary.run_id, killed.artifacts).findings
    assert {each.state for each in findings} == {"ok"}
