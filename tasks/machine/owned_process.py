"""A child process that a task owns: it is heard, stopped at its limit, and never left behind.

What runs in it is a module of ours that is given a folder: ``python -m <module> <folder>``. It
prints one JSON object a line (``event``, and the event's facts), the last of them ``error`` with a
``reason`` if it fails, and ends when its standard input closes: then its owner is gone. Both sides
stand here: `run_owned` is the owner's, `send_event`, `end_with_owner` and `exit_process` are the
process's. Who wants it ended leaves a file, `stop`, at which its owner looks, in whatever thread or
machine it is: the process gets SIGTERM, and some seconds in which to keep what it has done.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import gridcast
from gridcast.errors import TrainingJobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    OnEvent = Callable[[dict[str, Any]], None]

_ROOT = Path(gridcast.__file__).resolve().parent.parent
_POLL_SECONDS = 0.2
# glibc gives large blocks back to the system as they are freed, and a training step asks for the
# same ones again: the page faults took half of an LSTM's step (64 windows; a quarter of the
# article's GRU's). Other C libraries read neither.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process is to do, and within what bounds; ``limit_setting`` is the key of the limit.

    ``name`` is what people call it, ``threads`` are those of its numerical libraries,
    ``other_folders`` more that it is given. One of the files ``stops``, once it is there, ends it:
    it then has ``seconds_to_end`` to keep what it has done so far.
    """

    name: str
    module: str
    folder: Path
    threads: int
    limit_seconds: float
    limit_setting: str
    other_folders: tuple[Path, ...] = ()
    stops: tuple[Path, ...] = ()
    seconds_to_end: float = 10.0

    @property
    def log(self) -> Path:
        """Where its standard error goes."""
        return self.folder / "log.txt"


@contextmanager
def owned_processes(stop_file: Path) -> Iterator[None]:
    """End all that look at ``stop_file`` when what is inside is interrupted (Ctrl-C, SIGTERM).

    The threads that wait for them hear no signal, and Prefect does not end before its threads do.
    """
    try:
        yield
    except BaseException:
        stop(stop_file, "stopped, for the run was interrupted")
        raise


def stop(stop_file: Path, reason: str) -> None:
    """Have the processes ended that look at ``stop_file``, and let no more of them begin."""
    stop_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = stop_file.with_suffix(".tmp")
    unfinished.write_text(reason, encoding="utf-8")
    unfinished.replace(stop_file)


def require_going(work: Work) -> None:
    """Refuse what is to end.

    Raises:
        TrainingJobError: one of its stop files is there.
    """
    if reason := stop_reason(work):
        raise TrainingJobError(work.name, reason=reason, log=work.log)


def stop_reason(work: Work) -> str:
    """Why the work is to end, or nothing."""
    for stop_file in work.stops:
        with contextlib.suppress(FileNotFoundError):
            return stop_file.read_text(encoding="utf-8")
    return ""


def run_owned(work: Work, *, on_event: OnEvent) -> None:
    """Start the process, hand on what it tells, and return when it has ended well.

    Raises:
        TrainingJobError: it failed, was killed, told to stop, or ran past its limit; nothing of it
            is left.
    """
    require_going(work)
    with _started(work) as process, _watched(process, work) as reasons:
        error = _relay(process.stdout or (), on_event)
        code = process.wait()
    if reasons:
        error = reasons[0]
    elif code < 0:
        error = f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    elif code and not error:
        error = f"its process ended with status {code}"
    if error:
        raise TrainingJobError(work.name, reason=error.removeprefix("ERROR "), log=work.log)


def numerical_environment(threads: int) -> dict[str, str]:
    """Environment of a process that computes: its threads, and memory that it keeps for itself.

    What the environment already says of the allocator is left as it is.
    """
    own = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(_ROOT)}
    return {**_KEEP_MEMORY, **os.environ, **own}


@contextmanager
def _started(work: Work) -> Iterator[subprocess.Popen[str]]:
    """The process, in a session of its own; on the way out nothing of it is left."""
    command = [sys.executable, "-m", work.module, *map(str, (work.folder, *work.other_folders))]
    environment = numerical_environment(work.threads)
    with work.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=_ROOT, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def _watched(process: subprocess.Popen[str], work: Work) -> Iterator[list[str]]:
    """Kill the process at its limit; tell it to end, then kill it, once it is told to stop.

    Why stands in what is given.
    """
    is_over, reasons = threading.Event(), list[str]()
    deadline = time.monotonic() + work.limit_seconds

    def watch() -> None:
        while not reasons and not is_over.wait(_POLL_SECONDS):
            if time.monotonic() > deadline:
                limit = f"{work.limit_seconds:.0f} s ({work.limit_setting})"
                reasons.append(f"stopped at its limit of {limit}")
            elif reason := stop_reason(work):
                reasons.append(reason)
                _end(process, work.seconds_to_end)
        if reasons:
            _kill(process)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield reasons
    finally:
        is_over.set()
        thread.join()


def _relay(lines: Iterable[str], on_event: OnEvent) -> str:
    """Hand on what the process tells until it closes its output; its error, if it told one."""
    error = ""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "error":
            error = event["reason"]
        else:
            on_event(event)
    return error


def send_event(event: str, **facts: object) -> None:
    """In the process: one line to the owner."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def end_with_owner() -> None:
    """In the process: end when standard input closes, which it does however the owner dies."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def exit_process(status: int) -> NoReturn:
    """In the process: end it, now that all is written.

    The usual way out takes the modules apart, which with PyTorch's lasts a second.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end(process: subprocess.Popen[str], seconds: float) -> None:
    """Ask it to end (SIGTERM), and wait so long."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.send_signal(signal.SIGTERM)
        process.wait(seconds)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
