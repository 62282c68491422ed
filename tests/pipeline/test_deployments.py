"""Every deployment loads and accepts its parameters; a real server, worker and schedule run one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
import yaml

from gridcast.config import Config
from gridcast.monitoring.alarms import RETRAINED_KINDS
from gridcast.summary import Summary
from tasks.dispatch.assignments import Assignment, JobAssignment, ShardAssignment
from tasks.dispatch.flow_runs import DEPLOYMENT
from tasks.promote.prefect_events import ALARM, ISSUED
from tests.builders.pipelines import (
    PREFECT,
    ROOT,
    SECONDS,
    SMALL_MODEL,
    clean_environment,
    copy_artifacts,
    free_port,
    prefect_server,
    session_folder,
    small_data,
    started,
    wait_for,
)
from tests.builders.warm_server import warm_python

if TYPE_CHECKING:
    from collections.abc import Iterator

DECLARED: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
# Names are those of their times; of the same time the later ones go by their flows' names here.
_BY_FLOW = {
    "forecast_load": "forecast",
    "monitor_forecasts": "monitor",
    "retrain_models": "retrain",
}
# What a run gives to workers; nobody else starts them.
ASSIGNED: list[dict[str, Any]] = [
    each for each in DECLARED["deployments"] if each["name"] == "assigned"
]
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    _BY_FLOW.get(each["entrypoint"].partition(":")[2], each["name"]): each
    for each in DECLARED["deployments"]
    if each not in ASSIGNED
}
NAMES = ("hourly", "nightly", "weekly")
ALL_NAMES = (*NAMES, "live", "forecast", "monitor", "retrain")
SECONDS_OF_A_DAY = 24 * 3600


# -- as declared ---------------------------------------------------------------------------------


def test_there_are_an_hourly_a_nightly_a_weekly_and_a_live_deployment() -> None:
    assert sorted(DEPLOYMENTS) == sorted(ALL_NAMES)


def test_the_live_fetch_is_off_until_somebody_has_a_key_and_comes_before_the_hourly_ingestion() -> (
    None
):
    live, hourly = (DEPLOYMENTS[name]["schedules"][0] for name in ("live", "hourly"))
    assert not live["active"]
    assert int(live["cron"].split()[0]) < int(hourly["cron"].split()[0])
    assert DEPLOYMENTS["live"]["concurrency_limit"] == DEPLOYMENTS["hourly"]["concurrency_limit"]


def test_the_forecast_is_off_until_there_is_a_model_and_comes_after_the_hourly_ingestion() -> None:
    forecast, hourly = (DEPLOYMENTS[name]["schedules"][0] for name in ("forecast", "hourly"))
    assert DEPLOYMENTS["forecast"]["name"] == "hourly"
    assert not forecast["active"]
    assert int(forecast["cron"].split()[0]) > int(hourly["cron"].split()[0])


def test_forecasts_are_monitored_after_they_are_issued_and_off_with_them() -> None:
    monitoring, forecast = (DEPLOYMENTS[name]["schedules"][0] for name in ("monitor", "forecast"))
    assert not monitoring["active"]
    assert int(monitoring["cron"].split()[0]) > int(forecast["cron"].split()[0])


def test_a_retraining_is_off_at_first_and_listens_to_alarms_that_a_training_may_mend() -> None:
    retraining = DEPLOYMENTS["retrain"]
    assert not retraining["schedules"][0]["active"]
    (trigger,) = retraining["triggers"]
    assert set(trigger["expect"]) == {f"{ALARM}.{kind}" for kind in RETRAINED_KINDS}


@pytest.mark.prefect
def test_parts_of_runs_have_a_deployment_each_and_neither_schedule_nor_limit() -> None:
    from prefect.flows import Flow, load_flow_from_entrypoint

    kinds: tuple[type[Assignment], ...] = (JobAssignment, ShardAssignment)
    for declared, kind in zip(ASSIGNED, kinds, strict=True):
        flow: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / declared["entrypoint"]))
        assert (flow.name, declared["name"]) == (kind.flow, DEPLOYMENT)
        flow.validate_parameters(
            {"artifacts": "artifacts", "run_id": "1", "assignment": "gru-seed0"}
        )
        assert declared.keys().isdisjoint({"schedules", "concurrency_limit", "parameters"})


@pytest.mark.prefect
def test_monitoring_starts_by_itself_when_no_forecast_came_five_minutes_after_it_was_due() -> None:
    (trigger,) = DEPLOYMENTS["monitor"]["triggers"]
    assert (trigger["posture"], trigger["expect"]) == ("Proactive", [ISSUED])
    assert trigger["after"] == trigger["expect"]
    due = 60 + Config.load().operation.monitoring.due_minutes
    assert trigger["within"] == 60 * due
    from prefect.events.schemas.automations import EventTrigger

    EventTrigger.model_validate({n: v for n, v in trigger.items() if n not in {"type", "enabled"}})


@pytest.mark.prefect
@pytest.mark.parametrize("name", ALL_NAMES)
def test_a_deployments_entrypoint_is_a_flow_that_accepts_its_parameters(name: str) -> None:
    from prefect.flows import Flow, load_flow_from_entrypoint

    declared = DEPLOYMENTS[name]
    flow: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / declared["entrypoint"]))
    accepted = flow.validate_parameters(declared["parameters"])
    assert accepted.keys() >= declared["parameters"].keys()
    Config.load(accepted["profile"], overrides=tuple(accepted["overrides"]))


@pytest.mark.prefect
@pytest.mark.parametrize("name", NAMES)
def test_a_deployment_is_scheduled_as_its_name_says_and_runs_one_at_a_time(name: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    (schedule,) = DEPLOYMENTS[name]["schedules"]
    assert schedule["active"]
    assert ZoneInfo(schedule["timezone"]).key == Config.load().ingestion.timezone
    CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    minute, hour, *_, weekday = schedule["cron"].split()
    assert minute.isdigit()
    assert (hour == "*", weekday == "*") == (name == "hourly", name != "weekly")
    assert DEPLOYMENTS[name]["concurrency_limit"] == {
        "limit": 1,
        "collision_strategy": "CANCEL_NEW",
    }


# -- in operation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """A server of its own with all deployments, a worker, and one run that was waited for."""

    api: str
    run: subprocess.CompletedProcess[str]
    artifacts: Path

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.api}/{path}", data=data, headers=headers)  # noqa: S310
        with urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - loopback
            return json.loads(response.read())


AS_PREFECT = "import prefect.cli; prefect.cli.app()"  # as the command does


@pytest.fixture(scope="module")
def operation() -> Iterator[Operation]:
    """What docs/runbook.md tells an operator to do, on free ports and in temporary folders."""
    home, port = session_folder() / "operation", free_port()
    home.mkdir()
    artifacts = copy_artifacts(session_folder() / "deployed")
    environment = clean_environment(
        PREFECT_HOME=str(home),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        PREFECT_WORKER_QUERY_SECONDS="1",
    )

    def prefect(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [warm_python(), "-c", AS_PREFECT, "--no-prompt", *arguments], env=environment, cwd=ROOT,
            text=True,
            capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert result.returncode == 0 or not check, result.stdout + result.stderr
        return result

    worker = (PREFECT, "worker", "start", "--pool", "gridcast")
    parameters = {"data": str(small_data()), "artifacts": str(artifacts),
                  "overrides": list(SMALL_MODEL)}  # fmt: skip
    with prefect_server(port, log=home / "server.txt", environment=environment):
        prefect("work-pool", "create", "gridcast", "--type", "process")
        with started(*worker, log=home / "worker.txt", environment=environment):
            prefect("deploy", "--all")
            run = prefect(
                "deployment", "run", "run-pipeline/nightly", "--params", json.dumps(parameters),
                "--watch", "--watch-interval", "1", check=False,
            )  # fmt: skip
            yield Operation(f"http://127.0.0.1:{port}/api", run, artifacts)


@pytest.mark.prefect
@pytest.mark.slow
def test_a_worker_runs_a_deployment_to_its_end(operation: Operation) -> None:
    log = (session_folder() / "operation" / "worker.txt").read_text("utf-8")
    assert operation.run.returncode == 0, operation.run.stdout + operation.run.stderr + log
    runs = operation.ask("flow_runs/filter", {"flows": {"name": {"any_": ["run-pipeline"]}}})
    assert [run["state_type"] for run in runs if run["start_time"]] == ["COMPLETED"]
    latest = (operation.artifacts / "runs" / "latest").resolve() / "summary.json"
    summary = Summary.model_validate_json(latest.read_bytes())
    assert (summary.status, summary.flow) == ("completed", "run-pipeline")
    assert sorted(summary.models) == ["gru-seed0", "lstm-seed0"]


@pytest.mark.prefect
@pytest.mark.slow
def test_all_deployments_are_there_with_a_limit_of_one_and_their_own_folder(
    operation: Operation,
) -> None:
    deployed = operation.ask("deployments/filter", {})
    found = {each["entrypoint"]: each for each in deployed if each["name"] != DEPLOYMENT}
    assert len(deployed) == len(found) + len(ASSIGNED)
    assert sorted(found) == sorted(each["entrypoint"] for each in DEPLOYMENTS.values())
    for each in found.values():
        assert each["global_concurrency_limit"]["limit"] == 1
        assert each["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert each["work_pool_name"] == "gridcast"
        (step,) = each["pull_steps"]
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_cron_schedule_has_planned_runs(operation: Operation, name: str) -> None:
    wanted = {"deployments": {"name": {"any_": [name]}},
              "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
              "sort": "EXPECTED_START_TIME_ASC"}  # fmt: skip
    runs = wait_for("scheduled runs", lambda: operation.ask("flow_runs/filter", wanted))
    assert all(run["auto_scheduled"] for run in runs)
    assert all(run["parameters"]["artifacts"] == "artifacts" for run in runs)
