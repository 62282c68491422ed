"""The linear baselines: an hour of the day and a lead each, no look ahead."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from gridcast.baselines import linear_inputs
from gridcast.baselines.linear_baselines import fit_linear
from gridcast.baselines.linear_inputs import (
    CHANGES,
    LAGS,
    NUM_SIGNALS,
    REACH_P,
    choose_neighbours,
    neighbour_inputs,
    past_inputs,
    regional_loads,
)
from gridcast.baselines.linear_models import LEADS
from gridcast.features.splits import TEST, TRAIN
from gridcast.features.table import build_features
from tests.builders.values import make_config, make_load_frame

NUM_HOURS = 2400


@cache
def make_frame(*regions: str, missing_from: int | None = None) -> pd.DataFrame:
    """Regions of which the first does at each hour what the others did an hour before.

    With ``missing_from`` the last region has no reading from that hour on.
    """
    config, rng = make_config(), np.random.default_rng(3)
    shock = rng.standard_normal(NUM_HOURS + 1).cumsum() * 60
    shock -= pd.Series(shock).rolling(48, min_periods=1).mean().to_numpy()
    day = 500 * np.sin(2 * np.pi * np.arange(NUM_HOURS) / 24)
    loads = {}
    for number, region in enumerate(regions):
        own = shock[:-1] if number == 0 else shock[1:]
        noise = rng.standard_normal(NUM_HOURS) * 5
        load = (10_000 + day + own + noise).round(1)
        is_cut = missing_from is not None and region == regions[-1]
        loads[region] = load[:missing_from] if is_cut else load
    readings = {
        name: make_load_frame(load, flags={}, config=config) for name, load in loads.items()
    }
    return build_features(readings, config).frame


def next_hours(frame: pd.DataFrame, *, with_neighbours: bool = False) -> np.ndarray:
    """The forecast of each step from the one before it; NaN of a region's first."""
    fitted = fit_linear(frame, with_neighbours=with_neighbours)
    is_first = frame["region"] != frame["region"].shift(1)
    step_N = np.flatnonzero(~is_first)
    forecast_T = np.full(len(frame), np.nan)
    forecast_T[step_N] = fitted.forecast(step_N)
    return forecast_T


def mean_error(frame: pd.DataFrame, forecast_T: np.ndarray, region: str) -> float:
    own = ((frame["region"] == region) & (frame["part"] == TEST)).to_numpy()
    return float(np.abs(forecast_T - frame["target"].to_numpy())[own].mean())


# -- what it sees ----------------------------------------------------------------------------------


def test_past_inputs_are_loads_before_the_last_one_like_days_and_the_level() -> None:
    load = make_frame("A")["x_load"].to_numpy(dtype="float64")
    step_N = np.array([700, 701, 2399])
    found_NP = past_inputs(load, np.zeros(3, dtype=int), step_N)
    for step, found in zip(step_N, found_NP, strict=True):
        last = load[step]
        expected = [load[step - lag] - last for lag in LAGS]
        for after in range(25):
            weeks = [load[step - week + after] for week in (336, 504, 672)]
            expected.append(np.mean(weeks) - last)
        expected += [last - load[step - hours + 1 : step + 1].mean() for hours in (168, 672)]
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found_NP.shape[1] == len(REACH_P)


def test_what_lies_before_a_series_or_is_not_known_is_told_as_unknown() -> None:
    load = make_frame("A")["x_load"].to_numpy(dtype="float64")
    load[1000] = np.nan
    first = 200
    found_NP = past_inputs(load, np.full(2, first), np.array([first + 400, 1010]))
    reach_P = np.where(np.arange(len(REACH_P)) < len(LAGS), REACH_P, 0)
    expected = [lag > 400 for lag in LAGS] + [True] * 25 + [False, False]
    assert np.isnan(found_NP[0]).tolist() == expected
    assert np.isnan(found_NP[1]).tolist() == [lag == 10 for lag in reach_P]
    known = np.r_[load[1010 - 671 : 1000], load[1001:1011]]
    assert found_NP[1, -1] == pytest.approx(load[1010] - known.mean())
    few = past_inputs(load, np.array([first]), np.array([first + 22]))  # 23 hours are no level
    assert np.isnan(few[0, -2:]).all()


def test_neighbours_inputs_are_theirs_at_the_same_hours_of_the_clock() -> None:
    frame = make_frame("A", "B", missing_from=2000)
    frame = frame.drop(index=range(100)).reset_index(drop=True)  # A begins 100 hours after B
    load_GR, hour_T = regional_loads(frame)
    rows_B = np.flatnonzero(frame["region"] == "B")
    by_time = frame.iloc[rows_B].set_index("timestamp")["x_load"]
    for step in (500, 1500, 1899, 2150):
        found = neighbour_inputs(load_GR, hour_T[[step]], np.array([[1, -1]]))[0]
        now = frame["timestamp"][step]

        def load(hours: int, now: pd.Timestamp = now) -> float:
            return float(by_time.get(now - pd.Timedelta(hours=hours), np.nan))

        expected = [load(hours) - load(hours + 1) for hours in CHANGES]
        expected += [load(0) - load(24), load(0) - load(168), *[0.0] * NUM_SIGNALS]
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("with_neighbours", [False, True])
def test_what_comes_after_a_label_changes_no_forecast_of_it(*, with_neighbours: bool) -> None:
    frame = make_frame("A", "B")
    is_test = (frame["part"] == TEST).to_numpy()
    later = frame["timestamp"][is_test].min() + pd.Timedelta(hours=50)
    is_later = (frame["timestamp"] >= later).to_numpy()
    changed = frame.copy()
    changed.loc[is_later, ["x_load", "target"]] = -17.0
    kept = np.flatnonzero(~is_later & (frame["part"] > 0).to_numpy())
    found, expected = (
        fit_linear(each, with_neighbours=with_neighbours).forecast_leads(kept[1:], num_leads=30)
        for each in (changed, frame)
    )
    assert is_test[kept].sum() == 2 * 50
    np.testing.assert_array_equal(found, expected)


def test_each_hour_of_the_day_has_a_model_of_its_own() -> None:
    """One more at one hour of the day: each lead that comes to it learns that, no other."""
    frame = make_frame("A")
    at_seven = (frame["local_hour"] == 7).to_numpy()
    changed = frame.copy()
    changed.loc[at_seven & (frame["part"] == TRAIN), "target"] += 1.0
    origin_N = np.flatnonzero((frame["part"] == TEST).to_numpy())[:-LEADS]
    before, after = (
        fit_linear(each, with_neighbours=False).forecast_leads(origin_N, num_leads=LEADS)
        for each in (frame, changed)
    )
    is_seven_NK = at_seven[origin_N[:, None] + np.arange(1, LEADS + 1)]
    assert is_seven_NK.any(0).all()
    gain_NK = after - before
    assert np.median(gain_NK[is_seven_NK]) == pytest.approx(1.0, abs=0.1)
    assert np.median(np.abs(gain_NK[~is_seven_NK])) < 0.02


def test_a_lead_is_fitted_to_the_load_so_many_hours_later() -> None:
    """It is nearer to the load of its own hour than to that of the hour before or after."""
    frame = make_frame("A")
    origin_N = np.flatnonzero((frame["part"] == TEST).to_numpy())[:-50]
    found_NK = fit_linear(frame, with_neighbours=False).forecast_leads(origin_N, num_leads=12)
    load_T = frame["x_load"].to_numpy()
    error_SK = np.stack(
        [
            np.abs(found_NK - load_T[origin_N[:, None] + np.arange(1, 13) + shift]).mean(0)
            for shift in (-1, 0, 1)
        ]
    )
    assert (error_SK.argmin(0) == 1).all()


def test_no_label_of_the_validation_part_trains_a_lead() -> None:
    frame = make_frame("A")
    changed = frame.copy()
    is_later = (frame["part"] > TRAIN).to_numpy()
    changed.loc[is_later, ["x_load", "target"]] = 99.0
    found, expected = (
        fit_linear(each, with_neighbours=False).models.own.weight_RDFK for each in (changed, frame)
    )
    np.testing.assert_array_equal(found, expected)


# -- neighbours ------------------------------------------------------------------------------------


def test_what_a_neighbour_did_an_hour_before_makes_the_forecast_better() -> None:
    frame = make_frame("A", "B")
    own, both = (
        mean_error(frame, next_hours(frame, with_neighbours=each), "A") for each in (False, True)
    )
    assert both < 0.75 * own


def test_where_a_neighbour_is_missing_the_forecast_is_the_one_from_the_regions_own_past() -> None:
    frame = make_frame("A", "B")
    is_lost = (frame["region"] == "B") & (frame["part"] == TEST)
    frame = frame.assign(is_input=frame["is_input"] & ~is_lost)
    own, both = (next_hours(frame, with_neighbours=each) for each in (False, True))
    hours = frame["timestamp"][is_lost.to_numpy()]
    of_A = (frame["region"] == "A").to_numpy()
    lost = of_A & (frame["timestamp"] > hours.min()).to_numpy()
    known = of_A & (frame["timestamp"] <= hours.min()).to_numpy() & (frame["part"] > 0).to_numpy()
    assert np.isfinite(own[lost]).all()
    np.testing.assert_array_equal(both[lost], own[lost])
    assert (both[known] != own[known]).mean() > 0.9


def test_a_neighbour_that_ended_before_the_labels_or_is_alone_is_none() -> None:
    ended = make_frame("A", "B", missing_from=1500)
    grid = regional_loads(ended)
    of_A = ((ended["region"] == "A") & (ended["part"] == TRAIN)).to_numpy()
    assert choose_neighbours(grid.load_GR, grid.hour_T[of_A], 0) == []
    for frame in (ended[ended["region"] == "A"], make_frame("A")):
        own, both = (next_hours(frame, with_neighbours=each) for each in (False, True))
        np.testing.assert_array_equal(own, both)


def test_of_many_neighbours_those_are_taken_that_tell_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear_inputs, "MOST_NEIGHBOURS", 2)
    rng, hours = np.random.default_rng(1), np.arange(200, 2999)
    change_GR = rng.standard_normal((3000, 5))
    change_GR[1:, 0] += change_GR[:-1, 2] + 0.5 * change_GR[:-1, 4]
    assert choose_neighbours(change_GR.cumsum(0), hours, 0) == [2, 4]


def test_a_short_series_has_no_lag_that_costs_it_more_than_a_quarter_of_its_labels() -> None:
    frame = make_frame("A").iloc[-1000:].reset_index(drop=True)
    num_training = int((frame["part"] == TRAIN).sum())
    fitted = fit_linear(frame, with_neighbours=False)
    weighs_P = fitted.models.own.weight_RDFK[0][:, : len(REACH_P)].any(axis=(0, 2))
    assert weighs_P.tolist() == (num_training / 4 >= REACH_P).tolist()
    assert 0.5 < weighs_P.mean() < 1
    assert np.isfinite(fitted.forecast(np.arange(1, 1000))).all()


def test_a_filled_gap_costs_no_label_around_it_and_an_unknown_one_only_those() -> None:
    frame = make_frame("A")
    is_filled = np.arange(NUM_HOURS) % 20 == 0
    filled = frame.assign(part=frame["part"].mask(is_filled & (frame["part"] == TRAIN), 0))
    weights = fit_linear(filled, with_neighbours=False).models.own.weight_RDFK
    assert weights.any(axis=(0, 2, 3)).all()
    lost = frame.assign(is_input=frame["is_input"] & (np.arange(NUM_HOURS) != 1500))
    assert np.isfinite(next_hours(lost)[1600:]).all()
    assert np.isnan(next_hours(lost)[1501])


def test_of_a_region_without_a_training_label_there_is_no_forecast() -> None:
    frame = make_frame("A", "B")
    is_B = frame["region"] == "B"
    frame = frame.assign(part=frame["part"].mask(is_B & (frame["part"] == TRAIN), 0))
    found = next_hours(frame, with_neighbours=True)
    assert np.isnan(found[is_B]).all()
    assert np.isfinite(found[~is_B][1:]).all()
