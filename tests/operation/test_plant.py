"""Planted faults: what is asked for in words, and what becomes of the readings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.errors import UsageError
from gridcast.operation.plant import parse_plant, planted
from tests.builders.issued import FIRST, HOUR, make_readings
from tests.builders.values import make_config

RULES = make_config().rules
READINGS = make_readings(24 * 10)
SPAN = f"from {(FIRST + 50 * HOUR).isoformat()} to {(FIRST + 60 * HOUR).isoformat()}"


def load_after(text: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = planted(READINGS, [parse_plant(text)], RULES)
    pd.testing.assert_frame_equal(found["DOM"], READINGS["DOM"])
    return found["AEP"], READINGS["AEP"]


def test_a_level_is_multiplied_within_its_span() -> None:
    own, was = load_after(f"AEP level*1.1 {SPAN}")
    ratio = own["load_mw"].to_numpy() / was["load_mw"].to_numpy()
    expected = np.ones(240)
    expected[50:60] = 1.1
    np.testing.assert_allclose(ratio, expected)
    for_good, _ = load_after(f"AEP level*0.5 from {(FIRST + 50 * HOUR).isoformat()}")
    assert (for_good["load_mw"].iloc[50:] < was["load_mw"].iloc[50:]).all()


def test_a_doubled_hour_is_one_hour_unless_more_are_asked_for() -> None:
    hour = (FIRST + 50 * HOUR).isoformat()
    own, was = load_after(f"AEP doubled from {hour}")
    ratio = own["load_mw"].to_numpy() / was["load_mw"].to_numpy()
    assert np.flatnonzero(ratio != 1.0).tolist() == [50]
    assert ratio[50] == 2.0
    two, _ = load_after(f"AEP doubled {SPAN}")
    assert (two["load_mw"].iloc[50:60] == 2 * was["load_mw"].iloc[50:60]).all()


def test_a_dead_feed_has_no_readings_and_a_stuck_one_the_last_one_flagged() -> None:
    own, was = load_after(f"AEP dead {SPAN}")
    assert len(own) == 230
    assert set(was["timestamp"]) - set(own["timestamp"]) == set(was["timestamp"].iloc[50:60])
    own, was = load_after(f"AEP stuck {SPAN}")
    assert set(own["load_mw"].iloc[49:60]) == {was["load_mw"].iloc[49]}
    assert "flat" in set(own["flag"])


@pytest.mark.parametrize(
    "text",
    [
        "AEP level from 2017-01-01",
        "AEP dead*2 from 2017-01-01",
        "AEP level*1.1",
        "AEP level*1.1 from yesterday-ish",
        "AEP melts from 2017-01-01",
        "",
    ],
)
def test_what_is_no_fault_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=r"such as 'AEP level\*1\.1 from 2017-12-01'"):
        parse_plant(text)


def test_a_fault_of_an_unknown_region_names_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="found FE, expected a region of AEP, DOM"):
        planted(READINGS, [parse_plant("FE dead from 2017-01-02")], RULES)
