"""How long a training will take, before it is begun."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridcast.config import Cell, Config

_GATES: dict[Cell, int] = {"gru": 3, "lstm": 4}
# A forward pass multiplies and adds once a weight; the backward pass twice as much.
_FLOPS_A_WEIGHT_AND_STEP = 6
# What one core of a present server CPU gave in recurrent training (measured: 24 to 40).
_FLOPS_A_SECOND_AND_CORE = 30e9


def num_recurrent_weights(config: Config, *, cell: Cell, num_features: int) -> int:
    """Weights of the recurrent layers, without biases.

    Each of the cell's gates reads the layer's input and its own state.
    """
    size, layers = config.model.hidden_size, config.model.num_layers
    inputs = num_features + (layers - 1) * size
    return _GATES[cell] * size * (inputs + layers * size)


def num_training_steps(config: Config, *, num_windows: int) -> int:
    """Steps of a training on ``num_windows`` windows (at stride 1)."""
    training = config.training
    a_pass = ceil(num_windows / config.windows.stride / training.batch_size)
    return min(a_pass * training.passes, training.max_steps or a_pass * training.passes)


def estimate_cpu_seconds(
    config: Config, *, num_features: int, num_windows: int, num_cores: int
) -> float:
    """Seconds that all jobs of ``config`` take on a CPU, from the arithmetic they must do.

    Good to a factor of two or three: enough to tell a minute from a night.
    """
    steps = num_training_steps(config, num_windows=num_windows)
    positions = steps * config.training.batch_size * config.windows.lookback
    weights = sum(
        num_recurrent_weights(config, cell=cell, num_features=num_features)
        for cell in config.model.cells
    )
    flops = _FLOPS_A_WEIGHT_AND_STEP * weights * positions * len(config.training.seeds)
    return flops / (_FLOPS_A_SECOND_AND_CORE * num_cores)
