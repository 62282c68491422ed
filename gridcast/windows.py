"""Windows as an index and a mask over the steps of all regions; none is ever materialised.

A window starts at step ``s`` and reads the steps ``s .. s + lookback - 1``. After the first
``warmup`` of them the network forecasts, from each, the next ``horizon`` steps; a step from which
it forecasts is an origin. The article's window (loss at the last step alone) has
``warmup = lookback - 1``.

Legend: ``T`` steps, ``N`` windows, ``O`` origins, ``L`` lookback, ``H`` horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridcast.splits import TRAIN

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.config import WindowsConfig

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Steps:
    """What windows are cut from. All arrays have one entry a step, regions end to end."""

    region_T: Ints  # ascending
    part_T: NDArray[np.int8]  # see splits
    is_input_T: Bools


@dataclass(frozen=True, slots=True)
class Tiles:
    """Windows that together forecast from each origin once.

    Tile ``i`` reads ``lookback`` steps from ``starts_N[i]`` on; of its outputs the first
    ``num_origins_N[i]`` after the warm-up count. Steps past the series' end are padding.
    """

    starts_N: Ints
    num_origins_N: Ints
    warmup: int

    @property
    def origins_O(self) -> Ints:  # noqa: N802
        """The origins in the order of the tiles."""
        first = self.starts_N + self.warmup
        ends = np.cumsum(self.num_origins_N)
        offsets = np.arange(int(self.num_origins_N.sum()))
        return offsets + np.repeat(first - ends + self.num_origins_N, self.num_origins_N)


def steps_of(frame: pd.DataFrame) -> Steps:
    """The steps of ``FeatureTable.frame`` (``region``, ``part``, ``is_input``)."""
    return Steps(
        frame["region"].cat.codes.to_numpy().astype(np.int64),
        frame["part"].to_numpy(),
        frame["is_input"].to_numpy(),
    )


def train_starts(steps: Steps, config: WindowsConfig) -> Ints:
    """The starts of all windows (stride 1) that training may use, ascending.

    Every input is known, all of it lies in one region, at least one origin has a training label,
    and neither an input nor a label lies in or past the region's validation and test parts.
    """
    num_steps, span = len(steps.part_T), config.lookback + config.horizon
    starts = np.arange(max(0, num_steps - span + 1))
    one_region = steps.region_T[starts] == steps.region_T[starts + span - 1]
    inputs_known = _count(~steps.is_input_T, starts, starts + config.lookback) == 0
    is_held_out = steps.part_T > TRAIN
    before_cutoff = _count(is_held_out, starts, starts + span) == 0
    has_label = _count(steps.part_T == TRAIN, starts + config.warmup + 1, starts + span) > 0
    usable: Bools = one_region & inputs_known & before_cutoff & has_label
    return starts[usable]


def num_in_pass(starts_N: Ints, config: WindowsConfig, *, pass_number: int) -> int:
    """How many windows :func:`cut_pass` gives, without cutting."""
    return int((starts_N % config.stride == _phase(config, pass_number)).sum())


def cut_pass(starts_N: Ints, config: WindowsConfig, *, pass_number: int, seed: int) -> Ints:
    """The windows of one pass, shuffled: each ``stride``-th start, from a random phase if asked.

    The phase is the pass's own, whatever the seed, so that all seeds have as many steps.
    """
    rng = np.random.default_rng([seed, pass_number])
    return rng.permutation(starts_N[starts_N % config.stride == _phase(config, pass_number)])


def _phase(config: WindowsConfig, pass_number: int) -> int:
    if not config.random_phase:
        return 0
    return int(np.random.default_rng(pass_number).integers(config.stride))


def scored_origins(steps: Steps, part: int, config: WindowsConfig) -> Ints:
    """The origins whose ``horizon`` next steps are all labels of ``part``, with a known warm-up."""
    span = config.warmup + 1 + config.horizon
    starts = np.arange(max(0, len(steps.part_T) - span + 1))
    one_region = steps.region_T[starts] == steps.region_T[starts + span - 1]
    inputs_known = _count(~steps.is_input_T, starts, starts + config.warmup + 1) == 0
    labels = _count(steps.part_T == part, starts + config.warmup + 1, starts + span)
    usable: Bools = one_region & inputs_known & (labels == config.horizon)
    return starts[usable] + config.warmup


def tile_origins(steps: Steps, origins_O: Ints, config: WindowsConfig) -> Tiles:
    """Cover the origins (ascending) with the fewest windows; each has its warm-up before it."""
    reach = config.lookback - config.warmup
    # An origin joins the tile before it only if all steps between are known inputs of one region.
    blocked = np.cumsum(~steps.is_input_T) + steps.region_T * (len(steps.part_T) + 1)
    starts, counts = [], []
    position = 0
    while position < len(origins_O):
        first = origins_O[position]
        end = np.searchsorted(origins_O, first + reach)
        same = blocked[origins_O[position:end]] == blocked[first]
        in_reach = origins_O[position:end][same]
        starts.append(first - config.warmup)
        counts.append(int(in_reach[-1] - first) + 1)
        position += len(in_reach)
    return Tiles(np.array(starts, dtype=np.int64), np.array(counts, dtype=np.int64), config.warmup)


def _count(mask_T: Bools, begin: Ints, end: Ints) -> Ints:
    """How many steps of ``begin .. end - 1`` are set, for each pair."""
    total = np.concatenate([[0], np.cumsum(mask_T)])
    return np.asarray(total[end] - total[begin])
