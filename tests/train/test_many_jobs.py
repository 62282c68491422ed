"""24 jobs, and a training process killed every ten seconds: who is killed fails alone, by name."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from gridcast.summary import Summary
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
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.soak]

NUM_JOBS, SECONDS_BETWEEN = 24, 10.0
# Some seconds of training for each.
MODEL = settings(
    *SMALL_MODEL, "training.passes=16", "model.hidden_size=128", "windows.lookback=168",
    f"training.seeds={list(range(NUM_JOBS // 2))}", "training.checkpoint_seconds=1",
    "evaluation.backtest_days=0",
)  # fmt: skip


@dataclass(frozen=True)
class Killed:
    """Which jobs were killed, what their run and the next one came to."""

    jobs: list[str]
    first: Summary
    log: str
    again: PipelineRun


def trainings(run: Started) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        for each in run.children(recursive=True):
            if "tasks.train.training_process" in command_of(each):
                yield each


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("jobs")
    data, artifacts, log = folder / "load", folder / "artifacts", folder / "log.txt"
    data.mkdir()
    for path in sorted(small_data().glob("*_hourly.csv"))[:3]:
        shutil.copy(path, data)
    command: Command = (GRIDCAST, "run", "--data", data, "--artifacts", artifacts, *MODEL)
    chance, jobs, due = random.Random(24), list[str](), 0.0  # noqa: S311
    with started(*command, log=log, environment=clean_environment()) as run:
        wait_for("a training", lambda: run.poll() is not None or list(trainings(run)))
        while run.poll() is None:
            if (found := list(trainings(run))) and time.monotonic() >= due:
                victim = chance.choice(found)
                name = Path(command_of(victim)[-1]).name.rpartition("-")[0]
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
                    jobs.append(name)
                due = time.monotonic() + SECONDS_BETWEEN
            time.sleep(0.1)
    latest = (artifacts / "runs" / "latest").resolve() / "summary.json"
    assert latest.is_file(), log.read_text("utf-8")
    first = Summary.model_validate_json(latest.read_bytes())
    return Killed(jobs, first, log.read_text("utf-8"), run_flow("run", data, artifacts, *MODEL))


def test_all_jobs_end_in_the_state_they_should(killed: Killed) -> None:
    assert len(killed.jobs) >= 3, "too few were killed for this to say anything"
    trained, failed = set(killed.first.models), set(killed.first.failed_jobs)
    assert len(trained | failed) == NUM_JOBS
    assert trained.isdisjoint(failed)
    assert failed <= set(killed.jobs)  # nobody but those
    # Who was killed after its last line had nothing left to do.
    assert len(set(killed.jobs) - failed) <= 1
    reasons = Counter("signal 9 (SIGKILL)" in each for each in killed.first.failed_jobs.values())
    assert reasons == {True: len(failed)}


def test_the_next_run_trains_the_killed_ones_and_no_other(killed: Killed) -> None:
    again = killed.again
    assert again.result.returncode == 0, again.result.stderr
    new = {name for name, model in again.summary.models.items() if not model.cached}
    assert new == set(killed.first.failed_jobs)
    assert len(again.summary.models) == NUM_JOBS
