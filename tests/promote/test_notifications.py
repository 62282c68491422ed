"""A real server of Prefect calls an address at alarms, promotions, and when no forecast comes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from gridcast.errors import UsageError
from tasks.promote.notifications import notify
from tests.builders.pipelines import (
    ROOT,
    SECONDS,
    clean_environment,
    free_port,
    gridcast,
    prefect_server,
    session_folder,
    wait_for,
)
from tests.builders.warm_server import warm_python

SHORT = timedelta(seconds=10)  # the least that Prefect takes
TELL = """
import json, sys
from gridcast.operation.promotion_log import Promotion
from gridcast.monitoring.alarms import Alarm
from tasks.promote.prefect_events import tell_alarm, tell_forecast, tell_promotion
from tests.builders.promotions import make_promotion

if sys.argv[1] == "forecast":
    tell_forecast("pjm", issue_time="2018-07-01T09:00:00+00:00", model="gru-seed0")
elif sys.argv[1] == "promotion":
    tell_promotion(make_promotion(7, "2018-07-01T09:00:00+00:00", "a"))
else:
    tell_alarm(Alarm(kind="level", severity="critical", region="AEP", value=9.5, limit=6.0,
                     at="2018-07-01T09:00:00+00:00", message='it "changed"'), dataset="pjm")
"""


@dataclass
class Receiver:
    """Whoever is to be told."""

    address: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.got if each["event"] == event]


@contextmanager
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}/alarms"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.soak
@pytest.mark.prefect
def test_alarms_promotions_and_a_missing_forecast_reach_a_webhook() -> None:
    home, port = session_folder() / "notified", free_port()
    home.mkdir()
    environment = clean_environment(
        PREFECT_HOME=str(home),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY="PT1S",
        PYTHONPATH=str(ROOT),
    )

    def tell(what: str) -> None:
        done = subprocess.run(
            [warm_python(), "-c", TELL, what], env=environment, cwd=ROOT, text=True,
            capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    with receiver() as told, prefect_server(port, log=home / "log.txt", environment=environment):
        for _ in range(2):  # a second call replaces the first
            asked = gridcast("notify", told.address, "--minutes", "65", environment=environment)
            assert asked.returncode == 0, asked.stderr
        _shorten(environment, told.address)
        tell("alarm")
        wait_for("the alarm", lambda: told.of("gridcast.alarm.level"))
        (alarm,) = told.of("gridcast.alarm.level")
        assert alarm["of"] == "gridcast.forecasts.pjm"
        assert (alarm["payload"]["region"], alarm["payload"]["message"]) == ("AEP", 'it "changed"')
        tell("promotion")
        wait_for("the promotion", lambda: told.of("gridcast.champion.promoted"))
        assert told.of("gridcast.champion.promoted")[0]["payload"]["number"] == 7
        assert told.of("gridcast.forecast.missed") == []  # none was issued yet
        tell("forecast")
        wait_for("the missing forecast", lambda: told.of("gridcast.forecast.missed"))
        assert len(told.of("gridcast.alarm.level")) == 1


def _shorten(environment: dict[str, str], address: str) -> None:
    """The same automations, with a time that a test can wait for."""
    code = (
        "import sys; from datetime import timedelta;"
        "from tasks.promote.notifications import notify;"
        f"notify(sys.argv[1], within=timedelta(seconds={SHORT.total_seconds()}))"
    )
    done = subprocess.run(
        [warm_python(), "-c", code, address], env=environment, cwd=ROOT, text=True,
        capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.prefect
def test_without_a_server_or_an_address_nothing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(UsageError, match="PREFECT_API_URL: found nothing"):
        notify("http://127.0.0.1:1/x", within=SHORT)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(UsageError, match="expected one of http or https"):
        notify("ftp://x", within=SHORT)
