"""Nothing is chosen on the test part: whatever it holds moves nobody's place in the choice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.comparison import Comparison, compare_contestants, measure_of_table
from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.measure import NMAE, SMAPE
from gridcast.evaluation.scores import overall_scores
from gridcast.features.splits import TEST, VALIDATION
from tests.builders.evaluations import GRU, LINEAR, LSTM, make_job_forecasts, make_table

# In the validation part LSTM is the best, in the test part the worst.
VALIDATION_FACTORS = {GRU: 1.02, LSTM: 1.01, LINEAR: 1.05}
TEST_FACTORS = {GRU: 1.02, LSTM: 1.50, LINEAR: 1.001}


def make_jobs(
    table: pd.DataFrame,
    validation: Mapping[Contestant, float] = VALIDATION_FACTORS,
    test: Mapping[Contestant, float] = TEST_FACTORS,
) -> dict[Contestant, pd.DataFrame]:
    return {
        each: pd.concat(
            [
                make_job_forecasts(table, factor=validation[each], part=VALIDATION),
                make_job_forecasts(table, factor=test[each], part=TEST),
            ]
        )
        for each in validation
    }


def compare(table: pd.DataFrame, jobs: Mapping[Contestant, pd.DataFrame]) -> Comparison:
    return compare_contestants(table, jobs, season_length=24)


def test_preferred_is_who_has_the_smallest_error_in_the_validation_part() -> None:
    table = make_table()
    found = compare(table, make_jobs(table))
    assert found.preferred == "lstm-seed0"
    assert found.validation_smape["lstm-seed0"] == pytest.approx(100 * 0.01 / 1.005)
    assert found.preferred == min(found.validation_smape, key=found.validation_smape.__getitem__)
    test = {name: overall_scores(found.scores, name)["smape"] for name in found.validation_smape}
    assert max(test, key=test.__getitem__) != "linear"
    assert min(test, key=test.__getitem__) == "linear"  # and yet it is not preferred


@pytest.mark.parametrize(
    "test",
    [
        pytest.param({GRU: 1.0, LSTM: 9.0, LINEAR: 3.0}, id="the_preferred_one_is_worse"),
        pytest.param({GRU: 1.3, LSTM: 1.0, LINEAR: 0.2}, id="the_preferred_one_is_better"),
        pytest.param({GRU: 0.1, LSTM: 0.1, LINEAR: 0.1}, id="all_are_as_bad"),
    ],
)
def test_forecasts_of_the_test_part_move_nothing_that_is_chosen_or_that_it_is_held_against(
    test: Mapping[Contestant, float],
) -> None:
    table = make_table()
    before, after = compare(table, make_jobs(table)), compare(table, make_jobs(table, test=test))
    assert after.preferred == before.preferred
    assert after.validation_smape == before.validation_smape
    assert not after.scores.overall["smape"].equals(before.scores.overall["smape"])


def test_loads_of_the_test_part_move_nothing_either() -> None:
    table = make_table()
    jobs = make_jobs(table)
    is_test = (table["part"] == TEST).to_numpy()
    noise = np.random.default_rng(0).uniform(0.2, 5.0, len(table))
    changed = table.assign(
        **{
            name: np.where(is_test, table[name] * noise, table[name])
            for name in ("load_mw", "input_mw")
        }
    )
    before, after = compare(table, jobs), compare(changed, jobs)
    assert (after.preferred, after.validation_smape) == (before.preferred, before.validation_smape)
    assert not after.scores.overall["smape"].equals(before.scores.overall["smape"])


@pytest.mark.parametrize("best", [GRU, LINEAR])
def test_the_validation_part_does_move_the_choice_and_not_the_scores(best: Contestant) -> None:
    table = make_table()
    validation = {each: 1.001 if each == best else 1.3 for each in VALIDATION_FACTORS}
    before, after = compare(table, make_jobs(table)), compare(table, make_jobs(table, validation))
    # all of a blend with linear models may be theirs
    assert after.preferred == ("blend" if best == LINEAR else best.name)
    for name, each in before.scores.tables().items():
        found = after.scores.tables()[name]
        found, expected = (
            own[own["contestant"] != "blend"].reset_index(drop=True) for own in (found, each)
        )
        pd.testing.assert_frame_equal(found, expected)


def test_without_a_validation_part_nobody_is_preferred() -> None:
    table = make_table()
    found = compare(table, {each: make_job_forecasts(table) for each in VALIDATION_FACTORS})
    assert found.preferred is None
    assert found.validation_smape == {}
    assert found.scores.overall["contestant"].iloc[0] == "gru-seed0"


def test_a_table_whose_training_loads_pass_near_zero_is_judged_by_their_mean() -> None:
    table = make_table()
    assert measure_of_table(table) == SMAPE
    is_test = (table["part"] == TEST).to_numpy()
    near_zero = table["load_mw"] / 1000
    later = table.assign(load_mw=table["load_mw"].where(~is_test, near_zero))
    assert measure_of_table(later) == SMAPE  # the test part has no say
    nights = (table["local_hour"] < 3) & (table["region"] == "DOM") & ~is_test
    assert measure_of_table(table.assign(load_mw=table["load_mw"].mask(nights, near_zero))) == NMAE
