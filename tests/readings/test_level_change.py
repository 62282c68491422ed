"""A lasting change of level is found with its reading; seasons and short errors are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.readings.quality import lasting_change
from tests.builders.values import make_load

NUM = 24 * 300


def load_series() -> pd.Series[float]:
    return pd.Series(np.resize(np.asarray(make_load(3000), dtype=float), NUM))


@given(row=st.integers(24 * 40, NUM - 24 * 40), factor=st.sampled_from([1000.0, 0.001, 10.0]))
def test_a_change_of_unit_is_found_at_its_reading(row: int, factor: float) -> None:
    load_mw = load_series()
    load_mw[row:] *= factor
    change = lasting_change(load_mw)
    assert change is not None
    assert change.row == row
    assert change.after_mw / change.before_mw == pytest.approx(factor, rel=0.3)


@pytest.mark.parametrize("hours", [48, 24 * 9])
def test_what_lasts_for_days_only_is_no_change_of_level(hours: int) -> None:
    load_mw = load_series()
    load_mw[3000 : 3000 + hours] *= 1000
    assert lasting_change(load_mw) is None


def test_a_load_that_doubles_over_the_year_is_no_change_of_level() -> None:
    assert lasting_change(load_series() * np.linspace(1.0, 4.0, NUM)) is None
    assert lasting_change(load_series()[:100]) is None
    assert lasting_change(pd.Series(np.zeros(NUM))) is None
