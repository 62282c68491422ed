"""An owner and its process: relayed, failed, killed, hung, told to stop, and left by its owner."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from gridcast.errors import TrainingJobError
from tasks.machine.owned_process import (
    Work,
    numerical_environment,
    owned_processes,
    run_owned,
    stop,
)
from tests.builders.pipelines import ROOT, SECONDS, alive, wait_for

if TYPE_CHECKING:
    from pathlib import Path

CHILD = "tests.builders.owned_children"


def work_of(folder: Path, does: str, *, limit_seconds: float = SECONDS) -> Work:
    folder.mkdir(exist_ok=True)
    (folder / "does").write_text(does, encoding="utf-8")
    return Work(
        name="job", module=CHILD, folder=folder, threads=1, limit_seconds=limit_seconds,
        limit_setting="training.time_limit_seconds", stops=(folder / "stop", folder / "job.stop"),
        seconds_to_end=1 if does == "hang" else SECONDS,
    )  # fmt: skip


def is_gone(folder: Path) -> bool:
    """Of a process that may not have come to tell its number: then it was killed before."""
    path = folder / "pid"
    return not path.exists() or not psutil.pid_exists(int(path.read_text("utf-8")))


def ignore(_: dict[str, Any]) -> None:
    """What is told."""


def test_what_a_process_tells_is_handed_on(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    run_owned(work_of(tmp_path, "end"), on_event=events.append)
    assert events == [{"event": "begun"}]


@pytest.mark.parametrize(
    ("does", "limit_seconds", "reason"),
    [
        ("fail", SECONDS, "job: here: found this, expected that; its log is"),
        ("die", SECONDS, r"killed by signal 9 \(SIGKILL\)"),
        ("hang", 1, r"stopped at its limit of 1 s \(training\.time_limit_seconds\)"),
        ("sleep", 1, "stopped at its limit of 1 s"),
        ("close", 1, "stopped at its limit of 1 s"),
    ],
)
def test_a_process_that_does_not_end_well_fails_saying_why_and_nothing_of_it_is_left(
    tmp_path: Path, does: str, limit_seconds: float, reason: str
) -> None:
    with pytest.raises(TrainingJobError, match=reason):
        run_owned(work_of(tmp_path, does, limit_seconds=limit_seconds), on_event=ignore)
    assert is_gone(tmp_path)


def test_a_process_that_is_told_to_stop_has_time_to_keep_what_it_has_done(tmp_path: Path) -> None:

    def stop_it(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            stop(tmp_path / "stop", "no more of it")

    with pytest.raises(TrainingJobError, match="job: no more of it; its log is"):
        run_owned(work_of(tmp_path, "keep"), on_event=stop_it)
    assert is_gone(tmp_path)
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("name", ["stop", "job.stop"])
def test_a_process_ends_once_one_of_its_stop_files_is_there_and_none_begins_after(
    tmp_path: Path, name: str
) -> None:
    work = work_of(tmp_path, "hang")
    with pytest.raises(TrainingJobError, match="job: no more of it; its log is"):
        run_owned(work, on_event=lambda _: stop(tmp_path / name, "no more of it"))
    assert is_gone(tmp_path)
    (tmp_path / "pid").unlink()
    with pytest.raises(TrainingJobError, match="no more of it"):
        run_owned(work, on_event=ignore)
    assert not (tmp_path / "pid").exists()


def test_all_that_look_at_a_runs_stop_file_end_when_it_is_interrupted(tmp_path: Path) -> None:
    works = [work_of(tmp_path / str(number), "hang") for number in range(3)]
    stops = (tmp_path / "stop",)
    reasons: list[str] = []

    def own(work: Work) -> None:
        with pytest.raises(TrainingJobError) as caught:
            run_owned(dataclasses.replace(work, stops=stops), on_event=ignore)
        reasons.append(caught.value.reason)

    threads = [threading.Thread(target=own, args=[work]) for work in works]

    def begin_and_interrupt() -> None:
        for thread in threads:
            thread.start()
        pids = [work.folder / "pid" for work in works]
        wait_for("all processes", lambda: all(pid.exists() for pid in pids))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), owned_processes(stops[0]):
        begin_and_interrupt()
    for thread in threads:
        thread.join(SECONDS)
    assert reasons == ["stopped, for the run was interrupted"] * 3
    assert all(is_gone(work.folder) for work in works)


OWNER = f"""
import sys
from pathlib import Path
from tasks.machine.owned_process import Work, run_owned
work = Work(name="job", module="{CHILD}", folder=Path(sys.argv[1]), threads=1,
            limit_seconds={SECONDS}, limit_setting="")
run_owned(work, on_event=print)
"""


def test_a_process_ends_by_itself_when_its_owner_is_killed(tmp_path: Path) -> None:
    work_of(tmp_path, "sleep")
    with subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], cwd=ROOT) as owner:
        wait_for("the process", (tmp_path / "pid").exists)
        child = psutil.Process(int((tmp_path / "pid").read_text("utf-8")))
        owner.kill()
    psutil.wait_procs([child], timeout=SECONDS)
    assert alive([child]) == []


def test_a_process_that_computes_keeps_its_memory_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "4096")
    environment = numerical_environment(3)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) >= 2**30
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "4096"
