"""Processes that have imported already: forked from one that the whole session has.

A command of its own imports for 5 to 8 s of a core before it does anything, a training process for
9 s before it trains for a tenth of one. What is forked here runs the same entry point with the
arguments, the environment, the folder and the streams that a shell would give it, in a session of
its own, and ends as an interpreter does. The processes that a forked command starts with
``sys.executable`` are forked as well (``warm_python.py``), unless it is to start them cold.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import json
import os
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psutil
from filelock import FileLock

from tasks.machine.owned_process import exit_process
from tests.builders.warm_python import MODULES, ask, next_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300
# What a run imports on its way, that of the command line before all that reads settings.
_FLOWS = tuple(f"flows.{path.stem}" for path in (ROOT / "flows").glob("[a-z]*.py"))
_IMPORTED = (
    "flows.command_line.app", *_FLOWS, "tasks.show.show_run", "tasks.show.show_study",
    "tasks.track.verify", "fastapi.encoders", "prefect.server.api.server", "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store", *MODULES, "gridcast.kernels.cpu_trial",
    "tasks.ingest.gate.data_docs", "tasks.ingest.gate.added_rows",
    "tasks.ingest.gate.region_expectations", "matplotlib.backends.backend_agg", "git",
    "holidays.countries", "sklearn.preprocessing", "sklearn.metrics",
)  # fmt: skip


class WarmProcess:
    """A fork that runs ``gridcast``, for who started it: what of ``psutil.Popen`` tests use."""

    def __init__(self, answers: socket.socket) -> None:
        answers.settimeout(SECONDS)
        self._answers = answers
        self.pid = next_number(answers)
        self.returncode: int | None = None

    def wait(self, timeout: float = SECONDS) -> int:
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = next_number(self._answers)
            except (TimeoutError, BlockingIOError):
                raise psutil.TimeoutExpired(timeout, self.pid) from None
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        with suppress(psutil.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def family(self) -> list[psutil.Process]:
        """All that it has started; a fork of its own is a child of the server."""
        children = self.children(recursive=True)
        return [*children, *(fork for child in children for fork in _fork_of(child.pid))]

    def children(self, *, recursive: bool = False) -> list[psutil.Process]:
        return list(psutil.Process(self.pid).children(recursive=recursive))


def _fork_of(process_id: int) -> list[psutil.Process]:
    """The fork that a process of ``warm_python.py`` stands for, if it is one."""
    told = Path(os.environ["TESTS_FOLDER"]) / f"fork-of-{process_id}"
    with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return [psutil.Process(int(told.read_text(encoding="utf-8")))]
    return []


def start_warm(
    arguments: Sequence[str],
    files: tuple[int, int],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    cold_children: bool = False,
) -> WarmProcess:
    """Start ``gridcast`` with these arguments; its output and its errors go to ``files``."""
    warm = str(warm_python())
    python = sys.executable if cold_children else warm
    with Path(os.devnull).open("rb") as nothing:
        answers = ask(
            ["gridcast", *arguments],
            (nothing.fileno(), *files),
            environment=dict(environment), cwd=str(cwd), python=python,
        )  # fmt: skip
    return WarmProcess(answers)


@cache
def warm_python() -> Path:
    """An executable that takes the arguments of Python; what it runs is forked."""
    folder = Path(os.environ["TESTS_FOLDER"])
    python, told = folder / "warm-python", folder / "warm.json"
    with FileLock(folder / "warm.lock"):
        if not told.is_file():
            told.write_text(json.dumps({"process_id": _start_server(folder)}), encoding="utf-8")
            script = Path(__file__).with_name("warm_python.py")
            command = shlex.join([sys.executable, "-IS", str(script)])
            python.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
            python.chmod(0o755)
    return python


def _start_server(folder: Path) -> int:
    """The number of the server's process, which ends with the session (conftest.py)."""
    from tasks.runs.servers import local_settings

    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS")}
    environment = {**os.environ, **local_settings(folder / "warm"), **threads}
    with (folder / "warm.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
    atexit.register(process.poll)  # holds it: of what nobody holds Python warns
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline(), (folder / "warm.txt").read_text("utf-8")
    return process.pid


# -- the server ----------------------------------------------------------------------------------


def _serve() -> dict[str, Any]:
    """Fork for all who ask; returns in each fork, with what it is to do."""
    waker = _import_all()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.environ["TESTS_FOLDER"] + "/warm.socket")
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(waker, selectors.EVENT_READ)
    clients: dict[int, socket.socket] = {}  # by number of the process that is theirs
    while True:
        for key, _ in selector.select():
            if key.fileobj is waker:
                waker.recv(4096)
                _tell_of_ended(clients, selector)
            elif key.fileobj is listener:
                client, _ = listener.accept()
                asked, streams = _received(client)
                if len(streams) < 3:  # it was killed while it asked
                    client.close()
                    continue
                child = os.fork()
                if child == 0:
                    for each in (*clients.values(), client, listener, waker):
                        each.close()
                    selector.close()
                    _become(asked, streams)
                    return asked
                _close(streams)
                _tell(client, child)
                clients[child] = client
                selector.register(client, selectors.EVENT_READ, child)
            elif key.data in clients:  # one who asked has closed the answers
                selector.unregister(key.fileobj)
                _kill(key.data)


def _import_all() -> socket.socket:
    """All that is to be there before the first fork; gives what tells of children that ended."""
    for module in _IMPORTED:
        import_module(module)
    from gridcast.kernels.cpu_trial import try_loops

    for cell in ("gru", "lstm"):
        try_loops(cell)
    assert threading.active_count() == 1  # a fork has one, and waits for ever for what others hold
    gc.collect()
    gc.freeze()  # a fork shares the memory of what it does not look at
    waker, wake = socket.socketpair()
    wake.setblocking(False)  # noqa: FBT003
    signal.set_wakeup_fd(wake.detach())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return waker


def _received(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What is to be done, and its streams; without them where the client has ended already."""
    streams: list[int] = []
    with suppress(OSError, ValueError), client.makefile("rb") as lines:
        _, streams, _, _ = socket.recv_fds(client, 1, 3)
        return json.loads(lines.readline()), streams
    _close(streams)
    return {}, []


def _tell(client: socket.socket, number: int) -> None:
    with suppress(OSError):
        client.sendall(b"%d\n" % number)


def _tell_of_ended(clients: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            child, status = found
            client = clients.pop(child)
            with suppress(KeyError):  # its client closed
                selector.unregister(client)
            _tell(client, os.waitstatus_to_exitcode(status))
            client.close()


def _kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
        os.killpg(child, signal.SIGKILL)


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    tempfile.tempdir = None  # as the environment says
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    _close(streams)
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _run(words: list[str], python: str | None) -> None:
    from prefect.context import refresh_global_settings_context

    match words:
        case ["-c", code, *_]:
            refresh_global_settings_context()
            sys.argv = ["-c", *words[2:]]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
        case ["-m", module, *_]:
            sys.argv = [module, *words[2:]]
            if not hasattr(sys.modules.get(module), "__path__"):
                sys.modules.pop(module, None)  # runpy warns of a module that is there already
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case _:
            script = Path(sys.executable).with_name("gridcast")
            sys.argv, sys.executable = words, python or sys.executable
            runpy.run_path(str(script), run_name="__main__")


def _end(status: int) -> NoReturn:
    """As an interpreter ends, but the modules are not taken apart: that takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    exit_process(status)


if __name__ == "__main__":
    given = _serve()
    try:
        _run(given["words"], given.get("python"))
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise
        _end(error.code or 0)
    _end(0)
