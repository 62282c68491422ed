"""Prefect's embedded server killed while models train: none is lost, no run stays RUNNING."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.builders.pipelines import (
    GRIDCAST,
    SECONDS,
    SMALL_MODEL,
    Command,
    command_of,
    copy_artifacts,
    settings,
    started,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.soak]

# Passes of half a second.
LONG = settings(*SMALL_MODEL, "training.passes=20", "model.hidden_size=128", "model.cells=[gru]",
                "windows.lookback=168")  # fmt: skip


def states_of(artifacts: Path) -> list[str]:
    """How all flow runs that Prefect knows of stand."""
    with closing(sqlite3.connect(artifacts / "prefect" / "prefect.db")) as connection:
        rows = connection.execute("SELECT state_type FROM flow_run").fetchall()
    return [str(state) for (state,) in rows]


def test_a_server_that_is_killed_in_mid_training_costs_no_training_and_leaves_no_run_running(
    tmp_path: Path,
) -> None:
    artifacts, log = copy_artifacts(tmp_path / "artifacts"), tmp_path / "log.txt"
    command: Command = (GRIDCAST, "train", "--artifacts", artifacts, *LONG)
    with started(*command, log=log, is_cold=True) as process:
        wait_for("the first pass", lambda: "gru-seed0: pass 1/" in log.read_text("utf-8"))
        (server,) = [each for each in process.children(recursive=True)
                     if any("uvicorn" in word for word in command_of(each))]  # fmt: skip
        server.kill()
        assert process.wait(SECONDS) == 0, log.read_text("utf-8")
    text = log.read_text("utf-8")
    assert "Prefect's embedded server ended (status -9); it is started again" in text
    assert "gru-seed0: trained in" in text
    assert "Traceback" not in text
    assert set(states_of(artifacts)) == {"COMPLETED"}
