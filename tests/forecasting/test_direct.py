"""A forecast by lead: all leads in one pass, further ones as if the first had come true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Cell, Config
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.calibration import forecast_origins, origins_of
from gridcast.forecasting.direct import forecast_ahead
from gridcast.forecasting.issue import RegionState, known_at, region_state
from tests.builders.trainings import make_by_lead, tiny_by_lead
from tests.builders.values import make_load, make_load_frame

SCALES = {"AEP": LoadScale(10_000.0, 1_500.0), "DOM": LoadScale(900.0, 150.0)}
REGIONS = tuple(SCALES)
NUM_HOURS, HORIZON = 900, 5
FIRST = pd.Timestamp("2017-01-01 05:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS, mean_mw=900, seed=1)}


def states_of(
    loads: dict[str, np.ndarray], config: Config, issue_time: pd.Timestamp
) -> list[RegionState]:
    found = [
        region_state(
            name, make_load_frame(load, flags={}), config, regions=REGIONS, scale=SCALES[name],
            issue_time=issue_time, max_stale_hours=6,
        )
        for name, load in loads.items()
    ]  # fmt: skip
    return [each for each in found if each is not None]


def forecast(
    loads: dict[str, np.ndarray], config: Config, hour: int, *, cell: Cell = "gru",
    num_leads: int = HORIZON, unknown: tuple[str, ...] = (),
) -> np.ndarray:  # fmt: skip
    states = states_of(loads, config, FIRST + hour * HOUR)
    seen = [each for each in states if each.region not in unknown]
    known = known_at(seen, config, num_leads=num_leads, neighbours=seen)
    return forecast_ahead(make_by_lead(config, cell), known, config, num_leads=num_leads)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_leads_beyond_the_network_s_own_are_forecast_as_if_the_first_had_come_true(
    cell: Cell,
) -> None:
    config = tiny_by_lead(model={"neighbour_units": 0})
    far = forecast(LOADS, config, 700, cell=cell, num_leads=2 * HORIZON + 2)
    assert far.shape == (2, 12)
    lived = {}
    for (name, load), own in zip(LOADS.items(), far, strict=True):
        come_true = own * SCALES[name].scale_mw + SCALES[name].offset_mw
        lived[name] = np.concatenate([load[:700], come_true])
    for begin in (HORIZON, 2 * HORIZON):
        later = forecast(lived, config, 700 + begin, cell=cell)[:, : 12 - begin]
        np.testing.assert_allclose(far[:, begin : begin + HORIZON], later, rtol=1e-4, atol=1e-5)


def test_nothing_after_the_issue_time_exists_for_a_forecast_of_any_region() -> None:
    config = tiny_by_lead()
    noise = {name: load.copy() for name, load in LOADS.items()}
    for load in noise.values():
        load[700:] = np.random.default_rng(1).uniform(1, 9e4, NUM_HOURS - 700)
    cut = {name: load[:700] for name, load in LOADS.items()}
    ours, theirs, without = (forecast(each, config, 700, num_leads=12)
                             for each in (LOADS, noise, cut))  # fmt: skip
    assert ours.tobytes() == theirs.tobytes() == without.tobytes()


def test_a_region_is_told_what_others_did_and_is_forecast_without_them_where_they_lack() -> None:
    config = tiny_by_lead()
    other = {**LOADS, "DOM": LOADS["DOM"] * np.linspace(1, 2, NUM_HOURS)}
    ours, theirs = (forecast(each, config, 700)[0] for each in (LOADS, other))
    assert (ours != theirs).all()
    alone = [forecast(each, config, 700, unknown=("DOM",))[0] for each in (LOADS, other)]
    assert np.array_equal(*alone)
    assert np.isfinite(alone[0]).all()


def test_a_forecast_from_an_origin_of_the_table_is_the_one_that_is_issued_then() -> None:
    config = tiny_by_lead(split={"test_share": 0.1, "validation_share": 0.3})
    table = build_features({name: make_load_frame(load, flags={}) for name, load in LOADS.items()},
                           config, scales=SCALES)  # fmt: skip
    origins = origins_of(table.frame, config, num_leads=12, num_origins=3)
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in SCALES.items()}
    forecaster = make_by_lead(config, "lstm")
    found = forecast_origins([forecaster], table.frame, scales, origins, config, num_leads=12)
    for origin, own in zip(origins, found, strict=True):
        row = table.frame.iloc[origin]
        states = states_of(LOADS, config, row["timestamp"] + HOUR)
        known = known_at(states, config, num_leads=12, neighbours=states)
        number = REGIONS.index(row["region"])
        issued = forecast_ahead(forecaster, known, config, num_leads=12)[number]
        scale = SCALES[row["region"]]
        np.testing.assert_allclose(own, issued * scale.scale_mw + scale.offset_mw, rtol=1e-5)
