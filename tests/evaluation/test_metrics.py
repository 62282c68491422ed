"""Errors against independent formulas, other libraries, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from gridcast.evaluation.metrics import mae, mase, rmse, seasonal_naive_mae, smape

NAN = float("nan")
EMPTY = np.array([])
# Readings have one decimal; what matters is zeros, small values and large ones.
LOADS = st.one_of(st.just(0.0), st.integers(0, 10**6).map(lambda tenths: tenths / 10))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(1, 20))
    return draw(arrays(float, size, elements=LOADS)), draw(arrays(float, size, elements=LOADS))


def test_smape_is_the_articles_stated_formula() -> None:
    actual, forecast = np.array([100.0, 50.0, 80.0]), np.array([110.0, 40.0, 80.0])
    total = 0.0
    for a, f in zip(actual, forecast, strict=True):
        total += abs(f - a) / (abs(f + a) / 2)
    assert smape(actual, forecast) == pytest.approx(100 / 3 * total)
    assert smape(np.array([100.0]), np.array([110.0])) == pytest.approx(1000 / 105)


def test_the_articles_code_prints_a_quarter_of_it() -> None:
    rng = np.random.default_rng(0)
    targets = [rng.uniform(1e3, 2e4, 50) for _ in range(12)]
    outputs = [target * rng.uniform(0.9, 1.1, 50) for target in targets]
    sMAPE = 0.0
    # fmt: off
    for i in range(len(outputs)):
        sMAPE += float(
            np.mean(abs(outputs[i]-targets[i])/(targets[i]+outputs[i])/2)/len(outputs)
        )
    # fmt: on
    ours = np.mean([smape(y_true, y_pred) for y_true, y_pred in zip(targets, outputs, strict=True)])
    assert sMAPE * 100 == pytest.approx(ours / 4)


@given(pairs())
def test_smape_is_symmetric_has_no_unit_and_lies_from_0_to_200(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    y_true, y_pred = pair
    error = smape(y_true, y_pred)
    assert 0 <= error <= 200 * (1 + 1e-12)
    assert smape(y_pred, y_true) == error
    assert smape(y_true / 4, y_pred / 4) == error
    assert smape(y_true, y_true) == 0


def test_smape_of_zero_for_zero_is_0_and_of_anything_for_zero_is_200() -> None:
    assert smape(np.array([0.0]), np.array([0.0])) == 0
    assert smape(np.array([0.0]), np.array([0.1])) == 200
    assert smape(np.array([0.0, 5.0]), np.array([0.0, 0.0])) == 100


@given(pairs())
def test_mae_and_rmse_are_those_of_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    y_true, y_pred = pair
    assert mae(y_true, y_pred) == pytest.approx(mean_absolute_error(y_true, y_pred))
    assert rmse(y_true, y_pred) == pytest.approx(root_mean_squared_error(y_true, y_pred))


@pytest.mark.parametrize("metric", [smape, mae, rmse])
def test_no_labels_and_a_missing_number_give_nan(metric: object) -> None:
    assert callable(metric)
    assert np.isnan(metric(EMPTY, EMPTY))
    assert np.isnan(metric(np.array([1.0, NAN]), np.array([1.0, 1.0])))
    assert np.isnan(metric(np.array([1.0, 1.0]), np.array([1.0, NAN])))


def test_mase_of_the_seasonal_naive_forecast_itself_is_1() -> None:
    load = np.random.default_rng(0).uniform(1, 9, 100)
    scale = seasonal_naive_mae(load, season_length=24)
    assert mase(load[24:], load[:-24], naive_mae=scale) == pytest.approx(1.0)


def test_mase_without_a_scale_is_infinite_and_with_an_unknown_one_nan() -> None:
    one, two = np.array([1.0]), np.array([2.0])
    assert mase(one, two, naive_mae=0.0) == float("inf")
    assert np.isnan(mase(one, two, naive_mae=NAN))


@given(
    load=st.lists(st.one_of(LOADS, st.just(NAN)), max_size=30).map(np.array),
    season_length=st.integers(1, 8),
)
def test_the_scale_is_the_mean_change_over_a_season_between_known_steps(
    load: np.ndarray, season_length: int
) -> None:
    pairs = [(load[step - season_length], load[step]) for step in range(season_length, len(load))]
    changes = [abs(now - then) for then, now in pairs if not np.isnan(then + now)]
    found = seasonal_naive_mae(load, season_length=season_length)
    assert found == pytest.approx(np.mean(changes) if changes else NAN, nan_ok=True)
