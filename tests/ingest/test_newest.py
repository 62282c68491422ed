"""What was published or stored last, and in which order: told by no time of a file or a clock."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tasks.ingest.pruning import prune
from tasks.ingest.region_tables import newest_tables
from tasks.ingest.snapshots import list_snapshots, read_current
from tests.builders.snapshots import Names, make_table, publish_loads, stage

if TYPE_CHECKING:
    from datetime import tzinfo

    import pytest

LOADS = [100.0, 200.0, 300.0]


def test_what_was_published_last_is_told_by_no_file_time(tmp_path: Path) -> None:
    for dataset in ("first", "second"):
        publish_loads(tmp_path, Names(dataset, f"/csv/{dataset}"), AEP=LOADS)
    os.utime(tmp_path / "second.json", (0, 0))
    assert _newest(tmp_path) == "second"
    publish_loads(tmp_path, Names("first", "/csv/first"), AEP=LOADS)
    os.utime(tmp_path / "first.json", (0, 0))
    assert _newest(tmp_path) == "first"


def test_snapshots_are_in_their_order_after_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(["2030-01-01T00", "2020-01-01T00", "2010-01-01T00"])

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromisoformat(f"{next(hours)}:00").replace(tzinfo=tz)

    monkeypatch.setattr("tasks.ingest.snapshots.datetime", Clock)
    names = [publish_loads(tmp_path, AEP=[load, 2.0]).id for load in (1.0, 3.0, 5.0)]
    listed = list_snapshots(tmp_path)
    assert [each.id for each in listed] == names
    assert [each.created[:4] for each in listed] == ["2030", "2020", "2010"]
    assert prune(tmp_path, keep=1).kept == (names[-1],)


def test_what_was_stored_last_of_a_region_is_told_by_no_file_time(tmp_path: Path) -> None:
    records = [stage(tmp_path, "AEP", make_table([load, 2.0])) for load in (1.0, 5.0, 3.0)]
    for age, path in enumerate(sorted((tmp_path / "keys").iterdir())):
        os.utime(path, (age, age))
    assert newest_tables(tmp_path)["AEP"].table_sha256 == records[-1].table_sha256


def test_a_moved_store_leads_to_its_own_folder_of_csvs_and_to_others_as_they_were(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    own, other = here / "csv" / "load", Path("/srv/load")
    publish_loads(here / "data", Names(folder=str(own)), AEP=LOADS)
    publish_loads(here / "data", Names(folder=str(other)), AEP=LOADS, DOM=LOADS)
    here.rename(there)
    moved = read_current(there / "data", folder=there / "csv" / "load")
    assert moved is not None
    assert set(moved.snapshot.regions) == {"AEP"}
    assert moved.data.folder == str(there / "csv" / "load")
    assert read_current(there / "data", folder=own) is None
    newest = read_current(there / "data")
    assert newest is not None
    assert newest.data.folder == str(other)
    assert not [path for path in there.rglob("*.json") if str(here) in path.read_text("utf-8")]


def _newest(store: Path) -> str:
    found = read_current(store)
    assert found is not None
    return found.dataset
