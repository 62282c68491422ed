"""The past that regions share: held to pandas, and nothing of it is later than its hour."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.features.neighbours import NUM_SIGNALS, SIGNALS, signals_of
from gridcast.features.table import build_features
from tests.builders.values import make_config, make_load, make_load_frame

LATE = "2017-01-11 05:00"  # ten days after the first


def make_frame(loads: dict[str, np.ndarray] | None = None) -> pd.DataFrame:
    loads = loads or {"AEP": make_load(500), "DOM": make_load(260, mean_mw=900, seed=1)}
    readings = {
        "AEP": make_load_frame(loads["AEP"], flags={}),
        "DOM": make_load_frame(loads["DOM"], first=LATE, missing=range(200, 250), flags={}),
    }
    return build_features(readings, make_config()).frame


def by_hour(frame: pd.DataFrame, region: str) -> pd.DataFrame:
    """The signals of one region by pandas, on an unbroken index of hours."""
    hours = pd.date_range(frame["timestamp"].min(), frame["timestamp"].max(), freq="h")
    own = frame[(frame["region"] == region) & frame["is_input"]].set_index("timestamp")
    load = own["x_load"].astype("float64").reindex(hours)
    change = load.diff()
    table = pd.DataFrame(
        {
            "above_last_week": load - load.shift(168),
            "above_yesterday": load - load.shift(24),
            "change": 10 * (change - change.shift(168)),
        }
    )
    is_known = table.notna().all(axis=1)
    return table.where(is_known, 0.0).assign(is_known=is_known.astype("float64"))


def test_the_signals_of_each_region_are_those_of_pandas_hour_by_hour() -> None:
    frame = make_frame()
    signals = signals_of(frame)
    assert signals.values_GW.shape == (500, 2 * NUM_SIGNALS)
    for number, region in enumerate(["AEP", "DOM"]):
        expected = by_hour(frame, region)
        own = signals.values_GW[:, number * NUM_SIGNALS : (number + 1) * NUM_SIGNALS]
        np.testing.assert_allclose(own, expected[list(SIGNALS)], atol=2e-5)
        assert 0 < expected["is_known"].mean() < 1


def test_each_step_lies_at_its_hour() -> None:
    frame = make_frame()
    hour_T = signals_of(frame).hour_T
    first = frame["timestamp"].min()
    np.testing.assert_array_equal(first + pd.to_timedelta(hour_T, unit="h"), frame["timestamp"])


@pytest.mark.parametrize("hour", [300, 499])
def test_no_signal_of_an_hour_uses_a_later_load(hour: int) -> None:
    frame = make_frame()
    other = frame.copy()
    is_later = other["timestamp"] > frame["timestamp"].min() + pd.Timedelta(hours=hour)
    other.loc[is_later, "x_load"] = 1e4
    ours, theirs = signals_of(frame).values_GW, signals_of(other).values_GW
    assert ours[: hour + 1].tobytes() == theirs[: hour + 1].tobytes()
    assert hour == 499 or (ours[hour + 1 :] != theirs[hour + 1 :]).any()
