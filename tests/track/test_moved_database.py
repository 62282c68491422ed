"""MLflow's own database leads to where it lies, also after a move; other addresses stay."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tasks.track.moved_database import relocate_addresses

if TYPE_CHECKING:
    from pathlib import Path

_ADDRESSES = "SELECT artifact_location FROM experiments UNION ALL SELECT artifact_uri FROM runs"


def make_database(folder: Path, *places: str) -> Path:
    """As MLflow makes it, of what is needed here: an experiment and a run at each place."""
    folder.mkdir(parents=True)
    path = folder / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE experiments (artifact_location TEXT)")
        database.execute("CREATE TABLE runs (artifact_uri TEXT)")
        for place in places:
            database.execute("INSERT INTO experiments VALUES (?)", (place,))
            database.execute("INSERT INTO runs VALUES (?)", (f"{place}/1/artifacts",))
    return path


def addresses(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [address for (address,) in database.execute(_ADDRESSES)]


def test_addresses_of_another_place_lead_here_and_those_of_buckets_stay(tmp_path: Path) -> None:
    old, bucket = "file:///srv/a_b%20c/mlflow/artifacts", "s3://load/mlflow/artifacts"
    path = make_database(tmp_path / "mlflow", old, bucket, "file:///srv/mine/mlruns/0")
    here = (tmp_path / "mlflow" / "artifacts").as_uri()
    relocate_addresses(path)
    places = [here, bucket, "file:///srv/mine/mlruns/0"]
    assert addresses(path) == places + [f"{place}/1/artifacts" for place in places]


def test_a_place_that_only_begins_alike_stays(tmp_path: Path) -> None:
    path = make_database(tmp_path / "mlflow", "file:///srv/aXb/mlflow/artifacts")
    with closing(sqlite3.connect(path)) as database, database:
        other = "file:///srv/aXb/mlflow/artifacts-of-mine/1"
        database.execute("INSERT INTO runs VALUES (?)", (other,))
    relocate_addresses(path)
    assert addresses(path)[-1] == other


def test_a_database_that_lies_where_it_was_made_is_not_written(tmp_path: Path) -> None:
    here = (tmp_path / "mlflow" / "artifacts").as_uri()
    path = make_database(tmp_path / "mlflow", here)
    before = path.read_bytes()
    relocate_addresses(path)
    assert path.read_bytes() == before


def test_no_database_and_an_empty_one_are_left_as_they_are(tmp_path: Path) -> None:
    relocate_addresses(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").touch()
    relocate_addresses(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").stat().st_size == 0
