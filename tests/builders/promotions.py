"""Builders of contests: losses of two models with a planted difference, references, entries."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from gridcast.operation.model_reference import ModelReference
from gridcast.operation.promotion_log import Promotion
from tests.builders.values import make_config

PROMOTION = make_config().operation.promotion
_PERSISTENCE = 0.9  # of an hour's luck from one issue time to the next
_LUCK = 0.1  # of a loss, one standard deviation, of each model by itself


def make_losses(loss_N: np.ndarray, region: str = "R0") -> pd.DataFrame:
    """One region's losses (percent), an hour after the other."""
    index = pd.date_range("2018-01-01", periods=len(loss_N), freq="h", tz="UTC")
    return pd.DataFrame({region: loss_N}, index=index)


def planted_losses(
    seed: int,
    *,
    num_hours: int = 6000,
    regions: int = 3,
    better: float = 0.0,
    worse: float = 0.0,
) -> dict[str, pd.DataFrame]:
    """Losses of ``challenger`` and ``champion``, and of a naive forecast of twice these.

    Both have hard and easy days in common, and each its own luck; the challenger is better by a
    share in all regions, and worse by one in the first.
    """
    rng = np.random.default_rng(seed)
    hard = np.exp(0.3 * _walk(rng, num_hours, regions))
    frames = {}
    for name in ("challenger", "champion"):
        share = np.full(regions, 1 - better if name == "challenger" else 1.0)
        if name == "challenger":
            share[0] += worse
        luck = np.exp(_LUCK * _walk(rng, num_hours, regions))
        frames[name] = _frame(3.4 * hard * luck * share)
    return frames | {"same_hour_yesterday": _frame(7.0 * hard)}


def _walk(rng: np.random.Generator, num_hours: int, regions: int) -> np.ndarray:
    """First-order autoregressive noise of variance 1, half of it that of all regions."""
    both = np.sqrt(0.5) * (
        rng.standard_normal((num_hours, 1)) + rng.standard_normal((num_hours, regions))
    )
    return np.asarray(np.sqrt(1 - _PERSISTENCE**2) * lfilter([1], [1, -_PERSISTENCE], both, axis=0))


def _frame(loss_NR: np.ndarray) -> pd.DataFrame:
    index = pd.date_range("2018-01-01", periods=len(loss_NR), freq="h", tz="UTC")
    return pd.DataFrame(loss_NR, index, pd.Index([f"R{n}" for n in range(loss_NR.shape[1])]))


def make_reference(name: str = "gru-seed0", digit: str = "a") -> ModelReference:
    """A model that is nowhere."""
    return ModelReference(
        name=name, sha256=digit * 64, run_id=f"20180801T000000Z-{digit * 4}",
        folder=f"models/{name}", card_sha256="0" * 64,
    )  # fmt: skip


def make_promotion(number: int, since: str, digit: str, kind: str = "promotion") -> Promotion:
    """An entry of the log."""
    return Promotion.model_validate({
        "number": number, "dataset": "pjm", "kind": kind, "since": since,
        "written_at": "2026-01-01T00:00:00+00:00", "decided_by": "a test", "left": None,
        "to": make_reference(digit=digit), "reason": "as planted",
    })  # fmt: skip
