"""Regions of half-hour zones on the grid: in training, beside others, and in forecasts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.features.columns import calendar_columns
from gridcast.features.grid_hours import grid_hours
from gridcast.features.neighbours import load_grid
from gridcast.features.table import calendar_features, names_of_features, region_features
from gridcast.forecasting.region_state import region_state
from gridcast.forecasting.rolling import calendar_numbers, calendars_of
from gridcast.readings.quality import flag_readings
from tests.builders.values import make_config, make_load

DELHI = make_config(
    ingestion={
        "timezone": "Europe/Berlin",
        "regions": {"DELHI": {"timezone": "Asia/Kolkata"}},
    },
    features={"holidays": "DE", "holidays_by_region": {"DELHI": "IN"}},
)
NUM = 2000


def readings_from(first: str) -> pd.DataFrame:
    load_mw = pd.Series(make_load(NUM)).astype(float)
    times = pd.Series(pd.date_range(first, periods=NUM, freq="h", tz="UTC"))
    frame = pd.DataFrame({"timestamp": times, "local_label": times.dt.tz_localize(None),
                          "load_mw": load_mw})  # fmt: skip
    return frame.assign(flag=flag_readings(load_mw, DELHI.rules.of("DELHI").flagged))


@given(st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2060-01-01")))
def test_an_hour_lies_on_the_grid_where_it_ends_or_before_the_next_one(moment: object) -> None:
    stamp = np.array([moment], dtype="datetime64[us]")
    (hour,) = grid_hours(stamp)
    behind = hour.astype("datetime64[us]") - stamp[0]
    assert np.timedelta64(0, "us") <= behind < np.timedelta64(3600 * 10**6, "us")


def test_the_calendar_of_a_region_is_that_of_its_own_zone_and_holidays() -> None:
    regions = ["BERLIN", "DELHI"]
    readings = readings_from("2024-01-01 18:30")
    frame, _ = region_features("DELHI", readings, DELHI, regions=regions)
    local = (readings["timestamp"] + pd.Timedelta(hours=1)).dt.tz_convert("Asia/Kolkata")
    assert local.dt.minute.unique().tolist() == [0]
    expected = np.sin(2 * np.pi * local.dt.hour.to_numpy() / 24).astype(np.float32)
    np.testing.assert_array_equal(frame["x_hour_sin"].to_numpy(), expected)
    is_republic_day = (local.dt.month == 1) & (local.dt.day == 26)
    assert frame["x_holiday"].to_numpy()[is_republic_day].tolist() == [1.0] * 24
    assert frame["local_hour"].tolist()[:2] == [0, 1]


def test_a_forecast_has_the_calendar_that_training_had() -> None:
    regions = ["BERLIN", "DELHI"]
    frame, _ = region_features("DELHI", readings_from("2024-01-01 18:30"), DELHI, regions=regions)
    names = [name for name in frame.columns if name.startswith("x_")]
    first = grid_hours(frame["timestamp"].dt.tz_localize(None).to_numpy())[0]
    calendars_ZGC = calendars_of(first, NUM, names, DELHI, regions)
    assert calendar_numbers(DELHI, regions).tolist() == [0, 1]
    columns = [names[place] for place in calendar_columns(names)]
    found, expected = calendars_ZGC[1], frame[columns].to_numpy(dtype=np.float32)
    np.testing.assert_allclose(found[336:], expected[336:], atol=1e-6)  # the lags reach back


@pytest.mark.parametrize("first", ["2023-12-30T05", "2021-02-03T00", "2019-12-31T23"])
def test_a_calendar_put_together_of_years_is_that_of_its_hours(first: str) -> None:
    regions, features = ["BERLIN", "DELHI"], DELHI.features
    names = names_of_features(features, DELHI.covariates)
    columns = [names[place] for place in calendar_columns(names)]
    num_hours, back = 9000, max(features.lags_hours)
    found_ZGC = calendars_of(np.datetime64(first, "h"), num_hours, names, DELHI, regions)
    begin = pd.Timestamp(first, tz="UTC") - pd.Timedelta(hours=back - 1)
    hours = pd.Series(pd.date_range(begin, periods=num_hours + back, freq="h"))
    for found_GC, (zone, place) in zip(
        found_ZGC, [("Europe/Berlin", "DE"), ("Asia/Kolkata", "IN")], strict=True
    ):
        own = calendar_features(hours.dt.tz_convert(zone), features, holidays=place)
        expected_GC = np.stack([own[name][back:] for name in columns], axis=1)
        np.testing.assert_allclose(found_GC, expected_GC, atol=1e-6)


def test_regions_of_two_zones_lie_side_by_side_and_none_ahead_of_its_end() -> None:
    whole = pd.date_range("2024-01-01 00:00", periods=4, freq="h").to_numpy()
    half = whole + np.timedelta64(30, "m")
    loads, regions = np.arange(8.0), np.repeat([0, 1], 4)
    grid_GR, hour_T = load_grid(
        loads, np.ones(8, bool), regions, np.concatenate([whole, half]), num_regions=2
    )
    assert hour_T.tolist() == [0, 1, 2, 3, 1, 2, 3, 4]
    np.testing.assert_array_equal(grid_GR[:, 1], [np.nan, 4, 5, 6, 7])


@pytest.mark.parametrize(("issue", "known"), [("21:00", "19:30"), ("20:00", "18:30")])
def test_an_hour_is_known_to_a_forecast_once_it_is_over(issue: str, known: str) -> None:
    state = region_state(
        "DELHI", readings_from("2024-01-01 18:30"), DELHI,
        issue_time=pd.Timestamp(f"2024-02-01 {issue}", tz="UTC"), max_stale_hours=6,
    )  # fmt: skip
    assert state is not None
    newest = state.timestamp_T[-1] - np.timedelta64(state.minutes_early, "m")
    assert newest == np.datetime64(f"2024-02-01T{known}")
    assert (state.stale_hours, state.minutes_early) == (0, 30)
