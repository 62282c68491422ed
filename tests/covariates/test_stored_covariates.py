"""Covariates are found beside the loads, stored once by their content, and part of the snapshot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import IntegrityError, RegionRefusedError, UsageError
from gridcast.readings.records import RegionRecord
from gridcast.readings.snapshots import snapshot_id
from tasks.covariates.stored_covariates import read_files, read_stored, store_covariates
from tasks.fetch.regional_csvs import sources_of
from tasks.ingest.region_tables import stored
from tests.builders.archives import make_archive
from tests.builders.covariates import make_observed
from tests.builders.values import make_csv

WEATHER = "timestamp,temperature\n2017-03-01T05:00Z,1.5\n2017-03-01T06:00Z,2.5\n"
ASKED = "covariates.columns={temperature: {}}"


def folder_of(tmp_path: Path, *regions: str, weather: str = WEATHER) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    for region in regions:
        (folder / f"{region}_hourly.csv").write_bytes(make_csv(region=region))
    (folder / "AEP_weather.csv").write_text(weather, encoding="utf-8")
    return folder


def test_weather_is_found_beside_the_loads_only_where_it_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path, "AEP", "DOM")
    found = sources_of(folder, tmp_path, Config.load(overrides=(ASKED,)))
    assert found.covariates == {"AEP": (folder / "AEP_weather.csv",)}
    assert found.skipped == {}
    assert "DOM has no DOM_weather.csv: it goes on without" in caplog.text
    unasked = sources_of(folder, tmp_path, Config.load())
    assert unasked.covariates == {}
    assert unasked.skipped == {"AEP_weather.csv": "not named <REGION>_hourly.csv"}


def test_an_archive_may_hold_it(tmp_path: Path) -> None:
    members = {"x/AEP_hourly.csv": make_csv(region="AEP"), "x/AEP_weather.csv": WEATHER.encode()}
    archive = make_archive(tmp_path / "own.zip", members)
    config = Config.load(overrides=(ASKED,))
    ((path,),) = sources_of(archive, tmp_path, config).covariates.values()
    assert read_files([path], "AEP", config).frame["temperature"].tolist() == [1.5, 2.5]


def test_where_no_region_has_any_the_run_does_not_begin(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "DOM")
    with pytest.raises(UsageError, match=r"no <REGION>_weather\.csv"):
        sources_of(folder, tmp_path, Config.load(overrides=(ASKED,)))
    with pytest.raises(UsageError, match="gridcast inspect"):
        sources_of(
            folder, tmp_path,
            Config.load(overrides=("covariates.columns={temperature: {source: load_file}}",)),
        )  # fmt: skip


def test_a_file_with_a_fault_refuses_its_region(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "AEP", weather=WEATHER.replace("2.5", "warm"))
    with pytest.raises(RegionRefusedError, match=r"AEP_weather.csv:3:19: found 'warm'"):
        read_files([folder / "AEP_weather.csv"], "AEP", Config.load(overrides=(ASKED,)))


def test_a_table_is_written_once_read_as_written_and_named_in_the_snapshot(tmp_path: Path) -> None:
    covariates, path = make_observed(48), tmp_path / "AEP_weather.csv"
    path.write_text(WEATHER, encoding="utf-8")
    kept = store_covariates(tmp_path, "AEP", covariates, [path])
    assert list(kept.sources) == [str(path)]
    again = store_covariates(tmp_path, "AEP", make_observed(48), [path])
    assert again == kept
    other = store_covariates(tmp_path, "AEP", make_observed(48, seed=1), [path])
    assert other.path != kept.path
    region = RegionRecord(rows=1, utc_hours=1, missing_hours=0, flagged=0, status="published",
                          path=str(tmp_path / "x"), table_sha256="a")  # fmt: skip
    records = [region.model_copy(update={"covariates": each}) for each in (None, kept, other)]
    assert len({snapshot_id({"AEP": each}) for each in records}) == 3
    relative = stored(records[1], tmp_path)
    found = read_stored(relative, tmp_path)
    assert found is not None
    pd.testing.assert_frame_equal(found.frame, covariates.frame, check_dtype=False)
    Path(kept.path).write_bytes(b"PAR1")
    with pytest.raises(IntegrityError):
        read_stored(relative, tmp_path)
