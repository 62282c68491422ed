"""The fitted baselines know what the networks know, and nothing later."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from gridcast.baselines import fitted_baselines
from gridcast.baselines.fitted_baselines import (
    CYCLES,
    LAGS,
    fit_baseline,
    forecast_parts,
    lag_features,
)
from gridcast.config import Fitted
from gridcast.evaluation.metrics import smape
from gridcast.features.splits import PARTS, TEST, VALIDATION
from gridcast.features.table import FeatureTable, build_features
from gridcast.features.windows import scored_origins, steps_of
from tests.builders.values import make_config, make_load, make_load_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 20  # of boosting: enough for a table this small
KINDS: tuple[Fitted, ...] = ("linear", "linear_neighbours", "histogram_boosting")
LOADS = {"AEP": make_load(900), "DOM": make_load(700, mean_mw=900, seed=1)}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fitted_baselines, "_ROUNDS", ROUNDS)
    with threadpool_limits(1):  # on tables this small, threads only wait for each other
        yield


@cache
def make_table() -> FeatureTable:
    config = make_config("base")
    readings = {region: make_load_frame(load, config=config) for region, load in LOADS.items()}
    return build_features(readings, config)


def test_a_lag_is_the_load_so_many_hours_before_in_the_same_region() -> None:
    frame = make_table().frame
    x_TF = lag_features(frame)
    load, region = frame["x_load"].to_numpy(), frame["region"].cat.codes.to_numpy()
    for step in (5, 400, 899, 901, 1500):
        for column, lag in enumerate(LAGS):
            known = step >= lag and region[step - lag] == region[step]
            last = load[step - 1] if column and known else 0.0
            expected = np.float32(load[step - lag] - last) if known else np.nan
            assert x_TF[step, column] == pytest.approx(expected, abs=1e-6, nan_ok=True), (step, lag)


def test_49_features_are_lags_and_calendar_and_the_last_column_is_the_region() -> None:
    frame = make_table().frame
    x_TF = lag_features(frame)
    assert len(LAGS) == len(set(LAGS)) == 43
    assert x_TF.shape == (len(frame), 49 + 1)
    names = [f"x_{cycle}_{part}" for cycle in CYCLES for part in ("sin", "cos")]
    np.testing.assert_array_equal(x_TF[1:900, 43:49], frame[names].to_numpy()[:899])
    np.testing.assert_array_equal(x_TF[:, 49], frame["region"].cat.codes)


def forecast(kind: Fitted, frame: pd.DataFrame) -> np.ndarray:
    """The scaled forecast of each step whose last hour is known, else NaN."""
    known_N = np.flatnonzero(~np.isnan(lag_features(frame)[:, 0]))
    forecast_T = np.full(len(frame), np.nan)
    forecast_T[known_N] = fit_baseline(kind, frame, threads=1).forecast(known_N)
    return forecast_T


def in_mw(table: FeatureTable, scaled_T: np.ndarray) -> np.ndarray:
    regions = table.frame["region"].astype(str)
    scales = [table.scales[region] for region in regions]
    return np.array(
        [y * each.scale_mw + each.offset_mw for y, each in zip(scaled_T, scales, strict=True)]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_baseline_beats_persistence(kind: Fitted) -> None:
    table = make_table()
    frame, forecast_T = table.frame, forecast(kind, table.frame)
    test = (frame["part"] == TEST).to_numpy() & ~np.isnan(forecast_T)
    error = smape(frame["load_mw"][test].to_numpy(), in_mw(table, forecast_T)[test])
    naive = smape(frame["load_mw"][test].to_numpy(), frame["input_mw"].shift(1)[test].to_numpy())
    assert error < 0.8 * naive


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_baseline_does_not_see_the_test_part(kind: Fitted) -> None:
    frame = make_table().frame
    changed, is_test = frame.copy(), (frame["part"] == TEST).to_numpy()
    changed.loc[is_test, ["x_load", "target"]] = 17.0
    before = ~is_test & ~np.roll(is_test, max(LAGS) + 1)
    before &= frame["timestamp"] < frame["timestamp"][is_test].min()  # neighbours end elsewhere
    found, expected = (forecast(kind, each)[before] for each in (changed, frame))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_it_forecasts_in_mw_the_labels_that_a_network_forecasts(kind: Fitted) -> None:
    table, windows = make_table(), make_config("base").windows
    frame = table.frame
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in table.scales.items()}
    baseline = fit_baseline(kind, frame, threads=1)
    found = forecast_parts(baseline, frame, scales=scales, windows=windows)
    expected_T = in_mw(table, forecast(kind, frame))
    for part in (VALIDATION, TEST):
        own = found[found["part"] == PARTS[part]]
        step_N = scored_origins(steps_of(frame), part, windows) + 1
        assert len(step_N) > 0
        assert own["step"].tolist() == step_N.tolist()
        assert set(own["lead"]) == {1}
        np.testing.assert_allclose(own["y_pred"], expected_T[step_N])


def test_lightgbm_comes_to_the_same_on_one_thread_as_on_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("lightgbm")
    monkeypatch.setattr(fitted_baselines, "_ROUNDS", 3)
    frame = make_table().frame
    known = np.flatnonzero(~np.isnan(lag_features(frame)[:, 0]))
    one, two = (fit_baseline("lightgbm", frame, threads=num).forecast(known) for num in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - frame["target"][known]).mean() < 0.5
