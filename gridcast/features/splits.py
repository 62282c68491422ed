"""Which labels train, validate and test: by a cutoff in time within each region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gridcast.config import SplitConfig

NO_PART, TRAIN, VALIDATION, TEST = range(4)
PARTS = ("none", "train", "validation", "test")


def assign_parts(
    is_observed_T: np.ndarray,
    is_trusted_T: np.ndarray,
    config: SplitConfig,
) -> np.ndarray:
    """The part of each of ``T`` steps as a label (int8): NO_PART, TRAIN, VALIDATION or TEST.

    The test part is the article's: the newest ``int(test_share * (readings - article_lookback))``
    readings of the region, doubtful ones included, so that both profiles score the same labels.
    The validation part is the newest share of the trusted readings before it.
    """
    parts = np.full(len(is_observed_T), NO_PART, dtype=np.int8)
    readings = np.flatnonzero(is_observed_T)
    num_test = int(config.test_share * max(0, len(readings) - config.article_lookback))
    first_test = readings[len(readings) - num_test] if num_test else len(is_observed_T)
    parts[readings[len(readings) - num_test :]] = TEST
    trusted = np.flatnonzero(is_trusted_T[:first_test])
    num_validation = int(config.validation_share * len(trusted))
    parts[trusted] = TRAIN
    parts[trusted[len(trusted) - num_validation :]] = VALIDATION
    return parts
