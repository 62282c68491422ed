"""Errors of the past weeks, held to forecasts issued one by one; bands that come of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.features.load_scale import LoadScale
from gridcast.features.splits import VALIDATION
from gridcast.features.table import build_features, region_features
from gridcast.forecasting.bands import BandState
from gridcast.forecasting.error_days import ErrorDays
from gridcast.forecasting.hindcast import (
    Hindcast,
    bands_on,
    first_learned,
    hindcast,
    unseen_since,
    week_of,
)
from gridcast.forecasting.model import Contestants
from gridcast.forecasting.rolling import forecast_origins, naive_origins, rolling_table
from gridcast.networks.forecaster import RecurrentForecaster
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

NUM_HOURS, NUM_LEADS = 1100, 8
REGIONS = ("AEP", "DOM")
SCALES = {"AEP": LoadScale(10_000.0, 1_500.0), "DOM": LoadScale(900.0, 150.0)}
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS, mean_mw=900, seed=1)}
SINCE = dict.fromkeys(REGIONS, "2017-01-09T05:00:00+00:00")
CONFIG = tiny(
    features={"lags_hours": [24]},
    forecasting={"horizon": 6, "max_stale_hours": 2, "bands": {"learn_days": 7}},
)
FIRST, DAY = np.datetime64("2017-01-16"), np.datetime64("2017-01-26")  # a Monday, a Thursday
NETWORK: RecurrentForecaster = make_forecaster(CONFIG, "lstm")


def table_of(loads: dict[str, np.ndarray], config: Config = CONFIG) -> pd.DataFrame:
    readings = {name: make_load_frame(load, flags={}) for name, load in loads.items()}
    return build_features(readings, config, scales=SCALES).frame


def errors_of(
    frame: pd.DataFrame, first: np.datetime64 = FIRST, end: np.datetime64 = DAY
) -> dict[str, ErrorDays]:
    past = past_of(frame, first, end)
    return {name: past.errors(name) for name in past.forecasts}


def past_of(frame: pd.DataFrame, first: np.datetime64, end: np.datetime64) -> Hindcast:
    table = rolling_table(frame, SCALES, CONFIG, num_leads=NUM_LEADS)
    return hindcast(
        Contestants({"net": NETWORK}, {"net": ("net",)}),
        table,
        frame,
        SINCE,
        CONFIG,
        first=first,
        end=end,
    )


def bands(
    frame: pd.DataFrame, day: np.datetime64 = DAY, begun: dict[str, BandState] | None = None
) -> dict[str, BandState]:
    first = begun["net"].day if begun else first_learned(day, CONFIG.forecasting)
    return bands_on(past_of(frame, first, day), CONFIG.forecasting, begun=begun)


@pytest.mark.parametrize("name", ["net", "same_hour_yesterday"])
def test_an_error_is_that_of_the_forecast_issued_so_many_hours_before(name: str) -> None:
    days = errors_of(table_of(LOADS))[name]
    assert (days.first_day, len(days)) == (FIRST, 10)
    for day, region, hour, lead in ((0, 0, 0, 1), (0, 1, 3, 8), (4, 1, 17, 5), (9, 0, 23, 1)):
        at = pd.Timestamp(FIRST).tz_localize("UTC") + pd.Timedelta(days=day, hours=hour)
        issue_time = at - pd.Timedelta(hours=lead - 1)
        readings = make_load_frame(LOADS[REGIONS[region]], flags={})
        known = readings[readings["timestamp"] < issue_time]
        frame, _ = region_features(
            REGIONS[region], known, CONFIG, regions=REGIONS, scale=SCALES[REGIONS[region]]
        )
        table = rolling_table(frame, SCALES, CONFIG, num_leads=NUM_LEADS)
        last = np.array([len(frame) - 1])
        if name == "net":
            issued = forecast_origins([NETWORK], table, last, CONFIG, num_leads=NUM_LEADS)
        else:
            issued = naive_origins(table, last, name, num_leads=NUM_LEADS)
        truth = readings.set_index("timestamp")["load_mw"][at]
        assert days.forecast_DRVK[day, region, hour, lead - 1] == pytest.approx(
            issued[0, lead - 1], rel=1e-5
        )
        error = truth - issued[0, lead - 1]
        assert days.error_DRVK[day, region, hour, lead - 1] == pytest.approx(error, abs=0.05)


def test_of_hours_to_come_and_of_truths_that_were_learned_from_no_error_is_known() -> None:
    late = errors_of(table_of(LOADS), end=DAY)["net"]
    assert np.isfinite(late.error_DRVK[-1]).all()
    early = errors_of(table_of(LOADS), first=np.datetime64("2017-01-08"))["net"]
    assert np.isnan(early.error_DRVK[0]).all()
    known = np.isfinite(early.error_DRVK[1, 0])  # the ninth: issued from 05:00 on
    assert not known[:5].any()
    assert known[5].tolist() == [True] + 7 * [False]
    assert known[23].all()


def test_nothing_from_the_day_on_has_a_say_in_its_bands() -> None:
    noise = {name: load.copy() for name, load in LOADS.items()}
    first_unknown = int((DAY - np.datetime64("2017-01-01T05")) / np.timedelta64(1, "h"))
    for load in noise.values():
        load[first_unknown:] = np.random.default_rng(0).uniform(1, 9e4, NUM_HOURS - first_unknown)
    cut = {name: load[:first_unknown] for name, load in LOADS.items()}
    found = [bands(table_of(each)) for each in (LOADS, noise, cut)]
    for name, own in found[0].items():
        for other in found[1:]:
            for part, array in own.arrays().items():
                assert array.tobytes() == other[name].arrays()[part].tobytes(), part


def test_bands_lived_on_from_an_earlier_day_of_the_week_are_those_made_at_once() -> None:
    frame = table_of(LOADS)
    before = bands(frame, day=np.datetime64("2017-01-24"))
    lived, at_once = bands(frame, begun=before), bands(frame)
    assert lived.keys() == at_once.keys() == {"net", "same_hour_yesterday", "same_hour_last_week"}
    for name, own in lived.items():
        assert own.day == DAY
        for part, array in own.arrays().items():
            if part == "day":
                continue
            np.testing.assert_allclose(array, at_once[name].arrays()[part], rtol=1e-4)


def test_bands_begin_with_the_errors_before_the_week_of_the_day() -> None:
    assert str(week_of(DAY)) == "2017-01-23"
    assert str(first_learned(DAY, CONFIG.forecasting)) == "2017-01-16"


def test_a_truth_is_new_from_the_first_label_after_the_training_part_on() -> None:
    config = tiny(split={"test_share": 0.1, "validation_share": 0.2, "article_lookback": 10})
    readings = {name: make_load_frame(load, flags={}) for name, load in LOADS.items()}
    frame = build_features(readings, config).frame
    found = unseen_since(frame, first_part=VALIDATION)
    own = frame[frame["region"] == "DOM"]
    first = own[own["part"] == VALIDATION]["timestamp"].iloc[0]
    assert found.keys() == set(REGIONS)
    assert pd.Timestamp(found["DOM"]) == first
