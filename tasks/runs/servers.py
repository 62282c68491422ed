"""Prefect and MLflow on this machine: the settings of embedded runs, and both servers' pages."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gridcast.errors import UsageError
from tasks.runs import server_watch
from tasks.runs.locks import held

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import FrameType

    from prefect.server.api.server import SubprocessASGIServer

HOST = "127.0.0.1"
PAGES = f"http://{HOST}:4300"  # where `gridcast ui` serves what runs left, unless told otherwise
_SECONDS_TO_START = 90.0
_SECONDS_TO_STOP = 10.0
_SECONDS_BETWEEN_LOOKS = 0.5
_TOLD_TO_END = (0, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)
_log = logging.getLogger("gridcast.run")
_SECONDS_TO_ANSWER = 20.0  # a server that is named
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def local_settings(artifacts: Path) -> dict[str, str]:
    """Environment of runs without a server of their own: SQLite here, nothing sent anywhere."""
    folder = artifacts / "prefect"
    artifacts.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",  # whatever profile an older one left
        # What Prefect keeps of a failure, it would keep in the home of whoever runs, as a pickle.
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "storage"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "gridcast",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # such as a wait before it begins
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "2",  # its server is on this machine: there, or gone
        # A tracking server that is down is told of in seconds, not in minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # evaluation jobs that gridcast does not use
        "GX_ANALYTICS_ENABLED": "false",
    }


def keep_to_this_machine(environment: MutableMapping[str, str]) -> None:
    """Let no proxy stand before loopback, and no module in the caller's folder before ours.

    ``PYTHONSAFEPATH`` is for the processes that are started: with it ``python -m`` leaves the
    folder that a command is called from out of where modules are looked for.
    """
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [each for each in environment.get(name, "").split(",") if each.strip()]
        environment[name] = ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))
    environment["PYTHONSAFEPATH"] = "1"


def require_prefect(url: str) -> None:
    """Refuse a server that is named and does not answer, before a run waits for it.

    Raises:
        UsageError: naming it, and what names it.
    """
    import httpx

    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=_SECONDS_TO_ANSWER).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL, ImportError) as error:
        by = "unset PREFECT_API_URL"
        if "PREFECT_API_URL" not in os.environ:
            by = "take PREFECT_API_URL out of Prefect's profile (`prefect config unset`)"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            url,
            found=f"no Prefect server that answers ({reason})",
            expected=f"one; start it, or {by} to use the embedded one",
        ) from None


def start_embedded_prefect(artifacts: Path) -> None:
    """Start Prefect's embedded server, where no other is named, so that it outlives the run.

    A terminal sends Ctrl-C to all that it started, and a run that is interrupted still reports to
    its server, for minutes if that is gone: what is started here inherits a deaf ear. SIGTERM is
    made an ordinary exit, at which Prefect stops its server; after SIGKILL the watch does. One
    server at a time makes or migrates the database of the artifacts folder. It answers those alone
    who know a word that this process has made, and its children inherit.
    """
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    signal.signal(signal.SIGTERM, _exit)
    if url := PREFECT_API_URL.value():
        require_prefect(url)
        return  # and what a server is made of need not be imported
    _close_doors(secrets.token_urlsafe())
    from prefect.server.api.server import SubprocessASGIServer

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        _end_servers_with_this_process()
        with held(artifacts, "prefect-database"):
            get_client(sync_client=True)
        server = SubprocessASGIServer()
        if server.server_process is not None:
            threading.Thread(target=_keep_up, args=(server,), daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_embedded_prefect() -> bool:
    """End the server that :func:`start_embedded_prefect` has started; whether there was one."""
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        return False
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer().stop()
    return True


def _close_doors(word: str) -> None:
    """Have a server and its clients, of this process and its children, know each other by a word.

    Otherwise whoever gets a browser on this machine to ask for a name that leads to it could.
    """
    from prefect.context import refresh_global_settings_context

    os.environ.update(doors(word, origin=f"http://{HOST}"))
    refresh_global_settings_context()


def doors(word: str, *, origin: str) -> dict[str, str]:
    """Settings of a server that answers those who know ``word``; pages of ``origin`` may ask."""
    return {
        "PREFECT_SERVER_API_AUTH_STRING": word,
        "PREFECT_API_AUTH_STRING": word,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origin,
    }


def _keep_up(server: SubprocessASGIServer) -> None:
    """Start the server again, at the same port, if it crashes or is killed, not if told to end.

    The thread that runs this was begun deaf to Ctrl-C, so the server that it starts is too.
    """
    while (process := server.server_process) is not None:
        status = process.poll()
        if status is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        elif status in _TOLD_TO_END:
            return
        else:
            _log.warning("Prefect's embedded server ended (status %d); it is started again", status)
            server.running = False
            threading.Thread(target=server.start, daemon=True).start()
            while server.server_process is process:
                time.sleep(_SECONDS_BETWEEN_LOOKS / 10)


def _end_servers_with_this_process() -> None:
    """Before the first server is started, which takes seconds in which this one may be killed."""
    watcher = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", server_watch.__name__], stdin=subprocess.PIPE
    )

    def leave_to_prefect() -> None:
        watcher.communicate(server_watch.DONE)

    atexit.register(leave_to_prefect)


def _exit(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.exit(128 + number)
