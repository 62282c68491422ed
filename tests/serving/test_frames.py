"""A user's frame becomes readings, or the first thing that is wrong with it is told."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import UsageError
from gridcast.serving.frames import readings_of

CONFIG = Config.load()
REGIONS = ("AEP", "DOM")


def frame(**changed: Any) -> pd.DataFrame:  # noqa: ANN401 - columns
    hours = pd.date_range("2018-07-01", periods=3, freq="h", tz="UTC")
    columns = {"region": ["AEP"] * 3, "timestamp": hours, "load_mw": [1.0, 2.0, 3.0]}
    return pd.DataFrame(columns | changed)


def times_of(**changed: Any) -> list[str]:  # noqa: ANN401
    found = readings_of(frame(**changed), CONFIG, regions=REGIONS)["AEP"]["timestamp"]
    return [each.isoformat() for each in found]


UTC = ["2018-07-01T00:00:00+00:00", "2018-07-01T01:00:00+00:00", "2018-07-01T02:00:00+00:00"]


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2018-07-01", periods=3, freq="h", tz="UTC"),
        pd.date_range("2018-06-30 20:00", periods=3, freq="h", tz="America/New_York"),
        pd.date_range("2018-06-30 20:00", periods=3, freq="h"),  # the model's clocks
        ["2018-07-01T00:00:00Z", "2018-07-01 01:00+00:00", "2018-07-01T02:00Z"],
        ["2018-06-30T20:00-04:00", "2018-06-30T21:00-04:00", "2018-06-30T22:00-04:00"],
        ["2018-06-30 20:00", "2018-06-30 21:00", "2018-06-30T22:00:00"],
    ],
    ids=["utc", "zone", "local", "Z", "offset", "local text"],
)
def test_times_with_a_zone_an_offset_or_by_the_models_clocks(times: Any) -> None:  # noqa: ANN401
    assert times_of(timestamp=times) == UTC


def test_readings_are_sorted_flagged_and_without_the_missing() -> None:
    table = frame(load_mw=[0.0, None, 3.0]).iloc[::-1]
    found = readings_of(table, CONFIG, regions=REGIONS)["AEP"]
    assert found["load_mw"].tolist() == [0.0, 3.0]
    assert found["flag"].tolist() == ["zero", ""]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"load_mw": [1.0, -2.0, 3.0]}, "found a load of -2 MW, expected loads of at least 0 MW"),
        ({"load_mw": [1.0, float("inf"), 3.0]}, "found a load of inf MW"),
        ({"load_mw": ["1", "two", "3"]}, "found a load that is no number"),
        ({"region": ["AEP", "XX", "AEP"]}, "found the region 'XX', expected those of the model"),
        ({"timestamp": ["2018-07-01T00:00Z"] * 3}, "found AEP twice at 2018-07-01T00:00"),
        ({"timestamp": ["2018-07-01T00:30Z", "x", "y"]}, "found times with an offset and times"),
        ({"timestamp": ["soon", "later", "never"]}, "expected ISO times"),
        (
            {"timestamp": ["2018-07-01T00:30Z", "2018-07-01T01:00Z", "2018-07-01T02:00Z"]},
            "found the time 2018-07-01T00:30:00.*expected the start of an hour",
        ),
        (
            {"timestamp": ["2018-11-04 01:00", "2018-11-04 02:00", "2018-11-04 03:00"]},
            "expected times with an offset or in UTC",
        ),
        ({"timestamp": [None, "2018-07-01T01:00Z", "2018-07-01T02:00Z"]}, "found"),
    ],
)  # fmt: skip
def test_the_first_thing_that_is_wrong_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        readings_of(frame(**changed), CONFIG, regions=REGIONS)


def test_a_missing_column_and_no_rows_are_told() -> None:
    with pytest.raises(UsageError, match="expected also load_mw"):
        readings_of(frame().drop(columns="load_mw"), CONFIG, regions=REGIONS)
    with pytest.raises(UsageError, match="found no rows"):
        readings_of(frame().iloc[:0], CONFIG, regions=REGIONS)
