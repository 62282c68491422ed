"""The tasks of ingestion, called as plain functions: what is stored, and what training gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gridcast.errors import IntegrityError, UsageError
from tasks.ingest.region import ingest_region, load_ingestion
from tasks.machine.devices import Devices
from tasks.runs.run import Run
from tests.builders.pipelines import sha256_by_file
from tests.builders.snapshots import Names, make_table, publish_loads, publish_tables
from tests.builders.values import make_config, make_csv, make_load, make_rows

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.readings.records import RegionRecord


def make_run(
    artifacts: Path, *, data: Path | None = None, fresh: bool = False, name: str = "0000"
) -> Run:
    """A run in ``artifacts``, without flow and server."""
    run = Run(
        run_id=f"20260101T000000Z-{name}", flow="prepare-data", artifacts=artifacts, data=data,
        profile="base", overrides=(), config=make_config(),
        devices=Devices(("cpu",), 2), fresh=fresh,
    )  # fmt: skip
    run.folder.mkdir(parents=True, exist_ok=True)
    return run


# -- storing a region ----------------------------------------------------------------------------


def write_csv(folder: Path, num_hours: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "AEP_hourly.csv"
    path.write_bytes(make_csv(make_rows(num_hours, load_mw=make_load(3000)[:num_hours])))
    return path


def ingested(run: Run, path: Path) -> RegionRecord:
    return ingest_region.fn(run, "AEP", path).record


@pytest.mark.slow
def test_a_file_that_went_on_gives_the_same_bytes_as_where_it_is_read_from_nothing(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "grown")
    first = ingested(run, write_csv(tmp_path / "csv", 2400))
    grown = ingested(run, write_csv(tmp_path / "csv", 2424))
    whole = ingested(make_run(tmp_path / "whole"), write_csv(tmp_path / "copy", 2424))
    assert (first.rows, grown.rows) == (2400, 2424)
    assert grown.file_sha256 == whole.file_sha256
    assert sha256_by_file(tmp_path / "whole" / "data").items() <= (
        sha256_by_file(tmp_path / "grown" / "data").items()
    )


@pytest.mark.slow
def test_a_moved_file_is_not_read_again_and_shuffled_rows_are_read_but_not_stored(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "artifacts")
    path = write_csv(tmp_path / "csv", 2400)
    first = ingested(run, path)
    before = sha256_by_file(run.artifacts / "data" / "objects")
    moved = ingest_region.fn(run, "AEP", path.rename(tmp_path / "AEP_hourly.csv"))
    assert moved.data.record == first.model_copy(update={"cached": True})  # type: ignore[attr-defined]
    header, *lines = (tmp_path / "AEP_hourly.csv").read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *reversed(lines)]) + "\n", encoding="utf-8")
    shuffled = ingested(run, path)
    assert shuffled.cached is False
    assert shuffled.source_sha256 != first.source_sha256
    assert shuffled.table_sha256 == first.table_sha256
    assert sha256_by_file(run.artifacts / "data" / "objects") == before


# -- what training gets --------------------------------------------------------------------------


def test_training_gets_the_snapshot_of_its_folder_and_names_it(tmp_path: Path) -> None:
    mine, yours = tmp_path / "mine" / "load", tmp_path / "yours" / "load"
    store = tmp_path / "data"
    first = publish_loads(store, Names(folder=str(mine)), AEP=[1.0, 2.0])
    second = publish_loads(store, Names(folder=str(yours)), AEP=[3.0])
    for data, snapshot in ((None, second), (mine, first), (yours, second)):
        run = make_run(tmp_path, data=data, name=f"{hash(data) & 0xFFFF:04x}")
        found = load_ingestion.fn(run)
        assert found.snapshot == snapshot.id
        path = tmp_path / "data" / snapshot.regions["AEP"].path
        assert found.published["AEP"].path == str(path)
        assert found.data.folder == snapshot.data.folder


def test_training_leaves_out_what_the_last_ingestion_refused(tmp_path: Path) -> None:
    store = tmp_path / "data"
    publish_loads(store, AEP=[1.0, 2.0], DOM=[3.0])
    publish_tables(store, {"AEP": make_table([1.0, 2.0])}, refused=["DOM"])
    found = load_ingestion.fn(make_run(tmp_path))
    assert set(found.published) == {"AEP"}
    assert found.regions["DOM"].status == "refused"
    assert found.regions["DOM"].reason == "x.csv:2:1: found"
    assert found.errors == ()


def test_training_where_every_region_was_refused_says_so(tmp_path: Path) -> None:
    publish_loads(tmp_path / "data", AEP=[1.0, 2.0])
    publish_tables(tmp_path / "data", {}, refused=["AEP"])
    with pytest.raises(UsageError, match="did not refuse"):
        load_ingestion.fn(make_run(tmp_path))


def test_training_refuses_a_table_that_was_changed_and_a_folder_that_was_never_ingested(
    tmp_path: Path,
) -> None:
    snapshot = publish_loads(tmp_path / "data", AEP=[1.0, 2.0])
    with pytest.raises(UsageError, match="run `gridcast ingest` first"):
        load_ingestion.fn(make_run(tmp_path, data=tmp_path / "other"))
    (tmp_path / "data" / snapshot.regions["AEP"].path).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"AEP-[0-9a-f]{16}\.parquet"):
        load_ingestion.fn(make_run(tmp_path))
