"""Fetching from Kaggle: kagglehub's own client against a server on loopback that answers as Kaggle.

kagglehub knows no other address than a few fixed ones, so the server stands as a proxy before
``http://localhost``, which is where kagglehub goes when ``KAGGLE_API_ENVIRONMENT`` is LOCALHOST.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from gridcast.errors import EXIT_USAGE, FetchError, GridcastError, UsageError
from tasks.fetch.kaggle import KAGGLE_DATASET, fetch_kaggle
from tasks.fetch.marker import read_origin
from tests.builders.archives import make_archive
from tests.builders.pipelines import clean_environment, gridcast
from tests.builders.values import make_config, make_csv

pytest.importorskip("kagglehub", reason="gridcast[kaggle] is not installed")

LIMITS = make_config().archives
TOKEN = "a-token-that-must-never-be-seen"  # noqa: S105
API = "/api/v1/datasets.DatasetApiService/"
STORAGE = "/storage/archive.zip"


@dataclass
class Kaggle:
    """What the server has, and what it was asked: path, body, authorization."""

    archive: bytes = b""
    status: int = 200
    cut: int = 0
    asked: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.kaggle.asked.append((path, body, self.headers.get("Authorization", "")))
        if self.kaggle.status != 200:
            message = {"code": self.kaggle.status, "message": "Permission denied"}
            self._answer(self.kaggle.status, json.dumps(message).encode())
        elif path == f"{API}GetDataset":
            self._answer(200, json.dumps({"currentVersionNumber": 3}).encode())
        elif path == f"{API}DownloadDataset":
            self._answer(302, b"", Location=f"http://localhost{STORAGE}")
        else:
            self._answer(404, b"{}")

    def do_GET(self) -> None:
        assert urlsplit(self.path).path == STORAGE
        self._answer(200, self.kaggle.archive, cut=self.kaggle.cut, kind="application/zip")

    def _answer(
        self, status: int, body: bytes, *, cut: int = 0, kind: str = "application/json",
        **headers: str,
    ) -> None:  # fmt: skip
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body[: len(body) - cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    files = {"AEP_hourly.csv": make_csv(), "pjm_hourly_est.csv": b"x", "sub/DOM_hourly.csv": b"y"}
    state = Kaggle(archive=make_archive(tmp_path / "kaggle.zip", files).read_bytes())
    handler = type("Handler", (_Handler,), {"kaggle": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("HOME", str(tmp_path))  # a person's own credentials stay out of it
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, state.address)
    yield state
    server.shutdown()
    server.server_close()


def refusal(kind: type[GridcastError], folder: Path, dataset: str = KAGGLE_DATASET) -> str:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(kind) as refused:
        fetch_kaggle(dataset, folder, limits=LIMITS)
    assert sorted(folder.parent.rglob("*")) == before
    return str(refused.value)


def test_the_newest_version_is_downloaded_checked_and_unpacked(
    kaggle: Kaggle, tmp_path: Path
) -> None:
    plan = fetch_kaggle(KAGGLE_DATASET, tmp_path / "to" / "pjm", limits=LIMITS)
    assert plan.regional == ["AEP", "DOM"]
    assert list(plan.skipped) == ["pjm_hourly_est.csv"]
    assert (tmp_path / "to" / "pjm" / "AEP_hourly.csv").read_bytes() == make_csv()
    assert list((tmp_path / "to").iterdir()) == [tmp_path / "to" / "pjm"]
    origin = read_origin(tmp_path / "to" / "pjm")
    assert (origin.source, origin.name) == ("kaggle", f"{KAGGLE_DATASET} version 3")
    assert origin.labels == "local"
    (_, first, _), (_, second, _) = kaggle.asked
    assert (first["ownerSlug"], first["datasetSlug"]) == tuple(KAGGLE_DATASET.split("/"))
    assert second["datasetVersionNumber"] == 3


def test_a_version_that_is_named_is_the_one_that_is_asked_for(
    kaggle: Kaggle, tmp_path: Path
) -> None:
    fetch_kaggle(f"{KAGGLE_DATASET}/versions/2", tmp_path / "to", limits=LIMITS)
    assert [body["datasetVersionNumber"] for _, body, _ in kaggle.asked] == [2]


def test_credentials_of_the_environment_are_sent_and_kept_out_of_what_is_written(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", TOKEN)
    fetch_kaggle(KAGGLE_DATASET, tmp_path / "to", limits=LIMITS)
    basic = base64.b64encode(f"somebody:{TOKEN}".encode()).decode()
    assert {authorization for *_, authorization in kaggle.asked} == {f"Basic {basic}"}
    assert all(TOKEN.encode() not in path.read_bytes() for path in (tmp_path / "to").iterdir())


@pytest.mark.parametrize("status", [401, 403])
def test_missing_credentials_are_told_with_the_ways_to_give_them(
    kaggle: Kaggle, tmp_path: Path, status: int
) -> None:
    kaggle.status = status
    message = refusal(UsageError, tmp_path / "pjm")
    assert message.startswith(f"ERROR {KAGGLE_DATASET}: found {status} from Kaggle, expected cred")
    assert "KAGGLE_USERNAME" in message
    assert "gridcast fetch archive" in message


def test_a_data_set_that_is_not_there_is_told(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.status = 404
    assert "found 404 from Kaggle, expected a data set" in refusal(UsageError, tmp_path / "pjm")


def test_a_server_in_trouble_is_told(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.status = 500
    assert "found 500 from Kaggle" in refusal(FetchError, tmp_path / "pjm")


def test_a_download_that_is_cut_off_leaves_nothing(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.cut = 20
    assert "no whole answer from Kaggle" in refusal(FetchError, tmp_path / "pjm")


def test_no_network_is_told_with_the_way_round_it(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kaggle.address
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    message = refusal(FetchError, tmp_path / "pjm")
    assert "no whole answer from Kaggle (ProxyError), expected a network" in message


@pytest.mark.parametrize("name", ["pjm", "a/b/c", "a/b/versions/x", "../../etc/x"])
def test_a_name_that_is_none_is_refused_before_anything_is_asked(
    kaggle: Kaggle, tmp_path: Path, name: str
) -> None:
    assert "--dataset: found" in refusal(UsageError, tmp_path / "pjm", name)
    assert kaggle.asked == []


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_asked(
    kaggle: Kaggle, tmp_path: Path
) -> None:
    (tmp_path / "pjm").mkdir()
    (tmp_path / "pjm" / "mine.txt").write_text("mine", encoding="utf-8")
    assert "not empty" in refusal(UsageError, tmp_path / "pjm")
    assert kaggle.asked == []


def test_a_downloaded_archive_that_unpacks_to_too_much_is_refused_and_goes(
    kaggle: Kaggle, tmp_path: Path
) -> None:
    bomb = make_archive(tmp_path / "bomb.zip", {"AEP_hourly.csv": bytes(20_000_000)})
    kaggle.archive = bomb.read_bytes()
    assert "times its size and more when unpacked" in refusal(UsageError, tmp_path / "pjm")


def test_a_download_larger_than_the_limit_is_stopped(kaggle: Kaggle, tmp_path: Path) -> None:
    assert kaggle.archive
    limits = LIMITS.model_copy(update={"max_bytes": 100})
    with pytest.raises(UsageError, match="a larger download, expected at most 0 MB"):
        fetch_kaggle(KAGGLE_DATASET, tmp_path / "pjm", limits=limits)
    assert not (tmp_path / "pjm").exists()


def test_without_kagglehub_the_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    monkeypatch.setitem(sys.modules, "kagglehub.clients", None)
    with pytest.raises(UsageError, match="found no kagglehub, expected it installed") as refused:
        fetch_kaggle(KAGGLE_DATASET, tmp_path / "pjm", limits=LIMITS)
    assert refused.value.exit_code == EXIT_USAGE


@pytest.mark.slow
def test_the_command_tells_what_it_took_and_how_to_go_on(kaggle: Kaggle, tmp_path: Path) -> None:
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY"), kaggle.address)
    environment = clean_environment(
        KAGGLE_API_ENVIRONMENT="LOCALHOST", HOME=str(tmp_path), **proxies
    )
    result = gridcast("fetch", "kaggle", "--to", tmp_path / "pjm", environment=environment)
    assert result.returncode == 0, result.stderr
    assert "Took 2 regions: AEP, DOM" in result.stdout
    assert f"gridcast run --data {tmp_path / 'pjm'}" in result.stdout
