"""Bands of exchangeable errors hold the share that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.forecasting.bands import error_quantiles


@pytest.mark.parametrize("num_errors", [19, 50, 399])
def test_a_band_of_exchangeable_errors_holds_its_share(num_errors: int) -> None:
    rng = np.random.default_rng(0)
    errors = rng.standard_t(3, (num_errors + 1, 4000))  # the last one is the hour to come
    low, high = error_quantiles(errors[:-1], [0.05, 0.95]).T
    found = ((low <= errors[-1]) & (errors[-1] <= high)).mean()
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


@pytest.mark.parametrize("num_errors", [30, 199, 1000])
def test_quantiles_are_those_of_another_s_split_conformal_prediction(num_errors: int) -> None:
    from mapie.conformity_scores import AbsoluteConformityScore
    from mapie.regression import SplitConformalRegressor
    from sklearn.dummy import DummyRegressor

    errors, x_NF = np.random.default_rng(0).normal(size=num_errors), np.zeros((num_errors, 1))
    of_nothing = DummyRegressor(strategy="constant", constant=0.0).fit(x_NF, errors)
    theirs = SplitConformalRegressor(
        of_nothing, confidence_level=0.9, conformity_score=AbsoluteConformityScore(sym=False)
    ).conformalize(x_NF, errors)
    interval = theirs.predict_interval(x_NF[:1])[1].reshape(-1)
    np.testing.assert_allclose(error_quantiles(errors[:, None], [0.05, 0.95])[0], interval)
