"""Linear models of the smallest absolute errors, of many leads at once.

Legend: ``N`` labels, ``F`` inputs that all leads share, ``K`` leads, ``C`` inputs of a lead alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RIDGE, RIDGE_OF_FEW = 3.0, 1e4  # labels, on standardised inputs; and divided by how many there are
ITERATIONS = 3
_ENOUGH = 3e-3  # relative gain of an iteration under which it is the last
_SMALLEST_ERROR = 0.02  # of the median error: closer is as good as exact
_EXACT = 1e-6  # share of a label that is rounding
_CONSTANT = 1e-9  # deviation of an input that says nothing
_PLACE = np.float32  # of what is multiplied: twice as fast, and sums are kept in float64


class Linear(NamedTuple):
    """``bias_K + x_NF @ weight_FK``, and of each lead its own inputs times ``own_KC``."""

    weight_FK: np.ndarray
    own_KC: np.ndarray
    bias_K: np.ndarray

    def predict(self, x_NF: np.ndarray, own_NKC: np.ndarray | None = None) -> np.ndarray:
        """Shape ``(N, K)``."""
        y_NK = x_NF @ self.weight_FK + self.bias_K
        if own_NKC is not None and own_NKC.shape[-1]:
            y_NK += np.einsum("nkc,kc->nk", own_NKC, self.own_KC)
        return np.asarray(y_NK)


def ridge_of(num_labels: int) -> float:
    """The fewer labels, the more is needed: found on validation parts of 100 to 3650 labels."""
    return RIDGE + RIDGE_OF_FEW / max(1, num_labels)


def fit_least_absolute(
    x_NF: np.ndarray,
    y_NK: np.ndarray,
    own_NKC: np.ndarray | None = None,
    *,
    ridge: float = RIDGE,
    iterations: int = ITERATIONS,
    enough: float = _ENOUGH,
) -> Linear:
    """The linear models of the smallest errors, nearly: least squares, reweighted.

    Of one lead it is the mean absolute error that is made small (Schlossmacher 1973): each
    iteration weighs a label by the inverse of its last error. Of many it is the mean length of a
    label's errors, each lead's over what is usual of it; all leads then share the weights of
    labels, and one product of the inputs serves them all. A ridge on the standardised inputs keeps
    it stable where labels are few or inputs say the same. It ends when an iteration gains less than
    the share ``enough``. Without labels it gives 0.
    """
    if own_NKC is None:
        own_NKC = np.zeros((*y_NK.shape, 0))
    if not len(y_NK):
        num_leads, num_own = own_NKC.shape[1:]
        zeros = np.zeros((x_NF.shape[1], num_leads)), np.zeros((num_leads, num_own))
        return Linear(*zeros, np.zeros(num_leads))
    (z_NF, *of_shared), (z_NKC, *of_own) = (_standardised(each) for each in (x_NF, own_NKC))
    labels = _Labels(z_NF, z_NKC, y_NK.astype(_PLACE), ridge)
    trust_N = np.ones(len(y_NK))
    best, least, typical_K = None, np.inf, np.ones(y_NK.shape[1])
    for number in range(iterations + 1):
        found = labels.solve(trust_N)
        error_NK = np.abs(labels.y_NK - labels.predict(found))
        if number == 0:
            exact_K = np.maximum(_EXACT * np.abs(labels.y_NK).max(axis=0), _EXACT**2)
            typical_K = np.maximum(error_NK.mean(axis=0, dtype="float64"), exact_K)
        length_N = np.sqrt(((error_NK / typical_K) ** 2).mean(axis=1, dtype="float64"))
        gain, before = least - length_N.mean(), least
        if best is None or gain > 0:
            best, least = found, length_N.mean()
        if number and gain <= enough * before:
            break
        smallest = max(_SMALLEST_ERROR * float(np.median(length_N)), _EXACT)
        trust_N = 1.0 / np.maximum(length_N, smallest)
        trust_N /= trust_N.mean()
    return _in_units(best if best is not None else found, of_shared, of_own)


class _Labels(NamedTuple):
    """What is fitted to, inputs standardised; of those that are shared the bias is the last."""

    z_NF: np.ndarray
    z_NKC: np.ndarray
    y_NK: np.ndarray
    ridge: float

    def solve(self, trust_N: np.ndarray) -> np.ndarray:
        """Least squares, each label counting for ``trust_N``, with a ridge: ``(K, F + C)``."""
        trust_N = trust_N.astype(_PLACE)
        trusted_FN = (self.z_NF * trust_N[:, None]).T
        num_shared = self.z_NF.shape[1]
        penalty_F = np.full(num_shared, self.ridge)
        penalty_F[-1] = 0.0
        gram_FF = (trusted_FN @ self.z_NF).astype("float64") + np.diag(penalty_F)
        right_FK = (trusted_FN @ self.y_NK).astype("float64")
        num_leads, num_own = self.z_NKC.shape[1:]
        if not num_own:
            return np.asarray(np.linalg.solve(gram_FF, right_FK).T)
        cross_FKC = (trusted_FN @ self.z_NKC.reshape(len(trust_N), -1)).reshape(
            num_shared, num_leads, num_own
        )
        trusted_KCN = (self.z_NKC * trust_N[:, None, None]).transpose(1, 2, 0)
        matrix_KAA = np.empty((num_leads, num_shared + num_own, num_shared + num_own))
        matrix_KAA[:, :num_shared, :num_shared] = gram_FF
        matrix_KAA[:, :num_shared, num_shared:] = cross_FKC.transpose(1, 0, 2)
        matrix_KAA[:, num_shared:, :num_shared] = cross_FKC.transpose(1, 2, 0)
        matrix_KAA[:, num_shared:, num_shared:] = trusted_KCN @ self.z_NKC.transpose(
            1, 0, 2
        ) + self.ridge * np.eye(num_own)
        right_KC1 = trusted_KCN @ self.y_NK.T[..., None]
        right_KA1 = np.concatenate([right_FK.T[..., None], right_KC1], axis=1)
        return np.asarray(np.linalg.solve(matrix_KAA, right_KA1)[..., 0])

    def predict(self, found_KA: np.ndarray) -> np.ndarray:
        """Shape ``(N, K)``."""
        found_KA = found_KA.astype(_PLACE)
        num_shared = self.z_NF.shape[1]
        y_NK = self.z_NF @ found_KA[:, :num_shared].T
        if self.z_NKC.shape[-1]:
            y_NK += np.einsum("nkc,kc->nk", self.z_NKC, found_KA[:, num_shared:])
        return np.asarray(y_NK)


def _standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """With mean and deviation; a constant is divided by infinity. Of shared ones a bias is last."""
    mean = x.mean(0, dtype="float64")
    z = (x - mean).astype(_PLACE)
    spread = np.sqrt(np.einsum("n...,n...->...", z, z, dtype="float64") / len(x))
    spread = np.where(spread > _CONSTANT, spread, np.inf)
    z /= spread.astype(_PLACE)
    if x.ndim == 2:  # noqa: PLR2004 - labels and inputs
        z = np.concatenate([z, np.ones((len(x), 1), _PLACE)], axis=1)
    return z, mean, spread


def _in_units(
    found_KA: np.ndarray, of_shared: list[np.ndarray], of_own: list[np.ndarray]
) -> Linear:
    """The same models of inputs as they come."""
    mean_F, spread_F = of_shared
    mean_KC, spread_KC = of_own
    weight_FK = found_KA[:, : len(mean_F)].T / spread_F[:, None]
    own_KC = found_KA[:, len(mean_F) + 1 :] / spread_KC
    bias_K = found_KA[:, len(mean_F)] - mean_F @ weight_FK - (mean_KC * own_KC).sum(1)
    return Linear(weight_FK, own_KC, bias_K)
