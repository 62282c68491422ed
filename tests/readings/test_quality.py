"""Doubtful readings are flagged with a reason, by what came before them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.config import Config
from gridcast.readings.quality import FLAGS, NO_FLAG, flag_readings
from tests.builders.values import make_load, make_rules


def flags(load_mw: Sequence[float] | np.ndarray, **rules: object) -> list[str]:
    flagged = {"reference_hours": 48, "max_flat_hours": 3, **rules}
    load = pd.Series(np.asarray(load_mw, dtype=float))
    return list(flag_readings(load, make_rules(flagged=flagged).default.flagged))


def flagged(load_mw: Sequence[float] | np.ndarray, **rules: object) -> dict[int, str]:
    return {i: flag for i, flag in enumerate(flags(load_mw, **rules)) if flag != NO_FLAG}


def make_series(num: int = 60, **readings: float) -> np.ndarray:
    """Around 100 MW, none like its neighbour; ``h50=7.0`` sets hour 50."""
    load = 100.0 + np.arange(num) % 2
    for hour, value in readings.items():
        load[int(hour[1:])] = value
    return load


def test_an_ordinary_week_has_no_flag() -> None:
    assert flagged(make_load(336)) == {}


def test_a_load_of_zero_is_flagged_even_as_the_very_first_reading() -> None:
    assert flagged(make_series(h0=0.0)) == {0: "zero"}
    assert flagged(make_series(h50=0.0)) == {50: "zero"}


@pytest.mark.parametrize(
    ("reading", "flag"),
    [(34.9, "dropout"), (35.6, NO_FLAG), (249.0, NO_FLAG), (252.6, "spike")],
    ids=["below_35_percent", "above_35_percent", "below_250_percent", "above_250_percent"],
)
def test_a_reading_is_held_against_the_median_of_the_hours_before(
    reading: float, flag: str
) -> None:
    assert flags(make_series(h50=reading))[50] == flag  # the median is 100 or 101


def test_the_ratios_are_the_configured_ones() -> None:
    load = make_series(h40=60.0, h50=140.0)
    assert flagged(load) == {}
    assert flagged(load, dropout_ratio=0.7, spike_ratio=1.2) == {40: "dropout", 50: "spike"}


def test_without_24_readings_before_it_nothing_is_a_dropout_or_a_spike() -> None:
    assert flagged(make_series(h23=7.0)) == {}
    assert flagged(make_series(h24=7.0)) == {24: "dropout"}


def test_the_reference_is_the_configured_number_of_hours() -> None:
    load = np.concatenate([100.0 + np.arange(48) % 2, 1000.0 + np.arange(40) % 2])
    assert set(flagged(load, reference_hours=24)) == {48, 49, 50}  # a tenth of 24 are new
    assert set(flagged(load, reference_hours=48)) == set(range(48, 54))


def test_a_run_of_one_value_is_flagged_from_where_it_is_longer_than_allowed() -> None:
    assert flagged(make_series(h50=7e1, h51=7e1, h52=7e1)) == {}
    four = make_series(h50=7e1, h51=7e1, h52=7e1, h53=7e1)
    assert flagged(four) == {53: "flat"}


def test_24_hours_of_one_value_are_flagged_after_the_sixth() -> None:
    load = make_load(336)
    load[200:224] = load[200]
    assert set(flagged(load, max_flat_hours=6)) == set(range(206, 224))


def test_a_flag_tells_the_first_reason() -> None:
    load = make_series(h50=0.0, h51=0.0, h52=0.0, h53=0.0)
    assert flagged(load) == dict.fromkeys(range(50, 54), "zero")
    assert FLAGS == ("zero", "dropout", "spike", "level", "flat")


@pytest.mark.parametrize(
    ("rule", "flag"),
    [("zero", "zero"), ("dropout_ratio", "dropout"), ("spike_ratio", "spike"),
     ("max_flat_hours", "flat")],
)  # fmt: skip
def test_a_rule_that_is_off_flags_nothing_and_the_others_still_do(rule: str, flag: str) -> None:
    load = make_series(90, h30=0.0, h40=7.0, h50=900.0)
    load[70:74] = 77.0
    found = {"zero": 30, "dropout": 40, "spike": 50, "flat": 73}
    off: dict[str, object] = {rule: False if rule == "zero" else None}
    if flag == "zero":  # it is below any share of the median, too
        off["dropout_ratio"], found = None, {"spike": 50, "flat": 73}
    else:
        found.pop(flag)
    assert flagged(load, **off) == {hour: name for name, hour in found.items()}


def test_flags_keep_the_index_of_the_readings_and_are_strings() -> None:
    load = pd.Series(make_series(), index=range(7, 67))
    result = flag_readings(load, make_rules().default.flagged)
    assert result.index.equals(load.index)
    assert result.dtype == "str"


_LOADS = st.lists(st.sampled_from([0.0, 10.0, 99.0, 100.0, 101.0, 400.0]), min_size=30, max_size=60)


@given(load=_LOADS, future=_LOADS, now=st.integers(1, 60))
def test_a_flag_never_depends_on_the_future(
    load: list[float], future: list[float], now: int
) -> None:
    known = min(now, len(load))
    assert flags(load[:now] + future)[:known] == flags(load)[:known]


@given(_LOADS)
def test_flags_are_those_of_a_plain_loop(load: list[float]) -> None:
    expected = []
    for i, reading in enumerate(load):
        before = load[max(0, i - 48) : i]
        low, median, high = (
            np.quantile(before, [0.1, 0.5, 0.9]) if len(before) >= 24 else [float("nan")] * 3
        )
        first = i
        while first > 0 and load[first - 1] == reading:
            first -= 1
        if reading == 0:
            expected.append("zero")
        elif reading < min(0.35 * median, 0.35**0.5 * low):
            expected.append("dropout")
        elif reading > max(2.5 * median, 2.5**0.5 * high):
            expected.append("spike")
        else:
            expected.append("flat" if i - first >= 3 else NO_FLAG)
    assert flags(load) == expected


def test_a_net_load_around_0_is_held_against_no_share_of_its_median() -> None:
    load_mw = pd.Series(np.where(np.arange(400) % 24 < 12, 30.0, -40.0) + np.arange(400) % 7)
    rules = make_rules().default.flagged.model_copy(update={"dropout_ratio": 0.5,
                                                                   "spike_ratio": 1.5})  # fmt: skip
    before = pd.Series(np.full(400, -40.0) + np.arange(400) % 7)
    assert (flag_readings(before, rules) == "").all()
    assert set(flag_readings(load_mw, rules)) <= {"", "dropout", "spike"}


def test_the_nights_and_days_of_a_building_are_neither_dropouts_nor_spikes() -> None:
    """Its median is of the night; a tenfold morning is as usual, a hundredfold one is not."""
    hours = np.arange(24 * 60)
    is_day = (hours % 24 >= 8) & (hours % 24 < 18) & (hours // 24 % 7 < 5)
    load = np.where(is_day, 0.05, 0.001) * (1 + 0.1 * np.sin(hours))
    assert set(flags(list(load), reference_hours=168)[24 * 7 :]) == {NO_FLAG}
    load[24 * 50 + 10] = 5.0
    assert flagged(list(load), reference_hours=168)[24 * 50 + 10] == "spike"
    load = np.where(hours % 24 < 20, 10.0, 0.5)
    assert "dropout" not in flags(list(load), reference_hours=168)[24 * 7 :]


def test_of_a_net_load_the_sun_makes_no_dropouts() -> None:
    hours = np.arange(24 * 60)
    clouds = np.random.default_rng(0).random(60).repeat(24)
    load = 20.0 + hours % 7 - np.where(np.abs(hours % 24 - 12) < 5, 45.0 * clouds, 0.0)
    settings = ("rules.default.required.min_mw=-50",)
    rules = Config.load(overrides=settings).rules.default.flagged
    assert rules.dropout_ratio is None
    assert (flag_readings(pd.Series(load), rules) == NO_FLAG).all()
    own = Config.load(overrides=("rules.regions.SUB.required.min_mw=-50",)).rules
    assert (own.of("SUB").flagged.dropout_ratio, own.of("DOM").flagged.dropout_ratio) == (
        None,
        0.35,
    )
