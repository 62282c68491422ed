"""Builders of forecasts as they were issued: the truth with an error, and bands around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gridcast.monitoring.alarms import Promise
from tests.builders.values import make_load, make_load_frame

FIRST = pd.Timestamp("2017-01-01 05:00", tz="UTC")  # of make_load_frame
HOUR = pd.Timedelta(hours=1)


def make_readings(
    num: int = 24 * 40, regions: tuple[str, ...] = ("AEP", "DOM"), noise_seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Each region's, an hour after the other."""
    return {
        name: make_load_frame(make_load(num, seed=noise_seed + place), flags={})
        for place, name in enumerate(regions)
    }


def make_issued(
    readings: Mapping[str, pd.DataFrame],
    *,
    first: pd.Timestamp,
    num: int,
    horizon: int = 24,
    error: float = 0.01,
    bias: float = 0.0,
    half_width: float = 0.03,
) -> pd.DataFrame:
    """Forecasts of ``num`` issue times from ``first`` on: as good as ``error`` (of the load).

    The load that they know is ``readings``; what is looked at later may be another.
    """
    rng = np.random.default_rng(0)
    issues = pd.date_range(first, periods=num, freq="h")
    ahead = np.arange(horizon)
    times = pd.date_range(first, periods=num + horizon - 1, freq="h")
    tables = []
    for region, own in readings.items():
        load = own.set_index("timestamp")["load_mw"].reindex(times).to_numpy()
        place_NK = np.arange(num)[:, None] + ahead
        noise_NK = rng.standard_normal((num, horizon))
        forecast = (load[place_NK] * (1 + bias + error * noise_NK)).ravel()
        hours = times[place_NK.ravel()]
        tables.append(pd.DataFrame({
            "region": region, "issue_time": issues.repeat(horizon), "timestamp": hours,
            "lead": np.tile(ahead + 1, num), "load_mw": forecast,
            "q05": forecast * (1 - half_width), "q95": forecast * (1 + half_width),
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True).dropna(subset="load_mw")


def make_promise(
    error: float = 0.8, naive: float = 2.0, regions: tuple[str, ...] = ("AEP", "DOM")
) -> Promise:
    """The same of each region."""
    return Promise(
        error=dict.fromkeys(regions, error), next_hour_error=dict.fromkeys(regions, error),
        naive_error=dict.fromkeys(regions, naive), share=90.0,
    )  # fmt: skip
