"""Windows as an index and a mask over the steps of all regions; none is ever materialised.

A window starts at step ``s`` and reads the steps ``s .. s + lookback - 1``. After the first
``warmup`` of them the network forecasts, from each, the next ``horizon`` steps; a step from which
it forecasts is an origin. The article's window (loss at the last step alone) has
``warmup = lookback - 1``.

Legend: ``T`` steps, ``N`` windows, ``O`` origins, ``L`` lookback, ``H`` horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridcast.errors import UsageError
from gridcast.features.splits import TEST, TRAIN, VALIDATION
from gridcast.record import Record, RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.config import TrainingConfig, WindowsConfig

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Steps:
    """What windows are cut from. All arrays have one entry a step, regions end to end."""

    region_T: NDArray[np.integer]  # ascending
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
        frame["region"].cat.codes.to_numpy().astype(np.int32),
        frame["part"].to_numpy(),
        frame["is_input"].to_numpy(),
    )


def train_starts(steps: Steps, config: WindowsConfig) -> Ints:
    """The starts of all windows (stride 1) that training may use, ascending.

    Every input is known, all of it lies in one region, at least one origin has a training label,
    and neither an input nor a label lies in or past the region's validation and test parts.
    """
    span = config.lookback + config.horizon
    usable = _in_one_region(steps, span)
    usable &= _count(~steps.is_input_T, 0, config.lookback, len(usable)) == 0
    usable &= _count(steps.part_T > TRAIN, 0, span, len(usable)) == 0
    usable &= _count(steps.part_T == TRAIN, config.warmup + 1, span, len(usable)) > 0
    return np.flatnonzero(usable)


def count_windows(steps: Steps, config: WindowsConfig) -> WindowsRecord:
    """The windows of some regions; none lies in two, so that the counts of all regions add up."""
    num_test = len(scored_origins(steps, TEST, config))
    return WindowsRecord(
        train=len(train_starts(steps, config)),
        validation=len(scored_origins(steps, VALIDATION, config)),
        test=num_test,
        unscored_test=int((steps.part_T == TEST).sum()) - num_test,
    )


def count_phases(starts_N: Ints, config: WindowsConfig) -> Ints:
    """How many of the starts each phase of the stride has: shape ``(stride,)``."""
    return np.bincount(starts_N % config.stride, minlength=config.stride)


class Size(NamedTuple):
    """How long a training is: passes, and windows a batch."""

    passes: int
    batch_size: int


def size_training(training: TrainingConfig, *, windows_a_pass: float) -> Size:
    """As it is asked for; or, where ``training.passes`` is null, as the data have it.

    So many passes that the training sees ``window_budget`` windows, within ``pass_bounds``: fewer
    of many series, and not too many of a short one, which it would learn by heart. Where that makes
    fewer than ``fewest_steps``, batches are halved, down to ``smallest_batch``.
    """
    batch = training.batch_size
    if training.passes is not None:
        return Size(training.passes, batch)
    fewest, most = training.pass_bounds
    passes = min(max(round(training.window_budget / max(1.0, windows_a_pass)), fewest), most)
    smallest = max(training.smallest_batch, training.split_over)
    while passes * windows_a_pass < batch * training.fewest_steps and batch >= 2 * smallest:
        if batch % (2 * training.split_over):
            break
        batch //= 2
    return Size(passes, batch)


def plan_passes(num_by_phase: Ints, windows: WindowsConfig, training: TrainingConfig) -> list[int]:
    """How many batches each pass has, told without cutting one.

    Raises:
        UsageError: the training part is too short for a batch in each pass.
    """
    num_passes, size = size_training(
        training, windows_a_pass=int(num_by_phase.sum()) / windows.stride
    )
    numbers = range(1, num_passes + 1)
    sizes = [int(num_by_phase[_phase(windows, number)]) for number in numbers]
    passes = [num // size if training.drop_last else ceil(num / size) for num in sizes]
    if not all(passes):
        raise UsageError(
            where="training",
            found=f"{num_by_phase.sum()} places for a window, of which a pass has no batch",
            expected="longer series, or a smaller windows.stride or training.batch_size",
        )
    return passes


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
    first = config.warmup + 1
    span = first + config.horizon
    usable = _in_one_region(steps, span)
    usable &= _count(~steps.is_input_T, 0, first, len(usable)) == 0
    usable &= _count(steps.part_T == part, first, span, len(usable)) == config.horizon
    return np.flatnonzero(usable) + config.warmup


def tile_origins(steps: Steps, origins_O: Ints, config: WindowsConfig) -> Tiles:
    """Cover the origins (ascending) with the fewest windows; each has its warm-up before it."""
    reach = config.lookback - config.warmup
    # An origin joins the tile before it only if all steps between are known inputs of one region:
    # stretches of such origins are covered side by side, a tile of each at a time.
    gaps_O = np.cumsum(~steps.is_input_T, dtype=np.int32)[origins_O]
    is_new = (np.diff(gaps_O) != 0) | (np.diff(steps.region_T[origins_O]) != 0)
    edges = np.flatnonzero(is_new) + 1
    position = np.concatenate([[0], edges]) if len(origins_O) else edges
    end = np.append(edges, len(origins_O))[: len(position)]
    firsts, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while len(position):
        first = origins_O[position]
        beyond = np.minimum(np.searchsorted(origins_O, first + reach), end)
        firsts.append(first)
        counts.append(origins_O[beyond - 1] - first + 1)
        has_more = beyond < end
        position, end = beyond[has_more], end[has_more]
    first_N, count_N = np.concatenate(firsts), np.concatenate(counts)
    order = np.argsort(first_N, kind="stable")
    return Tiles(first_N[order] - config.warmup, count_N[order], config.warmup)


def _in_one_region(steps: Steps, span: int) -> Bools:
    """For each step from which ``span`` steps are left: whether they lie in one region."""
    num = max(0, len(steps.region_T) - span + 1)
    same: Bools = steps.region_T[:num] == steps.region_T[len(steps.region_T) - num :]
    return same


def _count(mask_T: Bools, begin: int, end: int, num: int) -> NDArray[np.int32]:
    """How many of the steps ``t + begin .. t + end - 1`` are set, for each ``t`` below ``num``."""
    total = np.zeros(len(mask_T) + 1, dtype=np.int32)
    np.cumsum(mask_T, out=total[1:])
    return np.asarray(total[end : end + num] - total[begin : begin + num])


class WindowsRecord(Record):
    """How many windows each part has: starts in training, labels forecast in the others."""

    train: int
    validation: int
    test: int
    unscored_test: int = 0

    def plus(self, other: WindowsRecord) -> WindowsRecord:
        """Those of both."""
        both = self.model_dump(), other.model_dump()
        return WindowsRecord(**{name: both[0][name] + both[1][name] for name in both[0]})


class FeaturesMade(RunRecord):
    """The table of features that a run trained on: its file, key and windows.

    ``imputed_hours`` counts, by region, the steps whose input was filled and not read.
    """

    kind: ClassVar[str] = "features"

    path: str
    key: str
    windows: WindowsRecord
    imputed_hours: dict[str, int]
    cached: bool
