"""``gridcast ui``: Prefect's and MLflow's pages, and those that runs left, until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from gridcast.errors import GridcastError, UsageError
from tasks.pages.own_pages import Addresses, own_pages
from tasks.runs.servers import HOST, doors, local_settings
from tasks.runs.storage import check_folder, publishing

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

_SECONDS_TO_START = 90.0
_SECONDS_TO_STOP = 10.0


def serve_pages(artifacts: Path, *, prefect_port: int, mlflow_port: int, port: int) -> None:
    """Serve all, over the files that runs have left, until Ctrl-C or SIGTERM.

    Raises:
        UsageError: a port is taken, or the folder cannot be written.
        ServerError: a server did not start, or ended by itself.
    """
    check_folder(artifacts)
    for each, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port"),
                         (port, "--port")):  # fmt: skip
        _require_free(each, option)
    origin, word = f"http://{HOST}:{prefect_port}", _word_of(artifacts)
    environment = (
        os.environ
        | local_settings(artifacts)
        | doors(word.read_text("utf-8").strip(), origin=origin)
        | {
            "PREFECT_UI_API_URL": f"{origin}/api",
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",  # a browser has other pages too
        }
    )
    servers = _commands(artifacts, prefect_port=prefect_port, mlflow_port=mlflow_port)
    (artifacts / "mlflow").mkdir(exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs deaf to SIGINT
        signal.signal(number, _interrupt)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    addresses = Addresses(origin, servers["MLflow"][1], f"http://{HOST}:{port}")
    own = own_pages(artifacts, addresses, port=port)
    try:
        threading.Thread(target=own.serve_forever, daemon=True).start()
        for name, (command, _) in servers.items():
            processes[name] = _start(name, command, artifacts, environment)
        for name, (_, address) in servers.items():
            _wait_until_up(name, address, processes[name], artifacts)
            sys.stdout.write(f"{name}: {address}\n")
        sys.stdout.write(f"Pages: {addresses.pages}\n")
        for name, address in addresses.links(artifacts).items():
            sys.stdout.write(f"  {name}: {address}\n")
        sys.stdout.write(f"Prefect's page asks for the word in {word}. Ctrl-C stops all.\n")
        sys.stdout.flush()
        while all(process.poll() is None for process in processes.values()):
            time.sleep(0.5)
        dead = next(name for name, process in processes.items() if process.poll() is not None)
        raise ServerError(dead, "ended by itself", _log_path(artifacts, dead))
    except KeyboardInterrupt:
        sys.stdout.write("Stopping.\n")
    finally:
        own.shutdown()
        own.server_close()
        _stop(processes)


def _commands(
    artifacts: Path, *, prefect_port: int, mlflow_port: int
) -> dict[str, tuple[list[str], str]]:
    """What starts each server, and its address."""
    return {
        "Prefect": ([sys.executable, "-m", "prefect", "server", "start", "--host", HOST,
                     "--port", str(prefect_port)], f"http://{HOST}:{prefect_port}"),
        "MLflow": ([sys.executable, "-m", "mlflow", "server", "--host", HOST,
                    "--port", str(mlflow_port), "--workers", "1",
                    "--backend-store-uri", f"sqlite:///{artifacts / 'mlflow' / 'mlflow.db'}",
                    "--artifacts-destination", str(artifacts / "mlflow" / "artifacts")],
                   f"http://{HOST}:{mlflow_port}"),
    }  # fmt: skip


def _word_of(artifacts: Path) -> Path:
    """The file with the word that opens Prefect's page: made once, for its owner alone."""
    path = artifacts / "prefect" / "word.txt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with publishing(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(secrets.token_urlsafe() + "\n", "utf-8")
    return path


class ServerError(GridcastError):
    """A server did not start, or ended by itself."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"ERROR {name}: it {what}, expected it to serve until Ctrl-C; see {log}")


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            where = f"{option} {port}"
            raise UsageError(
                where, found="a port in use", expected="a free one; choose another"
            ) from None


def _start(
    name: str, command: list[str], artifacts: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    log = _log_path(artifacts, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - our own module
            command, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def _wait_until_up(
    name: str, address: str, process: subprocess.Popen[bytes], artifacts: Path
) -> None:
    path = "/api/health" if name == "Prefect" else "/health"
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urlopen(address + path, timeout=2):  # noqa: S310 - loopback
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise ServerError(name, "did not start", _log_path(artifacts, name))


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """End each server with all that it started."""
    for process in processes.values():
        _signal(process, signal.SIGTERM)
    for process in processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_TO_STOP)
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


def _log_path(artifacts: Path, name: str) -> Path:
    return artifacts / "logs" / f"{name.lower()}-server.log"
