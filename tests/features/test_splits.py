"""The test part is the article's, by time within a region; what trains comes before it.

Legend: ``T`` steps.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.features.splits import NO_PART, PARTS, TEST, TRAIN, VALIDATION, assign_parts
from tests.builders.values import make_config


def parts_of(
    is_observed_T: np.ndarray, is_trusted_T: np.ndarray | None = None, **split: object
) -> np.ndarray:
    trusted = is_observed_T if is_trusted_T is None else is_trusted_T
    return assign_parts(is_observed_T, trusted, make_config(split=split).split)


def counts(parts_T: np.ndarray) -> dict[str, int]:
    return {name: int((parts_T == part).sum()) for part, name in enumerate(PARTS)}


def test_names_and_numbers_of_the_parts_agree() -> None:
    named = {"none": NO_PART, "train": TRAIN, "validation": VALIDATION, "test": TEST}
    assert {name: PARTS.index(name) for name in PARTS} == named


@pytest.mark.parametrize("num", [90, 99, 100, 109, 110, 1000, 121_273])
def test_the_test_part_has_the_articles_count(num: int) -> None:
    expected = int(0.1 * (num - 90))  # int(0.1 * len(inputs)), with len(data) - lookback inputs
    parts = parts_of(np.ones(num, dtype=bool))
    assert counts(parts)["test"] == expected
    assert (parts[num - expected :] == TEST).all()


@pytest.mark.parametrize("num", [0, 1, 89])
def test_a_region_shorter_than_the_articles_window_tests_nothing(num: int) -> None:
    assert counts(parts_of(np.ones(num, dtype=bool)))["test"] == 0


def test_a_gap_does_not_change_which_readings_test() -> None:
    readings = np.ones(1000, dtype=bool)
    with_gap = np.insert(readings, 950, np.zeros(48, dtype=bool))
    tests = parts_of(with_gap) == TEST
    assert not tests[950:998].any()
    np.testing.assert_array_equal(np.delete(tests, np.s_[950:998]), parts_of(readings) == TEST)


def test_doubtful_readings_test_but_neither_train_nor_validate() -> None:
    observed, trusted = np.ones(1000, dtype=bool), np.ones(1000, dtype=bool)
    trusted[[100, 880, 950]] = False
    parts = parts_of(observed, trusted, validation_share=0.05)
    assert parts[[100, 880, 950]].tolist() == [NO_PART, NO_PART, TEST]


def test_the_validation_part_is_the_newest_share_of_the_rest() -> None:
    parts = parts_of(np.ones(1000, dtype=bool), test_share=0.1, validation_share=0.05)
    assert counts(parts) == {"none": 0, "train": 864, "validation": 45, "test": 91}
    assert (np.diff(parts) >= 0).all()


def test_without_a_validation_share_all_the_rest_trains() -> None:
    expected = {"none": 0, "train": 909, "validation": 0, "test": 91}
    assert counts(parts_of(np.ones(1000, dtype=bool), validation_share=0.0)) == expected


def test_without_a_test_share_nothing_tests() -> None:
    assert counts(parts_of(np.ones(1000, dtype=bool), test_share=0.0))["test"] == 0


_MASKS = st.lists(st.sampled_from([(True, True), (True, False), (False, False)]), max_size=80)
_SHARES = st.floats(0, 1)


@given(masks=_MASKS, test_share=_SHARES, validation_share=_SHARES, lookback=st.integers(1, 20))
def test_parts_follow_each_other_in_time_and_take_what_they_may(
    masks: list[tuple[bool, bool]], test_share: float, validation_share: float, lookback: int
) -> None:
    observed, trusted = np.array(masks, dtype=bool).reshape(-1, 2).T
    parts = parts_of(
        observed,
        trusted,
        test_share=test_share,
        validation_share=validation_share,
        article_lookback=lookback,
    )
    labels = parts[parts != NO_PART]
    assert (np.diff(labels) >= 0).all()
    assert not parts[~observed].any()
    assert not np.isin(parts[~trusted], [TRAIN, VALIDATION]).any()
    num_test = int(test_share * max(0, int(observed.sum()) - lookback))
    assert counts(parts)["test"] == num_test
    before = trusted[: np.flatnonzero(observed)[-num_test] if num_test else len(observed)]
    assert counts(parts)["validation"] == int(validation_share * before.sum())
    assert len(labels) == num_test + before.sum()


@given(masks=_MASKS)
def test_both_profiles_have_the_same_test_labels(masks: list[tuple[bool, bool]]) -> None:
    observed, trusted = np.array([*masks, *[(True, True)] * 120], dtype=bool).T
    hours = assign_parts(observed, trusted, make_config("base").split)
    rows = assign_parts(observed[observed], observed[observed], make_config("seed").split)
    np.testing.assert_array_equal(hours[observed] == TEST, rows == TEST)
    assert (rows == TEST).any()
