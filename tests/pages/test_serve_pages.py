"""``gridcast ui``: both pages on loopback alone, over what runs left, until Ctrl-C."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import httpx
import psutil
import pytest

from tests.builders.pipelines import (
    GRIDCAST,
    SECONDS,
    Started,
    alive,
    copy_artifacts,
    first_run,
    free_port,
    gridcast,
    read_json,
    session_folder,
    started,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@dataclass(frozen=True)
class Pages:
    """Both servers as ``gridcast ui`` started them, and what it printed."""

    process: Started
    prefect_port: int
    mlflow_port: int
    port: int
    printed: str
    artifacts: Path


def ask(
    address: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Any:  # noqa: ANN401
    """What a server answers, as JSON if it is that."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = Request(address, data=data, headers=headers)  # noqa: S310
    with urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - loopback
        assert response.status == 200
        content = response.read().decode()
        is_json = "json" in response.headers.get("Content-Type", "")
    return json.loads(content) if is_json else content


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """`gridcast ui` on what the first run left; Ctrl-C stops it in the last test."""
    log, ports = session_folder() / "ui.txt", (free_port(), free_port(), free_port())
    artifacts = copy_artifacts(session_folder() / "shown")
    page = artifacts / "monitoring" / "csv" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html>of the operator</html>", encoding="utf-8")
    names = ("--prefect-port", "--mlflow-port", "--port")
    options = [each for pair in zip(names, map(str, ports), strict=True) for each in pair]
    with started(GRIDCAST, "ui", "--artifacts", artifacts, *options, log=log) as process:

        def is_up() -> bool:
            assert process.poll() is None, log.read_text("utf-8")
            return "Ctrl-C stops all." in log.read_text("utf-8")

        wait_for("both servers", is_up)
        yield Pages(process, *ports, log.read_text("utf-8"), artifacts)


def test_ui_prints_both_addresses_and_both_pages_answer(pages: Pages) -> None:
    addresses = [f"http://127.0.0.1:{port}" for port in (pages.prefect_port, pages.mlflow_port)]
    assert f"Prefect: {addresses[0]}" in pages.printed
    assert f"MLflow: {addresses[1]}" in pages.printed
    for address in addresses:
        assert "<html" in ask(address).lower()


def test_all_that_ui_starts_listens_on_loopback_alone(pages: Pages) -> None:
    listening = [
        connection.laddr
        for process in [psutil.Process(pages.process.pid), *pages.process.children(recursive=True)]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} >= {pages.prefect_port, pages.mlflow_port}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_the_run_of_the_pipeline_is_seen_through_prefects_api(pages: Pages) -> None:
    api = f"http://127.0.0.1:{pages.prefect_port}/api"
    named = {"flows": {"name": {"any_": ["run-pipeline"]}}}
    client = "a-test"
    known = authorization(pages)
    token = ask(f"{api}/csrf-token?client={client}", headers=known)["token"]
    known |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}
    runs = ask(f"{api}/flow_runs/filter", named, known)
    assert "COMPLETED" in {run["state_type"] for run in runs}
    assert str(first_run().artifacts) in {run["parameters"]["artifacts"] for run in runs}
    tasks = ask(f"{api}/task_runs/filter", {"limit": 200}, known)
    assert {"train-gru-seed0", "train-lstm-seed0", "ingest-AEP"} <= {run["name"] for run in tasks}


def authorization(pages: Pages) -> dict[str, str]:
    """What says that one has read the file that the command names."""
    (path,) = re.findall(r"the word in (\S+)\.", pages.printed)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    word = Path(path).read_text("utf-8").strip()
    return {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}


def test_the_links_that_ui_prints_open_and_lead_to_the_last_run(pages: Pages) -> None:
    links = dict(re.findall(r"^  (.+): (http\S+)$", pages.printed, re.MULTILINE))
    run = first_run().summary.run_id
    own = f"http://127.0.0.1:{pages.port}"
    assert links["Forecasts of csv"] == f"{own}/monitoring/csv/index.html"
    assert "of the operator" in ask(links["Forecasts of csv"])
    assert "<html" in ask(links[f"Report of {run}"]).lower()
    assert re.fullmatch(rf"http://127.0.0.1:{pages.mlflow_port}/#/experiments/\d+/runs",
                        links["All runs in MLflow"])  # fmt: skip
    opened = read_json(pages.artifacts / "runs" / run / "opened.json")
    assert links[f"{run} in Prefect"].endswith(f"/runs/flow-run/{opened['flow_run_id']}")
    start = ask(own)
    assert all(f'href="{address}"' in start for address in links.values())


def test_nothing_of_the_artifacts_but_pages_is_served(pages: Pages) -> None:
    own = f"http://127.0.0.1:{pages.port}"
    assert (pages.artifacts / "prefect" / "word.txt").is_file()
    run = first_run().folder.name
    for asked in ("prefect/word.txt", "monitoring/../prefect/word.txt", f"runs/{run}/summary.json",
                  "monitoring/%2e%2e/prefect/word.txt", "mlflow/mlflow.db", "%2e%2e/ui.txt",
                  "runs/../../x/report.html", "monitoring/csv"):  # fmt: skip
        assert httpx.get(f"{own}/{asked}", timeout=SECONDS).status_code == 404, asked
    for host in ("evil.example", f"evil.example:{pages.port}", ""):
        answer = httpx.get(own, headers={"Host": host}, timeout=SECONDS)
        assert answer.status_code in {400, 403}, host


FOREIGN = (
    {"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"},
    {"Host": "evil.example", "Origin": "http://evil.example"}, {"Host": "127.0.0.1.evil.example"},
)  # fmt: skip


def test_who_comes_from_elsewhere_is_refused_by_both_servers(pages: Pages) -> None:
    prefect, mlflow = (
        f"http://127.0.0.1:{port}" for port in (pages.prefect_port, pages.mlflow_port)
    )
    asked = (
        ("POST", f"{prefect}/api/flow_runs/filter"), ("GET", f"{prefect}/api/flows/count"),
        ("DELETE", f"{prefect}/api/variables/name/x"), ("POST", f"{prefect}/api/variables/"),
        ("POST", f"{mlflow}/api/2.0/mlflow/runs/search"),
        ("POST", f"{mlflow}/api/2.0/mlflow/experiments/create"),
    )  # fmt: skip
    for method, address in asked:
        for headers in FOREIGN:
            answer = httpx.request(method, address, headers=headers, timeout=SECONDS)
            assert answer.status_code in {401, 403}, (method, address, headers)
            assert answer.headers.get("Access-Control-Allow-Origin") != "*"


def test_the_models_are_seen_through_mlflows_api(pages: Pages) -> None:
    api = f"http://127.0.0.1:{pages.mlflow_port}/api/2.0/mlflow"
    found = ask(f"{api}/experiments/get-by-name?experiment_name=gridcast")
    wanted = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 100}
    runs = ask(f"{api}/runs/search", wanted)["runs"]
    ids = {run["info"]["run_id"] for run in runs}
    assert {model.mlflow_run_id for model in first_run().summary.models.values()} <= ids


@pytest.mark.parametrize("option", ["--prefect-port", "--mlflow-port", "--port"])
def test_a_port_that_is_taken_is_refused_naming_its_option(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        others = {"--prefect-port", "--mlflow-port", "--port"} - {option}
        free = [each for name in sorted(others) for each in (name, str(free_port()))]
        result = gridcast("ui", "--artifacts", session_folder(), option, port, *free)
    assert result.returncode == 2
    assert f"ERROR {option} {port}: found a port in use" in result.stderr


def test_ctrl_c_stops_both_servers_and_leaves_no_process(pages: Pages) -> None:
    family = pages.process.children(recursive=True)
    assert len(family) >= 2
    os.killpg(pages.process.pid, signal.SIGINT)
    assert pages.process.wait(SECONDS) == 0
    psutil.wait_procs(family, timeout=SECONDS)
    assert alive(family) == []
