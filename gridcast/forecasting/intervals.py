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


def coverage(y_true: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Share of labels within their band (0 to 1), ends included; no labels give NaN.

    >>> coverage(np.array([1.0, 2.0, 9.0]), np.zeros(3), np.full(3, 2.0))
    0.6666666666666666
    """
    inside = (lower <= y_true) & (y_true <= upper)
    return float(inside.mean()) if inside.size else float("nan")


def winkler(y_true: np.ndarray, lower: np.ndarray, upper: np.ndarray, *, level: float) -> float:
    """Mean interval score (Winkler 1972) in the unit of the labels: width plus penalties.

    ``level`` is the share that the band is to hold (0.9): a label outside costs its distance times
    ``2 / (1 - level)``.

    >>> winkler(np.array([1.0, 3.0]), np.zeros(2), np.full(2, 2.0), level=0.5)
    4.0
    """
    outside = np.maximum(lower - y_true, 0.0) + np.maximum(y_true - upper, 0.0)
    return float(np.mean(upper - lower + 2.0 / (1.0 - level) * outside))
