"""Linear models asked for many hours: a day as fitted, then on from what they said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gridcast.array_file import packed, unpacked
from gridcast.baselines.linear_baselines import fit_linear
from gridcast.baselines.linear_models import LEADS, Coefficients, LinearModels
from gridcast.features.grid_hours import local_hours_from
from gridcast.features.splits import TEST
from gridcast.features.table import build_features
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import RollingTable, rolling_table, stand_in_origins
from tests.builders.trainings import tiny
from tests.builders.values import make_load, make_load_frame

NUM_HOURS, NUM_LEADS = 3000, 30
HOUR = pd.Timedelta(hours=1)
CONFIG = tiny(features={"lags_hours": [24], "holidays": "US"})
REGIONS = ("AEP", "DOM")
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS - 7, mean_mw=900, seed=1)}
READINGS = {name: make_load_frame(load, flags={}, config=CONFIG) for name, load in LOADS.items()}
TABLE = build_features(READINGS, CONFIG)
FRAME = TABLE.frame
FITTED = {
    "linear": fit_linear(FRAME, with_neighbours=False),
    "linear_neighbours": fit_linear(FRAME, with_neighbours=True),
}
MODELS = {kind: each.models for kind, each in FITTED.items()}


def rolling(frame: pd.DataFrame = FRAME) -> RollingTable:
    return rolling_table(frame, TABLE.scales, CONFIG, num_leads=NUM_LEADS)


def leads(
    table: RollingTable, step_N: np.ndarray, kind: str, models: dict[str, LinearModels] = MODELS
) -> np.ndarray:
    return stand_in_origins(table, step_N, kind, models, CONFIG, num_leads=NUM_LEADS)


def steps_of_the_test_part() -> np.ndarray:
    """Of both regions."""
    test = np.flatnonzero(FRAME["part"].to_numpy() == TEST)
    return np.concatenate([test[3:60:7], test[-90:-40:11]])


@pytest.mark.parametrize("kind", list(MODELS))
def test_all_leads_are_those_of_the_table_that_was_fitted(kind: str) -> None:
    step_N = steps_of_the_test_part()
    expected_NK = FITTED[kind].forecast_leads(step_N, num_leads=NUM_LEADS)
    scales = [TABLE.scales[name] for name in FRAME["region"].iloc[step_N]]
    expected_mw = [scale.to_mw(one) for scale, one in zip(scales, expected_NK, strict=True)]
    np.testing.assert_allclose(leads(rolling(), step_N, kind), expected_mw, rtol=1e-5)
    assert set(FRAME["region"].iloc[step_N]) == set(REGIONS)


@pytest.mark.parametrize("kind", list(MODELS))
def test_after_a_day_they_go_on_as_if_their_forecasts_had_come_true(kind: str) -> None:
    (step,) = steps_of_the_test_part()[:1]
    found = leads(rolling(), np.array([step]), kind)[0]
    told = FRAME.copy()
    ahead = np.arange(step + 1, step + LEADS + 1)
    told.loc[ahead, "input_mw"] = found[:LEADS]
    of_DOM = (told["region"] == "DOM") & (told["timestamp"] > told["timestamp"][step])
    told.loc[of_DOM, "is_input"] = False  # of a neighbour nothing is known by then
    later = leads(rolling(told), np.array([step + LEADS]), kind)[0]
    np.testing.assert_allclose(found[LEADS:], later[: NUM_LEADS - LEADS], rtol=1e-6)


@pytest.mark.parametrize("kind", list(MODELS))
def test_what_comes_after_an_origin_is_not_looked_at(kind: str) -> None:
    step_N = steps_of_the_test_part()[:1]
    noise = FRAME.copy()
    is_later = noise["timestamp"] > noise["timestamp"][step_N[0]]
    noise.loc[is_later, ["input_mw", "load_mw"]] = 1e5
    ours, theirs = (leads(rolling(each), step_N, kind) for each in (FRAME, noise))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("kind", list(MODELS))
def test_a_live_forecast_is_that_of_the_table(kind: str) -> None:
    step = steps_of_the_test_part()[2]
    issue_time = FRAME["timestamp"].iloc[step] + pd.Timedelta(hours=1)
    states = [state_of(name, issue_time) for name in REGIONS]
    live = table_of_states(states, TABLE.scales, CONFIG, num_leads=NUM_LEADS)
    found = leads(live, live.last_steps()[:1], kind)
    np.testing.assert_allclose(found, leads(rolling(), np.array([step]), kind), rtol=1e-6)


def test_where_a_neighbour_is_late_a_live_forecast_is_the_one_from_its_own_past() -> None:
    step = steps_of_the_test_part()[2]
    issue_time = FRAME["timestamp"].iloc[step] + pd.Timedelta(hours=1)
    late = READINGS | {"DOM": READINGS["DOM"][READINGS["DOM"]["timestamp"] < issue_time - 2 * HOUR]}
    states = [state_of(name, issue_time, late) for name in REGIONS]
    live = table_of_states(states, TABLE.scales, CONFIG, num_leads=NUM_LEADS)
    own, both = (leads(live, live.last_steps()[:1], kind) for kind in MODELS)
    np.testing.assert_allclose(both, own, rtol=1e-9)
    both_on_time = leads(rolling(), np.array([step]), "linear_neighbours")
    assert not np.allclose(both_on_time, own, rtol=1e-5)


def state_of(
    name: str, issue_time: pd.Timestamp, readings: dict[str, pd.DataFrame] = READINGS
) -> RegionState:
    state = region_state(name, readings[name], CONFIG, issue_time=issue_time, max_stale_hours=6)
    assert state is not None
    return state


@pytest.mark.parametrize("kind", list(MODELS))
def test_models_are_read_as_they_were_written(kind: str) -> None:
    arrays = unpacked(packed(MODELS[kind].arrays()), where="x")
    found = LinearModels.of(arrays)
    assert LinearModels.is_of(arrays)
    assert (found.calendar, found.reads_neighbours) == (
        MODELS[kind].calendar,
        kind == "linear_neighbours",
    )
    step_N = steps_of_the_test_part()[:3]
    ours, theirs = (leads(rolling(), step_N, kind, {kind: each}) for each in (MODELS[kind], found))
    assert ours.tobytes() == theirs.tobytes()


def test_unknown_lags_count_nothing_and_an_unknown_last_load_gives_no_forecast() -> None:
    step_N = steps_of_the_test_part()[:1]
    lost = FRAME.copy()
    lost.loc[step_N[0] - 5, "is_input"] = False
    taken = FRAME.copy()
    taken.loc[step_N[0] - 5, "input_mw"] = taken.loc[step_N[0], "input_mw"]
    ours, theirs = (leads(rolling(each), step_N, "linear")[0, :LEADS] for each in (lost, taken))
    # the week's mean knows an hour less
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    assert not np.allclose(ours, leads(rolling(), step_N, "linear")[0, :LEADS], rtol=1e-9)
    lost.loc[step_N[0], "is_input"] = False
    assert np.isnan(leads(rolling(lost), step_N, "linear")).all()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_local_hours_turn_with_the_clocks(zone: str) -> None:
    issued = np.array(["2018-03-11T05", "2018-11-04T03", "2018-03-11T05"], dtype="datetime64[h]")
    found = local_hours_from(issued, 4, zone)
    for row, time in zip(found, issued, strict=True):
        hours = pd.date_range(pd.Timestamp(time, tz="UTC"), periods=4, freq="h").tz_convert(zone)
        assert row.tolist() == hours.hour.tolist()


def test_a_region_that_was_never_trained_on_has_no_forecast() -> None:
    own = MODELS["linear"].own
    nothing = Coefficients(*(np.full_like(each, np.nan) for each in own.arrays().values()))
    none = {"linear": replace(MODELS["linear"], own=nothing)}
    assert np.isnan(leads(rolling(), steps_of_the_test_part()[:2], "linear", none)).all()
