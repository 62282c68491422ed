"""A server on loopback that answers as the EIA's open data interface is documented to do.

Only what gridcast asks for is there: ``electricity/rto/region-sub-ba-data/data``, and
``region-data`` of the types D and DF, with frequency, facets, start, end, sort, offset and length;
the gateway's errors; values as strings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

KEY = "a-key-that-must-never-be-seen"
PATH = "/v2/electricity/rto/region-sub-ba-data/data/"
WHOLE_PATH = "/v2/electricity/rto/region-data/data/"
_TYPES = {"D": "Demand", "DF": "Day-ahead demand forecast"}
LONGEST = 5000


@dataclass(frozen=True)
class Reply:
    """One answer instead of the ordinary one; ``cut`` bytes of the body are not sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    ordinary: bool = False


def error_body(code: str) -> bytes:
    """As the gateway writes it."""
    return json.dumps({"error": {"code": code, "message": f"About {code}."}}).encode()


def periods(first: str, num: int) -> list[str]:
    """``num`` hours from ``first`` on, as the interface names them."""
    begin = datetime.fromisoformat(f"{first}:00")
    return [f"{begin + timedelta(hours=i):%Y-%m-%dT%H}" for i in range(num)]


@dataclass
class EiaServer:
    """What it has, and what it was asked.

    ``loads`` by sub-region and period, those of the whole under its types ``D`` and ``DF``;
    ``replies`` come before all else, each once; ``broken`` by sub-region, always; ``asked`` holds
    the parameters of every request, ``addresses`` its line. ``newest`` names the last period that
    is there by now; none: all are.
    """

    address: str = ""
    loads: dict[str, dict[str, object]] = field(default_factory=dict)
    newest: Callable[[], str] | None = None
    replies: list[Reply] = field(default_factory=list)
    broken: dict[str, Reply] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def answer(self, path: str, key: str | None) -> Reply:
        parts = urlsplit(path)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.asked.append(given)
        self.addresses.append(path)
        if self.replies:
            reply = self.replies.pop(0)
            return replace(reply, body=self._data(given)) if reply.ordinary else reply
        if key != KEY:
            return Reply(403, error_body("API_KEY_INVALID" if key else "API_KEY_MISSING"))
        if parts.path not in {PATH, WHOLE_PATH}:
            return Reply(404, json.dumps({"error": "Not found.", "code": 404}).encode())
        if given.get("frequency") != "hourly" or given.get("data[0]") != "value":
            return Reply(400, json.dumps({"error": "Invalid frequency.", "code": 400}).encode())
        code = given["facets[type][]" if parts.path == WHOLE_PATH else "facets[subba][]"]
        return self.broken.get(code) or Reply(200, self._data(given))

    def _data(self, given: dict[str, str]) -> bytes:
        if "facets[type][]" in given:
            code, about = self._whole(given["facets[type][]"], given["facets[respondent][]"])
        else:
            code, about = self._part(given["facets[subba][]"], given["facets[parent][]"])
        assert (given["sort[0][column]"], given["sort[0][direction]"]) == ("period", "asc")
        newest = min(given["end"], self.newest()) if self.newest else given["end"]
        hours = sorted(p for p in self.loads.get(code, {}) if given["start"] <= p <= newest)
        offset, length = int(given["offset"]), min(int(given["length"]), LONGEST)
        rows = [
            {"period": period, **about, "value": self.loads[code][period],
             "value-units": "megawatthours"}
            for period in hours[offset : offset + length]
        ]  # fmt: skip
        response = {"total": str(len(hours)), "dateFormat": 'YYYY-MM-DD"T"HH24',
                    "frequency": "hourly", "data": rows}  # fmt: skip
        if self.warnings:
            response["warnings"] = self.warnings
        return json.dumps({"response": response, "apiVersion": "2.1.8"}).encode()

    @staticmethod
    def _part(code: str, parent: str) -> tuple[str, dict[str, str]]:
        assert parent == "PJM"
        return code, {"subba": code, "subba-name": "a name", "parent": parent,
                      "parent-name": "PJM Interconnection, LLC"}  # fmt: skip

    @staticmethod
    def _whole(kind: str, respondent: str) -> tuple[str, dict[str, str]]:
        assert respondent == "PJM"
        return kind, {"respondent": respondent, "respondent-name": "PJM Interconnection, LLC",
                      "type": kind, "type-name": _TYPES[kind]}  # fmt: skip


@contextmanager
def eia_server() -> Iterator[EiaServer]:
    """Serve until the test is done."""
    state = EiaServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            reply = state.answer(self.path, self.headers.get("X-Api-Key"))
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # who has given up listens no more
                self.wfile.write(reply.body[: len(reply.body) - reply.cut])
            if reply.cut:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}/v2"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
