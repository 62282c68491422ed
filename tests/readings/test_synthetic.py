"""The synthetic load set looks like PJM's, is the same for the same seed, and can be learned."""

from __future__ import annotations

from functools import cache
from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridcast.errors import UsageError
from gridcast.readings.parsing import parse_region
from gridcast.readings.quality import flag_readings
from gridcast.readings.synthetic import (
    REGION_TRAITS,
    SYNTHETIC_REGIONS,
    WHITE_NOISE,
    _healthy_load_mw,
    _timestamps,
    csv_bytes,
    planted_faults,
    synthesize,
    synthesize_readings,
    synthesize_region,
    synthetic_regions,
)
from tests.builders.values import make_config

TWO_YEARS = 17_520
HOUR = pd.Timedelta(hours=1)
AFTER_AUTUMN_CHANGE = "2017-11-20 00:00:00"  # the change is on 2017-11-05
AFTER_SPRING_CHANGE = "2018-03-20 00:00:00"  # the change is on 2018-03-11


@cache
def two_years() -> dict[str, pd.DataFrame]:
    return synthesize(num_hours=TWO_YEARS, seed=7)


def length_of(region: str) -> int:
    return round(TWO_YEARS * REGION_TRAITS[region].share)


def read_as_the_pipeline_does(frame: pd.DataFrame) -> pd.Series[float]:
    """UTC hours and loads: labels less one hour, a repeated hour told apart by continuity."""
    starts = pd.to_datetime(frame["Datetime"]) - HOUR
    rows = sorted(zip(starts, -frame.iloc[:, 1], strict=True))  # larger load first
    wall, load = [start for start, _ in rows], [-negated for _, negated in rows]
    is_first = [True] * len(rows)
    for i in range(1, len(rows)):
        if wall[i] == wall[i - 1]:
            is_first[i] = False
            before, a, b, after = load[i - 2], load[i - 1], load[i], load[i + 1]
            if abs(before - b) + abs(a - after) < abs(before - a) + abs(b - after):
                load[i - 1], load[i] = b, a
    index = pd.DatetimeIndex(wall).tz_localize("America/New_York", ambiguous=np.array(is_first))
    return pd.Series(load, index.tz_convert("UTC"))


@cache
def two_years_read() -> dict[str, pd.Series[float]]:
    return {region: read_as_the_pipeline_does(frame) for region, frame in two_years().items()}


def naive_smape(load_mw: pd.Series[float], lag: int) -> float:
    """Percent: mean of |F - A| / ((|F| + |A|) / 2), the forecast being the load `lag` hours ago."""
    hourly = load_mw.asfreq("h")
    pairs = pd.DataFrame({"f": hourly.shift(lag), "a": hourly}).dropna()
    return float((200 * (pairs.f - pairs.a).abs() / (pairs.f.abs() + pairs.a.abs())).mean())


@pytest.mark.parametrize(
    ("lag", "lowest", "highest"),
    [
        pytest.param(1, 2.7, 3.4, id="last_hour_real_3.4"),
        pytest.param(24, 6.0, 8.0, id="yesterday_real_7.2"),
        pytest.param(168, 8.5, 11.5, id="last_week_real_9.7"),
    ],
)
def test_naive_forecasts_score_about_as_on_the_real_data(
    lag: int, lowest: float, highest: float
) -> None:
    scores = [naive_smape(load, lag) for load in two_years_read().values()]
    assert lowest < np.mean(scores) < highest


def test_a_linear_model_on_the_last_two_days_comes_near_the_white_noise() -> None:
    load = two_years_read()["PJME"].asfreq("h").ffill()
    windows = np.lib.stride_tricks.sliding_window_view(load.to_numpy() / load.mean(), 49)
    hours = np.eye(24)[pd.DatetimeIndex(load.index).tz_convert("America/New_York").hour[48:]]
    x, y = np.hstack([windows[:, :-1], hours]), windows[:, -1]
    train = int(0.9 * len(y))
    y_pred = x[train:] @ np.linalg.lstsq(x[:train], y[:train], rcond=None)[0]
    smape = (200 * np.abs(y_pred - y[train:]) / (y_pred + y[train:])).mean()
    floor = 100 * WHITE_NOISE * np.sqrt(2 / np.pi)  # mean |N(0, s)|
    assert floor < smape < 0.9


def test_means_are_the_real_ones_and_peaks_are_in_summer_winter_and_on_weekdays() -> None:
    for region, hours in two_years_read().items():
        local = pd.DatetimeIndex(hours.index).tz_convert("America/New_York")
        load, month = hours.to_numpy(), local.month
        whole_year = local >= pd.Timestamp("2017-08-03", tz="America/New_York")
        assert load[whole_year].mean() == pytest.approx(REGION_TRAITS[region].mean_mw, rel=0.04)
        assert load[month == 7].mean() > load[month == 4].mean()
        assert load[month == 1].mean() > load[month == 4].mean()
        assert load[local.day_of_week >= 5].mean() < load[local.day_of_week < 5].mean()


def test_weather_is_shared_between_regions_but_not_all_of_it() -> None:
    aep, dom = (two_years_read()[region].asfreq("h").diff(168) for region in ("AEP", "DOM"))
    assert 0.5 < aep.corr(dom) < 0.9


def test_file_has_the_real_columns_label_format_decimals_and_line_ends() -> None:
    frame = synthesize_region("DUQ", num_hours=24, seed=0)
    assert list(frame.columns) == ["Datetime", "DUQ_MW"]
    header, first, *rest = csv_bytes(frame).split(b"\n")
    assert header == b"Datetime,DUQ_MW"
    assert first == f"2018-08-02 01:00:00,{frame['DUQ_MW'].iloc[0]:.1f}".encode()
    assert (len(rest), rest[-1]) == (24, b"")
    assert b"\r" not in csv_bytes(frame)


def test_years_ascend_days_descend_within_a_year_and_hours_ascend_within_a_day() -> None:
    starts = (pd.to_datetime(two_years()["AEP"]["Datetime"]) - HOUR).tolist()
    years = [year for year, _ in groupby(starts, key=lambda start: start.year)]
    assert years == [2016, 2017, 2018]
    for year in years:
        days = [day for day, _ in groupby(s.date() for s in starts if s.year == year)]
        assert days == sorted(set(days), reverse=True)
    for _, day in groupby(starts, key=lambda start: start.date()):
        hours = [start.hour for start in day]
        assert hours == sorted(hours)


def test_autumn_label_0200_stands_twice_and_spring_label_0300_not_at_all() -> None:
    autumn = synthesize_region("AEP", num_hours=600, seed=1, end=AFTER_AUTUMN_CHANGE)["Datetime"]
    assert autumn[autumn.duplicated()].tolist() == ["2017-11-05 02:00:00"]
    spring = set(
        synthesize_region("AEP", num_hours=600, seed=1, end=AFTER_SPRING_CHANGE)["Datetime"]
    )
    assert "2018-03-11 03:00:00" not in spring
    assert {"2018-03-11 02:00:00", "2018-03-11 04:00:00"} <= spring


@pytest.mark.parametrize("region", SYNTHETIC_REGIONS)
def test_continuity_gives_the_autumn_pair_its_true_order_and_the_night_falls(region: str) -> None:
    timestamps = _timestamps(400, AFTER_AUTUMN_CHANGE)
    night = pd.date_range("2017-11-05 04:00", periods=4, freq="h", tz="UTC")
    for seed in range(10):
        frame = synthesize_region(region, num_hours=400, seed=seed, end=AFTER_AUTUMN_CHANGE)
        truth = pd.Series(np.round(_healthy_load_mw(region, timestamps, seed)), timestamps)
        read = read_as_the_pipeline_does(frame)
        assert read[night].tolist() == truth[night].tolist()
        assert read[night].is_monotonic_decreasing


def test_the_repeated_hour_stands_in_either_order_in_the_file() -> None:
    ascending = set()
    for seed in range(10):
        frame = synthesize_region("PJME", num_hours=400, seed=seed, end=AFTER_AUTUMN_CHANGE)
        pair = frame.loc[frame["Datetime"] == "2017-11-05 02:00:00", "PJME_MW"]
        ascending.add(bool(pair.is_monotonic_increasing))
    assert ascending == {True, False}


@settings(max_examples=25, deadline=None)
@given(
    region=st.sampled_from(SYNTHETIC_REGIONS),
    num_hours=st.integers(400, 2_000),
    seed=st.integers(0, 2**32),
    end=st.sampled_from([AFTER_AUTUMN_CHANGE, AFTER_SPRING_CHANGE]),
)
def test_labels_read_back_give_every_utc_hour_once_but_for_the_planted_gap(
    region: str, num_hours: int, seed: int, end: str
) -> None:
    frame = synthesize_region(region, num_hours=num_hours, seed=seed, end=end)
    missing = planted_faults(region, num_hours=num_hours, seed=seed, end=end).missing_hours
    expected = _timestamps(num_hours, end).difference(pd.DatetimeIndex(missing, tz="UTC"))
    assert read_as_the_pipeline_does(frame).index.tolist() == expected.tolist()


def test_four_regions_have_a_dropout_one_of_them_to_zero_and_four_others_a_gap() -> None:
    dropouts, gaps = {}, {}
    for region, hours in two_years_read().items():
        load = hours.asfreq("h")
        around = load.rolling(5, center=True, min_periods=1).median()
        low = load[load < 0.3 * around]
        assert len(low) <= 1
        if len(low):
            dropouts[region] = float((low / around[low.index]).iloc[0])
        if load.isna().any():
            gaps[region] = int(load.isna().sum())
        faulty = low.index.union(load.index[load.isna()])
        assert (faulty < load.index[int(0.85 * len(load))]).all()
    to_zero, *others = sorted(dropouts.values())
    assert to_zero == 0.0
    assert len(others) == 3
    assert all(0.08 < level < 0.22 for level in others)
    assert len(gaps) == 4
    assert set(gaps.values()) <= {1, 2}
    assert not dropouts.keys() & gaps.keys()


@pytest.mark.parametrize("region", SYNTHETIC_REGIONS)
def test_planted_faults_tell_what_is_in_the_frame(region: str) -> None:
    faults = planted_faults(region, num_hours=length_of(region), seed=7)
    load = two_years_read()[region].asfreq("h")
    assert load.index[load.isna()].tolist() == list(faults.missing_hours)
    low = load[load < 0.3 * REGION_TRAITS[region].mean_mw].index.tolist()
    assert low == ([] if faults.dropout_hour is None else [faults.dropout_hour])


def test_regions_differ_in_length_and_end_together() -> None:
    assert tuple(two_years()) == SYNTHETIC_REGIONS
    for region, frame in two_years().items():
        num_missing = len(planted_faults(region, num_hours=length_of(region), seed=7).missing_hours)
        assert len(frame) == length_of(region) - num_missing
        assert frame["Datetime"].max() == "2018-08-03 00:00:00"
    assert max(map(len, two_years().values())) >= TWO_YEARS - 2
    assert min(map(len, two_years().values())) >= TWO_YEARS // 2 - 2


def test_same_seed_gives_the_same_bytes_and_another_seed_different_ones() -> None:
    first, again, other = (
        {region: csv_bytes(frame) for region, frame in synthesize(num_hours=500, seed=seed).items()}
        for seed in (3, 3, 4)
    )
    assert first == again
    assert all(first[region] != other[region] for region in SYNTHETIC_REGIONS)
    assert len(set(first.values())) == len(SYNTHETIC_REGIONS)


def test_a_region_is_the_same_whichever_others_are_made_with_it() -> None:
    alone = synthesize(["DOM"], num_hours=500, seed=3)["DOM"]
    among_others = synthesize(["AEP", "DOM"], num_hours=500, seed=3)["DOM"]
    pd.testing.assert_frame_equal(alone, among_others)


def test_a_longer_series_only_adds_to_the_past() -> None:
    long, short = (_healthy_load_mw("NI", _timestamps(n, "2018-08-03"), 5) for n in (900, 300))
    np.testing.assert_allclose(long[-300:], short, rtol=1e-12)


def test_an_unknown_region_is_refused_naming_the_known_ones() -> None:
    for make in (synthesize_region, planted_faults):
        with pytest.raises(UsageError, match=r"'TEXAS', expected one of AEP, COMED"):
            make("TEXAS", num_hours=100, seed=0)
    with pytest.raises(UsageError, match="'TEXAS'"):
        synthesize(["AEP", "TEXAS"], num_hours=100, seed=0)


def test_less_than_a_day_is_refused_with_the_length_that_the_shortest_region_got() -> None:
    with pytest.raises(UsageError, match="found 20, expected at least 24"):
        synthesize(num_hours=40, seed=0)


@pytest.mark.parametrize(
    "end", ["2017-11-05 02:00:00", "2018-03-11 03:00:00"], ids=["stands_for_two", "for_none"]
)
def test_an_end_label_that_is_not_one_hour_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match=r"2017-11-05|2018-03-11"):
        synthesize_region("AEP", num_hours=100, seed=0, end=end)


def test_further_regions_have_a_number_traits_of_their_own_and_faults_for_some() -> None:
    names = synthetic_regions(60)
    assert names[:12] == SYNTHETIC_REGIONS
    assert (names[12], names[-1], len(names)) == ("R00013", "R00060", 60)
    kinds = set()
    for name in names[12:]:
        faults = planted_faults(name, num_hours=2000, seed=7)
        kinds.add((faults.dropout_hour is not None, len(faults.missing_hours) > 0))
    assert kinds == {(True, False), (False, True), (False, False)}
    means = [synthesize_readings(name, num_hours=500, seed=7)["load_mw"].mean()
             for name in names[12:24]]  # fmt: skip
    assert len({round(each) for each in means}) == 12


def test_readings_are_those_of_the_file_of_a_region_without_faults() -> None:
    config = make_config()
    names = [name for name in synthetic_regions(30)[12:]
             if planted_faults(name, num_hours=9000, seed=7)[0] is None
             and not planted_faults(name, num_hours=9000, seed=7).missing_hours]  # fmt: skip
    content = csv_bytes(synthesize_region(names[0], num_hours=9000, seed=7))
    load = parse_region(content, region=names[0], file="x", config=config.ingestion)
    flags = flag_readings(load.frame["load_mw"], config.rules.default.flagged)
    parsed = load.frame.assign(flag=flags)
    readings = synthesize_readings(names[0], num_hours=9000, seed=7)
    pd.testing.assert_frame_equal(readings, parsed[list(readings.columns)], check_dtype=False)
