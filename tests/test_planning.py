"""What a training will take, told beforehand, is what it does take."""

from __future__ import annotations

import pytest

from gridcast.config import Cell
from gridcast.models import RecurrentForecaster
from gridcast.planning import estimate_cpu_seconds, num_recurrent_weights, num_training_steps
from tests.builders import make_config


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(("hidden_size", "num_layers"), [(5, 1), (8, 3)])
def test_recurrent_weights_are_counted_as_the_network_has_them(
    cell: Cell, hidden_size: int, num_layers: int
) -> None:
    config = make_config(model={"hidden_size": hidden_size, "num_layers": num_layers})
    network = RecurrentForecaster(config.model, cell=cell, num_features=3, horizon=1).recurrent
    weights = sum(w.numel() for name, w in network.named_parameters() if "weight" in name)
    assert num_recurrent_weights(config, cell=cell, num_features=3) == weights


def test_the_articles_training_is_told_as_958_steps_a_pass_at_most() -> None:
    # It takes 957: the last, smaller batch is left out.
    assert num_training_steps(make_config("seed"), num_windows=980_185) == 5 * 958
    short = make_config("seed", training={"max_steps": 7})
    assert num_training_steps(short, num_windows=980_185) == 7


def test_the_estimate_grows_with_seeds_cells_and_windows_and_shrinks_with_cores() -> None:
    def seconds(
        num_windows: int = 168_000,
        num_cores: int = 1,
        seeds: tuple[int, ...] = (0,),
        cells: tuple[str, ...] = ("gru", "lstm"),
    ) -> float:
        config = make_config(training={"seeds": seeds}, model={"cells": cells})
        return estimate_cpu_seconds(
            config, num_features=12, num_windows=num_windows, num_cores=num_cores
        )

    assert seconds(num_cores=2) == pytest.approx(seconds() / 2)
    assert seconds(seeds=(0, 1, 2)) == pytest.approx(3 * seconds())
    assert seconds(num_windows=16 * 168_000) == pytest.approx(16 * seconds(), rel=0.05)
    gru, lstm = (seconds(cells=(cell,)) for cell in ("gru", "lstm"))
    assert gru + lstm == pytest.approx(seconds())
    assert gru * 4 == pytest.approx(lstm * 3)
