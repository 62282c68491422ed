"""Linear models asked for many hours: the next one as fitted, then on from what they said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.array_file import packed, unpacked
from gridcast.baselines.linear_baselines import LAGS, LEVEL_HOURS, LinearModels, fit_linear
from gridcast.features.grid_hours import local_hours_from
from gridcast.features.splits import TEST
from gridcast.features.table import build_features
from gridcast.forecasting.model import LINEAR
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import RollingTable, rolling_table, stand_in_origins
from tests.builders.trainings import tiny
from tests.builders.values import make_load, make_load_frame

NUM_HOURS, NUM_LEADS = 3000, 30
CONFIG = tiny(features={"lags_hours": [24], "holidays": "US"})
REGIONS = ("AEP", "DOM")
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS - 7, mean_mw=900, seed=1)}
READINGS = {name: make_load_frame(load, flags={}, config=CONFIG) for name, load in LOADS.items()}
TABLE = build_features(READINGS, CONFIG)
FRAME = TABLE.frame
FITTED = fit_linear(FRAME, with_neighbours=False)


def models() -> LinearModels:
    assert FITTED.models is not None
    return FITTED.models


def rolling(frame: pd.DataFrame = FRAME) -> RollingTable:
    return rolling_table(frame, TABLE.scales, CONFIG, num_leads=NUM_LEADS)


def leads(table: RollingTable, step_N: np.ndarray, linear: LinearModels | None) -> np.ndarray:
    return stand_in_origins(table, step_N, LINEAR, linear, CONFIG, num_leads=NUM_LEADS)


def steps_of_the_test_part() -> np.ndarray:
    """Of both regions."""
    test = np.flatnonzero(FRAME["part"].to_numpy() == TEST)
    return np.concatenate([test[3:60:7], test[-90:-40:11]])


def test_the_next_hour_is_the_one_that_was_fitted() -> None:
    step_N = steps_of_the_test_part()
    expected = FITTED.forecast(step_N + 1)
    scales = [TABLE.scales[name] for name in FRAME["region"].iloc[step_N]]
    expected_mw = [scale.to_mw(one) for scale, one in zip(scales, expected, strict=True)]
    found = leads(rolling(), step_N, models())
    np.testing.assert_allclose(found[:, 0], expected_mw, rtol=2e-6)
    assert set(FRAME["region"].iloc[step_N]) == set(REGIONS)


def test_a_lead_is_the_next_hour_where_the_forecasts_before_it_came_true() -> None:
    (step,), lead = steps_of_the_test_part()[:1], 5
    found = leads(rolling(), np.array([step]), models())[0]
    told = FRAME.copy()
    ahead = np.arange(step + 1, step + lead + 1)
    told.loc[ahead, "input_mw"] = found[:lead]
    later = leads(rolling(told), np.array([step + lead]), models())[0]
    np.testing.assert_allclose(found[lead:], later[: NUM_LEADS - lead], rtol=1e-9)


def test_what_comes_after_an_origin_is_not_looked_at() -> None:
    step_N = steps_of_the_test_part()[:1]
    noise = FRAME.copy()
    noise.loc[step_N[0] + 1 :, ["input_mw", "load_mw"]] = 1e5
    ours, theirs = (leads(rolling(each), step_N, models()) for each in (FRAME, noise))
    assert ours.tobytes() == theirs.tobytes()


def test_a_live_forecast_is_that_of_the_table() -> None:
    step = steps_of_the_test_part()[2]
    issue_time = FRAME["timestamp"].iloc[step] + pd.Timedelta(hours=1)
    states = [state_of(name, issue_time) for name in REGIONS]
    live = table_of_states(states, TABLE.scales, CONFIG, num_leads=NUM_LEADS)
    found = leads(live, live.last_steps()[:1], models())
    np.testing.assert_allclose(found, leads(rolling(), np.array([step]), models()), rtol=1e-9)


def state_of(name: str, issue_time: pd.Timestamp) -> RegionState:
    state = region_state(name, READINGS[name], CONFIG, issue_time=issue_time, max_stale_hours=6)
    assert state is not None
    return state


def test_models_are_read_as_they_were_written() -> None:
    found = LinearModels.of(unpacked(packed(models().arrays()), where="x"))
    assert found.calendar == models().calendar
    assert found.weight_RHF.tobytes() == models().weight_RHF.tobytes()
    assert found.bias_RH.tobytes() == models().bias_RH.tobytes()


def test_unknown_lags_count_nothing_and_an_unknown_last_load_gives_no_forecast() -> None:
    width = len(LAGS) + 1 + 1
    linear = LinearModels(np.ones((1, 24, width)), np.full((1, 24), 0.5), ("x_holiday",))
    load_BT = np.full((3, LEVEL_HOURS), np.nan)
    load_BT[:, -1] = [2.0, 2.0, np.nan]
    load_BT[0, -LAGS[0]] = 3.0
    calendar_BC, region_B = np.array([[0.0], [10.0], [0.0]]), np.zeros(3, dtype=int)
    found = linear.next_loads(load_BT, calendar_BC, np.zeros((3, 0)), region_B, np.array([0, 5, 7]))
    assert found[:2].tolist() == [2.0 + (3.0 - 2.0) + 0.5, 2.0 + 10.0 + 0.5]
    assert np.isnan(found[2])


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_local_hours_turn_with_the_clocks(zone: str) -> None:
    issued = np.array(["2018-03-11T05", "2018-11-04T03", "2018-03-11T05"], dtype="datetime64[h]")
    found = local_hours_from(issued, 4, zone)
    for row, time in zip(found, issued, strict=True):
        hours = pd.date_range(pd.Timestamp(time, tz="UTC"), periods=4, freq="h").tz_convert(zone)
        assert row.tolist() == hours.hour.tolist()


def test_a_region_that_was_never_trained_on_has_no_forecast() -> None:
    none = LinearModels(
        np.full_like(models().weight_RHF, np.nan), np.full_like(models().bias_RH, np.nan),
        models().calendar,
    )  # fmt: skip
    assert np.isnan(leads(rolling(), steps_of_the_test_part()[:2], none)).all()
