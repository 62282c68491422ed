"""What a training will go through: windows, steps, arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.windows import (
    WindowsRecord,
    count_phases,
    count_windows,
    scored_origins,
    size_training,
    tile_origins,
    train_starts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridcast.config import Cell, Config, WindowsConfig
    from gridcast.features.windows import Ints, Steps


_GATES: dict[Cell, int] = {"gru": 3, "lstm": 4}


# A forward pass multiplies and adds once a weight; the backward pass twice as much.
_FLOPS_A_WEIGHT_AND_STEP = 6


# What one core of a present server CPU gave in recurrent training (measured: 24 to 40 in PyTorch's
# layers, 110 to 200 compiled).
_FLOPS_A_SECOND_AND_CORE = 60e9


def num_recurrent_weights(config: Config, *, cell: Cell, num_features: int) -> int:
    """Weights of the recurrent layers, without biases.

    Each of the cell's gates reads the layer's input and its own state.
    """
    size, layers = config.model.hidden_size, config.model.num_layers
    inputs = num_features + config.model.region_units + (layers - 1) * size
    return _GATES[cell] * size * (inputs + layers * size)


def num_training_steps(config: Config, *, num_windows: int) -> int:
    """Steps of a training on ``num_windows`` windows (at stride 1)."""
    training = config.training
    windows_a_pass = num_windows / config.windows.stride
    passes, batch_size = size_training(training, windows_a_pass=windows_a_pass)
    num_steps = ceil(windows_a_pass / batch_size) * passes
    return min(num_steps, training.max_steps or num_steps)


def sized_config(config: Config, *, num_windows: int) -> Config:
    """The same with ``training.passes`` and ``training.batch_size`` as these windows have them."""
    size = size_training(config.training, windows_a_pass=num_windows / config.windows.stride)
    training = config.training.model_copy(update=size._asdict())
    return config.model_copy(update={"training": training})


def estimate_cpu_seconds(
    config: Config, *, num_features: int, num_windows: int, num_cores: int
) -> float:
    """Seconds that all jobs of ``config`` take on a CPU, from the arithmetic they must do.

    Good to a factor of two or three: enough to tell a minute from a night.
    """
    config = sized_config(config, num_windows=num_windows)
    steps = num_training_steps(config, num_windows=num_windows)
    positions = steps * config.training.batch_size * config.windows.lookback
    weights = sum(
        num_recurrent_weights(config, cell=cell, num_features=num_features)
        for cell in config.model.cells
    )
    flops = _FLOPS_A_WEIGHT_AND_STEP * weights * positions * len(config.training.seeds)
    return flops / (_FLOPS_A_SECOND_AND_CORE * num_cores)


@dataclass(frozen=True, slots=True)
class DataCounts:
    """What there is to train on and to score, of all regions."""

    num_regions: int
    num_steps: int
    windows: WindowsRecord
    num_by_phase_S: Ints  # training windows
    num_tiles: dict[int, int]  # part to windows that score it
    longest_region: int = 0  # steps


def count_data(regions: Iterable[Steps], config: WindowsConfig) -> DataCounts:
    """Count region by region, in the order in which their steps will lie end to end."""
    num_regions = num_steps = longest = 0
    windows = WindowsRecord(train=0, validation=0, test=0)
    num_by_phase_S = np.zeros(config.stride, np.int64)
    num_tiles = {VALIDATION: 0, TEST: 0}
    for steps in regions:
        windows = windows.plus(count_windows(steps, config))
        num_by_phase_S += count_phases(num_steps + train_starts(steps, config), config)
        for part in num_tiles:
            origins_O = scored_origins(steps, part, config)
            num_tiles[part] += len(tile_origins(steps, origins_O, config).starts_N)
        num_regions, num_steps = num_regions + 1, num_steps + len(steps.part_T)
        longest = max(longest, len(steps.part_T))
    return DataCounts(num_regions, num_steps, windows, num_by_phase_S, num_tiles, longest)
