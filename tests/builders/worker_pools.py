"""A Prefect server with the deployments, and workers of its pool, as docs/scale.md has them."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.builders.pipelines import (
    PREFECT,
    ROOT,
    SECONDS,
    clean_environment,
    free_port,
    prefect_server,
)
from tests.builders.warm_server import warm_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AS_PREFECT = "import prefect.cli; prefect.cli.app()"  # as the command does
POOL = "gridcast"


@dataclass(frozen=True)
class Pool:
    """A server of its own with all deployments; ``environment`` is that of who asks it."""

    folder: Path
    api: str
    environment: dict[str, str]

    def prefect(self, *arguments: str) -> str:
        """The output of Prefect's command, which must end well."""
        result = subprocess.run(
            [warm_python(), "-c", AS_PREFECT, "--no-prompt", *arguments], env=self.environment,
            cwd=ROOT, text=True, capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """The answer to a request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.api}/{path}", data=data, headers=headers)  # noqa: S310
        with urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - loopback
            return json.loads(response.read())

    def worker(self, name: str, *more: str) -> tuple[str | Path, ...]:
        """The command of a worker that does one assignment at a time."""
        return (PREFECT, "worker", "start", "--pool", POOL, "--name", name, "--limit", "1", *more)


@contextmanager
def worker_pool(folder: Path) -> Iterator[Pool]:
    """A server, the pool and its deployments, in a folder of their own."""
    home, port = folder / "prefect-home", free_port()
    home.mkdir(parents=True)
    environment = clean_environment(
        PREFECT_HOME=str(home),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        PREFECT_WORKER_QUERY_SECONDS="1",
        PREFECT_LOGGING_EXTRA_LOGGERS="gridcast",
    )
    with prefect_server(port, log=folder / "server.txt", environment=environment):
        pool = Pool(folder, f"http://127.0.0.1:{port}/api", environment)
        pool.prefect("work-pool", "create", POOL, "--type", "process")
        pool.prefect("deploy", "--all")
        yield pool
