"""What the network sees: nothing of the future, and the calendar of the hour being forecast.

Legend: ``T`` steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler

from gridcast.config import Config
from gridcast.features.columns import LOAD_FEATURE
from gridcast.features.holiday_dates import holiday_dates
from gridcast.features.splits import NO_PART, TEST, TRAIN
from gridcast.features.table import (
    FeatureTable,
    build_features,
    load_features,
    load_features_now,
    names_of_features,
)
from gridcast.features.windows import count_windows, steps_of
from gridcast.training.data import collect_training_data
from tasks.train.feature_table import write_features
from tests.builders.values import EASTERN, HOUR, make_config, make_load, make_load_frame

NUM = 400  # hours, more than two weeks; the newest 31 test
ABOUT = [
    "region", "timestamp", "local_hour", "load_mw", "input_mw", "is_imputed", "part", "is_input",
    "target",
]  # fmt: skip


def build(
    load_mw: np.ndarray | None = None,
    config: Config | None = None,
    **frame: Any,  # noqa: ANN401
) -> FeatureTable:
    load = make_load(NUM) if load_mw is None else load_mw
    return build_features({"AEP": make_load_frame(load, **frame)}, config or make_config())


def filling(**repaired: object) -> dict[str, object]:
    return {"default": {"repaired": repaired}}


def values(table: FeatureTable) -> np.ndarray:
    return table.frame[table.feature_names].to_numpy()


@pytest.mark.parametrize("lags", [[24], [1, 24, 168], []], ids=str)
@pytest.mark.parametrize("num", [2, 20, 168, 169, 400])
def test_the_last_step_alone_has_what_the_last_of_all_steps_has(lags: list[int], num: int) -> None:
    config = make_config(features={"lags_hours": lags}).features
    load_BT = np.random.default_rng(num).normal(size=(3, num))
    load_BT[np.random.default_rng(1).random((3, num)) < 0.3] = np.nan
    load_BT[:, -1] = [1.0, 2.0, 3.0]
    expected_BF = [values_BT[:, -1] for values_BT in load_features(load_BT, config).values()]
    found_BF = load_features_now(load_BT, config)
    np.testing.assert_array_equal(found_BF, np.stack(expected_BF, axis=1))


# -- base ----------------------------------------------------------------------------------------


def test_base_has_these_inputs_the_load_first_in_single_precision() -> None:
    config = make_config(features={"lags_hours": [24, 168], "hour_harmonics": 2})
    table = build(config=config)
    assert table.feature_names == names_of_features(config.features, config.covariates)
    assert table.feature_names == [
        "x_load", "x_load_change",
        "x_lag_24h", "x_lag_24h_change", "x_lag_168h", "x_lag_168h_change",
        "x_hour_sin", "x_hour_cos", "x_hour_2_sin", "x_hour_2_cos",
        "x_weekday_sin", "x_weekday_cos", "x_weekday_2_sin", "x_weekday_2_cos",
        "x_weekday_3_sin", "x_weekday_3_cos",
        "x_day_of_year_sin", "x_day_of_year_cos", "x_day_of_year_2_sin", "x_day_of_year_2_cos",
        "x_holiday", "x_lag_24h_holiday", "x_lag_168h_holiday",
    ]  # fmt: skip
    assert table.feature_names[0] == LOAD_FEATURE
    assert list(table.frame.columns) == ABOUT + table.feature_names
    assert values(table).dtype == np.float32
    assert table.frame["target"].dtype == np.float32


@settings(max_examples=15)
@given(now=st.integers(NUM - 31, NUM - 2), seed=st.integers(0, 1000))
def test_no_load_after_a_step_changes_its_features(now: int, seed: int) -> None:
    # In the test part, on which no scale is fitted; readings turn wrong or flat.
    rng = np.random.default_rng(seed)
    load = make_load(NUM)
    future = np.arange(now + 1, NUM)
    changed = load.copy()
    changed[future] = rng.choice([0.0, 50.0, 9_999.0, 90_000.0], len(future))
    ours, theirs = build(load), build(changed)
    np.testing.assert_array_equal(values(theirs)[: now + 1], values(ours)[: now + 1])
    np.testing.assert_array_equal(theirs.frame["is_input"][: now + 1], np.ones(now + 1))


def test_a_load_reaches_the_features_of_its_own_step_and_of_later_ones() -> None:
    load = make_load(NUM)
    changed = load.copy()
    changed[NUM - 30] *= 1.01
    differs = (values(build(load)) != values(build(changed))).any(axis=1)
    assert np.flatnonzero(differs).tolist() == [NUM - 30, NUM - 29, NUM - 7, NUM - 6]


@pytest.mark.parametrize("lags", [[24, 168], [1, 2, 48]], ids=str)
def test_loads_changes_and_lags_are_those_of_a_plain_loop(lags: list[int]) -> None:
    config = make_config(
        features={"lags_hours": lags, "change_gain": 7.0}, rules=filling(max_fill_hours=0)
    )
    table = build(config=config, missing=[200, 201])
    scaled = table.scales["AEP"].scale(table.frame["load_mw"].to_numpy())

    def at(step: int) -> float:
        return float(scaled[step]) if step >= 0 else float("nan")

    def known(value: float) -> float:
        return 0.0 if np.isnan(value) else value

    for t in range(NUM):
        expected = {"x_load": known(at(t)), "x_load_change": known(7 * (at(t) - at(t - 1)))}
        for lag in lags:
            # The same hour as the one being forecast (t + 1), or else the newest load.
            then = at(t + 1 - lag)
            expected[f"x_lag_{lag}h"] = known(at(t) if np.isnan(then) else then)
            expected[f"x_lag_{lag}h_change"] = known(7 * (then - at(t - lag)))
        found = table.frame.loc[t, list(expected)]
        np.testing.assert_allclose(found.to_numpy(float), list(expected.values()), atol=1e-5)


@pytest.mark.parametrize("first", ["2017-03-10 05:00", "2017-11-03 05:00", "2016-12-30 05:00"])
def test_the_calendar_is_the_local_one_of_the_hour_being_forecast(first: str) -> None:
    frame = build(first=first).frame
    for t in range(72):
        ahead = (frame["timestamp"][t].to_pydatetime() + HOUR).astimezone(EASTERN)
        turns = {
            "hour": ahead.hour / 24,
            "weekday": ahead.weekday() / 7,
            "day_of_year": ahead.timetuple().tm_yday / 365.25,
        }
        for name, turn in turns.items():
            found = frame.loc[t, [f"x_{name}_sin", f"x_{name}_cos"]].to_numpy(float)
            angle = 2 * np.pi * turn
            np.testing.assert_allclose(found, [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_a_bridged_hour_is_an_input_but_no_label_and_a_long_gap_is_neither() -> None:
    table = build(
        config=make_config(rules=filling(max_fill_hours=2)), missing=[100, *range(200, 210)]
    )
    frame = table.frame
    gaps = frame["load_mw"].isna()
    assert np.flatnonzero(~frame["is_input"]).tolist() == list(range(202, 210))
    assert (frame.loc[gaps, "part"] == 0).all()
    assert (frame.loc[gaps, "target"] == 0).all()
    assert np.isfinite(values(table)).all()
    assert (frame.loc[~frame["is_input"], "x_load"] == 0).all()


_FLAGS = st.sampled_from(["", "", "", "zero", "dropout", "spike", "flat"])


@settings(max_examples=25)
@given(
    flags=st.dictionaries(st.integers(0, NUM - 1), _FLAGS, max_size=60),
    missing=st.sets(st.integers(1, NUM - 2), max_size=40),
    repaired=st.fixed_dictionaries(
        {
            "exclude_flagged": st.booleans(),
            "replaced_flags": st.lists(st.sampled_from(["zero", "dropout", "spike", "flat"])),
            "max_fill_hours": st.integers(0, 5),
            "fill": st.sampled_from(["last_week_change", "past_weeks_mean"]),
        }
    ),
)
def test_an_imputed_hour_may_be_an_input_but_never_a_label_that_trains(
    flags: dict[int, str], missing: set[int], repaired: dict[str, object]
) -> None:
    load, config = make_load(NUM), make_config(rules=filling(**repaired))
    table = build(load, config, flags=flags, missing=missing)
    frame = table.frame
    imputed = frame[frame["is_imputed"]]
    assert imputed["is_input"].all()
    assert set(imputed["part"]) <= {NO_PART, TEST}
    # What was read is the truth of the test part, never what was filled in its place.
    assert imputed.loc[imputed["part"] == TEST, "load_mw"].notna().all()
    truth = table.scales["AEP"].scale(frame["load_mw"].to_numpy())
    labels = (frame["part"] > 0).to_numpy()
    np.testing.assert_array_equal(frame["target"][labels], truth[labels].astype(np.float32))
    as_read = ~frame["is_imputed"] & frame["is_input"]
    assert (frame["input_mw"] == frame["load_mw"])[as_read].all()


def test_a_rule_for_one_region_takes_effect_for_that_region_alone() -> None:
    missing = {"AEP": [100, 101], "DOM": [100, 101]}
    readings = {name: make_load_frame(make_load(NUM), missing=hours)
                for name, hours in missing.items()}  # fmt: skip
    before = build_features(readings, make_config()).frame
    rules = {"regions": {"DOM": {"repaired": {"max_fill_hours": 1, "fill": "past_weeks_mean"}}}}
    after = build_features(readings, make_config(rules=rules)).frame
    for region, same in ("AEP", True), ("DOM", False):
        ours, theirs = (frame[frame["region"] == region] for frame in (before, after))
        assert ours.equals(theirs) == same
    open_hours = after[after["region"] == "DOM"].reset_index()["input_mw"].isna()
    assert np.flatnonzero(open_hours).tolist() == [101]


def test_a_wrong_reading_trains_nothing_but_a_wrong_reading_of_the_test_part_is_scored() -> None:
    load = make_load(NUM)
    load[[200, NUM - 5]] = 7.0
    frame = build(load).frame
    assert frame["part"][[199, 200, NUM - 5]].tolist() == [TRAIN, 0, TEST]
    assert frame["load_mw"][[200, NUM - 5]].tolist() == [7.0, 7.0]
    assert (frame["input_mw"][[200, NUM - 5]] > 5000).all()


def test_the_target_is_the_scaled_load_of_every_label() -> None:
    table = build(missing=[100])
    labels = table.frame[table.frame["part"] > 0]
    expected = table.scales["AEP"].scale(labels["load_mw"].to_numpy())
    assert len(labels) == NUM - 1
    np.testing.assert_allclose(labels["target"], expected, rtol=1e-6)


# -- scales --------------------------------------------------------------------------------------


def in_another_test_part(load_mw: np.ndarray) -> np.ndarray:
    return np.concatenate([load_mw[: NUM - 31], 3.0 * load_mw[NUM - 31 :]])


@pytest.mark.parametrize("method", ["standard", "minmax"])
def test_the_scale_is_fitted_on_the_training_part_alone(method: str) -> None:
    config = make_config(scaling={"method": method, "fit_on": "train"})
    load = make_load(NUM)
    ours, theirs = build(load, config), build(in_another_test_part(load), config)
    assert ours.scales == theirs.scales
    train = load[(ours.frame["part"] == TRAIN).to_numpy()]
    expected = (train.mean(), train.std()) if method == "standard" else (train.min(), np.ptp(train))
    scale = ours.scales["AEP"]
    assert (scale.offset_mw, scale.scale_mw) == pytest.approx(expected)


def test_fitted_on_all_the_scale_knows_the_test_part_as_the_article_does() -> None:
    config, load = make_config("seed"), make_load(NUM)
    scale = build(in_another_test_part(load), config).scales["AEP"]
    assert scale.offset_mw + scale.scale_mw == pytest.approx(3.0 * load[NUM - 31 :].max())


def test_regions_stand_one_after_the_other_in_the_order_of_names_each_on_its_own_scale() -> None:
    loads = {"DOM": make_load(NUM, mean_mw=500), "AEP": make_load(300, mean_mw=15_000)}
    table = build_features({r: make_load_frame(load) for r, load in loads.items()}, make_config())
    assert table.frame["region"].astype(str).tolist() == ["AEP"] * 300 + ["DOM"] * NUM
    assert table.frame["region"].cat.categories.tolist() == ["AEP", "DOM"]
    for region, load in loads.items():
        alone = build(load)
        own = table.frame[table.frame["region"] == region]
        assert table.scales[region] == alone.scales["AEP"]
        np.testing.assert_array_equal(own[table.feature_names], values(alone))


def test_a_table_written_region_by_region_is_the_one_built_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.train.feature_table._ROWS_AT_ONCE", 600)  # two row groups
    readings = {
        name: make_load_frame(make_load(NUM), missing=[90]) for name in ("AEP", "DOM", "FE")
    }
    whole, path = build_features(readings, make_config()), tmp_path / "features.parquet"
    built = write_features(path, sorted(readings), readings.__getitem__, make_config())
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole.frame)
    assert pq.ParquetFile(path).num_row_groups == 2
    assert built.feature_names == whole.feature_names
    assert built.windows == count_windows(steps_of(whole.frame), make_config().windows)
    assert built.imputed_hours == dict.fromkeys(readings, 1)
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in whole.scales.items()}
    assert built.scales == scales
    pieces = [whole.frame[:500], whole.frame[500:]]
    ours, theirs = (
        collect_training_data(frames, scales, torch.device("cpu"), num_steps=len(whole.frame))
        for frames in (pieces, [whole.frame])
    )
    assert torch.equal(ours.x_TF, theirs.x_TF)
    np.testing.assert_array_equal(ours.x_TF.numpy(), values(whole))
    np.testing.assert_array_equal(ours.steps.region_T, steps_of(whole.frame).region_T)


# -- the article's -------------------------------------------------------------------------------


def article_data(readings: pd.DataFrame) -> np.ndarray:
    """The article's own lines, on the label and the load of each row."""
    df = pd.DataFrame({"Datetime": readings["local_label"], "AEP_MW": readings["load_mw"]})
    df["hour"] = df.apply(lambda x: x["Datetime"].hour, axis=1)
    df["dayofweek"] = df.apply(lambda x: x["Datetime"].dayofweek, axis=1)
    df["month"] = df.apply(lambda x: x["Datetime"].month, axis=1)
    df["dayofyear"] = df.apply(lambda x: x["Datetime"].dayofyear, axis=1)
    df = df.sort_values("Datetime", kind="stable").drop("Datetime", axis=1)
    data: np.ndarray = MinMaxScaler().fit_transform(df.to_numpy())
    return data


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"first": "2017-03-01 05:00"}, id="spring_change"),
        pytest.param({"first": "2017-10-25 05:00"}, id="autumn_change"),
        pytest.param({"first": "2017-12-20 05:00", "missing": [7, 8, 9]}, id="new_year_and_a_gap"),
    ],
)
def test_the_articles_features_and_targets_are_those_of_its_code(frame: Mapping[str, Any]) -> None:
    load, config = make_load(NUM), make_config("seed")
    load[50] = 0.0  # the article looks at no reading twice
    table = build(load, config, **frame)
    data = article_data(make_load_frame(load, **frame))
    assert table.feature_names == ["x_load", "x_hour", "x_day_of_week", "x_month", "x_day_of_year"]
    np.testing.assert_allclose(values(table), data, atol=1e-6)
    np.testing.assert_allclose(table.frame["target"], data[:, 0], atol=1e-6)
    assert table.frame["is_input"].all()


def test_both_profiles_test_on_the_same_hours() -> None:
    load = make_load(1500)
    load[[700, 1450]] = 0.0
    missing = [300, 301, *range(1380, 1390)]
    hours = []
    for profile in ("base", "seed"):
        frame = build(load, make_config(profile), missing=missing).frame
        tests = frame.loc[frame["part"] == TEST, ["timestamp", "load_mw"]]
        hours.append(tests.reset_index(drop=True))
    assert len(hours[0]) == int(0.1 * (1500 - 12 - 90))
    pd.testing.assert_frame_equal(hours[0], hours[1])


# -- holidays ------------------------------------------------------------------------------------


def test_a_holiday_is_that_of_the_hour_being_forecast_by_the_local_calendar() -> None:
    config = make_config(features={"lags_hours": [24], "holidays": "US"})
    frame = build_features(
        {"AEP": make_load_frame(make_load(24 * 40), first="2014-06-20 00:00")}, config
    ).frame
    next_local = (frame["timestamp"] + HOUR).dt.tz_convert(EASTERN)
    is_fourth = (next_local.dt.month == 7) & (next_local.dt.day == 4)
    assert is_fourth.sum() == 24
    np.testing.assert_array_equal(frame["x_holiday"], is_fourth.astype("float32"))
    np.testing.assert_array_equal(
        frame["x_lag_24h_holiday"], is_fourth.shift(24, fill_value=False).astype("float32")
    )


def test_a_part_of_a_country_has_holidays_of_its_own_and_observed_ones_count() -> None:
    days = np.array(["2021-01-01", "2022-12-31"], dtype="datetime64[D]")
    whole, berlin = holiday_dates("DE", days), holiday_dates("DE-BE", days)
    assert set(whole) < set(berlin)
    assert np.datetime64("2021-03-08") in berlin
    assert np.datetime64("2021-12-24") in holiday_dates("US", days)  # Christmas fell on a Saturday
