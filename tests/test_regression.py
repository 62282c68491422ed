"""The fitted baselines know what the networks know, and nothing later."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gridcast import regression
from gridcast.features import FeatureTable, build_features
from gridcast.metrics import smape
from gridcast.regression import LAGS, Kind, fit_regression, lag_features
from gridcast.splits import TEST
from tests.builders import make_config, make_load, make_load_frame

ROUNDS = 20  # of boosting: enough for a table this small
LOADS = {"AEP": make_load(900), "DOM": make_load(700, mean_mw=900, seed=1)}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "_ROUNDS", ROUNDS)


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


@pytest.mark.parametrize("kind", ["linear", "histogram_boosting"])
def test_a_fitted_baseline_beats_persistence(kind: Kind) -> None:
    table = make_table()
    frame, forecast_T = table.frame, fit_regression(kind, table.frame)
    test = (frame["part"] == TEST).to_numpy() & ~np.isnan(forecast_T)
    scales = frame["region"].map({name: each.scale_mw for name, each in table.scales.items()})
    offsets = frame["region"].map({name: each.offset_mw for name, each in table.scales.items()})
    forecast = forecast_T * scales.astype(float) + offsets.astype(float)
    error = smape(frame["load_mw"][test].to_numpy(), forecast[test].to_numpy())
    naive = smape(frame["load_mw"][test].to_numpy(), frame["input_mw"].shift(1)[test].to_numpy())
    assert error < 0.8 * naive


@pytest.mark.parametrize("kind", ["linear", "histogram_boosting"])
def test_a_fitted_baseline_does_not_see_the_test_part(kind: Kind) -> None:
    frame = make_table().frame
    changed, is_test = frame.copy(), (frame["part"] == TEST).to_numpy()
    changed.loc[is_test, ["x_load", "target"]] = 17.0
    before = ~is_test & ~np.roll(is_test, 400)  # lags reach 337 hours back
    found, expected = (fit_regression(kind, each)[before] for each in (changed, frame))
    np.testing.assert_array_equal(found, expected)
