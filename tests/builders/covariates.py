"""Covariates of one region, as files give them or as values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from gridcast.config import Config
from gridcast.covariates.values import ISSUED, TIME, Covariates, sorted_covariates
from tests.builders.values import make_config

FIRST = datetime(2017, 1, 1, 5, tzinfo=UTC)
Row = tuple[datetime, datetime | None, float]


def make_covariates(rows: Sequence[Row], *, name: str = "temperature") -> Covariates:
    """Of rows: the hour, when it was issued (None: nobody says), the value."""
    frame = pd.DataFrame(
        {
            TIME: pd.to_datetime([hour for hour, _, _ in rows], utc=True),
            ISSUED: pd.to_datetime(
                pd.Series([when for _, when, _ in rows], dtype=object), utc=True
            ),
            name: np.array([value for _, _, value in rows], dtype=float),
        }
    )
    return sorted_covariates(frame)


def make_temperature(num: int, *, seed: int = 0) -> np.ndarray:
    """A daily rhythm about a slow one, °C."""
    hours = np.arange(num)
    noise = np.random.default_rng(seed).standard_normal(num)
    warmth: np.ndarray = (
        15 + 6 * np.sin(2 * np.pi * hours / 24) + 8 * np.sin(2 * np.pi * hours / 900) + noise
    )
    return warmth.round(2)


def make_observed(num: int, *, ahead: int = 0, seed: int = 0) -> Covariates:
    """Of ``num`` hours from ``FIRST`` on and ``ahead`` more, without issue times."""
    values = make_temperature(num + ahead, seed=seed)
    hours = pd.date_range(FIRST, periods=num + ahead, freq="h")
    return make_covariates([(h, None, v) for h, v in zip(hours, values, strict=True)])


def make_issued(num: int, *, leads: int = 48, every: int = 6, seed: int = 0) -> Covariates:
    """Forecasts of ``leads`` hours, issued every few hours, an hour before the first of them.

    Each is the truth and an error that grows with the lead.
    """
    truth = make_temperature(num + leads, seed=seed)
    rng = np.random.default_rng([seed, 1])
    first = pd.Timestamp(FIRST)
    parts = []
    for begin in range(0, num, every):
        lead = np.arange(leads)
        error = 0.1 * (1 + lead) * rng.standard_normal(leads)
        parts.append(
            pd.DataFrame(
                {
                    TIME: first + pd.to_timedelta(begin + lead, unit="h"),
                    ISSUED: first + pd.Timedelta(hours=begin - 1),
                    "temperature": truth[begin + lead] + error,
                }
            )
        )
    return sorted_covariates(pd.concat(parts, ignore_index=True))


def with_temperature(config: Config | None = None, **more: object) -> Config:
    """Settings with a temperature that is known ahead (``as_known`` and others as given)."""
    section = {"columns": {"temperature": {"known": "ahead"}}, **more}
    base = config or make_config()
    own = base.covariates.model_validate({**base.covariates.model_dump(), **section})
    return base.model_copy(update={"covariates": own})
