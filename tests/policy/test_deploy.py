"""What stands in ``deploy/`` is one truth: the same commands and names everywhere, and no secrets.

The commands are really started by ``tests/pipeline/test_team_servers.py``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from gridcast.config import Config
from tests.builders.pipelines import ROOT
from tests.builders.team import (
    DEPLOY,
    INSTALLED,
    UNITS,
    command_of_deploy,
    command_of_unit,
    environment_names,
    unit_of,
)

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
CLUSTER = DEPLOY / "kubernetes" / "gridcast.yaml"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(CLUSTER.read_text("utf-8")))
SERVICES = ("prefect", "mlflow", "worker")
SECRET = re.compile(r"PASS|SECRET|AUTH_STRING|ACCESS_KEY")


def containers() -> dict[str, dict[str, Any]]:
    """The container of each pod, and what stands around it."""
    named = {each["metadata"]["name"]: each.get("spec", {}) for each in OBJECTS}
    pods = {name: spec["template"]["spec"] for name, spec in named.items() if "template" in spec}
    return {name: pod | {"container": pod["containers"][0]} for name, pod in pods.items()}


def test_there_is_a_unit_for_each_service() -> None:
    assert [path.stem for path in UNITS] == sorted(f"gridcast-{name}" for name in SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_containers_start_what_the_unit_starts(name: str) -> None:
    program, *arguments = command_of_unit(name)
    command = [Path(program).name, *arguments]
    assert COMPOSE["services"][name]["command"] == command
    assert containers()[name]["container"]["command"] == command


def test_the_pool_and_the_deployments_are_made_alike_everywhere() -> None:
    assert containers()["deploy"]["container"]["command"] == command_of_deploy()
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    for part in command_of_deploy()[-1].replace(" || true", "").split("; "):
        assert part in page


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_starts_again_by_itself_reads_its_secrets_from_a_file_and_may_do_little(
    name: str,
) -> None:
    service = unit_of(name)["Service"]
    assert service["EnvironmentFile"] == "/etc/gridcast/environment"
    assert service["Restart"] == "always"
    assert service["User"] == "gridcast"
    for setting in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"):
        assert service[setting] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert unit_of(name)["Install"]["WantedBy"] == "multi-user.target"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on this machine")
    copies = []
    for path in UNITS:
        text = path.read_text("utf-8").replace(f"{INSTALLED}/.venv", sys.prefix)
        copies.append(tmp_path / path.name)
        copies[-1].write_text(text, "utf-8")
    result = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", *copies],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = [line for line in result.stderr.splitlines() if "gridcast" in line]
    assert (result.returncode, told) == (0, [])


def test_the_cluster_takes_the_manifests() -> None:
    if find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed: pip install kubernetes-validate")
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", str(CLUSTER)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(OBJECTS) == 9


def test_pods_may_do_little_hold_no_secret_and_are_looked_after() -> None:
    found = containers()
    assert sorted(found) == sorted([*SERVICES, "deploy"])
    for name, pod in found.items():
        container = pod["container"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert not pod["automountServiceAccountToken"], name
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
        assert container["envFrom"][0] == {"secretRef": {"name": "gridcast"}}, name
        assert "env" not in container, name
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in pod["volumes"]}, name
        if name in {"prefect", "mlflow"}:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name


def test_what_containers_lay_over_the_environment_are_names_that_it_has() -> None:
    known = environment_names().keys()
    (addresses,) = (each["data"] for each in OBJECTS if each["kind"] == "ConfigMap")
    for laid_over in (addresses, COMPOSE["services"]["worker"]["environment"]):
        assert laid_over.keys() <= known
        assert not [name for name in laid_over if SECRET.search(name)]


def test_compose_starts_each_service_after_what_it_needs_and_publishes_loopback_alone() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= services.keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["env_file"] == "environment", name


def test_no_secret_stands_in_a_file() -> None:
    values = environment_names()
    secret = {name for name in values if SECRET.search(name)}
    assert len(secret) == 8
    assert [name for name in secret if "CHANGE" not in values[name]] == []
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.name != "environment.example":
            text = path.read_text("utf-8")
            found = re.findall(r"(?i)(?:password|secret|auth_string)\w*\s*[:=]\s*['\"]?(\w+)", text)
            assert found == [], path


def test_the_teams_profile_loads_and_its_deployments_are_those_of_this_checkout() -> None:
    config = Config.load(str(DEPLOY / "team.yaml"))
    assert config.run.store.startswith(f"s3://{_bucket()}/")
    assert config.run.keep_prefect_days is not None
    ours, theirs = (
        yaml.safe_load((folder / "prefect.yaml").read_text("utf-8")) for folder in (ROOT, DEPLOY)
    )
    declared = {(each["entrypoint"], each["name"]): each for each in ours["deployments"]}
    for each in theirs["deployments"]:
        own = declared[each["entrypoint"], each["name"]]
        same = ("schedules", "concurrency_limit", "description", "tags")
        assert {name: each[name] for name in same} == {name: own[name] for name in same}
        assert each["parameters"].keys() == own["parameters"].keys()
        assert each["parameters"]["profile"] == f"{INSTALLED}/deploy/team.yaml"
        assert each["work_pool"]["name"] == own["work_pool"]["name"]


def _bucket() -> str:
    address = environment_names()["MLFLOW_ARTIFACTS_DESTINATION"]
    return address.removeprefix("s3://").partition("/")[0]


def test_the_image_has_what_the_lock_has_and_runs_as_nobody_in_particular() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    assert "--require-hashes -r requirements/lock.txt" in text
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    sources = [name for line in copied for name in line.split()]
    assert [name for name in sources if not (ROOT / name).exists()] == []
    kept = {line[1:] for line in (ROOT / ".containerignore").read_text("utf-8").splitlines()
            if line.startswith("!")}  # fmt: skip
    assert set(sources) == kept
    same = (ROOT / ".dockerignore").read_bytes()
    assert same == (ROOT / ".containerignore").read_bytes()
    assert {"gridcast", "tasks", "flows", "configs"} <= kept
