"""A team's servers as ``deploy/`` has them: its commands and names, with ports of a test."""

from __future__ import annotations

import base64
import configparser
import os
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.builders.buckets import require_s3, s3_endpoint
from tests.builders.pipelines import (
    ROOT,
    SECONDS,
    clean_environment,
    free_port,
    started,
    wait_for,
    wait_until_it_answers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTALLED, KEPT = "/opt/gridcast", "/var/lib/gridcast"
BUCKET = "gridcast"
_PROGRAMS = Path(sys.executable).parent
_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def unit_of(name: str) -> configparser.ConfigParser:
    """The unit of a service; of a key that stands several times, the last one."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / f"gridcast-{name}.service")
    return parser


def command_of_unit(name: str) -> list[str]:
    """What the service starts, as it stands."""
    return shlex.split(unit_of(name)["Service"]["ExecStart"])


def command_here(name: str) -> list[str]:
    """The same with the programs of this checkout."""
    command = command_of_unit(name)
    assert command[0].startswith(f"{INSTALLED}/.venv/bin/")
    return [str(_PROGRAMS / Path(command[0]).name), *command[1:]]


def command_of_deploy() -> list[str]:
    """How the pool and the deployments are made, as the containers do it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    command: list[str] = compose["services"]["deploy"]["command"]
    return command


def environment_names() -> dict[str, str]:
    """Names and values of ``deploy/environment.example``."""
    text = (DEPLOY / "environment.example").read_text("utf-8")
    return dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", text, re.MULTILINE))


# -- PostgreSQL ------------------------------------------------------------------------------------


@dataclass
class Postgres:
    """A server of PostgreSQL in a folder of its own, whose owner may log in by a password."""

    folder: Path
    port: int
    owner: str
    password: str

    @property
    def environment(self) -> dict[str, str]:
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.owner,
                "PGPASSWORD": self.password}  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[None]:
        """From when it answers on, until inside is done: then it is killed with all its own."""
        command = _as_postgres(
            str(_program("postgres")), "-D", str(self.folder / "data"), "-h", "127.0.0.1",
            "-p", str(self.port), "-k", str(self.folder),
        )  # fmt: skip
        with started(*command, log=self.folder / "postgres.txt"):
            wait_for("PostgreSQL", self._is_up)
            yield

    def _is_up(self) -> bool:
        environment = clean_environment(**self.environment)
        command = [str(_program("psql")), "-d", "postgres", "-Atc", "SELECT 1"]
        return not subprocess.run(
            command, env=environment, capture_output=True, check=False
        ).returncode


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new one, not yet running; its folder goes at the end."""
    if not _POSTGRES:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="gridcast-postgres-", dir="/tmp"))
    try:
        password = secrets.token_hex(16)
        (folder / "password").write_text(password, "utf-8")
        if os.getuid() == 0:
            own = pwd.getpwnam("postgres")
            for path in (folder, folder / "password"):
                os.chown(path, own.pw_uid, own.pw_gid)
        command = _as_postgres(
            str(_program("initdb")), "-D", str(folder / "data"), "-U", "gridcast",
            "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync",
        )  # fmt: skip
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        yield Postgres(folder, free_port(), "gridcast", password)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> Path:
    return _POSTGRES[-1].with_name(name)


def _as_postgres(*command: str) -> list[str]:
    """It refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else list(command)


# -- all of it -------------------------------------------------------------------------------------


@dataclass
class Team:
    """Servers and a worker that run, and what they know of one another."""

    folder: Path
    environment: dict[str, str]
    secrets: tuple[str, ...]
    database: Postgres
    database_life: ExitStack

    @property
    def prefect_api(self) -> str:
        return self.environment["PREFECT_API_URL"]

    @property
    def mlflow(self) -> str:
        return self.environment["MLFLOW_TRACKING_URI"]

    @property
    def profile(self) -> Path:
        return DEPLOY / "team.yaml"

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A program of this checkout as an operator starts it, with the team's environment."""
        words = [str(_PROGRAMS / command[0]), *map(str, command[1:])]
        return subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, text=True,
                              timeout=2 * SECONDS, check=False)  # fmt: skip

    def kill_database(self, *, seconds: float) -> None:
        """It dies at once, with all connections, and is back after a while."""
        self.database_life.close()
        time.sleep(seconds)
        self.database_life.enter_context(self.database.running())


@contextmanager
def team(folder: Path) -> Iterator[Team]:
    """What docs/deploy.md tells to do, in its order, by the commands of ``deploy/``."""
    require_s3()
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        life = stack.enter_context(ExitStack())
        life.enter_context(database.running())
        bucket = stack.enter_context(s3_endpoint(BUCKET))
        values, words = _values(folder, database, bucket)
        programs = f"{_PROGRAMS}:{_POSTGRES[-1].parent}:{os.environ['PATH']}"
        environment = clean_environment(**values, PATH=programs)
        subprocess.run(["sh", str(DEPLOY / "init-databases.sh")], check=True, env=environment)
        for name, page in (("prefect", "api/health"), ("mlflow", "health")):
            log, port = folder / f"{name}.txt", int(values[_PORTS[name]])
            process = stack.enter_context(
                started(*command_here(name), log=log, environment=environment)
            )
            wait_until_it_answers(process, port, page, log)
        own = Team(folder, environment, words, database, life)
        _deploy(own)
        stack.enter_context(
            started(*command_here("worker"), log=folder / "worker.txt", environment=environment)
        )
        yield own


_PORTS = {"prefect": "PREFECT_SERVER_API_PORT", "mlflow": "MLFLOW_PORT"}


def _values(
    folder: Path, database: Postgres, bucket: dict[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """``deploy/environment.example`` filled in; and its secrets."""
    ports = {name: str(free_port()) for name in _PORTS}
    given = environment_names()
    made = {name: re.sub(r"CHANGE-[a-z0-9-]+", lambda _: secrets.token_hex(16), value)
            for name, value in given.items()}  # fmt: skip
    made["PREFECT_API_AUTH_STRING"] = made["PREFECT_SERVER_API_AUTH_STRING"]
    made["MLFLOW_TRACKING_PASSWORD"] = made["MLFLOW_AUTH_ADMIN_PASSWORD"]
    made |= database.environment | bucket
    here = {INSTALLED: str(ROOT), KEPT: str(folder), ":4200": f":{ports['prefect']}",
            ":5000": f":{ports['mlflow']}"}  # fmt: skip
    for written, own in here.items():
        made = {name: value.replace(written, own) for name, value in made.items()}
    made |= {_PORTS[name]: port for name, port in ports.items()}
    hidden = [made[name].rpartition(":")[2] for name, value in given.items() if "CHANGE" in value]
    assert made.keys() == given.keys()
    return made, tuple(set(hidden) - set(bucket.values()))


def _deploy(own: Team) -> None:
    """The pool and the deployments, by the command that the containers have."""
    text = (DEPLOY / "prefect.yaml").read_text("utf-8")
    here = own.folder / "prefect.yaml"
    here.write_text(text.replace(INSTALLED, str(ROOT)).replace(KEPT, str(own.folder)), "utf-8")
    command = [word.replace("deploy/prefect.yaml", str(here)) for word in command_of_deploy()]
    subprocess.run(command, cwd=ROOT, env=own.environment, check=True, capture_output=True)


def answer_of(address: str, name_and_word: str = "") -> tuple[int, bytes]:
    """The status and the content with which a server answers."""
    word = base64.b64encode(name_and_word.encode()).decode()
    headers = {"Authorization": f"Basic {word}"} if name_and_word else {}
    try:
        with urlopen(Request(address, headers=headers), timeout=SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()
