"""Runs that were killed, which the next one on their folder closes, or interrupted.

SIGKILL, a crash of the machine and an exhausted memory leave a run no last word. A run whose life
lock is free and which left no summary has ended so (``tasks/runs/lives.py``).
"""

from __future__ import annotations

import atexit
import logging
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final
from uuid import UUID

from tasks.runs.locks import FOLDER, held, held_at_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

REASON = "The run was killed before it ended: its process is gone, and it left no summary"
_FLOW_RUN: Final = "flow-run-"
_held: dict[Path, ExitStack] = {}  # the locks of this process's flow runs
_log = logging.getLogger("gridcast.run")


def own_flow_run() -> str | None:
    """The id of the Prefect flow run that asks; none outside of one."""
    if "prefect" not in sys.modules:  # it takes seconds to import, and no flow runs without it
        return None
    from prefect.runtime import flow_run

    return str(flow_run.id) if flow_run.id else None


def hold_flow_run(artifacts: Path) -> None:
    """Hold a lock that names the flow run until this process has ended, however it does.

    That is from before its run has a folder until after Prefect was told how it ended. In a folder
    that is not there yet nothing is held.
    """
    flow_run_id = own_flow_run()
    path = artifacts / FOLDER / f"{_FLOW_RUN}{flow_run_id}.lock"
    if flow_run_id is None or not artifacts.is_dir() or path in _held:
        return
    _held[path] = ExitStack()
    _held[path].enter_context(held(artifacts, path.stem))
    atexit.register(_held[path].close)


def killed_flow_runs(artifacts: Path) -> list[str]:
    """The ids of those whose lock is left, and free: their processes were killed.

    They are told once: the locks are gone then.
    """
    found = []
    for path in sorted((artifacts / FOLDER).glob(f"{_FLOW_RUN}*.lock")):
        with held_at_once(path) as is_free:
            if is_free:
                found.append(path.stem.removeprefix(_FLOW_RUN))
    return found


def crash_flow_runs(ids: Sequence[str], *, reason: str = REASON) -> None:
    """Tell Prefect that these flow runs, and what runs in them, have crashed.

    Another server may have been told of their begin; those that this one does not know stay out.
    """
    from prefect import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    state: State[None] = Crashed(message=reason)
    with get_client(sync_client=True) as client:
        for flow_run_id in ids:
            try:
                _crash(client, UUID(flow_run_id), state)
            except ValueError:
                _log.warning("found %r for a flow run's id, expected 32 digits", flow_run_id)
            except ObjectNotFound:
                _log.info("Prefect's server does not know the flow run %s", flow_run_id)


def _crash(client: SyncPrefectClient, flow_run_id: UUID, state: State[None]) -> None:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterParentFlowRunId,
    )

    above = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run_id]))
    own = client.read_flow_run(flow_run_id)
    for inside in client.read_flow_runs(flow_run_filter=above):
        _crash(client, inside.id, state)
    in_it = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    for task_run in client.read_task_runs(flow_run_filter=in_it):
        if task_run.state is None or not task_run.state.is_final():
            client.set_task_run_state(task_run.id, state, force=True)
    if own.state is None or not own.state.is_final():
        client.set_flow_run_state(flow_run_id, state, force=True)


def message_of(error: BaseException) -> str:
    """The error as a summary tells it; an interruption has no words of its own."""
    interruption = interruption_of(error)
    if interruption is None:
        return str(error) or type(error).__name__
    return f"The run was interrupted ({type(interruption).__name__}) before it ended"


def interruption_of(error: BaseException) -> BaseException | None:
    """What Ctrl-C or SIGTERM raised: the error itself, or what it came up in the handling of.

    Who ends a service tells all of its processes, Prefect's embedded server too. A run that is on
    its way out then stumbles on the server that it still has to report to.
    """
    if not isinstance(error, Exception):
        return error
    each: BaseException | None = error
    while each is not None and not _is_interruption(each):
        each = each.__cause__ or each.__context__
    return each


def _is_interruption(error: BaseException) -> bool:
    """Not all that is no Exception: a timeout is raised in the handling of a cancelled task."""
    is_prefects = not isinstance(error, Exception) and hasattr(error, "signal")
    return is_prefects or isinstance(error, KeyboardInterrupt | SystemExit)
