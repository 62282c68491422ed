"""The pages that runs have left, served on loopback: reports, operators' pages, data reports.

Nothing else of the artifacts is served: there are words and databases among them.
"""

from __future__ import annotations

import html
import re
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from gridcast.summary import Opened
from tasks.runs.lives import OPENED, oldest_first
from tasks.runs.record_files import read_record
from tasks.runs.run import read_summary
from tasks.runs.servers import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.summary import Summary

_SERVED = re.compile(
    r"(?:monitoring/[^/]+/index\.html|runs/[^/]+/report\.html|data-report/[^/]+/index\.html)"
)
_NEWEST = 20  # runs that are listed
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
}  # fmt: skip
_STYLE = "body{font:16px/1.5 sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}"


class Addresses(NamedTuple):
    """Where Prefect's, MLflow's and the own pages are."""

    prefect: str
    mlflow: str
    pages: str

    def links(self, artifacts: Path) -> dict[str, str]:
        """To what was done last, by what it is: only what is there."""
        found = {
            f"Forecasts of {path.parent.name}": f"{self.pages}/{_quoted(path, artifacts)}"
            for path in sorted(artifacts.glob("monitoring/*/index.html"))
        }
        newest = _newest_run(artifacts)
        if newest is None:
            return found
        folder, summary = newest
        if (folder / "report.html").is_file():
            address = f"{self.pages}/{_quoted(folder / 'report.html', artifacts)}"
            found[f"Report of {summary.run_id}"] = address
        opened = read_record(folder / OPENED, Opened)
        if opened.flow_run_id:
            address = f"{self.prefect}/runs/flow-run/{opened.flow_run_id}"
            found[f"{summary.run_id} in Prefect"] = address
        if experiment := _experiment_of(artifacts, summary):
            found["All runs in MLflow"] = f"{self.mlflow}/#/experiments/{experiment}/runs"
        return found


def _quoted(path: Path, artifacts: Path) -> str:
    return quote(path.relative_to(artifacts).as_posix())


def _newest_run(artifacts: Path) -> tuple[Path, Summary] | None:
    """The newest run that has trained, else the newest of all."""
    found = None
    for folder in reversed(oldest_first(artifacts / "runs")):
        if not (folder / "summary.json").is_file():
            continue
        summary = read_summary(folder / "summary.json")
        if summary.models:
            return folder, summary
        found = found or (folder, summary)
    return found


def _experiment_of(artifacts: Path, summary: Summary) -> str:
    """The number of the experiment that a run's models are logged in; empty: none that is here."""
    database = artifacts / "mlflow" / "mlflow.db"
    ids = [each.mlflow_run_id for each in summary.models.values() if each.mlflow_run_id]
    if not ids or not database.is_file():
        return ""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            asked = "SELECT experiment_id FROM runs WHERE run_uuid = ?"
            row = connection.execute(asked, ids[:1]).fetchone()
    except sqlite3.Error:  # its tables are another version's, or none: then there is no link
        return ""
    return str(row[0]) if row else ""


def own_pages(artifacts: Path, addresses: Addresses, *, port: int) -> ThreadingHTTPServer:
    """A server of the pages, not running yet."""
    names = {f"{HOST}:{port}", f"localhost:{port}"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Host") not in names:
                self.send_error(403)  # a name of elsewhere that leads here
                return
            asked = unquote(urlsplit(self.path).path).strip("/")
            page = _start_page(artifacts, addresses) if not asked else page_at(artifacts, asked)
            if page is None:
                self.send_error(404)
                return
            self.send_response(200)
            for name, value in (_HEADERS | {"Content-Length": str(len(page))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, port), Handler)
    server.daemon_threads = True
    return server


def page_at(artifacts: Path, asked: str) -> bytes | None:
    """A page of the artifacts; None: there is none of that name that may be shown."""
    if not _SERVED.fullmatch(asked):
        return None
    path = (artifacts / asked).resolve()
    if not path.is_relative_to(artifacts.resolve()) or not path.is_file():
        return None
    return path.read_bytes()


def _start_page(artifacts: Path, addresses: Addresses) -> bytes:
    """What there is, the newest first."""
    links = addresses.links(artifacts)
    runs = [each for each in reversed(oldest_first(artifacts / "runs"))
            if (each / "report.html").is_file()][:_NEWEST]  # fmt: skip
    reports = {each.name: f"/{_quoted(each / 'report.html', artifacts)}" for each in runs}
    data = {
        path.parent.name: f"/{_quoted(path, artifacts)}"
        for path in sorted(artifacts.glob("data-report/*/index.html"))
    }
    servers = {"Prefect": addresses.prefect, "MLflow": addresses.mlflow}
    body = "".join([
        "<h1>gridcast</h1>", _list_of(servers), "<h2>Last</h2>", _list_of(links),
        "<h2>Reports</h2>", _list_of(reports), "<h2>Data</h2>", _list_of(data),
    ])  # fmt: skip
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>gridcast</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>{body}</body></html>'
    )
    return page.encode()


def _list_of(links: dict[str, str]) -> str:
    if not links:
        return "<p>None yet.</p>"
    rows = (
        f'<li><a href="{html.escape(address, quote=True)}">{html.escape(name)}</a></li>'
        for name, address in links.items()
    )
    return f"<ul>{''.join(rows)}</ul>"
