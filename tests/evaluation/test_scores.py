"""Scores by region, lead and hour; overall ones are means over regions, whatever their names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.contestants import NAIVE, Contestant
from gridcast.evaluation.forecasts import Forecasts, collect_forecasts
from gridcast.evaluation.metrics import mae, rmse, seasonal_naive_mae, smape
from gridcast.evaluation.scores import (
    METRICS,
    Scores,
    errors_by_region,
    mean_errors,
    mean_loads,
    naive_maes,
    overall_scores,
    score_forecasts,
)
from gridcast.features.splits import TEST, TRAIN, VALIDATION
from tests.builders.evaluations import GRU, LINEAR, LSTM, make_job_forecasts, make_table

REGIONS = ["AEP", "DOM", "NI"]


def collect(table: pd.DataFrame, jobs: Mapping[Contestant, pd.DataFrame]) -> Forecasts:
    return collect_forecasts(table, jobs, part=TEST)


def score(table: pd.DataFrame, jobs: Mapping[Contestant, pd.DataFrame]) -> Scores:
    forecasts = collect(table, jobs)
    scales = naive_maes(table, season_length=24)
    return score_forecasts(
        forecasts.tables(), forecasts.contestants, naive_mae=scales, mean_mw=mean_loads(table)
    )


def by_hand(rows: pd.DataFrame, table: pd.DataFrame) -> list[float]:
    """The metrics of some rows of one region, by the functions that define them."""
    y_true, y_pred = rows["y_true"].to_numpy(), rows["y_pred"].to_numpy()
    own = table[(table["region"] == rows["region"].iloc[0]) & (table["part"] == TRAIN)]
    scale = seasonal_naive_mae(own["load_mw"].to_numpy(), season_length=24)
    mean = np.nanmean(np.abs(own["load_mw"]))
    error = mae(y_true, y_pred)
    return [smape(y_true, y_pred), 100 * error / mean, error, rmse(y_true, y_pred), error / scale]


def test_scores_are_the_metrics_of_each_region_and_overall_their_mean() -> None:
    table = make_table()
    jobs = {GRU: make_job_forecasts(table, factor=1.1), LSTM: make_job_forecasts(table, factor=0.9)}
    long, scores = collect(table, jobs).table(), score(table, jobs)
    names = ["gru-seed0", "lstm-seed0", "mean-seed0", *(each.name for each in NAIVE)]
    assert scores.overall["contestant"].tolist() == names
    assert scores.overall["kind"].tolist() == ["model", "model", "mean", *["naive"] * 3]
    for name in names:
        own = long[long["contestant"] == name]
        rows = scores.by_region[scores.by_region["contestant"] == name].set_index("region")
        assert rows.index.tolist() == REGIONS
        for region in REGIONS:
            expected = by_hand(own[own["region"] == region], table)
            assert rows.loc[region, list(METRICS)].to_numpy(float) == pytest.approx(expected)
            assert rows.loc[region, "num_labels"] == (own["region"] == region).sum()
        means = rows[list(METRICS)].to_numpy(float).mean(axis=0)
        assert list(overall_scores(scores, name).values()) == pytest.approx(means)
    assert scores.overall["num_labels"].tolist() == [len(long) // len(names)] * len(names)


@pytest.mark.parametrize(("table_name", "key"), [("by_lead", "lead"), ("by_hour", "local_hour")])
def test_scores_by_lead_and_hour_are_those_of_a_plain_loop(table_name: str, key: str) -> None:
    table = make_table(num_hours=1500)
    rng = np.random.default_rng(0)
    job = make_job_forecasts(table, horizon=5)
    job["y_pred"] *= rng.uniform(0.9, 1.1, len(job))
    long, scores = collect(table, {GRU: job}).table(), score(table, {GRU: job})
    found = scores.tables()[table_name].set_index(["contestant", key])
    for name in ("gru-seed0", "same_hour_yesterday"):
        own = long[long["contestant"] == name]
        codes = sorted(own[key].unique())
        assert found.loc[name].index.tolist() == codes
        for code in codes:
            rows = own[own[key] == code]
            regions = [each for _, each in rows.groupby("region", observed=True)]
            expected = np.mean([by_hand(each, table) for each in regions], axis=0)
            row = found.loc[(name, code)]
            assert row[list(METRICS)].to_numpy(float) == pytest.approx(expected)
            assert row["num_labels"] == len(rows)


def test_one_hour_ahead_the_scores_by_lead_are_the_overall_ones() -> None:
    table = make_table()
    scores = score(table, {GRU: make_job_forecasts(table, factor=1.1)})
    by_lead = scores.by_lead.drop(columns="lead")
    pd.testing.assert_frame_equal(by_lead, scores.overall.drop(columns="kind"))


def test_a_model_that_is_always_ten_percent_high_has_the_smape_worked_out_by_hand() -> None:
    table = make_table()
    scores = score(table, {GRU: make_job_forecasts(table, factor=1.1)})
    error = 100 * 0.1 / 1.05
    assert errors_by_region(scores, "gru-seed0") == pytest.approx(dict.fromkeys(REGIONS, error))
    assert overall_scores(scores, "gru-seed0")["smape"] == pytest.approx(error)
    assert set(overall_scores(scores, "gru-seed0")) == set(METRICS)


@pytest.mark.parametrize("regions", [("ALL", "DOM"), ("ALL",), ("DOM", "ALL", "overall")])
def test_a_region_called_all_is_a_region_like_any_other(regions: tuple[str, ...]) -> None:
    table = make_table(regions)
    job = make_job_forecasts(table, factor=1.4)
    is_all = (table["region"] == "ALL").to_numpy()[job["step"]]
    job.loc[is_all, "y_pred"] /= 1.4  # exact there, and 33.3 % off elsewhere
    scores, forecasts = score(table, {GRU: job}), collect(table, {GRU: job})
    error = 100 * 0.4 / 1.2
    expected = {region: 0.0 if region == "ALL" else error for region in sorted(regions)}
    assert errors_by_region(scores, "gru-seed0") == pytest.approx(expected)
    mean = sum(expected.values()) / len(expected)
    assert overall_scores(scores, "gru-seed0")["smape"] == pytest.approx(mean)
    assert mean_errors(forecasts, {})["gru-seed0"] == pytest.approx(mean)


def test_the_scale_of_mase_compares_hours_a_day_apart_across_a_gap_too() -> None:
    table = make_table(AEP=range(200, 205))
    own = table[table["region"] == "AEP"]
    load = np.where(own["part"] == TRAIN, own["load_mw"], np.nan)
    a_day_apart = np.nanmean(np.abs(load[24:] - load[:-24]))
    row = score(table, {GRU: make_job_forecasts(table, factor=1.1)}).by_region.iloc[0]
    assert (row["contestant"], row["region"]) == ("gru-seed0", "AEP")
    assert row["mase"] == pytest.approx(row["mae"] / a_day_apart)


def test_a_scale_of_nought_gives_an_infinite_mase_and_an_unknown_one_is_left_out_of_the_mean() -> (
    None
):
    table = make_table()
    forecasts = collect(table, {GRU: make_job_forecasts(table, factor=1.1)})
    scales = {"AEP": 100.0, "DOM": np.nan, "NI": 0.0}
    found = score_forecasts(forecasts.tables(), forecasts.contestants, naive_mae=scales, mean_mw={})
    own = found.by_region.set_index(["contestant", "region"])["mase"]["gru-seed0"]
    assert own["AEP"] == pytest.approx(found.by_region["mae"].iloc[0] / 100)
    assert np.isnan(own["DOM"])
    assert own["NI"] == np.inf
    scales["NI"] = np.nan
    again = score_forecasts(forecasts.tables(), forecasts.contestants, naive_mae=scales, mean_mw={})
    assert overall_scores(again, "gru-seed0")["mase"] == pytest.approx(own["AEP"])


def test_scores_are_the_same_of_the_table_whole_in_pieces_and_in_any_order() -> None:
    table = make_table()
    jobs = {GRU: make_job_forecasts(table, factor=1.1), LINEAR: make_job_forecasts(table)}
    forecasts, scales = collect(table, jobs), naive_maes(table, season_length=24)
    expected = score(table, jobs)
    shuffled = forecasts.table().sample(frac=1, random_state=1)
    for tables in ([forecasts.table()], [shuffled], reversed(list(forecasts.tables()))):
        found = score_forecasts(tables, forecasts.contestants, naive_mae=scales,
            mean_mw=mean_loads(table),
        )  # fmt: skip
        for name, each in expected.tables().items():
            pd.testing.assert_frame_equal(found.tables()[name], each, rtol=1e-12)


def test_scores_of_some_contestants_are_their_rows_alone() -> None:
    table = make_table()
    scores = score(table, {GRU: make_job_forecasts(table)})
    own = scores.of([GRU, NAIVE[0]])
    for name, each in own.tables().items():
        assert list(each["contestant"].unique()) == ["gru-seed0", "persistence"]
        assert len(each) < len(scores.tables()[name])


def test_errors_of_a_part_are_the_means_over_regions_that_the_scores_have_too() -> None:
    table = make_table()
    jobs = {GRU: make_job_forecasts(table, factor=1.3), LINEAR: make_job_forecasts(table)}
    scores, found = score(table, jobs), mean_errors(collect(table, jobs), {})
    assert found == pytest.approx({name: overall_scores(scores, name)["smape"] for name in found})
    assert list(found) == ["gru-seed0", "linear", *(each.name for each in NAIVE)]


def test_without_labels_there_are_no_errors_and_no_rows() -> None:
    table = make_table()
    forecasts = collect_forecasts(table, {GRU: make_job_forecasts(table)}, part=VALIDATION)
    assert mean_errors(forecasts, {}) == {}
    scores = score_forecasts(forecasts.tables(), forecasts.contestants, naive_mae={}, mean_mw={})
    for each in scores.tables().values():
        assert each.empty
        assert {"contestant", *METRICS} <= set(each.columns)
