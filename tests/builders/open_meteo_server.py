"""A server on loopback that answers as Open-Meteo's interfaces are documented to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

KNOWN = {"temperature_2m", "wind_speed_10m"}


@dataclass
class OpenMeteoServer:
    """``replies`` come before all else, each once; ``end``: of later hours there is no value.

    A value is the latitude, plus the hour of the day, plus a tenth a day ahead.
    """

    address: str = ""
    end: str = "2100-01-01T00:00"
    replies: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.asked.append({"path": parts.path, **given})
        if self.replies:
            return self.replies.pop(0)
        for name in given["hourly"].split(","):
            if name.partition("_previous_day")[0] not in KNOWN:
                reason = f"Data corrupted at path ''. Cannot initialize variable from {name}."
                return 400, refusal(reason)
        first = datetime.now(UTC).date()
        last = first + timedelta(days=int(given.get("forecast_days", 7)) - 1)
        if "start_date" in given:
            first, last = (date.fromisoformat(given[k]) for k in ("start_date", "end_date"))
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        times = [f"{day.isoformat()}T{hour:02d}:00" for day in days for hour in range(24)]
        hourly: dict[str, object] = {"time": times}
        for name in given["hourly"].split(","):
            ahead = int(name.partition("_previous_day")[2] or 0)
            hourly[name] = [
                float(given["latitude"]) + int(time[11:13]) + ahead / 10
                if time < self.end
                else None
                for time in times
            ]
        body = {"latitude": float(given["latitude"]), "generationtime_ms": 0.1,
                "utc_offset_seconds": 0, "timezone": "GMT", "hourly_units": {"time": "iso8601"},
                "hourly": hourly}  # fmt: skip
        return 200, json.dumps(body).encode()


def refusal(reason: str) -> bytes:
    """As the interface writes it."""
    return json.dumps({"error": True, "reason": reason}).encode()


@contextmanager
def open_meteo_server() -> Iterator[OpenMeteoServer]:
    """Serve until the test is done."""
    state = OpenMeteoServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = state.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
