"""What a retraining is asked to hold back: enough to be judged by, and little else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import Config

_MOST_SHARE = 0.3  # of a region's labels, whatever the test would need
_STEPS = 10_000  # a share is told with four decimals


def settings_to_be_judged(config: Config, num_hours: Sequence[int]) -> tuple[str, ...]:
    """Settings that raise the validation part to what a contest needs (none: it is long enough).

    Args:
        config: with the settings of a retraining in it.
        num_hours: readings of each region; the one in the middle is to have enough.

    >>> from gridcast.config import Config
    >>> settings_to_be_judged(Config.load(), [100_000])
    ()
    >>> settings_to_be_judged(Config.load(), [5_000, 6_000, 7_000])
    ('split.validation_share=0.1291',)
    """
    own = config.operation.promotion
    known = (1 - config.split.test_share) * float(np.median(num_hours)) if num_hours else 0.0
    share = min((own.min_hours + own.leads + 1) / max(known, 1.0), _MOST_SHARE)
    if share <= config.split.validation_share:
        return ()
    return (f"split.validation_share={math.ceil(share * _STEPS) / _STEPS:.4f}",)  # never too few
