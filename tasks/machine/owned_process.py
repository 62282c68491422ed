"""A child process that a task owns: it is heard, stopped at its limit, and never left behind.

What runs in it is a module of ours that is given a folder: ``python -m <module> <folder>``. It
prints one JSON object a line (``event``, and the event's facts), the last of them ``error`` with a
``reason`` if it fails, and ends when its standard input closes: then its owner is gone. Both sides
stand here: `run_owned` is the owner's, `tell`, `end_with_owner` and `leave` are the process's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
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
_SECONDS_TO_DIE = 10.0
# glibc gives large blocks back to the system as they are freed, and a training step asks for the
# same ones again: the page faults took half of an LSTM's step (64 windows; a quarter of the
# article's GRU's). Other C libraries read neither.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
_live: set[subprocess.Popen[str]] = set()
_live_lock = threading.Lock()
_interrupted = threading.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a process is to do, and within what bounds; ``limit_setting`` is the key of the limit.

    ``name`` is what people call it, ``threads`` are those of its numerical libraries, ``beside``
    more folders that it is given.
    """

    name: str
    module: str
    folder: Path
    threads: int
    limit_seconds: float
    limit_setting: str
    beside: tuple[Path, ...] = ()

    @property
    def log(self) -> Path:
        """Where its standard error goes."""
        return self.folder / "log.txt"


@contextmanager
def owned_processes() -> Iterator[None]:
    """End all owned processes when what is inside is interrupted (Ctrl-C, SIGTERM).

    The threads that wait for them hear no signal, and Prefect does not end before its threads do.
    """
    _interrupted.clear()
    try:
        yield
    except BaseException:
        with _live_lock:
            _interrupted.set()
            for process in _live:
                _kill(process)
        raise


def is_interrupted() -> bool:
    """Whether what owns processes here was interrupted: who waits for something gives up."""
    return _interrupted.is_set()


def run_owned(work: Work, *, on_event: OnEvent) -> None:
    """Start the process, hand on what it tells, and return when it has ended well.

    Raises:
        TrainingJobError: it failed, was killed, or ran past its limit; nothing of it is left.
    """
    timed_out = threading.Event()
    with _started(work) as process, _limited(process, work.limit_seconds, timed_out):
        error = _relay(process.stdout or (), on_event)
        code = process.wait(timeout=_SECONDS_TO_DIE)
    if timed_out.is_set():
        error = f"stopped at its limit of {work.limit_seconds:.0f} s ({work.limit_setting})"
    elif _interrupted.is_set():
        error = "stopped, for the run was interrupted"
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
    command = [sys.executable, "-m", work.module, *map(str, (work.folder, *work.beside))]
    environment = numerical_environment(work.threads)
    with work.log.open("wb") as log, _live_lock:
        if _interrupted.is_set():
            raise TrainingJobError(work.name, reason="the run was interrupted", log=work.log)
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=_ROOT, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        _live.add(process)
    try:
        yield process
    finally:
        with _live_lock:
            _live.discard(process)
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def _limited(
    process: subprocess.Popen[str], limit_seconds: float, timed_out: threading.Event
) -> Iterator[None]:
    """Kill the process after ``limit_seconds``, and say so by ``timed_out``."""

    def stop_at_limit() -> None:
        timed_out.set()
        _kill(process)

    timer = threading.Timer(limit_seconds, stop_at_limit)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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


def tell(event: str, **facts: object) -> None:
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


def leave(status: int) -> NoReturn:
    """In the process: end it, now that all is written.

    The usual way out takes the modules apart, which with PyTorch's lasts a second.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
