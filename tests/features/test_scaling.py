"""Loads on a common scale, fitted on what is handed over and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gridcast.features.load_scale import LoadScale
from gridcast.features.scaling import fit_scale
from tests.builders.values import make_config

LOADS = arrays(np.float64, st.integers(2, 20), elements=st.floats(1, 1e5))


def fit(load_mw: np.ndarray, method: str) -> LoadScale:
    return fit_scale(load_mw, make_config(scaling={"method": method}).scaling)


def test_standard_is_mean_and_population_deviation() -> None:
    scale = fit(np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), "standard")
    assert (scale.offset_mw, scale.scale_mw) == (5.0, 2.0)


def test_minmax_is_lowest_and_span() -> None:
    scale = fit(np.array([30.0, 10.0, 50.0]), "minmax")
    assert (scale.offset_mw, scale.scale_mw) == pytest.approx((10.0, 40.0))
    np.testing.assert_allclose(scale.scale(np.array([10.0, 20.0, 50.0])), [0.0, 0.25, 1.0])


@pytest.mark.parametrize("method", ["standard", "minmax"])
def test_a_constant_load_is_scaled_to_zero_and_not_divided_by_zero(method: str) -> None:
    scale = fit(np.full(5, 7.0), method)
    assert scale.scale(np.array([7.0, 8.0])).tolist() == [0.0, 1.0]


@given(load_mw=LOADS, method=st.sampled_from(["standard", "minmax"]))
def test_what_is_scaled_comes_back(load_mw: np.ndarray, method: str) -> None:
    scale = fit(load_mw, method)
    back = scale.to_mw(scale.scale(load_mw))
    np.testing.assert_allclose(back, load_mw, rtol=1e-9)


@given(load_mw=LOADS)
def test_minmax_fills_zero_to_one(load_mw: np.ndarray) -> None:
    scaled = fit(load_mw, "minmax").scale(load_mw)
    assert scaled.min() == pytest.approx(0.0, abs=1e-9)
    assert scaled.max() == pytest.approx(0.0 if np.ptp(load_mw) == 0 else 1.0, abs=1e-9)


def test_a_missing_reading_stays_missing_and_any_shape_is_kept() -> None:
    scaled = LoadScale(10.0, 2.0).scale(np.array([[12.0, np.nan]]))
    np.testing.assert_array_equal(scaled, [[1.0, np.nan]])
