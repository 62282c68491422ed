"""Many issue times at once, held row for row to forecasts issued one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.calibration import Calibration
from gridcast.forecasting.hindcast import bands_on, first_learned, hindcast
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import NETWORK, STAND_INS, Contestants, ForecastModel
from gridcast.forecasting.rolling import rolling_table
from gridcast.networks.building import Forecaster
from gridcast.operation.issue_span import issue_span
from tests.builders.trainings import make_by_lead, make_forecaster, tiny, tiny_by_lead
from tests.builders.values import make_load, make_load_frame

NUM_HOURS, HORIZON, LATE = 1300, 6, 2
REGIONS = ("AEP", "DOM", "DUQ")
SCALES = {
    "AEP": LoadScale(10_000.0, 1_500.0), "DOM": LoadScale(900.0, 150.0),
    "DUQ": LoadScale(500.0, 90.0),
}  # fmt: skip
MEANS = {"AEP": 10_000.0, "DOM": 900.0, "DUQ": 500.0}
LOADS = {
    name: make_load(NUM_HOURS, mean_mw=mean, seed=seed)
    for seed, (name, mean) in enumerate(MEANS.items())
}
BEGIN = np.datetime64("2017-01-01T05", "h")
SINCE = dict.fromkeys(REGIONS, "2017-01-09T05:00:00+00:00")
OWN = {"horizon": HORIZON, "max_stale_hours": LATE, "bands": {"learn_days": 7}}
CONFIG = tiny(features={"lags_hours": [24]}, forecasting=OWN)
BY_LEAD = tiny_by_lead(forecasting=OWN)
FIRST, END = np.datetime64("2017-01-27"), np.datetime64("2017-01-31")  # over a Monday
ISSUE_TIMES = pd.date_range("2017-01-27", "2017-01-31", freq="h", inclusive="left", tz="UTC")


def hours_from(time: str, num: int) -> range:
    """The places of hours in a region's loads."""
    first = int((np.datetime64(time, "h") - BEGIN) / np.timedelta64(1, "h"))
    return range(first, first + num)


def readings_of(missing: dict[str, Iterable[int]] | None = None) -> dict[str, pd.DataFrame]:
    missing = missing or {}
    return {
        name: make_load_frame(load, flags={}, missing=missing.get(name, ()))
        for name, load in LOADS.items()
    }


def model_on(
    day: np.datetime64,
    readings: dict[str, pd.DataFrame],
    config: Config = CONFIG,
    errors: tuple[float, ...] = (0.0, 1.0, 1.0),
) -> ForecastModel:
    """With the bands of a day, as a live forecast makes them."""
    make = make_by_lead if config is BY_LEAD else make_forecaster
    networks: dict[str, Forecaster] = {
        "0": make(config, "gru", num_regions=len(REGIONS)),
        "1": make(config, "lstm", num_regions=len(REGIONS)),
    }
    until = pd.Timestamp(day).tz_localize("UTC")
    known = {name: each[each["timestamp"] < until] for name, each in readings.items()}
    frame = build_features(known, config, scales=SCALES, regions=list(SCALES)).frame
    table = rolling_table(frame, SCALES, config, num_leads=HORIZON + LATE)
    past = hindcast(
        Contestants(networks, {NETWORK: tuple(networks)}), table, frame, SINCE, config,
        first=first_learned(day, config.forecasting), end=day,
    )  # fmt: skip
    bands = bands_on(past, config.forecasting)
    calibrations = {
        name: Calibration(np.full((len(REGIONS), HORIZON), smape), bands[name])
        for name, smape in zip((NETWORK, *STAND_INS), errors, strict=True)
    }
    return ForecastModel("mean", "a" * 64, config, SCALES, tuple(networks.values()), calibrations)


def one_by_one(
    readings: dict[str, pd.DataFrame],
    issue_times: Iterable[pd.Timestamp],
    config: Config = CONFIG,
    errors: tuple[float, ...] = (0.0, 1.0, 1.0),
) -> pd.DataFrame:
    tables = []
    for time in issue_times:
        day = np.datetime64(time.tz_localize(None), "D")
        model = model_on(day, readings, config, errors)
        known = {name: each[each["timestamp"] < time] for name, each in readings.items()}
        tables.append(forecast_regions(
            model, known, issue_time=time, horizon=HORIZON, max_stale_hours=LATE).rows)  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def assert_same(
    readings: dict[str, pd.DataFrame],
    hours: Iterable[int],
    config: Config = CONFIG,
    errors: tuple[float, ...] = (0.0, 1.0, 1.0),
) -> pd.DataFrame:
    """All at once; the issue times at these hours of the span are the same one by one."""
    model = model_on(FIRST, readings, config, errors)
    at_once = issue_span(model, readings, SINCE, config.forecasting, issue_times=ISSUE_TIMES)
    some = [ISSUE_TIMES[hour] for hour in hours]
    expected = one_by_one(readings, some, config, errors)
    found = at_once[at_once["issue_time"].isin(some)].reset_index(drop=True)
    assert list(found.columns) == list(expected.columns)
    keys = ["region", "issue_time", "timestamp", "lead", "fallback", "fallback_reason"]
    pd.testing.assert_frame_equal(found[keys], expected[keys], check_dtype=False)
    for name in ("load_mw", "q05", "q25", "q75", "q95"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)
    return at_once


@pytest.mark.parametrize("config", [CONFIG, BY_LEAD], ids=["next hour", "by lead"])
def test_at_once_is_one_by_one(config: Config) -> None:
    rows = assert_same(readings_of(), (0, 7, 40, 71, 95), config)
    assert len(rows) == 96 * 3 * HORIZON


def test_a_region_with_a_better_naive_forecast_gets_it() -> None:
    rows = assert_same(readings_of(), (3, 80), errors=(3.0, 2.0, 1.0))
    assert set(rows["fallback"]) == {"same_hour_last_week"}


@pytest.mark.parametrize("config", [CONFIG, BY_LEAD], ids=["next hour", "by lead"])
def test_a_late_region_is_forecast_from_its_last_hour_and_a_stale_one_naively(
    config: Config,
) -> None:
    late = readings_of({"DOM": hours_from("2017-01-28T10", 5)})
    rows = assert_same(late, range(33, 41), config)
    dom = rows[rows["region"] == "DOM"].drop_duplicates("issue_time").set_index("issue_time")
    is_naive = dom["fallback"] != ""
    stale = pd.date_range("2017-01-28T13", "2017-01-28T15", freq="h", tz="UTC")
    assert is_naive[stale].all()
    assert not is_naive[: stale[0] - pd.Timedelta(hours=1)].any()


def test_a_gap_too_long_to_be_filled_is_told_as_long_as_it_is_read() -> None:
    gap = readings_of({"DUQ": hours_from("2017-01-27T02", 30)})
    rows = assert_same(gap, (1, 2, 33, 40, 60))
    assert rows["fallback_reason"].str.contains("too long to be filled").any()


def test_a_region_without_any_reading_has_no_rows_and_one_that_ended_long_ago_neither() -> None:
    readings = readings_of()
    del readings["DOM"]
    readings["DUQ"] = readings["DUQ"].iloc[: 24 * 5]
    rows = assert_same(readings, (0, 50))
    assert set(rows["region"]) == {"AEP"}


def test_what_the_model_was_trained_on_is_forecast_too() -> None:
    readings = readings_of()
    late = dict.fromkeys(REGIONS, "2017-01-28T00:00:00+00:00")
    model = model_on(FIRST, readings)
    rows = issue_span(model, readings, late, CONFIG.forecasting, issue_times=ISSUE_TIMES)
    usual = issue_span(model, readings, SINCE, CONFIG.forecasting, issue_times=ISSUE_TIMES)
    np.testing.assert_allclose(rows["load_mw"], usual["load_mw"], rtol=1e-5)


def test_nothing_that_comes_after_an_issue_time_has_a_say_in_it() -> None:
    readings = readings_of()
    cut = hours_from("2017-01-29T10", 1)[0]
    noise = {
        name: each.assign(load_mw=each["load_mw"].where(each.index < cut, 7.0))
        for name, each in readings.items()
    }
    model = model_on(FIRST, readings)
    until = pd.Timestamp("2017-01-29T10", tz="UTC")
    ours, theirs = (
        issue_span(model, each, SINCE, CONFIG.forecasting, issue_times=ISSUE_TIMES)
        for each in (readings, noise)
    )
    known, same = (
        each[each["issue_time"] <= until].reset_index(drop=True) for each in (ours, theirs)
    )
    pd.testing.assert_frame_equal(known, same)
    assert not ours.equals(theirs)


def test_a_model_without_networks_says_what_naive_forecasts_say() -> None:
    readings = readings_of()
    model = replace(model_on(FIRST, readings, errors=(9.0, 1.0, 2.0)), forecasters=())
    rows = issue_span(model, readings, SINCE, CONFIG.forecasting, issue_times=ISSUE_TIMES[:5])
    assert set(rows["fallback"]) == {"same_hour_yesterday"}
    assert (rows["q05"] < rows["q95"]).all()
