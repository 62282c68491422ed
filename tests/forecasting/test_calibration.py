"""Errors of the validation part alone make the bands; each origin is a forecast as it is issued."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridcast.config import Config
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.table import FeatureTable, build_features
from gridcast.forecasting.calibration import error_by_lead, learn_errors, origins_of
from gridcast.forecasting.model import NETWORK, Contestants
from gridcast.forecasting.region_state import region_state, table_of_states
from gridcast.forecasting.rolling import (
    RollingTable,
    forecast_origins,
    naive_origins,
    rolling_table,
)
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

NUM_LEADS = 12
LOADS = {"AEP": make_load(900), "DOM": make_load(700, mean_mw=900, seed=1)}


def make_table(config: Config) -> FeatureTable:
    readings = {name: make_load_frame(load, flags={}) for name, load in LOADS.items()}
    return build_features(readings, config)


def settings() -> Config:
    return tiny(split={"test_share": 0.1, "validation_share": 0.2, "article_lookback": 10})


def rolling(table: FeatureTable, config: Config, *, num_leads: int = NUM_LEADS) -> RollingTable:
    return rolling_table(table.frame, table.scales, config, num_leads=num_leads)


def found_origins(
    frame: pd.DataFrame, table: FeatureTable, config: Config, *, num_origins: int = 40
) -> np.ndarray:
    steps = rolling_table(frame, table.scales, config, num_leads=NUM_LEADS)
    return origins_of(
        frame, steps, lookback=config.windows.lookback, num_leads=NUM_LEADS, num_origins=num_origins
    )


def test_origins_lie_in_the_validation_part_of_one_region_with_all_leads() -> None:
    config, table = settings(), make_table(settings())
    origins = found_origins(table.frame, table, config)
    part, region = table.frame["part"].to_numpy(), table.frame["region"].cat.codes.to_numpy()
    assert all(20 <= number <= 60 for number in np.bincount(region[origins]))
    assert len(set(origins)) == len(origins)
    for ahead in range(1, NUM_LEADS + 1):
        assert (part[origins + ahead] == VALIDATION).all()
        assert (region[origins + ahead] == region[origins]).all()
    everything = found_origins(table.frame, table, config, num_origins=10**6)
    assert set(origins) < set(everything)
    assert set(table.frame["timestamp"].iloc[origins].dt.hour) == set(range(24))


def test_a_forecast_from_an_origin_is_the_one_that_is_issued_then() -> None:
    config, table = settings(), make_table(settings())
    forecasters = [make_forecaster(config, "gru"), make_forecaster(config, "lstm", seed=1)]
    origins = found_origins(table.frame, table, config, num_origins=6)
    steps = rolling(table, config)
    found = forecast_origins(forecasters, steps, origins, config, num_leads=NUM_LEADS)
    naive = naive_origins(steps, origins, "same_hour_yesterday", num_leads=NUM_LEADS)
    for origin, own, own_naive in zip(origins, found, naive, strict=True):
        row = table.frame.iloc[origin]
        state = region_state(
            row["region"], make_load_frame(LOADS[row["region"]], flags={}), config,
            max_stale_hours=0, issue_time=table.frame["timestamp"].iloc[origin + 1],
        )  # fmt: skip
        assert state is not None
        alone = table_of_states([state], table.scales, config, num_leads=NUM_LEADS)
        last = alone.last_steps()
        issued = forecast_origins(forecasters, alone, last, config, num_leads=NUM_LEADS)[0]
        np.testing.assert_allclose(own, issued, rtol=1e-5)
        issued = naive_origins(alone, last, "same_hour_yesterday", num_leads=NUM_LEADS)[0]
        np.testing.assert_allclose(own_naive, issued)


def test_days_with_hours_of_their_own_are_forecast_as_they_are_together() -> None:
    config, table = settings(), make_table(settings())
    steps, forecaster = rolling(table, config), make_forecaster(config, "lstm")
    everything = np.arange(50, 850)
    whole = forecast_origins([forecaster], steps, everything, config, num_leads=3)
    some = np.sort(np.random.default_rng(0).choice(everything, 300, replace=False))
    found = forecast_origins([forecaster], steps, some, config, num_leads=3)
    np.testing.assert_allclose(found, whole[some - 50], rtol=1e-5)


def test_the_test_part_has_no_say_in_who_forecasts() -> None:
    config, table = settings(), make_table(settings())
    networks = {"gru": make_forecaster(config, "gru")}
    frame = table.frame.copy()
    frame.loc[frame["part"] == TEST, ["load_mw", "input_mw"]] = 1e6
    frame.loc[frame["part"] == TEST, "x_load"] = 1e3
    origins = found_origins(table.frame, table, config)
    assert (origins == found_origins(frame, table, config)).all()
    contestants = Contestants(networks, {"gru": ("gru",)})
    before, after = (
        learn_errors(contestants, each, table.scales, config).calibrations["gru"]
        for each in (table.frame, frame)
    )
    assert set(before) == {NETWORK, "same_hour_yesterday", "same_hour_last_week"}
    for name, own in before.items():
        assert own.error_RK.tobytes() == after[name].error_RK.tobytes()
        assert np.isfinite(own.error_RK).all()
        assert np.isfinite(own.bands.scale_PRKH).all()


def test_errors_are_by_region_and_lead_of_trusted_hours() -> None:
    config, table = settings(), make_table(settings())
    origins = found_origins(table.frame, table, config)
    truth = table.frame["load_mw"].to_numpy()[origins[:, None] + np.array([1, 2])]
    found = error_by_lead(table.frame, origins, truth * np.array([1.0, 3.0]), np.full(2, np.nan))
    np.testing.assert_allclose(found, [[0.0, 100.0], [0.0, 100.0]], atol=1e-9)
