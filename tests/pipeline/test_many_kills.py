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
from typing import TYPE_CHECKING, NamedTuple

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

TARGETS = ("main", "training", "main", "server")  # in turn
NUM_KILLS, KILLS_A_SEED = 40, 2
NUM_SEEDS = NUM_KILLS // KILLS_A_SEED
# Some seconds of training, and little else: any stage may be met.
MODEL = (
    *SMALL_MODEL, "training.passes=10", "model.hidden_size=64", "windows.lookback=168",
    "training.checkpoint_seconds=1", "model.cells=[gru]", "evaluation.backtest_days=0",
    "forecasting.calibration_origins=20", "forecasting.horizon=3",
)  # fmt: skip
NUM_REGIONS = 3


def settings_of(*seeds: int) -> list[str]:
    return settings(*MODEL, f"training.seeds={list(seeds)}")


class Attempt(NamedTuple):
    """Whether what was to be killed was there, and all that the run had started by then."""

    is_met: bool
    family: list[psutil.Process]


@dataclass(frozen=True)
class Killed:
    """What was killed, what the run after all of it came to, and the same without a kill."""

    artifacts: Path
    undisturbed: PipelineRun
    after: PipelineRun
    kills: Counter[str]
    families: list[psutil.Process]


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


def kill_one(command: Command, target: str, *, after_seconds: float, log: Path) -> Attempt:
    """Begin a run, kill ``target`` after so long, and wait for the end of all that it started."""
    is_met = False
    with started(*command, log=log, environment=clean_environment()) as run:
        time.sleep(after_seconds)
        while (victim := find(run, target)) is None and run.poll() is None:
            time.sleep(0.02)
        family = list[psutil.Process]()
        with suppress(psutil.NoSuchProcess):
            family = run.children(recursive=True)
            if victim is not None and run.poll() is None:
                victim.kill()
                is_met = True
        wait_for("the end of the run", lambda: run.poll() is not None)
        wait_for("the end of what it started", lambda: not alive(family))
    return Attempt(is_met, family)


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
    data, artifacts = folder / "load", folder / "artifacts"
    data.mkdir()
    for path in sorted(small_data().glob("*_hourly.csv"))[:NUM_REGIONS]:
        shutil.copy(path, data)
    without = run_flow("run", data, folder / "without", *settings_of(*range(NUM_SEEDS)))
    assert without.result.returncode == 0, without.result.stderr
    begun = time.monotonic()
    again = run_flow("run", data, folder / "timed", *settings_of(0))
    seconds = time.monotonic() - begun
    assert again.result.returncode == 0, again.result.stderr
    chance, kills, families = random.Random(20), Counter[str](), list[psutil.Process]()  # noqa: S311
    where: Command = (GRIDCAST, "run", "--data", data, "--artifacts", artifacts)
    for number in range(NUM_KILLS):
        target, at = TARGETS[number % len(TARGETS)], chance.uniform(0.0, seconds)
        words, log = settings_of(number // KILLS_A_SEED), folder / f"log-{number}-{target}.txt"
        attempt = kill_one((*where, *words), target, after_seconds=at, log=log)
        kills[target] += attempt.is_met
        families += attempt.family
        print(f"{number}: {target} after {at:.1f} of {seconds:.1f} s, {attempt.is_met}", flush=True)  # noqa: T201
    after = run_flow("run", data, artifacts, *settings_of(*range(NUM_SEEDS)))
    return Killed(artifacts, without, after, kills, families)


def test_forty_kills_were_tried_and_most_met_their_target(killed: Killed) -> None:
    assert killed.kills.total() >= NUM_KILLS // 2, killed.kills
    assert set(killed.kills) == set(TARGETS)


def test_the_run_after_the_kills_ends_well(killed: Killed) -> None:
    assert killed.after.result.returncode == 0, killed.after.result.stderr
    assert killed.after.summary.status == "completed"


def test_the_weights_are_those_of_runs_in_which_nothing_was_killed(killed: Killed) -> None:
    undisturbed = {n: m.weights_sha256 for n, m in killed.undisturbed.summary.models.items()}
    found = {n: m.weights_sha256 for n, m in killed.after.summary.models.items()}
    assert found == undisturbed
    assert len(found) == NUM_SEEDS


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
    assert {f"gru-seed{seed}" for seed in range(NUM_SEEDS)} <= finished.keys()


def test_data_are_published_once_and_what_is_left_passes_its_audit(killed: Killed) -> None:
    snapshots = [
        each for each in (killed.artifacts / "data" / "snapshots").iterdir()
        if "changes" not in each.name
    ]  # fmt: skip
    assert len(snapshots) == 1
    findings = verify(killed.after.summary.run_id, killed.artifacts).findings
    assert {each.state for each in findings} == {"ok"}
