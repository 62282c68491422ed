"""Files with covariates are read as strictly as loads; what is refused names file, line, column."""

from __future__ import annotations

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.covariates.kept import bytes_of, covariates_of, joined
from gridcast.covariates.reading import (
    Asked,
    asked_of_load_file,
    asked_of_weather,
    read_covariates,
)
from gridcast.covariates.values import Covariates
from gridcast.errors import RegionRefusedError
from gridcast.layouts.reading import File

COLUMNS = "covariates.columns={temperature: {unit: °C}, school: {}}"
GOOD = """timestamp,issued,temperature,school
2024-01-01T01:00Z,2023-12-31T18:00Z,2.5,false
2024-01-01T00:00+00:00,,3,TRUE
2024-01-01T01:00Z,2023-12-31T19:00+01:00,,0
2024-01-01T01:00Z,2024-01-01T00:00,2.9,
"""


def config_of(*overrides: str) -> Config:
    return Config.load(overrides=(COLUMNS, *overrides))


def asked(*overrides: str, region: str = "AEP") -> Asked:
    config = config_of(*overrides)
    return asked_of_weather(region, config.covariates, config.ingestion.of(region))


def read(text: str, *overrides: str) -> Covariates:
    return read_covariates([File("AEP_weather.csv", "AEP_weather.csv", text.encode())],
                           asked(*overrides))  # fmt: skip


def test_values_come_with_their_issue_times_in_utc() -> None:
    text = GOOD.replace("2023-12-31T19:00+01:00", "2023-12-31T19:00+02:00")
    frame = read(text).frame
    times = [f"2024-01-01 0{hour}:00" for hour in (0, 1, 1, 1)]
    assert [f"{time:%Y-%m-%d %H:%M}" for time in frame["timestamp"]] == times
    issued = [None if pd.isna(each) else f"{each:%d %H:%M}" for each in frame["issued"]]
    assert issued == [None, "31 17:00", "31 18:00", "01 00:00"]
    assert frame["temperature"].fillna(-99).tolist() == [3.0, -99.0, 2.5, 2.9]
    assert frame["school"].fillna(-99).tolist() == [1.0, 0.0, 0.0, -99.0]


@pytest.mark.parametrize(
    ("old", "new", "place", "told"),
    [
        ("2.5", "warm", "2:37", "found 'warm' in the column 'temperature', expected a number"),
        ("T00:00+00:00", "T00:20+00:00", "3:1", "expected an interval of 60 minutes"),
        ("2024-01-01T00:00+00:00", "1.1.2024", "3:1", "expected one like the format"),
        ("2023-12-31T18:00Z", "soon", "2:19", "found 'soon' in the column 'issued'"),
        ("2023-12-31T19:00+01:00", "2023-12-31T18:00Z", "4:1", "stands in line 2 too"),
        ("school\n", "pupils\n", "1:1", "expected 'school' among them, once"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, place: str, told: str) -> None:
    text = GOOD.replace(old, new, 1).replace("2023-12-31T19:00+01:00", "2023-12-31T19:00+02:00")
    with pytest.raises(RegionRefusedError) as refused:
        read(text)
    (fault,) = refused.value.faults
    assert f"{fault.file}:{fault.line}:{fault.column}" == f"AEP_weather.csv:{place}"
    assert told in fault.reason


def test_labels_may_be_local_and_name_the_end() -> None:
    text = "timestamp,temperature,school\n2024-07-01 01:00,20,0\n2024-07-01 02:00,21,0\n"
    found = read(
        text, "covariates.weather.time_zone=local", "covariates.weather.label=hour_ending",
        "ingestion.timezone=America/New_York",
    )  # fmt: skip
    assert [f"{time:%H}" for time in found.frame["timestamp"]] == ["04", "05"]


LONG = """zone,time,mw,temp_A,temp_B
A,2024-01-01 00:00,1,10,20
B,2024-01-01 00:00,2,11,21
A,2024-01-01 00:30,3,12,22
B,2024-01-01 00:30,4,13,23
A,2024-01-01 01:00,5,14,24
"""


def test_a_column_beside_the_loads_is_read_by_their_layout_and_averaged_to_hours() -> None:
    layout = (
        "{region_column: zone, time_columns: [time], load_column: mw, step_minutes: 30, "
        "time_zone: UTC, files: all.csv, time_format: '%Y-%m-%d %H:%M'}"
    )
    config = Config.load(
        overrides=(
            f"ingestion.layout={layout}", "ingestion.label=hour_beginning",
            "covariates.columns={temp: {source: load_file, column: 'temp_{region}'}}",
        )
    )  # fmt: skip
    own = config.ingestion
    for region, wanted in (("A", 11.0), ("B", 22.0)):
        found = read_covariates(
            [File("all.csv", "all.csv", LONG.encode())],
            asked_of_load_file(region, config.covariates, own.of(region), own.layout),
        )
        whole = found.frame["temp"].dropna()
        assert whole.tolist() == [wanted]  # of the second hour only half is there


def test_what_is_kept_comes_back_and_so_does_a_refusal() -> None:
    covariates = read(GOOD.replace("2023-12-31T19:00+01:00", "2023-12-31T19:00+02:00"))
    pd.testing.assert_frame_equal(
        covariates_of(bytes_of("AEP", covariates)).frame, covariates.frame
    )
    with pytest.raises(RegionRefusedError) as refused:
        read(GOOD.replace("2.5", "warm"))
    with pytest.raises(RegionRefusedError, match="warm"):
        covariates_of(bytes_of("AEP", refused.value))


def test_columns_of_two_sources_stand_side_by_side() -> None:
    first = read(GOOD.replace("2023-12-31T19:00+01:00", "2023-12-31T19:00+02:00"))
    other = Covariates(first.frame[["timestamp", "issued"]].assign(wind=[1.0, 2.0, 3.0, 4.0]))
    both = joined([first, other])
    assert len(both.frame) == 4
    assert both.frame["wind"].tolist() == [1.0, 2.0, 3.0, 4.0]
