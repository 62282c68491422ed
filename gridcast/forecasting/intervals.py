"""Bands around a forecast, from how wrong it was on labels that it was not fitted to.

Split conformal prediction (Vovk et al. 2005; Lei et al. 2018), each side by itself: a quantile of
the errors on the validation part, of the same region and lead, with the correction for a finite
sample. If hours to come are like those, a band holds its share of them.

Legend: ``O`` origins, ``K`` leads, ``Q`` quantiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def error_quantiles(error_OK: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Of the errors (truth minus forecast, any unit) at each lead: ``(K, Q)``, NaN where none.

    Below 0.5 a quantile is the ``floor(level (n + 1))``-th smallest error, above it the
    ``ceil(level (n + 1))``-th, so that the band holds at least its share of exchangeable errors;
    where there are too few for that, the smallest or the largest. NaN errors do not count.

    >>> error_quantiles(np.arange(1.0, 20.0)[:, None], [0.1, 0.5, 0.9])
    array([[ 2., 10., 18.]])
    """
    ordered_OK = np.sort(error_OK, axis=0)  # NaN last
    num_K = (~np.isnan(error_OK)).sum(axis=0)
    found_KQ = np.full((error_OK.shape[1], len(levels)), np.nan)
    for place, level in enumerate(levels):
        wanted_K = level * (num_K + 1)
        rank_K = np.floor(wanted_K + 1e-9) if level < 0.5 else np.ceil(wanted_K - 1e-9)  # noqa: PLR2004
        index_K = np.clip(rank_K.astype(int), 1, np.maximum(num_K, 1)) - 1
        found_KQ[:, place] = np.take_along_axis(ordered_OK, index_K[None], axis=0)[0]
    found_KQ[num_K == 0] = np.nan
    return found_KQ
