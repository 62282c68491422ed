"""The linear baselines: least absolute error, an hour of the day each, no look ahead."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from gridcast.baselines import linear_baselines
from gridcast.baselines.linear_baselines import (
    LAGS,
    NEIGHBOUR_LAGS,
    change_grid,
    choose_neighbours,
    fit_least_absolute,
    fit_linear,
    neighbour_inputs,
    own_inputs,
)
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


def mean_error(frame: pd.DataFrame, forecast_T: np.ndarray, region: str) -> float:
    own = ((frame["region"] == region) & (frame["part"] == TEST)).to_numpy()
    return float(np.abs(forecast_T - frame["target"].to_numpy())[own].mean())


# -- the fit ---------------------------------------------------------------------------------------


def least_by_linear_program(x_NF: np.ndarray, y_N: np.ndarray) -> float:
    """The smallest mean absolute error of any linear model: the oracle."""
    num, width = x_NF.shape
    design = np.concatenate([x_NF, np.ones((num, 1))], axis=1)
    over_and_under = np.concatenate([np.eye(num), -np.eye(num)], axis=1)
    solved: Any = linprog(
        np.concatenate([np.zeros(width + 1), np.ones(2 * num)]),
        A_eq=np.concatenate([design, over_and_under], axis=1),
        b_eq=y_N,
        bounds=[(None, None)] * (width + 1) + [(0, None)] * (2 * num),
    )
    return float(solved.fun / num)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_comes_to_the_least_absolute_error_of_a_linear_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_NF = rng.standard_normal((150, 4)) * [1.0, 50.0, 0.01, 1.0] + [0.0, 900.0, 0.0, 3.0]
    y_N = x_NF @ [1.0, 0.1, -40.0, 0.0] + 7.0 + rng.standard_t(2, 150)
    model = fit_least_absolute(x_NF, y_N, ridge=1e-6, iterations=200, enough=1e-7)
    found = np.abs(y_N - model.predict(x_NF)).mean()
    least = least_by_linear_program(x_NF, y_N)
    assert least <= found + 1e-9
    assert found <= 1.003 * least
    squares = fit_least_absolute(x_NF, y_N, ridge=1e-6, iterations=0)
    assert np.abs(y_N - squares.predict(x_NF)).mean() > found


def test_a_label_that_is_far_off_does_not_bend_the_fit() -> None:
    x_NF = np.linspace(-1, 1, 101)[:, None]
    y_N = 2 * x_NF[:, 0] + 0.5
    y_N[7] = 1e4
    model = fit_least_absolute(x_NF, y_N, ridge=1e-6, iterations=100, enough=0.0)
    np.testing.assert_allclose(model.predict(np.array([[0.0], [1.0]])), [0.5, 2.5], atol=0.01)


def test_inputs_that_say_the_same_nothing_or_more_than_there_are_labels_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal((60, 1))
    x_NF = np.concatenate([own, own, np.ones((60, 1)), rng.standard_normal((60, 80))], axis=1)
    model = fit_least_absolute(x_NF, 3 * own[:, 0])
    assert np.isfinite(model.weight_F).all()
    assert model.weight_F[2] == 0
    assert model.weight_F[0] == pytest.approx(model.weight_F[1])
    assert fit_least_absolute(x_NF[:0], own[:0, 0]).predict(x_NF).tolist() == [0.0] * 60


# -- what it sees ----------------------------------------------------------------------------------


def test_own_inputs_are_lags_less_the_last_load_the_level_and_the_calendar() -> None:
    frame = make_frame("A")
    x_TF, load = own_inputs(frame), frame["x_load"].to_numpy(dtype="float64")
    for step in (700, 701, 2399):
        last = load[step - 1]
        expected = [load[step - lag] - last for lag in LAGS]
        expected.append(last - load[step - 672 : step].mean())
        np.testing.assert_allclose(x_TF[step, : len(LAGS) + 1], expected, atol=1e-5)
    assert frame["x_weekday_sin"].to_numpy()[698] in x_TF[699]
    assert np.isnan(x_TF[671]).any()
    assert not np.isnan(x_TF[672]).any()


def test_neighbours_inputs_are_their_changes_at_the_same_hours_of_the_clock() -> None:
    frame = make_frame("A", "B", missing_from=2000)
    frame = frame.drop(index=range(100)).reset_index(drop=True)  # A begins 100 hours after B
    change_GR, hour_T = change_grid(frame)
    rows_B = np.flatnonzero(frame["region"] == "B")
    by_time = frame.iloc[rows_B].set_index("timestamp")["x_load"]
    for step in (500, 1500, 2150):
        found = neighbour_inputs(change_GR, hour_T[[step]], [1])[0]
        now = frame["timestamp"][step]
        for lag, change in zip(NEIGHBOUR_LAGS, found, strict=True):
            then, before = (now - pd.Timedelta(hours=lag + more) for more in (0, 1))
            expected = by_time.get(then, np.nan) - by_time.get(before, np.nan)
            assert change == pytest.approx(expected, abs=1e-6, nan_ok=True), (step, lag)


@pytest.mark.parametrize("with_neighbours", [False, True])
def test_what_comes_after_a_label_changes_no_forecast_of_it(*, with_neighbours: bool) -> None:
    frame = make_frame("A", "B")
    is_test = (frame["part"] == TEST).to_numpy()
    later = frame["timestamp"][is_test].min() + pd.Timedelta(hours=50)
    is_later = (frame["timestamp"] >= later).to_numpy()
    changed = frame.copy()
    changed.loc[is_later, ["x_load", "target"]] = -17.0
    kept = ~is_later & (frame["part"] > 0).to_numpy()
    found, expected = (
        fit_linear(each, with_neighbours=with_neighbours).scaled_T[kept]
        for each in (changed, frame)
    )
    assert is_test[kept].sum() == 2 * 50
    np.testing.assert_array_equal(found, expected)


def test_each_hour_of_the_day_has_a_model_of_its_own() -> None:
    frame = make_frame("A")
    at_seven = (frame["local_hour"] == 7).to_numpy()
    changed = frame.copy()
    changed.loc[at_seven & (frame["part"] == TRAIN), "target"] += 1.0
    before, after = (fit_linear(each, with_neighbours=False).scaled_T for each in (frame, changed))
    known = ~np.isnan(before)
    np.testing.assert_array_equal(before[known & ~at_seven], after[known & ~at_seven])
    is_test = (frame["part"] == TEST).to_numpy()
    np.testing.assert_allclose((after - before)[is_test & at_seven], 1.0, atol=0.05)


# -- neighbours ------------------------------------------------------------------------------------


def test_what_a_neighbour_did_an_hour_before_makes_the_forecast_better() -> None:
    frame = make_frame("A", "B")
    own, both = (
        mean_error(frame, fit_linear(frame, with_neighbours=each).scaled_T, "A")
        for each in (False, True)
    )
    assert both < 0.5 * own


def test_where_a_neighbour_is_missing_the_forecast_is_the_one_from_the_regions_own_past() -> None:
    frame = make_frame("A", "B")
    is_lost = (frame["region"] == "B") & (frame["part"] == TEST)
    frame = frame.assign(is_input=frame["is_input"] & ~is_lost)
    own, both = (fit_linear(frame, with_neighbours=each).scaled_T for each in (False, True))
    hours = frame["timestamp"][is_lost.to_numpy()]
    of_A = (frame["region"] == "A").to_numpy()
    lost = of_A & (frame["timestamp"] > hours.min()).to_numpy()
    known = of_A & (frame["timestamp"] <= hours.min()).to_numpy() & (frame["part"] > 0).to_numpy()
    assert np.isfinite(own[lost]).all()
    np.testing.assert_array_equal(both[lost], own[lost])
    assert (both[known] != own[known]).mean() > 0.9


def test_a_neighbour_that_ended_before_the_labels_or_is_alone_is_none() -> None:
    ended = make_frame("A", "B", missing_from=1500)
    grid = change_grid(ended)
    of_A = ((ended["region"] == "A") & (ended["part"] == TRAIN)).to_numpy()
    assert choose_neighbours(grid.change_GR, grid.hour_T[of_A], 0) == []
    for frame in (ended[ended["region"] == "A"], make_frame("A")):
        own, both = (fit_linear(frame, with_neighbours=each).scaled_T for each in (False, True))
        np.testing.assert_array_equal(own, both)


def test_of_many_neighbours_those_are_taken_that_tell_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear_baselines, "MOST_NEIGHBOURS", 2)
    rng, hours = np.random.default_rng(1), np.arange(200, 3000)
    change_GR = rng.standard_normal((3000, 5))
    change_GR[1:, 0] += change_GR[:-1, 2] + 0.5 * change_GR[:-1, 4]
    assert choose_neighbours(change_GR, hours, 0) == [2, 4]


def test_a_short_series_has_no_lag_that_costs_it_more_than_a_quarter_of_its_labels() -> None:
    frame = make_frame("A").iloc[-1000:].reset_index(drop=True)
    is_train = (frame["part"] == TRAIN).to_numpy()
    labels = linear_baselines._Labels.of(frame)
    whole = is_train & ~np.isnan(labels.own_TF).any(1)
    assert whole.sum() >= 0.7 * is_train.sum()
    assert all(one < other for one, other in pairwise(LAGS))
    assert np.isfinite(fit_linear(frame, with_neighbours=False).scaled_T[1:]).all()
