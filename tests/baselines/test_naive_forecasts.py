"""Naive forecasts against a plain loop; none knows what was not known when it was made.

Legend: ``T`` steps, ``N`` labels.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.baselines.naive_forecasts import NAIVE_LAGS, naive_forecasts

WEEK = 168


def forecast(
    load: np.ndarray, steps: list[int], lead: int = 1, region: np.ndarray | None = None
) -> dict[str, list[float]]:
    region_T = np.zeros(len(load), dtype=np.int64) if region is None else region
    found = naive_forecasts(load, region_T, np.array(steps), np.full(len(steps), lead))
    return {name: values.tolist() for name, values in found.items()}


def test_they_are_the_hour_before_the_day_before_and_the_week_before() -> None:
    load = np.arange(500.0)
    assert forecast(load, [300, 400]) == {
        "persistence": [299.0, 399.0],
        "same_hour_yesterday": [276.0, 376.0],
        "same_hour_last_week": [132.0, 232.0],
    }


@pytest.mark.parametrize(
    ("lead", "back"),
    [(1, (1, 24, 168)), (2, (2, 24, 168)), (24, (24, 24, 168)), (25, (25, 48, 168)),
     (30, (30, 48, 168)),     (48, (48, 48, 168)), (169, (169, 192, 336))],
)  # fmt: skip
def test_a_forecast_further_ahead_goes_back_by_whole_periods(
    lead: int, back: tuple[int, ...]
) -> None:
    load = np.arange(500.0)
    assert [values[0] for values in forecast(load, [400], lead).values()] == [
        400.0 - steps for steps in back
    ]


def test_where_the_hour_wanted_is_not_known_the_last_known_load_stands_in() -> None:
    load = np.arange(500.0)
    load[[400 - 24, 400 - WEEK]] = np.nan
    assert [values[0] for values in forecast(load, [400]).values()] == [399.0] * 3


def test_no_forecast_comes_from_another_region_or_from_before_the_series() -> None:
    load, region = np.arange(400.0), np.repeat([0, 1], 200)
    found = forecast(load, [10, 30, 210, 230, 380], region=region)
    assert found["same_hour_yesterday"] == [9.0, 6.0, 209.0, 206.0, 356.0]
    assert found["same_hour_last_week"] == [9.0, 29.0, 209.0, 229.0, 212.0]


@given(
    load=st.lists(st.one_of(st.just(np.nan), st.floats(1, 9)), min_size=200, max_size=230),
    second_region=st.integers(1, 200),
    lead=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_they_are_those_of_a_plain_loop_and_never_of_a_later_load(
    load: list[float], second_region: int, lead: int, seed: int
) -> None:
    num = len(load)
    region = (np.arange(num) >= second_region).astype(np.int64)
    labels = [step for step in range(lead, num) if region[step - lead] == region[step]]
    for label in random.Random(seed).sample(labels, min(10, len(labels))):  # noqa: S311
        known = np.array(load)
        known[label - lead + 1 :] = np.nan  # what comes after the origin
        for name, [value] in forecast(known, [label], lead, region).items():
            then = label - NAIVE_LAGS[name]
            while then > label - lead:
                then -= NAIVE_LAGS[name]
            own = then >= 0 and region[then] == region[label] and not np.isnan(load[then])
            expected = load[then] if own else load[label - lead]
            assert value == pytest.approx(expected, nan_ok=True)
            [with_future] = forecast(np.array(load), [label], lead, region)[name]
            assert with_future == pytest.approx(expected, nan_ok=True)
