"""A lock lets one in, ends with its process, and leaves nothing; who waits may give up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from gridcast.errors import WaitEndedError
from tasks.runs.locks import FOLDER, held

ROOT = Path(__file__).resolve().parents[2]
# Adds one to a number in a file so often, slowly enough to be disturbed.
_COUNTS = """
import sys, time
from pathlib import Path
from tasks.runs.locks import held
folder, path = Path(sys.argv[1]), Path(sys.argv[1], "number")
for _ in range(25):
    with held(folder, "number"):
        number = int(path.read_text())
        time.sleep(0.001)
        path.write_text(str(number + 1))
"""
_HOLDS = """
import sys, time
from pathlib import Path
from tasks.runs.locks import held
with held(Path(sys.argv[1]), "job"):
    print("held", flush=True)
    time.sleep(600)
"""


def python(code: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def test_processes_that_hold_it_in_turn_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    with ExitStack() as stack:
        processes = [stack.enter_context(python(_COUNTS, tmp_path)) for _ in range(3)]
        assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "75"
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_threads_of_a_process_hold_it_in_turn(tmp_path: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> bool:
        with held(tmp_path, "job"):
            inside.append(number)
            time.sleep(0.01)
            return inside.pop() == number and not inside

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(12)))


def test_who_waits_goes_on_when_the_holder_is_killed(tmp_path: Path) -> None:
    with python(_HOLDS, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        entered = Event()

        def enter() -> None:
            with held(tmp_path, "job"):
                entered.set()

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(enter)
            assert not entered.wait(0.5)
            holder.send_signal(signal.SIGKILL)
            waiting.result(300)
    assert entered.is_set()
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_other_subjects_are_free(tmp_path: Path) -> None:
    with held(tmp_path, "job-a"), held(tmp_path, "job-b"), held(tmp_path / "below", "job-a"):
        assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_who_is_interrupted_while_waiting_gives_up_naming_the_lock(tmp_path: Path) -> None:
    interrupted = Event()

    def wait() -> None:
        with held(tmp_path, "job", is_cancelled=interrupted.is_set):
            pass

    with held(tmp_path, "job"), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait)
        time.sleep(0.3)
        interrupted.set()
        with pytest.raises(WaitEndedError, match=r"job\.lock"):
            waiting.result(300)
        assert (tmp_path / FOLDER / "job.lock").is_file()  # still held
