"""A team's servers, started as ``deploy/`` starts them: PostgreSQL, a bucket, passwords."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders.buckets import in_environment
from tests.builders.pipelines import SMALL_MODEL, small_data, wait_for
from tests.builders.team import Team, answer_of, team

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAITS = 4

pytestmark = [pytest.mark.soak, pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with team(tmp_path_factory.mktemp("team")) as own, in_environment(own.environment):
        yield own


def start_nightly(servers: Team, *more: str) -> str:
    """The nightly deployment in a folder of this test; the id of its flow run."""
    parameters: dict[str, Any] = {
        "data": str(small_data()), "profile": str(servers.profile),
        "artifacts": str(servers.folder / "artifacts"), "overrides": [*SMALL_MODEL, *more],
    }  # fmt: skip
    words = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
    result = servers.run("prefect", "deployment", "run", "run-pipeline/nightly", *words)
    found = re.search(r"UUID: ([0-9a-f-]{36})", result.stdout)
    assert found is not None, result.stdout + result.stderr
    return found[1]


def state_of(servers: Team, flow_run_id: str) -> str:
    word = servers.environment["PREFECT_API_AUTH_STRING"]
    status, content = answer_of(f"{servers.prefect_api}/flow_runs/{flow_run_id}", word)
    return str(json.loads(content)["state_type"]) if status == 200 else "unknown"


def ended(servers: Team, flow_run_id: str) -> str:
    over = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

    def state() -> str | None:
        found = state_of(servers, flow_run_id)
        return found if found in over else None

    for _ in range(_WAITS):  # three models of 200 files each go through MLflow's server, one by one
        with suppress(AssertionError):
            return str(wait_for("the end of the flow run", state))
    return "unknown"


@pytest.fixture(scope="module")
def nightly(servers: Team) -> str:
    flow_run_id = start_nightly(servers)
    assert ended(servers, flow_run_id) == "COMPLETED", (servers.folder / "worker.txt").read_text(
        "utf-8"
    )
    return flow_run_id


def test_a_deployment_runs_by_the_worker_and_logs_to_mlflow_whose_artifacts_are_in_the_bucket(
    servers: Team, nightly: str
) -> None:
    import boto3
    from mlflow import MlflowClient

    assert nightly
    client = MlflowClient(servers.mlflow)
    experiment = client.get_experiment_by_name("gridcast")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    found = boto3.client("s3").list_objects_v2(Bucket="gridcast", Prefix="mlflow/")["Contents"]
    assert any(each["Key"].endswith("MLmodel") for each in found)
    assert client.get_model_version_by_alias("gridcast-csv", "challenger").version == "1"


def test_who_does_not_know_the_words_is_refused_by_both_servers(servers: Team) -> None:
    experiment = "api/2.0/mlflow/experiments/get-by-name?experiment_name=gridcast"
    asked = {
        f"{servers.prefect_api}/admin/version": servers.environment["PREFECT_API_AUTH_STRING"],
        f"{servers.mlflow}/{experiment}":
            f"gridcast:{servers.environment['MLFLOW_TRACKING_PASSWORD']}",
    }  # fmt: skip
    for address, word in asked.items():
        assert answer_of(address)[0] == 401
        assert answer_of(address, "gridcast:wrong")[0] == 401
        assert answer_of(address, word)[0] in {200, 404}  # before the first run there is none


def test_another_machine_forecasts_with_what_the_nightly_run_left_in_the_bucket(
    servers: Team, nightly: str, tmp_path: Path
) -> None:
    assert nightly
    words = ("--artifacts", tmp_path / "laptop", "--profile", servers.profile)
    pulled = servers.run("gridcast", "store", "pull", *words)
    assert pulled.returncode == 0, pulled.stderr
    shown = servers.run(
        "gridcast", "forecast", *words, "--set", "forecasting.calibration_origins=40"
    )
    assert shown.returncode == 0, shown.stderr
    assert "AEP" in shown.stdout


def test_postgresql_that_dies_in_mid_run_and_comes_back_costs_no_run(
    servers: Team, nightly: str
) -> None:
    assert nightly
    flow_run_id = start_nightly(servers, "training.seeds=[1]", "training.passes=40")
    jobs = servers.folder / "artifacts" / "jobs"
    wait_for("the training", lambda: list(jobs.glob("gru-seed1-*/log.txt")))
    servers.kill_database(seconds=10)
    assert ended(servers, flow_run_id) == "COMPLETED", (servers.folder / "worker.txt").read_text(
        "utf-8"
    )
    artifacts = servers.folder / "artifacts"
    forgotten = servers.run("gridcast", "forget-flow-runs", "--days", "1", "--artifacts", artifacts)
    assert "0 flow runs" in forgotten.stdout, forgotten.stderr


def test_no_secret_is_in_anything_that_was_written(servers: Team, nightly: str) -> None:
    assert nightly
    assert len(servers.secrets) >= 4
    for path in servers.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [word for word in servers.secrets if word.encode() in content], path
