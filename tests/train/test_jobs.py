"""Training processes and their owner: killed, hung, orphaned, interrupted, or without a number.

Most tests use the real training process on a small table of features, without Prefect; those that
need an owner use the real command.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from gridcast.config import Config
from gridcast.summary import Summary
from tasks.runs.killed_runs import REASON
from tasks.train.plan_jobs import warn_of_missing_loops
from tasks.train.records import BaselineJob, NetworkJob
from tests.builders.pipelines import (
    GRIDCAST,
    NUM_REGIONS,
    ROOT,
    SECONDS,
    SMALL_MODEL,
    Command,
    Started,
    alive,
    clean_environment,
    command_of,
    copy_artifacts,
    first_run,
    kill_tree,
    on_a_server,
    read_json,
    run_flow,
    session_folder,
    settings,
    small_data,
    started,
    wait_for,
)
from tests.builders.records import write_tree
from tests.builders.warm_python import HELD
from tests.builders.warm_server import WarmProcess, warm_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


pytestmark = [pytest.mark.prefect, pytest.mark.slow]

PROCESS = NetworkJob.process
# Passes of half a second, since of each Prefect's server is told.
ENDLESS = (
    *SMALL_MODEL, "training.passes=3000", "model.hidden_size=128", "windows.lookback=168",
)  # fmt: skip
NO_NUMBER = {"learning_rate": 1e30, "clip_norm": None, "schedule": "constant"}


@pytest.fixture
def job_folder(tmp_path: Path) -> Path:
    """A job like the first run's GRU, not yet trained."""
    (source,) = (first_run().artifacts / "jobs").glob("gru-seed0-*/job.json")
    folder = tmp_path / "job"
    folder.mkdir()
    job = read_json(source)
    job["features"]["path"] = str(first_run().artifacts / job["features"]["path"])
    write_tree(folder / "job.json", job)
    return folder


def change_training(folder: Path, **training: object) -> None:
    job = read_json(folder / "job.json")
    job["config"]["training"] |= training
    write_tree(folder / "job.json", job)


@contextmanager
def process_of(
    folder: Path, module: str = PROCESS, *, python: Path | None = None
) -> Iterator[psutil.Popen]:
    """The process as its owner starts it."""
    process = psutil.Popen(
        [python or warm_python(), "-m", module, str(folder)], cwd=ROOT, env=clean_environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        kill_tree(process)
        process.stdin.close()
        process.stdout.close()


def events_of(process: psutil.Popen) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.stdout]


# -- the process alone ---------------------------------------------------------------------------


def test_a_loss_that_is_no_number_fails_naming_model_seed_and_step(job_folder: Path) -> None:
    change_training(job_folder, **NO_NUMBER)
    with process_of(job_folder) as process:
        (reason,) = (each["reason"] for each in events_of(process) if each["event"] == "error")
        assert process.wait(SECONDS) == 1
    assert re.match(r"ERROR gru seed 0: found a training loss of (nan|inf) at step \d+, ", reason)
    assert [path.name for path in job_folder.iterdir()] == ["job.json"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no file"),
        ("{", "no JSON"),
        ("[]", "JSON that is no object (list)"),
        ('{"schema_version": 99}', "a record that a newer gridcast wrote (schema 99)"),
        ("{}", "no job"),
    ],
    ids=["gone", "cut_off", "list", "newer", "empty"],
)
def test_a_job_that_is_no_record_is_refused_in_one_line_that_names_its_file(
    tmp_path: Path, content: str | None, found: str
) -> None:
    path = tmp_path / "job.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    for module in (NetworkJob.process, BaselineJob.process):
        with process_of(tmp_path, module) as process:
            (event,) = events_of(process)
            assert process.wait(SECONDS) == 1
        assert event["event"] == "error"
        assert event["reason"].startswith(f"ERROR {path}: found {found}")
        assert "\n" not in event["reason"]


def test_a_table_of_features_that_was_changed_is_refused_before_it_is_read(
    job_folder: Path, tmp_path: Path
) -> None:
    job = read_json(job_folder / "job.json")
    table = tmp_path / "features.parquet"
    shutil.copy(job["features"]["path"], table)
    with table.open("ab") as file:
        file.write(b"\0")
    job["features"]["path"] = str(table)
    write_tree(job_folder / "job.json", job)
    with process_of(job_folder) as process:
        (reason,) = (each["reason"] for each in events_of(process) if each["event"] == "error")
    assert reason.startswith(f"ERROR {table}: found SHA-256 ")
    assert job["features"]["file_sha256"][:16] in reason


def test_where_numba_refuses_our_loops_the_process_says_so_once_and_its_result_does_too(
    job_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # which numba reads when it is imported
    with process_of(job_folder, python=Path(sys.executable)) as process:
        (reason,) = (each["reason"] for each in events_of(process) if each["event"] == "fallback")
        assert process.wait(300) == 0
    assert reason.startswith("numba does not compile our loops here (NotImplementedError: ")
    engine = read_json(job_folder / "result.json")["engine"]
    assert engine == {"layers": "pytorch", "adam": "pytorch", "reason": reason}


# -- the owner -----------------------------------------------------------------------------------


@contextmanager
def training(
    artifacts: Path, log: Path, *overrides: str, environment: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """``gridcast train`` on what the first run ingested."""
    command: Command = (GRIDCAST, "train", "--artifacts", artifacts, *settings(*overrides))
    is_cold = environment is None  # with a server of its own, whose whole group is told to end
    environment = {**(environment or clean_environment()), "PYTHONFAULTHANDLER": "1"}
    with started(*command, log=log, environment=environment, is_cold=is_cold) as process:
        yield process


def status_of(process: Started, log: Path) -> int:
    """With which status it ends; one that does not end says first where its threads stand."""
    with suppress(psutil.TimeoutExpired):
        return int(process.wait(SECONDS))
    process.send_signal(signal.SIGABRT)  # which Python's fault handler answers
    process.wait(SECONDS)
    pytest.fail(f"It did not end within {SECONDS} s:\n{log.read_text(encoding='utf-8')[-8000:]}")


def jobs_of(process: Started) -> dict[str, psutil.Process]:
    """Its training processes, by name of the job."""
    found = {}
    for each in process.children(recursive=True):
        with_arguments = command_of(each)
        if PROCESS in with_arguments:
            name = re.search(r"/jobs/(\w+-seed\d+)-", with_arguments[-1])
            assert name is not None
            found[name[1]] = each
    return found


@contextmanager
def endless_training(
    artifacts: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Started, list[psutil.Process]]]:
    """A training under way and what it started; once the body has ended it, all of that is gone."""
    with training(artifacts, log, *ENDLESS, environment=environment) as process:

        def both() -> bool:
            text = log.read_text(encoding="utf-8")
            assert process.poll() is None, text
            return all(f"{job}-seed0: pass 1/" in text for job in ("gru", "lstm"))

        wait_for("both jobs to train", both)
        assert sorted(jobs_of(process)) == ["gru-seed0", "lstm-seed0"]
        family = (
            process.family() if isinstance(process, WarmProcess)
            else process.children(recursive=True)
        )  # fmt: skip
        assert len(family) >= 4
        yield process, family
        psutil.wait_procs(family, timeout=SECONDS)
        assert alive(family) == []


def latest_summary(artifacts: Path) -> Summary:
    return Summary.model_validate_json((artifacts / "runs/latest/summary.json").read_bytes())


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return copy_artifacts(tmp_path / "artifacts")


def mlflow_runs(artifacts: Path) -> set[str]:
    connection = sqlite3.connect(f"file:{artifacts / 'mlflow' / 'mlflow.db'}?mode=ro", uri=True)
    rows = connection.execute("SELECT name FROM runs").fetchall()
    connection.close()
    return {str(name) for (name,) in rows}


def mlflow_statuses(artifacts: Path, run_id: str) -> dict[str, str]:
    """How the MLflow runs of a pipeline run ended, by name."""
    connection = sqlite3.connect(f"file:{artifacts / 'mlflow' / 'mlflow.db'}?mode=ro", uri=True)
    query = """
        SELECT name, status FROM runs JOIN tags USING (run_uuid)
        WHERE tags.key = 'pipeline_run' AND tags.value = ?
    """
    rows = connection.execute(query, (run_id,)).fetchall()
    connection.close()
    return {str(name): str(status) for name, status in rows}


@pytest.fixture(scope="module")
def killed() -> tuple[Summary, str, Path]:
    """``gridcast run --fresh`` of two jobs, of which one is killed: summary, log, artifacts."""
    artifacts = copy_artifacts(session_folder() / "killed")
    log = session_folder() / "killed.txt"
    two_jobs = settings(*SMALL_MODEL, "model.cells=[gru]", "training.seeds=[0, 1]")
    folders = ("--data", small_data(), "--artifacts", artifacts)
    command: Command = (GRIDCAST, "run", "--fresh", *folders, *two_jobs)
    environment = {**on_a_server(), HELD: "/gru-seed1-"}
    with started(*command, log=log, environment=environment) as process:
        job = wait_for("the second job", lambda: jobs_of(process).get("gru-seed1"))
        job.kill()
        assert process.wait(SECONDS) == 1, log.read_text("utf-8")
        assert alive([job]) == []
    return latest_summary(artifacts), log.read_text("utf-8"), artifacts


def test_a_job_that_is_killed_fails_alone_and_the_run_is_partial(
    killed: tuple[Summary, str, Path],
) -> None:
    summary, log, artifacts = killed
    assert (summary.status, summary.exit_code) == ("partial", 1)
    assert summary.models.keys() == {"gru-seed0"}
    assert summary.failed_jobs.keys() == {"gru-seed1"}
    assert "killed by signal 9 (SIGKILL)" in summary.failed_jobs["gru-seed1"]
    assert summary.failed_jobs["gru-seed1"] in log
    assert "gru-seed1" not in mlflow_runs(artifacts)


def test_fresh_does_all_again_and_comes_to_the_same_weights_and_scores(
    killed: tuple[Summary, str, Path],
) -> None:
    summary, _, _ = killed
    assert len(summary.regions) == NUM_REGIONS
    assert not any(region.cached for region in summary.regions.values())
    before, after = first_run().summary.models["gru-seed0"], summary.models["gru-seed0"]
    assert not after.cached
    assert after.weights_sha256 == before.weights_sha256
    assert after.smape == before.smape
    assert after.mlflow_run_id != before.mlflow_run_id


def test_when_all_jobs_fail_nothing_of_them_is_logged_and_the_run_has_failed(
    artifacts: Path, tmp_path: Path
) -> None:
    before = mlflow_runs(artifacts)
    overrides = [f"training.{key}={json.dumps(value)}" for key, value in NO_NUMBER.items()]
    log = tmp_path / "log.txt"
    given = (*SMALL_MODEL, *overrides)
    with training(artifacts, log, *given, environment=on_a_server()) as process:
        assert status_of(process, log) == 1, log.read_text("utf-8")
    summary = latest_summary(artifacts)
    assert summary.status == "failed"
    assert sorted(summary.failed_jobs) == ["gru-seed0", "lstm-seed0"]
    for name, reason in summary.failed_jobs.items():
        assert f"{name.partition('-')[0]} seed 0: found a training loss of" in reason
        assert " at step " in reason
    assert summary.models == {}
    assert mlflow_runs(artifacts) == before


@pytest.mark.parametrize(
    ("number", "to_all", "status"),
    [
        pytest.param(signal.SIGINT, True, 130, id="ctrl_c_of_a_terminal", marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, False, 143, id="sigterm"),
    ],
)
def test_an_interrupted_run_ends_with_all_its_processes_and_a_summary(
    artifacts: Path, tmp_path: Path, number: signal.Signals, *, to_all: bool, status: int
) -> None:
    log = tmp_path / "log.txt"
    # A terminal interrupts a server of its own too, and whose alone is told ends it at its exit.
    environment = None if to_all else on_a_server()
    with endless_training(artifacts, log, environment) as (process, _):
        if to_all:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert status_of(process, log) == status, log.read_text("utf-8")
    assert log.read_text("utf-8").count("Interrupted (") == 1
    summary = latest_summary(artifacts)
    assert (summary.status, summary.exit_code, summary.models) == ("failed", 1, {})
    assert list((artifacts / "jobs").glob("*/*-tmp")) == []
    kept = [path.parent.parent.name for path in (artifacts / "jobs").glob("*/checkpoints/*")]
    assert sorted({name.partition("-")[0] for name in kept}) == ["gru", "lstm"]
    statuses = mlflow_statuses(artifacts, summary.run_id)
    assert statuses == {"gru-seed0": "KILLED", "lstm-seed0": "KILLED"}


@pytest.mark.soak
def test_a_run_whose_prefect_server_is_told_to_end_as_well_still_says_that_it_was_interrupted(
    artifacts: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    with endless_training(artifacts, log) as (process, _):
        os.killpg(process.pid, signal.SIGTERM)  # as systemd does, and `timeout`
        assert status_of(process, log) == 128 + signal.SIGTERM, log.read_text("utf-8")
    summary = latest_summary(artifacts)
    assert (summary.status, summary.exit_code) == ("failed", 1)
    assert summary.errors == ["The run was interrupted (TerminationSignal) before it ended"]


def test_a_run_that_is_killed_leaves_no_process_and_the_next_one_closes_it(
    artifacts: Path, tmp_path: Path
) -> None:
    with endless_training(artifacts, tmp_path / "log.txt", on_a_server()) as (process, _):
        process.kill()  # it alone: SIGKILL of a person, or of a kernel short of memory
        process.wait(SECONDS)
    (killed,) = (
        path for path in (artifacts / "runs").iterdir() if not (path / "summary.json").exists()
    )
    flow_run = read_json(killed / "opened.json")["flow_run_id"]
    assert "RUNNING" in states_of(flow_run)
    again = run_flow("ingest", small_data(), artifacts, environment=on_a_server())  # the shortest
    assert again.result.returncode == 0, again.result.stderr
    summary = Summary.model_validate_json((killed / "summary.json").read_bytes())
    assert (summary.status, summary.errors) == ("failed", [REASON])
    state, *of_tasks = states_of(flow_run)
    assert state == "CRASHED"
    assert set(of_tasks) <= {"COMPLETED", "FAILED", "CRASHED"}


def states_of(flow_run: str) -> list[str]:
    """What the session's server knows of a run of a flow, then of its tasks."""
    address = on_a_server()["PREFECT_API_URL"]
    own = httpx.get(f"{address}/flow_runs/{flow_run}").raise_for_status().json()
    wanted = {"flow_runs": {"id": {"any_": [flow_run]}}}
    tasks = httpx.post(f"{address}/task_runs/filter", json=wanted).raise_for_status().json()
    return [str(each["state_type"]) for each in (own, *tasks)]


HELD_BY_A_SERVER = """
import os, sys, time
from pathlib import Path
from tasks.runs.servers import local_settings, start_embedded_prefect
artifacts = Path(sys.argv[1])
os.environ.update(local_settings(artifacts))
start_embedded_prefect(artifacts)
print("begun", flush=True)
time.sleep(3600)
"""


def check_closed_to_others(server: psutil.Process) -> None:
    """It answers nobody who does not know its word, from wherever."""
    (port,) = {each.laddr.port for each in server.net_connections() if each.status == "LISTEN"}
    for headers in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        address = f"http://127.0.0.1:{port}/api/variables/name/x"
        answer = httpx.delete(address, headers=headers, timeout=SECONDS)
        assert answer.status_code == 401, headers


@pytest.mark.soak
def test_a_server_of_a_run_that_is_killed_ends_with_it(artifacts: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    command: Command = (sys.executable, "-c", HELD_BY_A_SERVER, artifacts)
    with started(*command, log=log) as process:
        wait_for("the server", lambda: "begun" in log.read_text("utf-8"))
        family = process.children(recursive=True)
        (server,) = [each for each in family if "uvicorn" in command_of(each)]
        check_closed_to_others(server)
        process.kill()
        process.wait(SECONDS)
        psutil.wait_procs(family, timeout=SECONDS)
        assert alive(family) == []


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"precision": "bf16"}, "training.precision=bf16"),
        ({"precision": "fp16"}, "training.precision=fp16"),
        ({"precision": "fp32"}, ""),
        ({"precision": "auto"}, ""),
        ({"precision": "bf16", "recurrence": "library"}, ""),
    ],
)
def test_who_asks_a_cpu_for_what_its_loops_do_not_know_is_warned_in_one_line(
    training: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = tuple(f"training.{name}={value}" for name, value in training.items())
    warn_of_missing_loops(Config.load("base", overrides=overrides))
    assert len(caplog.records) == bool(reason)
    assert reason in caplog.text
