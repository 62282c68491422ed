"""Builders of the tests that start the real command, its servers and its training processes.

Importing this module makes the test process itself clean: no setting of the person who runs the
tests reaches Prefect or MLflow, and both keep what they write in a folder of this session.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.request import urlopen

import psutil
from filelock import FileLock

from gridcast.summary import Summary
from tests.builders.warm_server import WarmProcess, start_warm, warm_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Command = tuple[str | Path, ...]
Started = psutil.Popen | WarmProcess
ROOT = Path(__file__).resolve().parents[2]
GRIDCAST = Path(sys.executable).with_name("gridcast")
PREFECT = Path(sys.executable).with_name("prefect")
NUM_REGIONS = 12
# Within which whatever is waited for must come to pass, also on a machine that is busy.
SECONDS = 300
# Two thousand hours in the shortest region and two passes of a tiny model: the least that trains,
# validates and tests in every region.
SMALL_DATA = ("synthetic.num_hours=3000",)
# Short windows train sooner, and four days are soon lived through.
SMALL_MODEL = (
    "training.passes=2", "model.hidden_size=8", "training.device=cpu", "training.threads=1",
    "windows.lookback=48", "windows.warmup=12", "baselines.fitted=[]", "evaluation.backtest_days=4",
)  # fmt: skip

_FOREIGN = ("PREFECT_", "MLFLOW_", "GRIDCAST_")
_OURS = {
    "COLUMNS": "200",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
# Services of Prefect's server that are for schedules, workers and automations.
_SERVICES_OF_SCHEDULES = (
    "CANCELLATION_CLEANUP", "CLEANUP_RECONCILER", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS",
    "REPOSSESSOR", "SCHEDULER", "TRIGGERS",
)  # fmt: skip


def shared_folder() -> Path:
    """A folder for what all processes of one session share; it goes when the session ends."""
    return Path(os.environ["TESTS_FOLDER"])  # of conftest.py


@cache
def session_folder() -> Path:
    """A folder in it for what the tests of one process share."""
    return Path(tempfile.mkdtemp(dir=shared_folder()))


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment, without a person's own Prefect and MLflow settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | _OURS | {"PREFECT_HOME": str(session_folder() / "prefect-home")} | more


_clean = clean_environment()
os.environ.clear()
os.environ.update(_clean)


# -- the command ---------------------------------------------------------------------------------


def settings(*overrides: str) -> list[str]:
    """``--set`` for each of ``overrides``."""
    return [word for override in overrides for word in ("--set", override)]


def gridcast(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    is_cold: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the real command to its end, forked from a process that has imported what it needs.

    ``is_cold`` starts it from nothing, as a shell does.
    """
    words, environment = [str(each) for each in arguments], environment or clean_environment()
    if is_cold:
        return subprocess.run(
            [GRIDCAST, *words], env=environment, cwd=cwd,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        files = out.fileno(), err.fileno()
        status = start_warm(words, files, environment=environment, cwd=cwd).wait(SECONDS)
        texts = [_text_of(out), _text_of(err)]
    return subprocess.CompletedProcess(["gridcast", *words], status, *texts)


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


@cache
def on_a_server() -> dict[str, str]:
    """Environment of commands that report to the Prefect server of this session's tests.

    A server that each of them starts for itself, as they do by default, takes them 4 to 7 s. It
    outlives the process that starts it, and ends with the session (conftest.py).
    """
    told, log = shared_folder() / "prefect-server.json", shared_folder() / "prefect-server.txt"
    with FileLock(shared_folder() / "prefect-server.lock"):
        if not told.is_file():
            port = free_port()
            process = start(*_server_command(port), log=log, environment=_server_environment())
            told.write_text(json.dumps({"process_id": process.pid, "port": port}), "utf-8")
            atexit.register(process.poll)  # holds it: of what nobody holds Python warns
            _wait_until_it_answers(process, port, log)
    return clean_environment(PREFECT_API_URL=f"http://127.0.0.1:{read_json(told)['port']}/api")


def _server_environment() -> dict[str, str]:
    """Its database, and nothing done that no run asks for: it would take 2 s of a core a minute."""
    database = f"sqlite+aiosqlite:///{shared_folder() / 'prefect-server.db'}"
    idle = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _SERVICES_OF_SCHEDULES}
    return clean_environment(PREFECT_API_DATABASE_CONNECTION_URL=database, **idle)


@contextmanager
def prefect_server(port: int, *, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Prefect's server on this port, from when it answers on."""
    with started(*_server_command(port), log=log, environment=environment) as process:
        _wait_until_it_answers(process, port, log)
        yield


def _server_command(port: int) -> Command:
    return (PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port))


def _wait_until_it_answers(process: Started, port: int, log: Path) -> None:
    wait_until_it_answers(process, port, "api/health", log)


def wait_until_it_answers(process: Started, port: int, page: str, log: Path) -> None:
    """Until the server that was started does; its log where it ends instead."""

    def is_up() -> bool:
        assert process.poll() is None, log.read_text("utf-8")
        try:
            urlopen(f"http://127.0.0.1:{port}/{page}", timeout=SECONDS).close()
        except OSError:
            return False
        return True

    wait_for(f"an answer to {page}", is_up)


@contextmanager
def started(
    *command: str | Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    cold_children: bool = False,
    is_cold: bool = False,
) -> Iterator[Started]:
    """Start a command in a session of its own; at the end nothing of it is left, whatever happens.

    Its output goes to ``log``, both streams together. ``gridcast`` is forked from a process that
    has imported what it needs; what it starts is forked too, unless it is to start cold. With
    ``is_cold`` the command and what it starts begin from nothing, as in a shell.
    """
    if command[0] == GRIDCAST and not is_cold:
        words = list(map(str, command[1:]))
        with log.open("wb") as file:
            process: Started = start_warm(
                words, (file.fileno(), file.fileno()), cwd=cwd, cold_children=cold_children,
                environment=environment or clean_environment(),
            )  # fmt: skip
    else:
        process = start(*command, log=log, environment=environment, cwd=cwd)
    try:
        yield process
    finally:
        kill_tree(process)


def start(
    *command: str | Path, log: Path, environment: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> psutil.Popen:
    """The same from nothing, for whoever ends it otherwise."""
    with log.open("wb") as file:
        return psutil.Popen(
            list(map(str, command)), env=environment or clean_environment(), cwd=cwd, stdout=file,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


def kill_tree(process: Started) -> None:
    """End a process that a test started, and all that it started."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        family = process.children(recursive=True)
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        process.kill()
        os.killpg(process.pid, signal.SIGKILL)
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(SECONDS)


def alive(processes: Iterable[psutil.Process]) -> list[str]:
    """Command lines of those that still run."""
    lines = []
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                lines.append(" ".join(each.cmdline()))
    return lines


def command_of(process: psutil.Process) -> list[str]:
    """Its command and arguments; none if it has ended since it was found."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie too
        return []


def wait_for(what: str, condition: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The first true value of ``condition``; fails naming ``what`` after ``SECONDS``."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    message = f"waited {SECONDS} s in vain for {what}"
    raise AssertionError(message)


def free_port() -> int:
    """A port of the loopback device that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PipelineRun:
    """One run of the real command, and what it left."""

    data: Path
    artifacts: Path
    result: subprocess.CompletedProcess[str]
    folder: Path  # of this run

    @property
    def summary(self) -> Summary:
        return Summary.model_validate_json((self.folder / "summary.json").read_bytes())

    def place(self, written: str | None) -> Path:
        """A path of one of the run's records, on this machine."""
        assert written
        return self.artifacts / written


def run_flow(
    command: str,
    data: Path,
    artifacts: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    is_cold: bool = False,
) -> PipelineRun:
    """``gridcast run``, ``ingest`` or ``train`` to its end."""
    result = gridcast(
        command, "--data", data, "--artifacts", artifacts, *arguments,
        environment=environment, is_cold=is_cold,
    )  # fmt: skip
    return PipelineRun(data, artifacts, result, (artifacts / "runs" / "latest").resolve())


@cache
def small_data() -> Path:
    """The 12 synthetic regions, by the real command, once a session. Copy before you change it."""
    folder = shared_folder() / "csv"
    with FileLock(shared_folder() / "csv.lock"):
        if not folder.is_dir():
            result = gridcast("synthesize", folder, *settings(*SMALL_DATA))
            assert result.returncode == 0, result.stderr
    return folder


@cache
def first_run() -> PipelineRun:
    """``gridcast run`` in an empty folder, once a session. Leave its artifacts as they are.

    The tests of other processes read them at the same time: work on a copy.
    """
    artifacts, result_file = shared_folder() / "artifacts", shared_folder() / "first-run.json"
    with FileLock(shared_folder() / "first-run.lock"):
        if not result_file.is_file():
            warm_python()  # compiles: the first training after an installation needs more memory
            words = settings(*SMALL_MODEL)
            run = run_flow("run", small_data(), artifacts, *words, is_cold=True)
            shutil.copytree(artifacts, _untouched(), symlinks=True)
            content = {"folder": run.folder, "result": vars(run.result)}
            result_file.write_text(json.dumps(content, default=str), encoding="utf-8")
    found = read_json(result_file)
    result = subprocess.CompletedProcess[str](**found["result"])
    return PipelineRun(small_data(), artifacts, result, Path(found["folder"]))


def copy_artifacts(destination: Path) -> Path:
    """A copy of the first run's artifacts, to be worked on further."""
    assert first_run().artifacts.is_dir()
    shutil.copytree(_untouched(), destination, symlinks=True)
    return destination


def _untouched() -> Path:
    """The first run's artifacts, which nobody reads but to copy them: a reader of SQLite writes."""
    return shared_folder() / "untouched"


def sha256_by_file(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def temporary_files(folder: Path) -> list[Path]:
    """What a writer leaves that did not come to its end."""
    return [path for path in folder.rglob("*") if path.name.endswith(("-tmp", ".tmp", ".partial"))]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; of a record without the hash of its content."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    content.pop("record_sha256", None)
    return content
