"""Who is held against whom is told by values, not by names."""

from __future__ import annotations

from gridcast.evaluation.contestants import (
    NAIVE,
    Contestant,
    contestants_of,
    fitted_baseline,
    means_of,
    network,
    of_kind,
)
from tests.builders.evaluations import GRU, GRU_1, LINEAR, LSTM, LSTM_1


def test_a_seed_with_one_cell_left_has_no_mean_of_its_own() -> None:
    assert means_of([GRU]) == []
    late = network("gru-seed7", cell="gru", seed=7)
    assert means_of([GRU, LSTM, late]) == [
        Contestant(name="mean-seed0", kind="mean", seed=0, members=("gru-seed0", "lstm-seed0")),
        Contestant(name="mean-all", kind="mean", members=("gru-seed0", "lstm-seed0", "gru-seed7")),
    ]


def test_models_stand_before_their_means_then_fitted_baselines_then_naive_forecasts() -> None:
    found = contestants_of([LINEAR, GRU, GRU_1, LSTM, LSTM_1])
    names = ["gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1", "mean-seed0", "mean-seed1",
             "mean-all", "linear", *(each.name for each in NAIVE)]  # fmt: skip
    assert [each.name for each in found] == names
    assert len(set(found)) == len(found)  # values that a mapping may have as keys
    assert [each.kind for each in of_kind(found, "mean")] == ["mean"] * 3


def test_what_a_contestant_is_does_not_hang_on_its_name() -> None:
    odd = [network("mean-seed-of-all", cell="gru", seed=3), network("linear2", cell="lstm", seed=3)]
    (mean,) = means_of([*odd, fitted_baseline("linear")])
    assert mean.members == ("mean-seed-of-all", "linear2")
    assert [each.label for each in (*odd, mean)] == ["GRU seed 3", "LSTM seed 3", "mean of seed 3"]


def test_a_reader_gets_words() -> None:
    labels = [each.label for each in contestants_of([GRU, GRU_1, LINEAR])]
    assert labels == ["GRU seed 0", "GRU seed 1", "mean of all", "linear", "persistence",
                      "same hour yesterday", "same hour last week"]  # fmt: skip
