"""MLflow's own database is made whole, or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.builders.pipelines import ROOT, SECONDS, clean_environment, wait_for
from tests.builders.warm_server import warm_python

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow]

MAKES = """
import pathlib, sys
from tasks.track.mlflow_client import create_database
create_database(pathlib.Path(sys.argv[1]))
"""


def tables_in(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {str(name) for (name,) in found}


def test_who_is_killed_while_it_makes_mlflows_database_leaves_none_and_the_next_makes_it(
    tmp_path: Path,
) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    command: list[str | Path] = [warm_python(), "-c", MAKES, database]
    environment = clean_environment(TMPDIR=str(tmp_path))

    def made_so_far() -> set[str]:
        paths = tmp_path.glob("gridcast-mlflow-*/mlflow.db")
        return set[str]().union(*map(tables_in, paths))

    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        wait_for("the first tables", made_so_far)
        process.kill()
    assert not database.exists()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=SECONDS)
    assert {"experiments", "runs", "metrics", "alembic_version"} <= tables_in(database)
    # a table that a step of the migration renames at its end is none that a whole one has
    left = {name for name in made_so_far() if not name.startswith("_alembic_tmp_")}
    assert left < tables_in(database)
