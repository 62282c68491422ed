"""What a region's readings look like: every figure against a plain loop or a library."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.features.series import to_steps
from gridcast.readings.parsing import parse_region
from gridcast.readings.quality import flag_readings
from gridcast.report.data_profile import (
    COVERED,
    FLAGGED,
    MISSING,
    QUANTILES,
    REPAIRED,
    RegionProfile,
    profile_region,
)
from tests.builders.values import (
    EASTERN,
    make_config,
    make_csv,
    make_load,
    make_load_frame,
    make_rows,
)

NUM = 24 * 400
CONFIG = make_config()


def with_lines(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(source_line=np.arange(2, len(frame) + 2))


def profile(frame: pd.DataFrame, *, region: str = "AEP", max_stretches: int = 24) -> RegionProfile:
    return profile_region(
        frame if "source_line" in frame else with_lines(frame),
        region=region,
        timezone="America/New_York",
        rules=CONFIG.rules.of(region).repaired,
        max_stretches=max_stretches,
    )


def week_of(hour: pd.Timestamp) -> tuple[int, int]:
    return hour.year, (hour.dayofyear - 1) // 7


def test_rows_span_missing_hours_and_loads_are_those_of_the_readings() -> None:
    load = make_load(NUM)
    found = profile(make_load_frame(load, missing=[5, 6, 900]))
    kept = np.delete(load, [5, 6, 900])
    assert (found.num_rows, found.num_missing, found.num_flagged) == (NUM - 3, 3, 0)
    assert (found.first, found.last) == (
        pd.Timestamp("2017-01-01 05:00", tz="UTC"),
        pd.Timestamp("2017-01-01 05:00", tz="UTC") + timedelta(hours=NUM - 1),
    )
    assert (found.lowest_mw, found.highest_mw) == (kept.min(), kept.max())
    assert found.mean_mw == pytest.approx(kept.mean())


def test_an_autumn_pair_is_counted_once() -> None:
    ingestion = CONFIG.ingestion
    content = make_csv(make_rows(72, first="2014-11-01 04:00"))
    frame = parse_region(content, region="AEP", file="f", config=ingestion).frame
    found = profile(frame.assign(flag=""))
    assert (found.num_autumn_pairs, found.num_missing) == (1, 0)


@given(
    missing=st.sets(st.integers(1, NUM - 2), max_size=40),
    flagged=st.dictionaries(
        st.integers(1, NUM - 2), st.sampled_from(["zero", "flat"]), max_size=40
    ),
)
def test_hours_by_week_are_those_of_a_plain_loop(
    missing: set[int], flagged: dict[int, str]
) -> None:
    flagged = {hour: flag for hour, flag in flagged.items() if hour not in missing}
    found = profile(make_load_frame(make_load(NUM), missing=missing, flags=flagged))
    expected = np.zeros_like(found.hours_SYW)
    for i, hour in enumerate(pd.date_range("2017-01-01 05:00", periods=NUM, freq="h")):
        year, week = week_of(hour)
        for state, is_it in ((COVERED, True), (MISSING, i in missing), (FLAGGED, i in flagged)):
            expected[state, year - 2017, week] += is_it
    np.testing.assert_array_equal(
        found.hours_SYW[[COVERED, MISSING, FLAGGED]], expected[[COVERED, MISSING, FLAGGED]]
    )
    assert found.first_year == 2017
    counts = pd.Series(list(flagged.values()), dtype="str").value_counts()
    assert found.num_flagged_by_rule == counts.to_dict()


@given(
    missing=st.sets(st.integers(1, 400), max_size=40),
    flagged=st.dictionaries(st.integers(1, 400), st.sampled_from(["zero", "flat"]), max_size=40),
)
def test_repaired_hours_are_those_that_the_steps_of_training_have_imputed(
    missing: set[int], flagged: dict[int, str]
) -> None:
    flagged = {hour: flag for hour, flag in flagged.items() if hour not in missing}
    frame = make_load_frame(make_load(500), missing=missing, flags=flagged)
    rules = CONFIG.rules.default.repaired
    steps = to_steps(frame, rules=rules, unit="hours", timezone="America/New_York")
    found = profile(frame)
    assert found.num_repaired == int(steps["is_imputed"].sum())
    weeks = steps["timestamp"][steps["is_imputed"]].map(week_of)
    by_week = {
        (int(y) + 2017, int(w)): found.hours_SYW[REPAIRED, y, w]
        for y, w in np.argwhere(found.hours_SYW[REPAIRED])
    }
    assert by_week == weeks.value_counts().to_dict()


def test_repaired_are_the_hours_that_models_see_otherwise() -> None:
    # Filled: the first three of five missing hours, and a wrong reading; not the flat one.
    missing, flags = range(1000, 1005), {2000: "dropout", 3000: "flat"}
    found = profile(make_load_frame(make_load(NUM), missing=missing, flags=flags))
    assert found.num_repaired == 4
    hours = pd.date_range("2017-01-01 05:00", periods=NUM, freq="h")
    for hour, num in ((hours[1000], 3), (hours[2000], 1), (hours[3000], 0)):
        year, week = week_of(hour)
        assert found.hours_SYW[REPAIRED, year - 2017, week] == num


@pytest.mark.parametrize("num", [24 * 400, 30], ids=["all_seasons", "a_day_of_one"])
def test_quantiles_are_those_of_numpy_by_local_season_hour_and_weekday(num: int) -> None:
    load = make_load(num)
    flags = dict.fromkeys(range(3, num, 50), "flat")
    frame = make_load_frame(load, flags=flags)
    found = profile(frame)
    plain = frame[frame["flag"] == ""]
    local = [stamp.astimezone(EASTERN) for stamp in plain["timestamp"].dt.to_pydatetime()]
    season = np.array([stamp.month % 12 // 3 for stamp in local])
    hour_N, day_N = np.array([(stamp.hour, stamp.weekday()) for stamp in local]).T
    for season_number, hour in np.ndindex(4, 24):
        own = plain["load_mw"][(season == season_number) & (hour_N == hour)]
        expected = np.quantile(own, QUANTILES) if len(own) else np.full(len(QUANTILES), np.nan)
        np.testing.assert_allclose(found.day_mw_SHQ[season_number, hour], expected)
    for day, hour in np.ndindex(7, 24):
        own = plain["load_mw"][(day_N == day) & (hour_N == hour)]
        expected = np.quantile(own, QUANTILES) if len(own) else np.full(len(QUANTILES), np.nan)
        np.testing.assert_allclose(found.week_mw_HQ[day * 24 + hour], expected)


def test_a_flagged_reading_is_kept_with_five_days_before_and_after_it_and_its_place() -> None:
    load = make_load(NUM)
    load[500] = 0.0
    frame = with_lines(make_load_frame(load, missing=[450]))
    [stretch] = profile(frame).stretches
    expected = load[500 - 120 : 500 + 121].copy()
    expected[450 - 380] = np.nan
    np.testing.assert_array_equal(stretch.load_mw_N, expected)
    assert (stretch.marks, stretch.rules, stretch.num_flagged) == ((120,), ("zero",), 1)
    assert stretch.first == frame["timestamp"][0] + timedelta(hours=500 - 120)
    row = frame[frame["load_mw"] == 0.0].iloc[0]
    assert (stretch.local_label, stretch.source_line) == (row["local_label"], row["source_line"])


def test_flags_within_two_days_share_a_stretch_and_the_first_and_last_reading_may_be_flagged() -> (
    None
):
    flags = {0: "zero", 47: "flat", 95: "flat", NUM - 1: "spike"}
    stretches = profile(make_load_frame(make_load(NUM), flags=flags)).stretches
    assert [each.num_flagged for each in stretches] == [2, 1, 1]
    assert [each.rules for each in stretches] == [("zero", "flat"), ("flat",), ("spike",)]
    assert np.isnan(stretches[0].load_mw_N[:120]).all()
    assert np.isnan(stretches[-1].load_mw_N[121:]).all()


def test_of_a_long_stretch_the_first_ten_days_are_kept_and_all_its_flags_counted() -> None:
    frame = make_load_frame(make_load(NUM), flags=dict.fromkeys(range(1000, 2000), "flat"))
    [stretch] = profile(frame).stretches
    assert (stretch.num_flagged, len(stretch.marks)) == (1000, 240)
    assert len(stretch.load_mw_N) == 120 + 240 + 120


def test_only_so_many_stretches_are_kept_and_a_region_may_have_none() -> None:
    frame = with_lines(
        make_load_frame(make_load(NUM), flags=dict.fromkeys(range(0, NUM, 96), "flat"))
    )
    assert len(profile(frame, max_stretches=3).stretches) == 3
    assert profile(make_load_frame(make_load(NUM), flags={})).stretches == ()


@pytest.mark.real_data
@pytest.mark.slow
def test_the_four_dropouts_of_the_real_data_are_the_stretches_shown(pjm_folder: Path) -> None:
    shown = {}
    for region in ("DEOK", "DOM", "FE", "PJMW"):
        content = (pjm_folder / f"{region}_hourly.csv").read_bytes()
        load = parse_region(content, region=region, file="f", config=CONFIG.ingestion)
        load.frame["flag"] = flag_readings(load.frame["load_mw"], CONFIG.rules.of(region).flagged)
        [stretch] = profile(load.frame, region=region).stretches
        shown[region] = (str(stretch.local_label), stretch.num_flagged)
    assert shown == {
        "DEOK": ("2018-04-22 02:00:00", 5),
        "DOM": ("2009-12-12 00:00:00", 1),
        "FE": ("2011-06-01 01:00:00", 1),
        "PJMW": ("2003-05-29 00:00:00", 1),
    }
