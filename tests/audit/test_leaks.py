"""The guards against leaks: silent on a sound pipeline; each kind of leak is found and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.audit import leaks as leaks_module
from gridcast.audit.leaks import (
    Leak,
    Readings,
    draw_cut,
    find_future_leak,
    find_linear_leak,
    find_training_leak,
    find_weights_leak,
    num_training_values,
    with_another_test_part,
    with_other_loads,
)
from gridcast.audit.records import LeakCheck
from gridcast.config import Config
from gridcast.errors import LeakFoundError
from gridcast.features.splits import TEST
from gridcast.features.table import FeatureTable, build_features
from tests.builders.pipelines import gridcast, on_a_server, settings, small_data
from tests.builders.values import make_config, make_load, make_load_frame

NUM = 1500
REGIONS = {"AEP": 10_000.0, "DOM": 500.0}
SEEDS = range(8)


def make_readings() -> Readings:
    loads = {name: make_load(NUM, mean_mw=mean, seed=3) for name, mean in REGIONS.items()}
    loads["AEP"][[300, 301, 1400]] = 0.0
    return {name: make_load_frame(load, missing=[700, 701, 1450]) for name, load in loads.items()}


def small_config(profile: str = "base", **sections: dict[str, object]) -> Config:
    few = {"max_steps": 2, "passes": 1, "batch_size": 8, "precision": "fp32", "device": "cpu"}
    return make_config(profile, training=few, model={"hidden_size": 4}, **sections)


def tables(config: Config) -> tuple[FeatureTable, FeatureTable]:
    readings = make_readings()
    ours = build_features(readings, config)
    changed = with_another_test_part(readings, ours, seed=1, config=config)
    return ours, build_features(changed, config)


# -- what is replaced ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_loads_after_the_hour_are_others_and_hours_and_loads_before_stay(seed: int) -> None:
    readings = make_readings()["AEP"]
    cut = readings["timestamp"].iloc[800]
    changed = with_other_loads(readings, "AEP", after=cut, seed=seed, config=make_config())
    pd.testing.assert_series_equal(changed["timestamp"], readings["timestamp"])
    pd.testing.assert_frame_equal(changed[:801], readings[:801])
    assert (changed["load_mw"][801:] != readings["load_mw"][801:]).mean() > 0.9
    assert set(changed["flag"][801:]) > {"", "zero", "spike"}


def test_the_test_part_and_nothing_else_is_replaced() -> None:
    config = make_config()
    readings = make_readings()
    table = build_features(readings, config)
    changed = with_another_test_part(readings, table, seed=0, config=config)
    for region, frame in readings.items():
        rows = table.frame[(table.frame["region"] == region) & (table.frame["part"] == TEST)]
        unlike = changed[region]["load_mw"] != frame["load_mw"]
        assert frame.loc[unlike, "timestamp"].min() >= rows["timestamp"].min()
        assert unlike.sum() > 0.9 * len(rows)


def test_cuts_lie_in_the_whole_series_and_every_second_one_in_the_test_part() -> None:
    readings = make_readings()["DOM"]
    shares = [(readings["timestamp"] <= draw_cut(readings, seed)).mean() for seed in range(40)]
    assert min(shares[1::2]) > 0.9
    assert min(shares) < 0.3
    assert max(shares) < 1.0


# -- a sound pipeline ----------------------------------------------------------------------------


def test_another_test_part_moves_no_scale_no_training_row_and_no_weight() -> None:
    config = small_config()
    ours, theirs = tables(config)
    assert num_training_values(ours) > 20_000
    assert find_training_leak(theirs, ours) is None
    for cell in config.model.cells:
        assert find_weights_leak(theirs, ours, cell, config) is None
    assert find_linear_leak(theirs, ours) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_another_future_moves_no_flag_filled_value_feature_or_scale(seed: int) -> None:
    config = make_config()
    for region, readings in make_readings().items():
        table = build_features({region: readings}, config)
        assert find_future_leak(region, readings, table, seed=seed, config=config) is None


# -- known leaks ---------------------------------------------------------------------------------


def test_the_articles_scaling_is_found_to_know_the_test_part() -> None:
    config = small_config(scaling=make_config("seed").scaling.model_dump())
    ours, theirs = tables(config)
    leak = find_training_leak(theirs, ours)
    assert leak is not None
    assert (leak.artefact, leak.region) == ("scale", "AEP")
    leak = find_weights_leak(theirs, ours, "lstm", config)
    assert leak is not None
    assert leak.artefact == "weights"
    leak = find_linear_leak(theirs, ours)
    assert leak is not None
    assert (leak.artefact, leak.region) == ("linear models", "AEP")


def test_a_feature_that_looks_an_hour_ahead_is_named_with_its_first_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config()

    def peeking(readings: Readings, config: Config, **scales: object) -> FeatureTable:
        table = build_features(readings, config, **scales)  # type: ignore[arg-type]
        ahead = np.roll(table.frame["x_load"].to_numpy(), -1)
        return FeatureTable(table.frame.assign(x_lag_24h=ahead), table.scales)

    monkeypatch.setattr(leaks_module, "build_features", peeking)
    readings = make_readings()["DOM"]
    table = peeking({"DOM": readings}, config)
    leaks = [find_future_leak("DOM", readings, table, seed=s, config=config) for s in SEEDS]
    for seed, leak in zip(SEEDS, leaks, strict=True):
        assert leak is not None
        cut = draw_cut(readings, seed)
        assert (leak.artefact, leak.region, leak.column) == ("feature", "DOM", "x_lag_24h")
        assert leak.hour == f"{cut:%Y-%m-%d %H:%M} UTC"


def test_a_flag_that_looks_ahead_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def centred(load_mw: pd.Series[float], _: object) -> pd.Series[str]:
        median = load_mw.rolling(25, min_periods=1, center=True).median()
        flags = np.where(load_mw < 0.95 * median, "dropout", "")
        return pd.Series(flags, index=load_mw.index, dtype="str")

    monkeypatch.setattr(leaks_module, "flag_readings", centred)
    config = make_config()
    readings = make_readings()["DOM"]
    readings = readings.assign(flag=centred(readings["load_mw"], None))
    table = build_features({"DOM": readings}, config)
    leaks = [find_future_leak("DOM", readings, table, seed=s, config=config) for s in SEEDS]
    assert {leak.artefact for leak in leaks if leak} == {"flag"}


# -- the command ---------------------------------------------------------------------------------


def test_a_control_passes_only_where_it_finds_its_leak() -> None:
    leak = str(Leak("scale", "AEP", "all hours", "offset_mw", "0", "1"))
    assert leak == "scale of AEP, all hours, offset_mw: found 0, expected 1"
    for leak_text, is_control, is_passed in (
        ("", False, True), (leak, False, False), ("", True, False), (leak, True, True),
    ):  # fmt: skip
        check = LeakCheck(name="n", done="d", compared="c", leak=leak_text, is_control=is_control)
        assert check.is_passed == is_passed


def test_the_error_names_the_check_and_the_leak() -> None:
    error = LeakFoundError("training data", "scale of AEP: found 0, expected 1")
    assert str(error).startswith("ERROR training data: scale of AEP: found 0")
    assert error.exit_code == 1


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.parametrize("profile", ["base", "seed"])
def test_the_command_passes_the_base_profile_and_names_the_leak_of_the_articles(
    profile: str, tmp_path: Path
) -> None:
    data = tmp_path / "csv"
    data.mkdir()
    for region in REGIONS:
        shutil.copy(small_data() / f"{region}_hourly.csv", data)
    result = gridcast(
        "check-leaks", "--data", data, "--artifacts", tmp_path / "a", "--profile", profile,
        *settings("training.max_steps=1", "model.cells=[lstm]"),
        environment=on_a_server(),
    )  # fmt: skip
    assert "Leaks" in result.stdout
    if profile == "base":
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode == 1
    assert "ERROR training data: scale of AEP, all hours, offset_mw: found" in result.stderr
