"""An assignment that is given out, on a real server: nobody takes it, its worker crashes, it fails.

No worker is started: the states that one would tell are told here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gridcast.config import Config
from gridcast.errors import NotDoneError, UsageError
from tasks.machine.devices import Devices
from tasks.machine.owned_process import stop
from tests.builders.pipelines import on_a_server, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.schemas.objects import State

    from tasks.dispatch.assignments import ShardAssignment
    from tasks.runs.run import Run

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """The session's server, with the deployment of a shard."""
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: on_a_server()["PREFECT_API_URL"]}):
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name="nobody", type="process"))
            flow = client.create_flow_from_name("ingest-shard")
            client.create_deployment(flow, "assigned", work_pool_name="nobody")
        yield


def run_in(folder: Path, number: int = 0) -> Run:
    from tasks.runs.run import Run

    overrides = ("execution.executor=workers", "execution.attempts=2", "execution.lost_seconds=900")
    config = Config.load(overrides=overrides)
    run_id = f"20260101T000000Z-{abs(hash(folder)) % 65536:04x}{number}"
    return Run(
        run_id, "", folder, None, "base", overrides, config, Devices(("cpu",), 1), fresh=False
    )


def shard() -> ShardAssignment:
    from tasks.dispatch.assignments import ShardAssignment

    return ShardAssignment(name="shard-0", files=(), labels="local")


@contextmanager
def given_out(run: Run, found: list[str]) -> Iterator[Any]:
    """What becomes of the shard, as a future; its result is what ``found`` comes to hold."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.dispatch.flow_runs import done_elsewhere

    url = get_settings_context().settings.api.url
    results = iter(lambda: found[0] if found else None, "never")

    def give() -> str:
        with temporary_settings({PREFECT_API_URL: url}):
            return done_elsewhere(run, shard(), queue="cpu", result=lambda: next(results))

    with ThreadPoolExecutor(1) as threads:
        try:
            yield threads.submit(give)
        finally:
            stop(run.stop_file, "the test is over")


def flow_runs_of(run: Run) -> list[Any]:
    """Those that were given out for the run, the first one first."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

    keys = [f"{run.run_id}-shard-0-{attempt}" for attempt in (1, 2, 3)]
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=keys))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=wanted)
    return sorted(found, key=lambda each: each.idempotency_key or "")


def tell(run: Run, state: State, *, attempt: int = 1) -> None:
    """As its worker would, from when it is given out."""
    from prefect import get_client

    given = wait_for(f"attempt {attempt}", lambda: flow_runs_of(run)[attempt - 1 :])
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(given[0].id, state, force=True)


def test_what_is_found_counts_whatever_the_server_says(tmp_path: Path) -> None:
    run, found = run_in(tmp_path), list[str]()
    with given_out(run, found) as given:
        (flow_run,) = wait_for("it to be given out", lambda: flow_runs_of(run))
        found.append("read")
        assert given.result() == "read"
    assert flow_run.parameters == {
        "artifacts": str(tmp_path), "run_id": run.run_id, "assignment": "shard-0",
    }  # fmt: skip
    assert len(flow_runs_of(run)) == 1


def test_a_part_that_crashes_is_given_out_again_and_not_without_end(tmp_path: Path) -> None:
    from prefect.states import Crashed

    run = run_in(tmp_path)
    with given_out(run, []) as given:
        tell(run, Crashed(message="its machine is gone"), attempt=1)
        tell(run, Crashed(message="its machine is gone too"), attempt=2)
        with pytest.raises(NotDoneError) as caught:
            given.result()
    assert str(caught.value) == (
        "ERROR shard-0: given out 2 times, the last time its machine is gone too"
    )


def test_a_part_that_fails_by_itself_is_not_given_out_again_and_tells_its_reason(
    tmp_path: Path,
) -> None:
    from prefect.states import Failed

    run = run_in(tmp_path)
    text = "Flow run encountered an exception: NotFiniteError: ERROR gru-seed0: found nan"
    with given_out(run, []) as given:
        tell(run, Failed(message=text))
        with pytest.raises(NotDoneError) as caught:
            given.result()
    assert str(caught.value) == "ERROR shard-0: found nan"
    assert len(flow_runs_of(run)) == 1


def test_a_part_of_a_run_that_is_interrupted_is_called_off(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with given_out(run, []) as given:
        wait_for("it to be given out", lambda: flow_runs_of(run))
        stop(run.stop_file, "Ctrl-C")
        with pytest.raises(NotDoneError, match="interrupted"):
            given.result()
    assert [each.state.type.value for each in flow_runs_of(run)] == ["CANCELLED"]


def test_workers_are_not_asked_for_what_the_server_has_no_deployment_of() -> None:
    from tasks.dispatch.assignments import JobAssignment
    from tasks.dispatch.flow_runs import require_deployments

    with pytest.raises(
        UsageError, match="no deployment run-job/assigned, expected it, from `prefect"
    ):
        require_deployments([JobAssignment])


def test_workers_are_not_asked_where_no_server_is_named() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.dispatch.assignments import ShardAssignment
    from tasks.dispatch.flow_runs import require_deployments

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(UsageError, match=r"execution\.executor: found no Prefect server for it"),
    ):
        require_deployments([ShardAssignment])
