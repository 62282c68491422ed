"""Prefect forgets flow runs that ended long ago, and no others; its file becomes smaller."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tasks.operate.flow_run_history import give_back_space
from tasks.runs.servers import local_settings
from tests.builders.pipelines import ROOT, clean_environment, gridcast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# As runs leave them: through the server, of which each has its end, its children and its lines.
MAKE = """
from prefect import flow, get_client, get_run_logger, task
from tasks.runs.servers import start_embedded_prefect
from pathlib import Path
import sys
start_embedded_prefect(Path(sys.argv[1]))
@task
def step(): get_run_logger().info("a line " * 200)
@flow
def inner(): step()
@flow
def outer(): inner()
for _ in range(4): outer()
"""


@pytest.mark.soak
@pytest.mark.prefect
@pytest.mark.slow
def test_flow_runs_that_ended_long_ago_go_with_all_that_hangs_on_them_and_no_others(
    tmp_path: Path,
) -> None:
    environment = clean_environment(**local_settings(tmp_path))
    (tmp_path / "make.py").write_text(MAKE, "utf-8")
    _run(tmp_path / "make.py", tmp_path, environment)
    database = tmp_path / "prefect" / "prefect.db"
    tables = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log")
    before = _counts(database, tables)
    assert before["flow_run"] == 8
    assert min(before.values()) >= 4
    _age(database, flow="outer", keep=1)
    told = gridcast("forget-flow-runs", "--days", "30", "--dry-run", "--artifacts", tmp_path)
    assert "6 flow runs that ended before" in told.stdout, told.stderr
    assert _counts(database, tables) == before
    done = gridcast("forget-flow-runs", "--artifacts", tmp_path, "--set",
                    "run.keep_prefect_days=30")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "6 flow runs that ended before" in done.stdout
    assert "MB before" in done.stdout
    after = _counts(database, tables)
    assert after["flow_run"] == 2
    assert all(0 < after[name] <= before[name] / 4 for name in tables)


def test_without_a_number_of_days_nothing_is_forgotten(tmp_path: Path) -> None:
    told = gridcast("forget-flow-runs", "--artifacts", tmp_path)
    assert told.returncode == 2
    assert "run.keep_prefect_days: found no number of days" in told.stderr


def test_a_file_that_somebody_writes_keeps_its_size_and_one_that_nobody_does_loses_it(
    tmp_path: Path,
) -> None:
    database = tmp_path / "prefect.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 1000,)] * 1000)
        connection.commit()
        connection.execute("DELETE FROM runs")
        connection.commit()
        connection.execute("BEGIN IMMEDIATE")
        assert "in use" in give_back_space(database)
        connection.rollback()
    size = database.stat().st_size
    assert give_back_space(database) == ""
    assert database.stat().st_size < size / 10
    assert "no such file" in give_back_space(tmp_path / "none.db")


def _run(script: Path, artifacts: Path, environment: Mapping[str, str]) -> None:
    command: list[str | Path] = [sys.executable, script, artifacts]
    result = subprocess.run(
        command, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def _counts(database: Path, tables: tuple[str, ...]) -> dict[str, int]:
    with closing(sqlite3.connect(database)) as connection:
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
            for name in tables
        }


def _age(database: Path, *, flow: str, keep: int) -> None:
    """All but the last runs of a flow, and what ran in them, ended a year ago."""
    then = (datetime.now(UTC) - timedelta(days=365)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with closing(sqlite3.connect(database)) as connection:
        runs = connection.execute(
            "SELECT f.id FROM flow_run f JOIN flow w ON w.id = f.flow_id WHERE w.name = ? "
            "ORDER BY f.start_time", (flow,),
        ).fetchall()  # fmt: skip
        for (run,) in runs[: len(runs) - keep]:
            connection.execute(
                "UPDATE flow_run SET end_time = ? WHERE id = ? OR parent_task_run_id IN "
                "(SELECT id FROM task_run WHERE flow_run_id = ?)", (then, run, run),
            )  # fmt: skip
        connection.commit()
