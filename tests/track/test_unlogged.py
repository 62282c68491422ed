"""MLflow locked, broken, gone, or its run killed while it logs: all is logged later, once."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gridcast.config import Config
from gridcast.errors import TrackingError
from tasks.track.logged.unlogged import log_unlogged, num_unlogged
from tasks.track.mlflow_client import require_usable, told_as_tracking_error
from tests.builders.pipelines import (
    GRIDCAST,
    SMALL_MODEL,
    Command,
    copy_artifacts,
    free_port,
    gridcast,
    on_a_server,
    settings,
    started,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow]

QUERY = """
    SELECT runs.name, runs.status FROM runs JOIN tags USING (run_uuid)
    WHERE tags.key = 'pipeline_run' AND tags.value = ?
"""


def mlflow_runs(artifacts: Path, run_id: str) -> Counter[tuple[str, str]]:
    """How often MLflow has a run of that name with that status, of a run of the pipeline."""
    with closing(sqlite3.connect(artifacts / "mlflow" / "mlflow.db")) as connection:
        return Counter(connection.execute(QUERY, (run_id,)).fetchall())


def newest_run(artifacts: Path) -> Path:
    return (artifacts / "runs" / "latest").resolve()


def train_of(seed: int) -> list[str]:
    return settings(*SMALL_MODEL, "model.cells=[gru]", f"training.seeds=[{seed}]")


@pytest.mark.prefect
def test_what_a_locked_database_did_not_take_is_logged_later_once(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    with closing(sqlite3.connect(artifacts / "mlflow" / "mlflow.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        result = gridcast(
            "train", "--artifacts", artifacts, *train_of(1), environment=on_a_server()
        )  # fmt: skip
    assert result.returncode == 1
    assert "found MLflow not taking the runs (database is locked)" in result.stderr
    assert "Traceback" not in result.stderr
    folder = newest_run(artifacts)
    for name in ("report.html", "lineage.json", "evaluation.json", "summary.json"):
        assert (folder / name).is_file()
    assert mlflow_runs(artifacts, folder.name) == {}
    assert num_unlogged(artifacts) == 1
    for num, text in ((1, "1 runs logged to MLflow, 0 left"), (2, "0 runs logged")):
        told = gridcast("track", "--artifacts", artifacts)
        assert told.returncode == 0, told.stderr
        assert text in told.stdout, num
        assert mlflow_runs(artifacts, folder.name) == {("gru-seed1", "FINISHED"): 1}
    with closing(sqlite3.connect(artifacts / "mlflow" / "mlflow.db")) as connection:
        lineages = connection.execute("SELECT COUNT(*) FROM tags WHERE key = 'lineage_sha256'")
        assert lineages.fetchone()[0] == 4  # of the first run three
    assert gridcast("verify", folder.name, "--artifacts", artifacts).returncode == 0


@pytest.mark.prefect
def test_a_run_that_is_killed_while_it_logs_leaves_none_running_and_none_twice(
    tmp_path: Path,
) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    command: Command = (GRIDCAST, "train", "--artifacts", artifacts, *train_of(2))
    with started(*command, log=tmp_path / "log.txt", environment=on_a_server()) as process:
        (entry,) = wait_for("its entry", lambda: list((artifacts / "unlogged").glob("*.json")))
        begun = wait_for("a run that begins", lambda: mlflow_runs(artifacts, entry.stem))
        process.kill()
    assert begun == {("gru-seed2", "RUNNING"): 1}
    assert gridcast("track", "--artifacts", artifacts).returncode == 0
    runs = mlflow_runs(artifacts, entry.stem)
    assert runs == {("gru-seed2", "KILLED"): 1, ("gru-seed2", "FINISHED"): 1}
    assert num_unlogged(artifacts) == 0


@pytest.mark.prefect
def test_a_password_of_a_server_that_is_gone_stands_nowhere(tmp_path: Path) -> None:
    artifacts, log = copy_artifacts(tmp_path / "artifacts"), tmp_path / "log.txt"
    environment = {
        **on_a_server(), "MLFLOW_TRACKING_URI": f"http://me:hunter2@127.0.0.1:{free_port()}"
    }  # fmt: skip
    words = settings(*SMALL_MODEL)
    for command in (("train", *words), ("track",), ("verify",)):
        result = gridcast(*command, "--artifacts", artifacts, environment=environment)
        with log.open("a", encoding="utf-8") as file:
            file.write(result.stdout + result.stderr)
    assert "found MLflow not taking the runs" in log.read_text("utf-8")
    assert num_unlogged(artifacts) == 1
    kept = [path.read_bytes() for path in (artifacts / "prefect" / "storage").iterdir()]
    assert kept  # of the failure, and not as a pickle
    assert all(json.loads(each) for each in kept)
    holders = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in holders if b"hunter2" in path.read_bytes()] == []
    assert len(holders) > 100


# -- without a pipeline ----------------------------------------------------------------------------


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 99,)] * 999)
        connection.commit()


def test_a_database_that_is_broken_or_locked_is_told_before_mlflow_tries_it_for_minutes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mlflow.db"
    make_database(path)
    require_usable(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="database is locked"):
            require_usable(path)
    content = path.read_bytes()
    for broken in (
        b"x" * len(content),
        content[:5000],
        content[:4096] + bytes(len(content) - 4096),
    ):
        path.write_bytes(broken)
        with pytest.raises(TrackingError, match=r"mlflow\.db: found MLflow not taking the runs"):
            require_usable(path)
    path.write_bytes(content)
    require_usable(path)


def test_an_error_of_mlflow_is_one_line_without_the_password() -> None:
    uri = "https://me:secret@host/x"
    reason = f"request to {uri}/api failed\nmore"
    with pytest.raises(TrackingError) as caught, told_as_tracking_error(uri):
        raise OSError(reason)
    line = str(caught.value)
    assert line.startswith("ERROR https://host/x: found MLflow not taking the runs (request to ")
    assert "secret" not in line
    assert "\n" not in line


def test_what_cannot_be_read_any_more_is_named_and_stays_without_being_in_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "unlogged" / "20260101T000000Z-0000.json"
    path.parent.mkdir()
    path.write_bytes(b"{")
    assert log_unlogged(tmp_path, Config.load().tracking) == 0
    (line,) = caplog.messages
    assert line.startswith(f"ERROR {path}: found no JSON")
    assert num_unlogged(tmp_path) == 1
