"""A blend's weights are the best of the validation part, lead by lead, and of nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.blending import (
    WEIGHTS,
    add_blend,
    best_weights,
    blend_weights,
    blended,
)
from gridcast.evaluation.comparison import compare_contestants
from gridcast.evaluation.contestants import Contestant, fitted_baseline, with_blend
from gridcast.evaluation.forecasts import collect_forecasts
from gridcast.evaluation.metrics import smape
from gridcast.features.splits import TEST, VALIDATION
from tests.builders.evaluations import GRU, LINEAR, LSTM, make_job_forecasts, make_table

NEIGHBOURS = fitted_baseline("linear_neighbours")
HORIZON = 3


def both_parts(table: pd.DataFrame, validation: float, test: float) -> pd.DataFrame:
    parts = ((validation, VALIDATION), (test, TEST))
    return pd.concat(
        [make_job_forecasts(table, factor=f, part=p, horizon=HORIZON) for f, p in parts]
    )


def made(**test: float) -> tuple[pd.DataFrame, dict[Contestant, pd.DataFrame]]:
    """Networks 2 and 4 % too high, linear models 1 % too low: a quarter of the way is the mean."""
    table = make_table()
    factors = {"gru": 1.0, "lstm": 1.0, "linear": 1.0} | test
    jobs = {
        GRU: both_parts(table, 1.02, factors["gru"]),
        LSTM: both_parts(table, 1.04, factors["lstm"]),
        LINEAR: both_parts(table, 0.99, factors["linear"]),
    }
    return table, jobs


def test_the_weights_are_those_of_a_search_over_all_of_them_label_by_label() -> None:
    rng = np.random.default_rng(0)
    num, leads = 600, 3
    truth = rng.uniform(50, 150, num)
    region, lead = rng.integers(0, 3, num), rng.integers(0, leads, num)
    networks = truth * (1 + rng.normal(0, 0.03, num) * (1 + lead))
    linear = truth * (1 + rng.normal(0, 0.06, num))
    found = best_weights(truth, networks, linear, region, lead, np.full(num, np.nan))
    for number in range(leads):
        errors = []
        for weight in WEIGHTS:
            mixed = (1 - weight) * networks + weight * linear
            errors.append(
                np.mean(
                    [
                        smape(truth[own], mixed[own])
                        for each in range(3)
                        for own in [(region == each) & (lead == number)]
                    ]
                )
            )
        assert found[number] == WEIGHTS[int(np.argmin(errors))]
    assert found[0] < found[-1]  # further ahead more of who is better there


def test_a_label_without_one_of_them_says_nothing_and_a_lead_without_labels_has_no_blend() -> None:
    truth = np.array([100.0, 100.0, 100.0, np.nan])
    networks = np.array([100.0, 104.0, 90.0, 90.0])
    linear = np.array([np.nan, 96.0, np.nan, 100.0])
    region, lead = np.zeros(4, int), np.array([0, 0, 1, 2])
    found = best_weights(truth, networks, linear, region, lead, np.full(4, np.nan))
    assert found.tolist() == [0.5, 0.0, 0.0]
    assert blended(networks, linear, 0.5)[:3].tolist() == [100.0, 100.0, 90.0]


def test_the_blend_is_the_networks_mean_and_the_linear_models_by_these_weights() -> None:
    table, jobs = made(gru=1.1, lstm=1.3, linear=0.8)
    found = compare_contestants(table, jobs, season_length=24)
    np.testing.assert_allclose(found.blend_K, [0.75] * HORIZON)
    by_name = {each.name: own for each, own in found.forecasts.y_pred.items()}
    truth = found.forecasts.labels["y_true"].to_numpy()
    np.testing.assert_allclose(by_name["blend"], truth * (0.25 * 1.2 + 0.75 * 0.8))
    assert found.preferred == "blend"
    assert found.validation_smape["blend"] == pytest.approx(0.0, abs=1e-9)
    order = [each.name for each in found.forecasts.contestants]
    assert order[:5] == ["gru-seed0", "lstm-seed0", "mean-seed0", "blend", "linear"]


def test_whatever_the_test_part_holds_the_weights_are_the_same() -> None:
    table, jobs = made()
    _, others = made(gru=3.0, lstm=0.1, linear=1.0)
    ours, theirs = (compare_contestants(table, each, season_length=24) for each in (jobs, others))
    assert ours.blend_K.tobytes() == theirs.blend_K.tobytes()


def test_there_is_none_where_linear_models_gain_nothing_or_nothing_can_be_chosen_by() -> None:
    table, jobs = made()
    worse = jobs | {LINEAR: both_parts(table, 1.5, 1.0)}
    tests = {each: make_job_forecasts(table, horizon=HORIZON) for each in jobs}
    for each in (worse, tests, {GRU: jobs[GRU]}):
        validation = collect_forecasts(table, each, part=VALIDATION)
        weights = blend_weights(validation, {})
        assert len(weights) == 0
        assert add_blend(validation, weights) is validation
        found = compare_contestants(table, each, season_length=24)
        assert "blend" not in [own.name for own in found.forecasts.contestants]


def test_where_errors_are_told_by_the_mean_load_the_weights_follow_that() -> None:
    """Of an hour near zero the own load says much, the mean load little."""
    truth = np.array([0.1, 100.0])
    networks, linear = np.array([0.1, 120.0]), np.array([2.0, 100.0])
    region = lead = np.zeros(2, int)
    by_own_load, by_mean_load = (
        best_weights(truth, networks, linear, region, lead, np.full(2, norm))
        for norm in (np.nan, 50.0)
    )
    assert (by_own_load.tolist(), by_mean_load.tolist()) == ([0.0], [1.0])


def test_it_is_of_all_networks_and_of_the_linear_models_that_know_most() -> None:
    _, blend = with_blend([GRU, LSTM, LINEAR, NEIGHBOURS])
    assert blend == Contestant(
        name="blend", kind="blend", members=("gru-seed0", "lstm-seed0"), linear="linear_neighbours"
    )
    assert blend.label == "blend"
    assert with_blend([LINEAR])[1] is None
