"""Windows against plain loops: none crosses a gap, a region or the cutoff, and none is left out.

Legend: ``T`` steps, ``N`` windows, ``O`` origins, ``L`` lookback, ``H`` horizon.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridcast.config import WindowsConfig
from gridcast.features.splits import NO_PART, TEST, TRAIN, VALIDATION
from gridcast.features.table import build_features
from gridcast.features.windows import (
    Steps,
    WindowsRecord,
    count_phases,
    count_windows,
    cut_pass,
    plan_passes,
    scored_origins,
    size_training,
    steps_of,
    tile_origins,
    train_starts,
)
from tests.builders.values import make_config, make_load, make_load_frame, make_steps


def make_windows(
    lookback: int = 3, warmup: int = 1, horizon: int = 1, **more: object
) -> WindowsConfig:
    sizes = {"lookback": lookback, "warmup": warmup, "horizon": horizon}
    return make_config(windows={**sizes, **more}).windows


@st.composite
def shapes(draw: st.DrawFn) -> WindowsConfig:
    lookback = draw(st.integers(1, 6))
    return make_windows(lookback, draw(st.integers(0, lookback - 1)), draw(st.integers(1, 3)))


# Long runs, so that windows fit in, in any order of parts.
drawings = st.lists(
    st.tuples(st.sampled_from("TTTVEE.-|"), st.integers(1, 12)), min_size=1, max_size=8
).map(lambda runs: "".join(letter * (1 if letter == "|" else num) for letter, num in runs))


# -- training ------------------------------------------------------------------------------------


def is_train_window(steps: Steps, start: int, config: WindowsConfig) -> bool:
    """By the definition: inputs known, one region, nothing held out, something to learn."""
    inputs = range(start, start + config.lookback)
    ahead = range(start + config.lookback, start + config.lookback + config.horizon)
    labels = [o + h for o in inputs[config.warmup :] for h in range(1, config.horizon + 1)]
    return (
        len({steps.region_T[step] for step in (*inputs, *ahead)}) == 1
        and all(steps.is_input_T[step] for step in inputs)
        and all(steps.part_T[step] in {NO_PART, TRAIN} for step in (*inputs, *ahead))
        and any(steps.part_T[step] == TRAIN for step in labels)
    )


@settings(max_examples=50)
@given(drawing=drawings, config=shapes())
def test_training_windows_are_those_of_a_plain_loop(drawing: str, config: WindowsConfig) -> None:
    steps = make_steps(drawing)
    last = len(steps.part_T) - config.lookback - config.horizon
    expected = [start for start in range(last + 1) if is_train_window(steps, start, config)]
    assert train_starts(steps, config).tolist() == expected


@settings(max_examples=50)
@given(drawing=drawings, config=shapes(), part=st.sampled_from([TRAIN, VALIDATION, TEST]))
def test_no_window_crosses_a_gap_or_a_region(
    drawing: str, config: WindowsConfig, part: int
) -> None:
    steps = make_steps(drawing)
    tiles = tile_origins(steps, scored_origins(steps, part, config), config)
    trained = ((start, config.lookback) for start in train_starts(steps, config))
    scored = zip(tiles.starts_N, config.warmup + tiles.num_origins_N, strict=True)
    for start, num in (*trained, *scored):
        assert steps.is_input_T[start : start + num].tolist() == [True] * num
        assert len(set(steps.region_T[start : start + num + 1])) == 1


@pytest.mark.parametrize(
    ("drawing", "starts"),
    [
        pytest.param("TTTTTT", [0, 1, 2], id="one_region"),
        pytest.param("TTT", [], id="too_short"),
        pytest.param("TTTTT-TTTT", [0, 1, 2, 6], id="a_gap_is_no_input_but_may_be_the_last_label"),
        pytest.param("TTTT|TTTT", [0, 4], id="two_regions"),
        pytest.param("TTTTTVVVV", [0, 1], id="validation_is_no_label_and_no_input"),
        pytest.param("TTTTTEEEE", [0, 1], id="nor_is_the_test_part"),
        pytest.param("......TT", [3, 4], id="something_to_learn_after_the_warmup"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_training_windows_of_three_steps_with_a_warmup_of_one(
    drawing: str, starts: list[int]
) -> None:
    assert train_starts(make_steps(drawing), make_windows(3, 1, 1)).tolist() == starts


@pytest.mark.parametrize("num", [3, 4, 5, 100])
def test_the_count_in_an_unbroken_series_is_the_articles(num: int) -> None:
    # There, inputs are np.zeros((len(data) - lookback, ...)).
    starts = train_starts(make_steps("T" * num), make_windows(3, 2, 1))
    assert len(starts) == num - 3


@pytest.mark.parametrize(
    ("warmup", "lost"),
    [
        pytest.param(89, 90, id="label_at_the_end_alone"),
        pytest.param(48, 89, id="labels_on_the_way"),
    ],
)
@pytest.mark.parametrize("max_fill_hours", [0, 3])
def test_no_window_spans_a_gap_of_48_hours_and_the_count_is_the_formulas(
    warmup: int, lost: int, max_fill_hours: int
) -> None:
    before, after, lookback = 400, 300, 90
    config = make_config(
        split={"test_share": 0.0, "validation_share": 0.0},
        windows={"lookback": lookback, "warmup": warmup, "horizon": 1},
        rules={"default": {"repaired": {"max_fill_hours": max_fill_hours}}},
    )
    readings = make_load_frame(make_load(748), missing=range(before, before + 48))
    steps = steps_of(build_features({"AEP": readings}, config).frame)
    starts = train_starts(steps, config.windows)
    assert not any(
        start < before + 48 and start + lookback > before + max_fill_hours for start in starts
    )
    # A label on the way lets the window's inputs reach the end of the part, filled hours too.
    first_part = before - lost + (max_fill_hours if warmup == 48 else 0)
    assert len(starts) == first_part + (after - lookback)


def test_a_pass_with_stride_1_visits_every_window_once_in_another_order() -> None:
    starts = np.arange(500)
    windows = make_windows(stride=1, random_phase=True)
    visited = cut_pass(starts, windows, pass_number=1, seed=0)
    assert sorted(visited) == starts.tolist()
    assert visited.tolist() != starts.tolist()
    again = cut_pass(starts, windows, pass_number=1, seed=0)
    assert visited.tolist() == again.tolist()


@given(
    starts=st.sets(st.integers(0, 200)).map(lambda s: np.array(sorted(s), dtype=np.int64)),
    stride=st.integers(1, 20),
    random_phase=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_pass_visits_each_stride_th_start_and_none_twice(
    starts: np.ndarray,
    stride: int,
    random_phase: bool,  # noqa: FBT001
    seed: int,
) -> None:
    windows = make_windows(stride=stride, random_phase=random_phase)
    visited = cut_pass(starts, windows, pass_number=seed + 1, seed=seed).tolist()
    assert len(set(visited)) == len(visited)
    assert len({start % stride for start in visited}) <= 1
    if not random_phase:
        assert sorted(visited) == [start for start in starts if start % stride == 0]
    elif visited:
        phase = visited[0] % stride
        assert sorted(visited) == [start for start in starts if start % stride == phase]


@pytest.mark.parametrize("random_phase", [False, True])
@pytest.mark.parametrize("stride", [1, 6])
def test_each_pass_takes_its_windows_in_an_order_of_its_own(
    *, random_phase: bool, stride: int
) -> None:
    windows = make_windows(stride=stride, random_phase=random_phase)
    passes = [
        cut_pass(np.arange(600), windows, pass_number=number, seed=0) for number in range(1, 9)
    ]
    # Which of a pass's windows comes when: phases may differ, the places in the order must.
    ranks = {tuple(np.argsort(order).tolist()) for order in passes}
    assert len(ranks) == len(passes)
    others = [cut_pass(np.arange(600), windows, pass_number=1, seed=seed) for seed in range(1, 9)]
    assert len({tuple(order.tolist()) for order in (passes[0], *others)}) == 9


def test_with_a_random_phase_the_passes_together_visit_every_window() -> None:
    windows = make_windows(stride=4, random_phase=True)
    visited = [
        set(cut_pass(np.arange(40), windows, pass_number=number, seed=0).tolist())
        for number in range(1, 31)
    ]
    assert set.union(*visited) == set(range(40))
    assert all(len(each) == 10 for each in visited)


# -- scoring -------------------------------------------------------------------------------------


def is_scored(steps: Steps, origin: int, part: int, config: WindowsConfig) -> bool:
    """By the definition: a known warm-up and origin, and labels of the part, in one region."""
    inputs = range(origin - config.warmup, origin + 1)
    labels = range(origin + 1, origin + config.horizon + 1)
    return (
        len({steps.region_T[step] for step in (*inputs, *labels)}) == 1
        and all(steps.is_input_T[step] for step in inputs)
        and all(steps.part_T[step] == part for step in labels)
    )


def loop_origins(steps: Steps, part: int, config: WindowsConfig) -> list[int]:
    candidates = range(config.warmup, len(steps.part_T) - config.horizon)
    return [origin for origin in candidates if is_scored(steps, origin, part, config)]


@settings(max_examples=50)
@given(drawing=drawings, config=shapes(), part=st.sampled_from([TRAIN, VALIDATION, TEST]))
def test_scored_origins_are_those_of_a_plain_loop(
    drawing: str, config: WindowsConfig, part: int
) -> None:
    steps = make_steps(drawing)
    origins = scored_origins(steps, part, config)
    assert origins.tolist() == loop_origins(steps, part, config)


def test_every_test_label_has_an_origin_the_step_before_it_even_across_the_cutoff() -> None:
    config = make_windows(lookback=4, warmup=3, horizon=1)
    assert scored_origins(make_steps("TTTTVVEEE"), TEST, config).tolist() == [5, 6, 7]


@example(drawing="EEEEEE|EEEEEE", config=make_windows(4, 0, 1))
@example(drawing="EEEEEE-EEEEEE", config=make_windows(4, 0, 1))
@settings(max_examples=50)
@given(drawing=drawings, config=shapes())
def test_tiles_forecast_from_every_origin_once_each_with_its_warmup_before_it(
    drawing: str, config: WindowsConfig
) -> None:
    steps = make_steps(drawing)
    origins = scored_origins(steps, TEST, config)
    tiles = tile_origins(steps, origins, config)
    covered: list[int] = []
    for start, num in zip(tiles.starts_N, tiles.num_origins_N, strict=True):
        own = range(start + config.warmup, start + config.warmup + num)
        assert 1 <= num <= config.lookback - config.warmup
        assert {own[0], own[-1]} <= set(origins)
        assert start >= 0
        assert steps.is_input_T[start : own[-1] + 1].all()
        assert len(set(steps.region_T[start : own[-1] + 1])) == 1
        covered += own
    assert tiles.origins_O.tolist() == covered
    assert [origin for origin in covered if origin in set(origins)] == origins.tolist()
    assert len(set(covered)) == len(covered)


@settings(max_examples=50)
@given(drawing=drawings, config=shapes())
def test_tiles_are_the_fewest_each_begins_where_the_one_before_could_not_reach(
    drawing: str, config: WindowsConfig
) -> None:
    steps = make_steps(drawing)
    tiles = tile_origins(steps, scored_origins(steps, TEST, config), config)
    firsts = tiles.starts_N + config.warmup
    for before, after in pairwise(firsts):
        too_far = after - before >= config.lookback - config.warmup
        between = slice(before, after + 1)
        blocked = not steps.is_input_T[between].all() or len(set(steps.region_T[between])) > 1
        assert too_far or blocked


def test_no_origins_need_no_tiles() -> None:
    tiles = tile_origins(make_steps("TTTT"), np.array([], dtype=np.int64), make_windows())
    assert (len(tiles.starts_N), len(tiles.origins_O)) == (0, 0)


def test_the_articles_windows_are_one_tile_a_label() -> None:
    steps, config = make_steps("T" * 20 + "E" * 10), make_windows(9, 8, 1)
    tiles = tile_origins(steps, scored_origins(steps, TEST, config), config)
    assert tiles.starts_N.tolist() == list(range(11, 21))
    assert tiles.num_origins_N.tolist() == [1] * 10


# Windows a pass of stride 168: of the article's 12 regions, of one with 11 years, with 3 years, of
# three with 9,000 hours, of one with 3,000 and with 1,000 hours, and of 5,000 with 20 years.
@pytest.mark.parametrize(
    ("windows_a_pass", "passes", "batch_size"),
    [
        (930_363 / 168, 6, 16), (82_291 / 168, 60, 16), (22_331 / 168, 60, 16),
        (22_610 / 168, 60, 16), (2406 / 168, 60, 4), (696 / 168, 60, 2), (5000 * 1043.0, 2, 16),
    ],
)  # fmt: skip
def test_a_training_sizes_itself_by_the_windows_of_a_pass(
    windows_a_pass: float, passes: int, batch_size: int
) -> None:
    training = make_config().training
    assert size_training(training, windows_a_pass=windows_a_pass) == (passes, batch_size)


def test_on_a_gpu_the_articles_regions_have_sixty_passes_of_its_batch() -> None:
    training = make_config("gpu").training
    assert size_training(training, windows_a_pass=930_363 / 168) == (60, 128)


def test_passes_that_are_asked_for_change_neither_themselves_nor_the_batch() -> None:
    training = make_config(training={"passes": 7, "batch_size": 64}).training
    assert size_training(training, windows_a_pass=4.1) == (7, 64)


@settings(max_examples=50)
@given(
    windows_a_pass=st.floats(0.1, 1e7),
    batch_size=st.sampled_from([1, 2, 3, 12, 16, 96, 128]),
    split_over=st.sampled_from([1, 2, 3, 4]),
)
def test_whatever_the_data_passes_stay_in_their_bounds_and_devices_share_a_batch(
    windows_a_pass: float, batch_size: int, split_over: int
) -> None:
    if batch_size % split_over:
        return
    sizes = {"batch_size": batch_size, "split_over": split_over}
    training = make_config(training=sizes).training
    found = size_training(training, windows_a_pass=windows_a_pass)
    fewest, most = training.pass_bounds
    assert fewest <= found.passes <= most
    assert min(batch_size, training.smallest_batch) <= found.batch_size <= batch_size
    assert found.batch_size % split_over == 0
    if found.batch_size < batch_size:
        assert found.passes * windows_a_pass / (2 * found.batch_size) < training.fewest_steps


@pytest.mark.parametrize("drop_last", [False, True])
def test_the_number_of_batches_of_a_pass_is_known_without_cutting_it(*, drop_last: bool) -> None:
    windows = make_config(windows={"stride": 7, "random_phase": True}).windows
    sizes = {"batch_size": 2, "passes": 20, "drop_last": drop_last}
    training = make_config(training=sizes).training
    starts = np.arange(100)[np.random.default_rng(1).random(100) < 0.5]
    cut = [len(cut_pass(starts, windows, pass_number=number, seed=3)) for number in range(1, 21)]
    expected = [num // 2 if drop_last else -(-num // 2) for num in cut]
    assert plan_passes(count_phases(starts, windows), windows, training) == expected
    assert len(set(expected)) > 1


@settings(max_examples=25)
@given(drawing=drawings, config=shapes())
def test_windows_of_all_regions_are_those_of_each_region_together(
    drawing: str, config: WindowsConfig
) -> None:
    regions = [make_steps(each) for each in drawing.split("|")]
    total = WindowsRecord(train=0, validation=0, test=0)
    for steps in regions:
        total = total.plus(count_windows(steps, config))
    assert total == count_windows(make_steps(drawing), config)
