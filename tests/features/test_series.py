"""Readings become an unbroken series; gaps are bridged from the past alone, and only short ones.

Legend: ``T`` steps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.config import RepairedRules
from gridcast.features.series import bridge_gaps, to_steps
from tests.builders.values import HOUR, make_load, make_load_frame, make_rules

WEEK = 168
NAN = float("nan")


def steps_of(
    readings: pd.DataFrame, *, unit: Literal["hours", "rows"] = "hours", **repaired: object
) -> pd.DataFrame:
    rules = filling(**repaired)
    return to_steps(readings, rules=rules, unit=unit, timezone="America/New_York")


def filling(**repaired: object) -> RepairedRules:
    return make_rules(repaired={"max_fill_hours": 3, **repaired}).default.repaired


def test_steps_are_every_utc_hour_from_the_first_to_the_last_reading() -> None:
    readings = make_load_frame(make_load(72), first="2017-11-04 12:00", missing=[10, 11, 40])
    steps = steps_of(readings)
    assert steps["timestamp"].iloc[0] == readings["timestamp"].iloc[0]
    assert steps["timestamp"].iloc[-1] == readings["timestamp"].iloc[-1]
    assert steps["timestamp"].diff().dropna().unique().tolist() == [HOUR]
    assert np.flatnonzero(steps["load_mw"].isna()).tolist() == [10, 11, 40]
    assert steps["is_observed"].equals(steps["load_mw"].notna())
    assert np.flatnonzero(~steps["is_trusted"]).tolist() == [10, 11, 40]


def test_local_hours_are_those_of_the_configured_zone_over_the_clock_change() -> None:
    readings = make_load_frame(make_load(30), first="2017-11-05 03:00")
    steps = steps_of(readings)
    assert steps["local_hour"].tolist()[:6] == [23, 0, 1, 1, 2, 3]


def test_in_rows_a_missing_hour_leaves_no_trace() -> None:
    readings = make_load_frame(make_load(72), missing=[10, 11, 40])
    steps = steps_of(readings, unit="rows")
    assert steps["timestamp"].equals(readings["timestamp"])
    assert steps["input_mw"].equals(readings["load_mw"].rename("input_mw"))
    assert steps["is_trusted"].all()


def test_a_short_gap_is_bridged_and_a_long_one_only_for_its_first_hours() -> None:
    readings = make_load_frame(make_load(72), missing=[10, 11, *range(30, 40)])
    steps = steps_of(readings)
    assert np.flatnonzero(steps["input_mw"].isna()).tolist() == list(range(33, 40))
    assert steps_of(readings, max_fill_hours=0)["input_mw"].isna().sum() == 12


@pytest.mark.parametrize("flag", ["zero", "dropout", "spike"])
def test_a_wrong_reading_is_replaced_as_an_input_stays_readable_and_is_not_trusted(
    flag: str,
) -> None:
    load = make_load(72)
    load[50] = 7.0
    steps = steps_of(make_load_frame(load, flags={50: flag}))
    assert steps["load_mw"][50] == 7.0
    assert steps["input_mw"][50] == load[49]
    assert np.flatnonzero(~steps["is_trusted"]).tolist() == [50]
    assert steps["is_observed"].all()


def test_filled_hours_are_imputed_and_those_left_open_or_as_read_are_not() -> None:
    load = make_load(72)
    load[40:45] = 7.0
    flags = dict.fromkeys(range(40, 45), "dropout") | {60: "flat"}
    steps = steps_of(make_load_frame(load, missing=range(20, 25), flags=flags))
    assert np.flatnonzero(steps["is_imputed"]).tolist() == [20, 21, 22, 40, 41, 42]
    assert not (steps["is_imputed"] & steps["is_trusted"]).any()


def test_which_flags_are_replaced_is_a_rule() -> None:
    load = make_load(72)
    frame = make_load_frame(load, flags={40: "spike", 50: "flat"})
    for replaced, imputed in ([], []), (["flat"], [50]), (["flat", "spike"], [40, 50]):
        steps = steps_of(frame, replaced_flags=replaced)
        assert np.flatnonzero(steps["is_imputed"]).tolist() == imputed
        assert np.flatnonzero(~steps["is_trusted"]).tolist() == [40, 50]


def test_an_imputed_hour_is_not_trusted_even_where_flagged_readings_are_not_excluded() -> None:
    frame = make_load_frame(make_load(72), flags={40: "spike", 50: "flat"})
    steps = steps_of(frame, exclude_flagged=False, replaced_flags=["spike"])
    assert np.flatnonzero(~steps["is_trusted"]).tolist() == [40]


def test_a_flat_reading_is_an_input_as_it_was_read_but_not_trusted() -> None:
    load = make_load(72)
    steps = steps_of(make_load_frame(load, flags=dict.fromkeys(range(40, 50), "flat")))
    np.testing.assert_array_equal(steps["input_mw"], load)
    assert np.flatnonzero(~steps["is_trusted"]).tolist() == list(range(40, 50))


def test_a_wrong_run_too_long_to_bridge_is_an_input_as_it_was_read() -> None:
    load = make_load(72)
    load[50:55] = 7.0
    steps = steps_of(make_load_frame(load, flags=dict.fromkeys(range(50, 55), "dropout")))
    assert steps["input_mw"][50:55].tolist() == [load[49]] * 3 + [7.0] * 2


def test_where_flagged_readings_are_not_excluded_they_are_trusted_inputs() -> None:
    load = make_load(72)
    load[50] = 7.0
    steps = steps_of(
        make_load_frame(load, flags={50: "dropout", 51: "flat"}),
        exclude_flagged=False,
        replaced_flags=[],
    )
    np.testing.assert_array_equal(steps["input_mw"], load)
    assert steps["is_trusted"].all()


def test_a_filled_hour_follows_last_weeks_change_at_that_hour() -> None:
    load_T = np.arange(400.0) ** 2
    gap = load_T.copy()
    gap[[300, 301]] = NAN
    first = load_T[299] + load_T[300 - WEEK] - load_T[299 - WEEK]
    filled = bridge_gaps(gap, filling())
    assert filled[300] == first
    assert filled[301] == first + load_T[301 - WEEK] - load_T[300 - WEEK]


@pytest.mark.parametrize("hour", [1, WEEK], ids=["first_week", "last_week_begins_with_it"])
def test_without_last_weeks_change_the_hour_before_stands_in(hour: int) -> None:
    gap = np.arange(400.0) ** 1.5
    expected = gap[hour - 1]
    gap[hour] = NAN
    assert bridge_gaps(gap, filling())[hour] == expected


def test_filled_by_the_mean_of_past_weeks_an_hour_is_that_of_the_readings_at_its_hour() -> None:
    load_T = np.arange(1000.0) ** 1.5
    load_T[[900, 900 - 2 * WEEK]] = NAN  # a week that is missing itself says nothing
    rules = filling(fill="past_weeks_mean", fill_weeks=4)
    known = load_T[[900 - WEEK, 900 - 3 * WEEK, 900 - 4 * WEEK]]
    assert bridge_gaps(load_T, rules)[900] == known.mean()
    rules = filling(fill="past_weeks_mean", fill_weeks=1)
    assert bridge_gaps(load_T, rules)[900] == load_T[900 - WEEK]


@pytest.mark.parametrize("hour", [1, WEEK - 1])
def test_where_no_past_week_is_known_the_hour_before_stands_in(hour: int) -> None:
    gap = np.arange(400.0) ** 1.5
    gap[[hour, WEEK]] = NAN
    filled = bridge_gaps(gap, filling(fill="past_weeks_mean"))
    assert filled[hour] == gap[hour - 1]
    assert filled[WEEK] == gap[0]


def test_a_gap_at_the_start_has_no_past_and_stays_open() -> None:
    filled = bridge_gaps(np.array([NAN, 5.0, NAN]), filling())
    np.testing.assert_array_equal(filled, [NAN, 5.0, 5.0])


_LOADS = st.lists(st.sampled_from([NAN, 1.0, 2.0, 5.0]), min_size=1, max_size=60)


@st.composite
def histories(draw: st.DrawFn) -> np.ndarray:
    """Some of them longer than the week that a filled hour looks back."""
    return np.array([3.0, 1.0, 4.0, NAN] * draw(st.sampled_from([0, 40, 80])) + draw(_LOADS))


_RULES = st.builds(
    filling,
    max_fill_hours=st.integers(0, 4),
    fill=st.sampled_from(["last_week_change", "past_weeks_mean"]),
    fill_weeks=st.integers(1, 5),
)


@given(load_T=histories(), future=_LOADS, rules=_RULES)
def test_the_future_never_changes_a_filled_value(
    load_T: np.ndarray, future: list[float], rules: RepairedRules
) -> None:
    longer = np.concatenate([load_T, future])
    filled = bridge_gaps(longer, rules)[: len(load_T)]
    np.testing.assert_array_equal(filled, bridge_gaps(load_T, rules))


@given(load_T=histories(), rules=_RULES)
def test_bridging_changes_no_reading_and_fills_exactly_the_first_steps_of_each_gap(
    load_T: np.ndarray, rules: RepairedRules
) -> None:
    filled, longest = bridge_gaps(load_T, rules), rules.max_fill_hours
    in_gap = 0
    for step, load in enumerate(load_T):
        in_gap = in_gap + 1 if np.isnan(load) else 0
        if not in_gap:
            assert filled[step] == load
        else:
            starts_the_series = step - in_gap < 0
            # An open step has nothing before it to build on, so all later ones stay open too.
            assert np.isnan(filled[step]) == (starts_the_series or in_gap > longest)


def test_to_steps_leaves_the_readings_as_they_were() -> None:
    readings = make_load_frame(make_load(72), missing=[10], flags={20: "zero"})
    before = readings.copy(deep=True)
    steps_of(readings)
    pd.testing.assert_frame_equal(readings, before)
