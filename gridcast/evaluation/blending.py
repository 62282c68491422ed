"""A blend: the mean of the networks and linear models, weighed by lead on the validation part.

They are wrong in different ways, so that together they are better than the better of them.

Legend: ``N`` labels, ``K`` leads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gridcast.evaluation.contestants import with_blend
from gridcast.evaluation.measure import norms_by_row, percent_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.evaluation.contestants import Contestant
    from gridcast.evaluation.forecasts import Forecasts

WEIGHTS = np.linspace(0.0, 1.0, 21)  # of the linear models, that are tried
_NO_BLEND = np.zeros(0)


def blend_weights(validation: Forecasts, norms: Mapping[str, float]) -> np.ndarray:
    """How much of a blend is that of the linear models at each lead, ``(K,)``.

    ``norms``: what errors of each region are held against, MW; none: each hour's own load.
    Empty where there are no such models, nothing to choose by, or nothing to be gained by them.
    """
    blend = with_blend(validation.contestants)[1]
    if blend is None or validation.labels.empty:
        return _NO_BLEND
    networks_N, linear_N = _parts(validation, blend)
    labels = validation.labels
    weight_K = best_weights(
        labels["y_true"].to_numpy(), networks_N, linear_N,
        labels["region"].cat.codes.to_numpy(), labels["lead"].to_numpy(dtype="int64") - 1,
        norms_by_row(labels["region"], norms),
    )  # fmt: skip
    return weight_K if weight_K.any() else _NO_BLEND


def best_weights(
    truth_N: np.ndarray,
    networks_N: np.ndarray,
    linear_N: np.ndarray,
    region_N: np.ndarray,
    lead_N: np.ndarray,
    norm_N: np.ndarray,
) -> np.ndarray:
    """The weight of the linear models at each lead that has the least error, ``(K,)``.

    The mean over the regions counts, by the measure of ``norm_N`` (see ``evaluation.measure``).
    ``lead_N`` is 0 for the first lead; a label that one of them has no forecast of says nothing,
    and of a lead without any label the weight is 0.
    """
    num_leads = int(lead_N.max(initial=-1)) + 1
    is_told_N = ~np.isnan(truth_N + networks_N + linear_N)
    truth_N, networks_N, linear_N, region_N, lead_N, norm_N = (
        each[is_told_N] for each in (truth_N, networks_N, linear_N, region_N, lead_N, norm_N)
    )
    num_regions = int(region_N.max(initial=-1)) + 1
    key_N, num_keys = lead_N * num_regions + region_N, num_leads * num_regions
    num_KR = np.bincount(key_N, minlength=num_keys).reshape(num_leads, num_regions)
    error_WK = np.empty((len(WEIGHTS), num_leads))
    for number, weight in enumerate(WEIGHTS):
        error_N = percent_errors(truth_N, blended(networks_N, linear_N, weight), norm_N)
        total_KR = np.bincount(key_N, error_N, minlength=num_keys).reshape(num_KR.shape)
        error_WK[number] = (total_KR / np.maximum(num_KR, 1)).sum(axis=1)
    return np.asarray(WEIGHTS[error_WK.argmin(axis=0)])


def blended(networks: np.ndarray, linear: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """``weight`` of the linear models; where they have no forecast, that of the networks.

    >>> blended(np.array([10.0, 10.0]), np.array([20.0, np.nan]), 0.3).tolist()
    [13.0, 10.0]
    """
    return np.where(np.isnan(linear), networks, networks + weight * (linear - networks))


def add_blend(forecasts: Forecasts, weight_K: np.ndarray) -> Forecasts:
    """With the forecasts of the blend, in its place among the contestants; none: without."""
    contestants, blend = with_blend(forecasts.contestants)
    if blend is None or not len(weight_K):
        return forecasts
    lead_N = forecasts.labels["lead"].to_numpy(dtype="int64") - 1
    own_N = blended(*_parts(forecasts, blend), weight_K[lead_N])
    y_pred = {**forecasts.y_pred, blend: own_N}
    return replace(forecasts, y_pred={each: y_pred[each] for each in contestants})


def _parts(forecasts: Forecasts, blend: Contestant) -> tuple[np.ndarray, np.ndarray]:
    """What the networks say together, and what the linear models say."""
    by_name = {each.name: own for each, own in forecasts.y_pred.items()}
    networks = np.mean([by_name[name] for name in blend.members], axis=0)
    return networks, by_name[str(blend.linear)]
