"""Days beside their level, loads in two units and registers are found at their hour, storms not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.readings.quality import flag_readings, is_off_level, off_levels, only_grows
from gridcast.readings.required import broken_level
from tests.builders.values import make_load, make_rules

DAY, WEEK = 24, 168
NUM = 60 * DAY
LOAD = np.asarray(make_load(NUM), dtype=float)
RULES = make_rules(flagged={"level_ratio": 1.7}).default.flagged
REQUIRED = make_rules().default.required


def off(load: np.ndarray) -> list[int]:
    return np.flatnonzero(is_off_level(load, RULES)).tolist()


@pytest.mark.parametrize("factor", [0.5, 0.42, 2.0, 1000.0])
@pytest.mark.parametrize("hours", [1, 24, 48])
def test_what_is_halved_or_doubled_for_days_is_found_hour_by_hour(
    factor: float, hours: int
) -> None:
    load, first = LOAD.copy(), 40 * DAY + 7
    load[first : first + hours] *= factor
    assert off(load) == list(range(first, first + hours))
    (found,) = off_levels(pd.Series(load), make_rules().default.flagged)
    assert (found.row, found.num) == (first, hours)
    assert found.factor == pytest.approx(factor, rel=0.1)


def test_two_faults_within_days_are_both_found() -> None:
    """As of DEOK in April 2018."""
    load, first = LOAD.copy(), 40 * DAY
    load[first : first + DAY] *= 0.45
    load[first + 2 * DAY : first + 3 * DAY] *= 0.5
    assert off(load) == [*range(first, first + DAY), *range(first + 2 * DAY, first + 3 * DAY)]


def test_a_new_level_is_doubtful_for_two_days_and_then_the_level() -> None:
    load, first = LOAD.copy(), 40 * DAY
    load[first:] *= 2
    assert off(load) == list(range(first, first + RULES.max_level_hours))
    flags = flag_readings(pd.Series(load), RULES)
    assert set(flags[first : first + RULES.max_level_hours]) == {"level"}


@pytest.mark.parametrize(
    "factor",
    [
        pytest.param(np.linspace(1.0, 0.5, 12), id="a_storm_that_comes_within_hours"),
        pytest.param(np.full(30, 0.65), id="a_third_without_power_at_once"),
        pytest.param(np.full(30, 1.5), id="a_cold_day_at_once"),
    ],
)
def test_what_weather_does_is_no_level(factor: np.ndarray) -> None:
    load = LOAD.copy()
    load[40 * DAY : 40 * DAY + len(factor)] *= factor
    assert off(load) == []


def test_a_building_that_opens_and_closes_has_no_level() -> None:
    hours = np.arange(NUM)
    is_open = (hours % DAY >= 8) & (hours % DAY < 18) & (hours // DAY % 7 < 5)
    noise = np.random.default_rng(0).uniform(0.8, 1.2, NUM)
    assert off(np.where(is_open, 0.05, 0.001) * noise) == []


@given(
    row=st.integers(15 * DAY, NUM - 60), factor=st.sampled_from([0.3, 0.5, 1.9, 5.0]),
    now=st.integers(0, 59),
)  # fmt: skip
def test_a_level_never_depends_on_the_future(row: int, factor: float, now: int) -> None:
    load = LOAD.copy()
    load[row : row + 20] *= factor
    known = row + now
    changed = load.copy()
    changed[known:] = changed[known:][::-1] * 3
    before = is_off_level(load, RULES)[:known]
    np.testing.assert_array_equal(is_off_level(changed, RULES)[:known], before)


def by_loop(load: np.ndarray) -> list[int]:
    """The rule as it is stated, reading by reading."""
    log = np.log(load)
    change = np.diff(log, prepend=np.nan)

    def of_days(values: np.ndarray, row: int) -> float:
        days = [values[row - DAY * back] for back in range(1, 8) if row >= DAY * back]
        known = [each for each in days if not np.isnan(each)]
        return float(np.median(known)) if len(known) >= 4 else float("nan")

    odd = np.array([abs(change[row] - of_days(change, row)) for row in range(len(load))])
    found = set()
    for row in range(len(load)):
        before = odd[max(0, row - 2 * WEEK) : row]
        before = np.sort(before[~np.isnan(before)])
        if len(before) < WEEK or not odd[row] >= np.log(1.7):
            continue
        if odd[row] >= 4 * before[int(0.99 * (len(before) - 1))]:
            rows = range(row, min(row + 48, len(load)))
            found |= {r for r in rows if abs(log[r] - of_days(log, r)) >= np.log(1.7) / 2}
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_is_what_a_plain_loop_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    load = LOAD[: 35 * DAY].copy()
    for row in rng.integers(0, len(load), 12):
        load[row : row + int(rng.integers(1, 80))] *= rng.choice([0.3, 0.6, 1.8, 4.0])
    assert off(load) == by_loop(load)


def test_a_change_of_unit_is_refused_at_its_reading_and_a_smaller_one_is_not() -> None:
    def times(factor: float) -> pd.Series[float]:
        return pd.Series(np.concatenate([LOAD, LOAD * factor]))

    broken = broken_level(times(1000), REQUIRED)
    assert broken is not None
    assert (broken.rule, broken.row) == ("max_level_factor", NUM)
    assert "one unit" in broken.expected
    assert broken_level(times(8), REQUIRED) is None
    assert broken_level(times(8), REQUIRED.model_copy(update={"max_level_factor": 5.0})) is not None
    off_rule = REQUIRED.model_copy(update={"max_level_factor": None})
    assert broken_level(times(1000), off_rule) is None


def test_a_register_that_only_grows_is_no_load() -> None:
    register = pd.Series(np.cumsum(LOAD))
    register[30 * DAY :] -= register[30 * DAY]  # a meter that was changed
    assert only_grows(register)
    broken = broken_level(register, REQUIRED)
    assert broken is not None
    assert (broken.rule, broken.row) == ("may_only_grow", 0)
    assert broken_level(register, REQUIRED.model_copy(update={"may_only_grow": True})) is None
    assert not only_grows(pd.Series(LOAD))
    assert not only_grows(pd.Series(np.zeros(NUM)))
