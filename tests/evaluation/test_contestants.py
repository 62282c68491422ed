"""All contestants are held against the same labels; overall is the mean over the regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.contestants import (
    OVERALL,
    collect_forecasts,
    kind_of,
    mean_members,
    mean_smapes,
    overall_scores,
    score_contestants,
    smape_by_region,
)
from gridcast.evaluation.metrics import mae, rmse, seasonal_naive_mae, smape
from gridcast.evaluation.naive_forecasts import NAIVE_LAGS
from gridcast.features.splits import PARTS, TEST, TRAIN, VALIDATION
from gridcast.features.table import build_features
from tests.builders.values import make_config, make_load, make_load_frame

REGIONS = ["AEP", "DOM", "NI"]
METRICS = ["smape", "mae", "rmse", "mase"]


def make_table(**missing: range) -> pd.DataFrame:
    """Three regions of unlike length; ``AEP=range(...)`` are hours without a reading."""
    loads = {
        "AEP": make_load(600),
        "DOM": make_load(400, mean_mw=900, seed=1),
        "NI": make_load(350, mean_mw=90, seed=2),
    }
    readings = {
        region: make_load_frame(load, missing=missing.get(region, ()))
        for region, load in loads.items()
    }
    return build_features(readings, make_config()).frame


def make_forecasts(table: pd.DataFrame, *, factor: float = 1.0, part: int = TEST) -> pd.DataFrame:
    """A job's forecasts of every label of a part: the truth times ``factor``."""
    step = np.flatnonzero(table["part"] == part)
    y_pred = table["load_mw"].to_numpy()[step] * factor
    return pd.DataFrame({"step": step, "ahead": 1, "part": PARTS[part], "y_pred": y_pred})


def score(table: pd.DataFrame, models: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return score_contestants(collect_forecasts(table, models), table, season_length=24)


def test_forecasts_stand_beside_the_truth_and_the_naive_ones_a_row_a_label() -> None:
    table = make_table()
    found = collect_forecasts(table, {"gru-seed0": make_forecasts(table, factor=1.1)})
    about = ["region", "timestamp", "local_hour", "ahead", "y_true"]
    assert list(found.columns) == [*about, "gru-seed0", *NAIVE_LAGS]
    step = np.flatnonzero(table["part"] == TEST)
    for name in ("region", "timestamp", "local_hour"):
        assert found[name].tolist() == table[name].iloc[step].tolist()
    assert found["y_true"].tolist() == table["load_mw"].iloc[step].tolist()
    assert found["persistence"].tolist() == table["input_mw"].iloc[step - 1].tolist()
    np.testing.assert_allclose(found["gru-seed0"], 1.1 * found["y_true"])


def test_rows_of_a_job_in_any_order_and_its_validation_forecasts_change_nothing() -> None:
    table = make_table()
    forecasts = make_forecasts(table, factor=1.1)
    validation = forecasts.assign(part="validation", step=forecasts["step"] - 100)
    mixed = pd.concat([forecasts.sample(frac=1, random_state=0), validation])
    expected = collect_forecasts(table, {"gru": forecasts})
    pd.testing.assert_frame_equal(collect_forecasts(table, {"gru": mixed}), expected)


def test_contestants_are_scored_on_the_labels_that_all_of_them_forecast() -> None:
    table = make_table()
    whole, half = make_forecasts(table), make_forecasts(table).iloc[::2]
    found = collect_forecasts(table, {"a": whole, "b": half})
    assert len(found) == len(half)
    assert not found.isna().any(axis=None)


def test_scores_are_the_metrics_of_each_region_and_overall_their_mean() -> None:
    table = make_table()
    models = {"gru": make_forecasts(table, factor=1.1), "lstm": make_forecasts(table, factor=0.9)}
    forecasts, scores = collect_forecasts(table, models), score(table, models)
    for contestant in [*models, *NAIVE_LAGS]:
        rows = scores[scores["contestant"] == contestant].set_index("region")
        assert rows["kind"].unique().tolist() == ["model" if contestant in models else "naive"]
        for region in REGIONS:
            own = forecasts[forecasts["region"] == region]
            y_true, y_pred = own["y_true"].to_numpy(), own[contestant].to_numpy()
            history = table[(table["region"] == region) & (table["part"] == TRAIN)]
            scale = seasonal_naive_mae(history["load_mw"].to_numpy(), season_length=24)
            expected = [smape(y_true, y_pred), mae(y_true, y_pred), rmse(y_true, y_pred)]
            found = rows.loc[[region], METRICS].to_numpy(float)[0]
            assert found == pytest.approx([*expected, mae(y_true, y_pred) / scale])
            assert rows.loc[region, "num_labels"] == len(own)
        mean = rows.loc[REGIONS, METRICS].to_numpy(float).mean(axis=0)
        assert rows.loc[[OVERALL], METRICS].to_numpy(float)[0] == pytest.approx(mean)
        assert rows.loc[OVERALL, "num_labels"] == len(forecasts)


def test_a_model_that_is_always_ten_percent_high_has_the_smape_worked_out_by_hand() -> None:
    table = make_table()
    scores = score(table, {"gru": make_forecasts(table, factor=1.1)})
    by_hand = 100 * 0.1 / 1.05
    assert smape_by_region(scores, "gru") == pytest.approx(dict.fromkeys(REGIONS, by_hand))
    assert overall_scores(scores, "gru")["smape"] == pytest.approx(by_hand)
    assert set(overall_scores(scores, "gru")) == {"smape", "mae", "rmse", "mase"}


def test_the_scale_of_mase_compares_hours_a_day_apart_across_a_gap_too() -> None:
    table = make_table(AEP=range(200, 205))
    own = table[table["region"] == "AEP"]
    load = np.where(own["part"] == TRAIN, own["load_mw"], np.nan)
    a_day_apart = np.nanmean(np.abs(load[24:] - load[:-24]))
    row = score(table, {"gru": make_forecasts(table, factor=1.1)}).iloc[0]
    assert (row["contestant"], row["region"]) == ("gru", "AEP")
    assert row["mase"] == pytest.approx(row["mae"] / a_day_apart)


FACTORS = {"gru-seed0": 1.3, "lstm-seed0": 0.9, "gru-seed1": 1.0, "lstm-seed1": 1.2}


def test_a_mean_is_that_of_its_members_label_by_label() -> None:
    table = make_table()
    jobs = {name: make_forecasts(table, factor=factor) for name, factor in FACTORS.items()}
    found = collect_forecasts(table, {"linear": make_forecasts(table, factor=2.0), **jobs})
    by_hand = {"mean-seed0": 1.1, "mean-seed1": 1.1, "mean-all": 1.1, "linear": 2.0}
    assert list(found.columns[5:]) == [*FACTORS, *by_hand, *NAIVE_LAGS]
    for name, factor in by_hand.items():
        np.testing.assert_allclose(found[name], factor * found["y_true"])


def test_the_mean_of_one_forecast_too_high_and_one_too_low_scores_better_than_either() -> None:
    table = make_table()
    two = {"gru-seed0": make_forecasts(table, factor=1.3),
           "lstm-seed0": make_forecasts(table, factor=0.9)}  # fmt: skip
    scores = score(table, two)
    assert overall_scores(scores, "mean-seed0")["smape"] == pytest.approx(100 * 0.1 / 1.05)
    kinds = dict(zip(scores["contestant"], scores["kind"], strict=True))
    assert kinds == {name: kind_of(name) for name in [*two, "mean-seed0", *NAIVE_LAGS]}
    assert kinds["mean-seed0"] == "mean"


def test_a_seed_with_one_cell_left_has_no_mean_of_its_own() -> None:
    assert mean_members(["gru-seed0"]) == {}
    assert mean_members(["gru-seed0", "lstm-seed0", "gru-seed7"]) == {
        "mean-seed0": ("gru-seed0", "lstm-seed0"),
        "mean-all": ("gru-seed0", "lstm-seed0", "gru-seed7"),
    }


def test_errors_of_a_part_are_the_means_over_regions_that_the_scores_have_too() -> None:
    table = make_table()
    jobs = {"gru-seed0": make_forecasts(table, factor=1.3), "linear": make_forecasts(table)}
    scores, found = score(table, jobs), mean_smapes(collect_forecasts(table, jobs))
    assert found == pytest.approx({name: overall_scores(scores, name)["smape"] for name in found})
    assert list(found) == [*jobs, *NAIVE_LAGS]


def test_errors_of_the_validation_part_do_not_see_the_test_part() -> None:
    table = make_table()
    both = [
        make_forecasts(table, factor=1.1, part=VALIDATION),
        make_forecasts(table, factor=5.0, part=TEST),
    ]
    found = collect_forecasts(table, {"gru-seed0": pd.concat(both)}, part=VALIDATION)
    assert len(found) == (table["part"] == VALIDATION).sum()
    assert mean_smapes(found)["gru-seed0"] == pytest.approx(100 * 0.1 / 1.05)


def test_without_labels_there_are_no_errors() -> None:
    table = make_table()
    jobs = {name: make_forecasts(table) for name in FACTORS}
    assert mean_smapes(collect_forecasts(table, jobs, part=VALIDATION)) == {}
