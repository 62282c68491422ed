"""Bands hold the share that they promise, and scores are their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.forecasting.intervals import coverage, error_quantiles, winkler


@pytest.mark.parametrize("num_errors", [19, 50, 399])
def test_a_band_of_exchangeable_errors_holds_its_share(num_errors: int) -> None:
    rng = np.random.default_rng(0)
    errors = rng.standard_t(3, (num_errors + 1, 4000))  # the last one is the hour to come
    low, high = error_quantiles(errors[:-1], [0.05, 0.95]).T
    found = coverage(errors[-1], low, high)
    assert 0.895 <= found <= 0.93 + 2 / num_errors


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_a_quantile_is_one_of_the_errors_and_nan_counts_for_nothing(num: int, level: float) -> None:
    errors = np.random.default_rng(num).normal(size=(num, 2))
    with_gaps = np.concatenate([errors, np.full((7, 2), np.nan)])[::-1]
    found = error_quantiles(with_gaps, [level])
    assert (found == error_quantiles(errors, [level])).all()
    assert np.isin(found, errors).all()


def test_where_there_are_no_errors_there_is_no_band() -> None:
    assert np.isnan(error_quantiles(np.full((5, 2), np.nan), [0.05, 0.95])).all()


def test_winkler_is_its_formula_label_by_label() -> None:
    rng = np.random.default_rng(0)
    y, low = rng.normal(size=200), rng.normal(size=200) - 1
    high = low + rng.uniform(0, 2, 200)
    expected = 0.0
    for truth, lower, upper in zip(y, low, high, strict=True):
        expected += upper - lower
        if truth < lower:
            expected += 2 / 0.1 * (lower - truth)
        if truth > upper:
            expected += 2 / 0.1 * (truth - upper)
    assert winkler(y, low, high, level=0.9) == pytest.approx(expected / 200)
