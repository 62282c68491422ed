"""A job that is asked on one machine, done on another and taken by a third."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gridcast.config import Config
from gridcast.errors import UsageError
from tasks.runs.record_files import read_record, write_record
from tasks.store.job_exchange import (
    fetch_finished_job,
    fetch_job,
    is_finished,
    keep_job,
    offer_job,
)
from tasks.train.job_owner import found_result
from tasks.train.records import NetworkJob, Specification, TrainedJob
from tests.builders.buckets import make_copy, make_store
from tests.builders.jobs import make_jobs
from tests.builders.pipelines import ROOT, SECONDS, SMALL_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.store.kept_sets import WorkingCopy

CONFIG = Config.load(overrides=SMALL_MODEL)
LOADS = {"AEP": [1.0 + hour % 24 for hour in range(2000)]}


@pytest.fixture
def machines(tmp_path: Path) -> tuple[WorkingCopy, WorkingCopy, WorkingCopy]:
    address = make_store(tmp_path / "share")
    planner, worker, third = (make_copy(tmp_path / n, address) for n in ("planner", "worker", "x"))
    return planner, worker, third


def asked_of(copy: WorkingCopy) -> Path:
    (folder,) = make_jobs(copy.artifacts, CONFIG, loads=LOADS)
    return folder


@pytest.mark.slow
def test_a_worker_without_a_shared_folder_trains_a_job_and_the_planner_takes_its_result(
    machines: tuple[WorkingCopy, WorkingCopy, WorkingCopy],
) -> None:
    planner, worker, third = machines
    folder = asked_of(planner)
    offer_job(planner, folder)
    there = fetch_job(worker, folder.name)
    command = [sys.executable, "-m", "tasks.train.training_process", str(there)]
    pipe = subprocess.PIPE  # the process ends with its owner, who holds its input open
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        assert process.wait(SECONDS) == 0, told
    assert not is_finished(third, folder.name)
    keep_job(worker, there)
    assert is_finished(third, folder.name)
    assert fetch_finished_job(planner, folder)
    job: NetworkJob = read_record(folder / "job.json", Specification[NetworkJob]).job
    done = found_result(job.model_copy(update={"folder": str(folder)}), TrainedJob)
    assert done is not None
    assert {"weights.npz", "forecasts.parquet"} <= done.files.keys()
    assert not (folder / "checkpoints").exists()
    assert fetch_finished_job(third, third.artifacts / "jobs" / folder.name)


def test_a_job_that_is_asked_anew_is_fetched_as_it_was_asked_last(
    machines: tuple[WorkingCopy, WorkingCopy, WorkingCopy],
) -> None:
    planner, worker, _ = machines
    folder = asked_of(planner)
    offer_job(planner, folder)
    fetch_job(worker, folder.name)
    asked = read_record(folder / "job.json", Specification[NetworkJob])
    again = asked.model_copy(update={"job": asked.job.model_copy(update={"threads": 2})})
    write_record(folder / "job.json", again, artifacts=planner.artifacts)
    offer_job(planner, folder)
    there = fetch_job(worker, folder.name)
    assert read_record(there / "job.json", Specification[NetworkJob]).job.threads == 2
    (features,) = (worker.artifacts / "features").glob("*.parquet")
    assert features.read_bytes() == (planner.artifacts / "features" / features.name).read_bytes()


def test_what_was_not_offered_or_has_not_finished_is_refused(
    machines: tuple[WorkingCopy, WorkingCopy, WorkingCopy],
) -> None:
    planner, worker, _ = machines
    with pytest.raises(UsageError, match=r"no job gru-seed3"):
        fetch_job(worker, "gru-seed3-000000000000")
    with pytest.raises(UsageError, match=r"no job\.json"):
        offer_job(planner, planner.artifacts / "jobs" / "nothing")
    with pytest.raises(UsageError, match=r"no result\.json"):
        keep_job(planner, asked_of(planner))


def test_a_store_that_is_gone_costs_no_more_than_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = make_copy(tmp_path / "one", (tmp_path / "gone").as_uri())
    with caplog.at_level(logging.WARNING):
        assert not fetch_finished_job(copy, copy.artifacts / "jobs" / "gru-seed0-000000000000")
    assert "it is done here" in caplog.text
