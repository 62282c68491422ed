"""A rehearsal of operation: real servers and a worker, a feed that goes on as time does.

The deployments of ``prefect.yaml`` run by themselves; an hour of theirs lasts a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.builders.eia_server import KEY, EiaServer, eia_server
from tests.builders.pipelines import (
    PREFECT,
    SECONDS,
    Started,
    clean_environment,
    free_port,
    kill_tree,
    prefect_server,
    started,
    wait_for,
)
from tests.builders.worker_pools import POOL, Pool

HOUR = timedelta(hours=1)
_BUSY = 503
# As docs/runbook.md has it: without it a server that is started again never gives back what a
# killed worker held, and the deployment starts no more.
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
REGIONS = {"AEP": "AEP", "DOM": "DOM", "PJM": "D"}  # and how the EIA names them
OPERATOR = "DF"
_SIZES_MW = {"AEP": 14_000.0, "DOM": 11_000.0, "PJM": 80_000.0}


def make_feed(first: datetime, num: int, *, shift: int = 0) -> dict[str, dict[str, object]]:
    """Loads of ``num`` hours by the EIA's code and period, and what the operator has forecast.

    Days, weekends and slow weather. With a ``shift`` days begin that many hours earlier.
    """
    rng, hour_N = np.random.default_rng(0), np.arange(num)
    local_N, is_weekend_N = (hour_N - 5 + shift) % 24, hour_N // 24 % 7 >= 5
    day_N = 0.18 * np.sin(2 * np.pi * (local_N - 9) / 24)
    day_N += 0.06 * np.sin(4 * np.pi * (local_N - 4) / 24)
    names = [f"{first + n * HOUR:%Y-%m-%dT%H}" for n in range(num)]
    feed, load_N = {}, np.zeros(num)
    for region, code in REGIONS.items():
        weather_N = np.zeros(num)
        for n, step in enumerate(rng.standard_normal(num) * 0.008):
            weather_N[n] = 0.985 * weather_N[n - 1] + step if n else step
        load_N = _SIZES_MW[region] * (1 + day_N - 0.08 * is_weekend_N + weather_N)
        feed[code] = _as_told(names, load_N)
    feed[OPERATOR] = _as_told(names, load_N * (1 + 0.03 * rng.standard_normal(num)))
    return feed


def _as_told(names: list[str], load_N: np.ndarray) -> dict[str, object]:
    return {name: f"{load:.0f}" for name, load in zip(names, load_N, strict=True)}


@dataclass
class Clock:
    """What the time of the world stands for: ``stands_for`` at ``begun_at``."""

    stands_for: datetime
    hour_seconds: float
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.stands_for + (datetime.now(UTC) - self.begun_at) / self.hour_seconds * 3600

    def world(self, hours: float) -> float:
        """Seconds of the world until that many hours after the begin."""
        at = self.begun_at + timedelta(seconds=hours * self.hour_seconds)
        return (at - datetime.now(UTC)).total_seconds()

    @property
    def setting(self) -> str:
        """For `--set`."""
        return (
            f'operation.clock={{begun_at: "{self.begun_at.isoformat()}", stands_for: '
            f'"{self.stands_for.isoformat()}", hour_seconds: {self.hour_seconds}}}'
        )


@dataclass
class Rehearsal:
    """Servers and a worker, each of which may be killed and started again."""

    folder: Path
    eia: EiaServer
    pool: Pool
    port: int
    running: dict[str, ExitStack] = field(default_factory=dict)
    processes: dict[str, Started] = field(default_factory=dict)

    def start_server(self) -> None:
        stack = self.running["server"] = ExitStack()
        number = len(list(self.folder.glob("server-*.txt")))
        stack.enter_context(prefect_server(
            self.port, log=self.folder / f"server-{number}.txt", environment=self.pool.environment
        ))  # fmt: skip

    def start_worker(self) -> None:
        number = len(list(self.folder.glob("worker-*.txt")))
        stack = self.running["worker"] = ExitStack()
        self.processes["worker"] = stack.enter_context(started(
            PREFECT, "worker", "start", "--pool", POOL, "--name", f"worker-{number}",
            log=self.folder / f"worker-{number}.txt", environment=self.pool.environment,
        ))  # fmt: skip

    def kill(self, name: str) -> None:
        """End the server or the worker with all that it has started, without a word to anybody."""
        if name == "worker":
            kill_tree(self.processes["worker"])
        self.running.pop(name).close()

    def close(self) -> None:
        """End whatever runs."""
        for each in reversed(self.running.values()):
            each.close()

    def change(self, deployment: str, **fields: object) -> None:
        """Change parameters of a deployment, as Prefect's pages do."""
        found = self.ask(f"deployments/name/{deployment}")
        self._answer("PATCH", f"deployments/{found['id']}", fields)

    def schedule(self, deployment: str, every_seconds: float, *, anchor: datetime) -> None:
        """Start it by itself from then on, as often."""
        found = self.ask(f"deployments/name/{deployment}")
        schedule = {"interval": every_seconds, "anchor_date": anchor.isoformat()}
        asked = [{"slug": "rehearsal", "active": True, "schedule": schedule}]
        self._answer("POST", f"deployments/{found['id']}/schedules", asked)

    def pause(self, deployment: str) -> None:
        """Start it by itself no more."""
        found = self.ask(f"deployments/name/{deployment}")
        for each in found["schedules"]:
            path = f"deployments/{found['id']}/schedules/{each['id']}"
            self._answer("PATCH", path, {"active": False})

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """The answer of Prefect's server."""
        return self._answer("GET" if body is None else "POST", path, body).json()

    def _answer(self, method: str, path: str, body: object) -> httpx.Response:
        """Asked again while a busy or starting server has no time."""

        def asked() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                answer = httpx.request(
                    method, f"{self.pool.api}/{path}", json=body, timeout=SECONDS
                )
                return None if answer.status_code == _BUSY else answer
            return None

        answer: httpx.Response = wait_for(f"an answer to {path}", asked)
        assert answer.is_success, answer.text
        return answer

    def flow_runs(self, flow: str) -> list[dict[str, Any]]:
        """Of a flow, those that were to start by now, the first of them first."""
        asked = {
            "flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC",
            "flow_runs": {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}},
        }  # fmt: skip
        found: list[dict[str, Any]] = self.ask("flow_runs/filter", asked)
        return found

    def logs(self) -> str:
        """What servers and workers have said."""
        paths = sorted(self.folder.glob("*.txt"))
        return "\n".join(f"-- {p.name}\n{p.read_text('utf-8')[-20_000:]}" for p in paths)


@contextmanager
def rehearsal(folder: Path, *, settings: dict[str, str] | None = None) -> Iterator[Rehearsal]:
    """A server with the deployments, a worker and an EIA of their own; all ended at the end."""
    home, port = folder / "prefect-home", free_port()
    home.mkdir(parents=True)
    with eia_server() as eia, ExitStack() as stack:
        environment = clean_environment(
            PREFECT_HOME=str(home),
            PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
            PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{home / 'prefect.db'}",
            PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY="PT1S",
            PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=LEASES,
            PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION="30",
            PREFECT_WORKER_QUERY_SECONDS="1",
            PREFECT_WORKER_PREFETCH_SECONDS="1",
            PREFECT_LOGGING_EXTRA_LOGGERS="gridcast",
            OMP_NUM_THREADS="1",
            EIA_API_URL=eia.address,
            EIA_API_KEY=KEY,
            **(settings or {}),
        )
        pool = Pool(folder, f"http://127.0.0.1:{port}/api", environment)
        own = Rehearsal(folder, eia, pool, port)
        stack.callback(own.close)
        own.start_server()
        pool.prefect("work-pool", "create", POOL, "--type", "process")
        pool.prefect("deploy", "--all")
        own.start_worker()
        yield own


def published_until(clock: Callable[[], datetime]) -> Callable[[], str]:
    """The newest period that the EIA has by then: the hour that has just ended."""
    return lambda: f"{clock():%Y-%m-%dT%H}"
