"""A forecast by lead: all leads in one pass, further ones as if the first had come true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gridcast.config import Cell, Config
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import can_forecast, forecast_origins, rolling_table
from gridcast.training.lead_windows import forecast_windows
from tests.builders.trainings import make_by_lead, tiny_by_lead
from tests.builders.values import make_load, make_load_frame, make_training_data

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
            name, make_load_frame(load, flags={}), config, issue_time=issue_time, max_stale_hours=6
        )
        for name, load in loads.items()
    ]
    return [each for each in found if each is not None]


def forecast(
    loads: dict[str, np.ndarray], config: Config, hour: int, *, cell: Cell = "gru",
    num_leads: int = HORIZON, unknown: tuple[str, ...] = (),
) -> np.ndarray:  # fmt: skip
    """Of each region that is known, MW, from the same hour on."""
    states = states_of(loads, config, FIRST + hour * HOUR)
    seen = [each for each in states if each.region not in unknown]
    table = table_of_states(seen, SCALES, config, num_leads=num_leads)
    network, last = make_by_lead(config, cell), table.last_steps()
    return forecast_origins([network], table, last, config, num_leads=num_leads)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_leads_beyond_the_network_s_own_are_forecast_as_if_the_first_had_come_true(
    cell: Cell,
) -> None:
    config = tiny_by_lead(model={"neighbour_units": 0})
    # From 00:00 UTC on: hours of the same day are read from the same begin.
    begin = 24 * 30 - 5
    far = forecast(LOADS, config, begin, cell=cell, num_leads=2 * HORIZON + 2)
    assert far.shape == (2, 12)
    lived = {name: np.concatenate([load[:begin], own])
             for (name, load), own in zip(LOADS.items(), far, strict=True)}  # fmt: skip
    for ahead in (HORIZON, 2 * HORIZON):
        later = forecast(lived, config, begin + ahead, cell=cell)[:, : 12 - ahead]
        np.testing.assert_allclose(far[:, ahead : ahead + HORIZON], later, rtol=1e-4)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("hour", [0, 1, 17, 23])  # of the issue, UTC
def test_a_forecast_is_the_one_of_training_s_windows_along_the_series(
    cell: Cell, hour: int
) -> None:
    config = tiny_by_lead()
    readings = {name: make_load_frame(load, flags={}) for name, load in LOADS.items()}
    built = build_features(readings, config, scales=SCALES)
    origins = np.array([24 * 20 - 6 + hour, NUM_HOURS + 24 * 30 - 6 + hour])
    table = rolling_table(built.frame, SCALES, config, num_leads=HORIZON)
    assert (table.issue_hours(origins) == hour).all()
    forecaster, data = make_by_lead(config, cell), make_training_data(built, config.model)
    found = forecast_origins([forecaster], table, origins, config, num_leads=HORIZON)
    # It reads from 336 hours before 00:00 UTC of the day on.
    windows = config.windows.model_copy(update={"lookback": config.windows.lookback + hour})
    starts_B = torch.from_numpy(origins - windows.lookback + 1)
    at_BO = torch.full((2, 1), windows.lookback - 1)
    with torch.no_grad():
        scaled = forecast_windows(forecaster.eval(), data, starts_B, at_BO, windows)[:, 0].numpy()
    for own, y_H, scale in zip(found, scaled, SCALES.values(), strict=True):
        np.testing.assert_allclose(own, scale.to_mw(y_H), rtol=1e-5)


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
    built = build_features({name: make_load_frame(load, flags={}) for name, load in LOADS.items()},
                           config, scales=SCALES)  # fmt: skip
    table = rolling_table(built.frame, SCALES, config, num_leads=12)
    origins = np.arange(600, 2 * NUM_HOURS - 20, 83)
    origins = origins[can_forecast(table, origins, lookback=config.windows.lookback)]
    assert set(table.region_T[origins]) == {0, 1}
    forecaster = make_by_lead(config, "lstm")
    found = forecast_origins([forecaster], table, origins, config, num_leads=12)
    for origin, own in zip(origins, found, strict=True):
        hour = origin % NUM_HOURS + 1
        number = int(table.region_T[origin])
        issued = forecast(LOADS, config, hour, cell="lstm", num_leads=12)[number]
        np.testing.assert_allclose(own, issued, rtol=1e-5)
