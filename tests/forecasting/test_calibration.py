"""Errors of the validation part alone make the bands; each origin is a forecast as it is issued."""

from __future__ import annotations

import numpy as np
import pytest

from gridcast.config import Config
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.table import FeatureTable, build_features
from gridcast.forecasting.calibration import (
    calibrate,
    forecast_origins,
    naive_origins,
    origins_of,
)
from gridcast.forecasting.issue import known_at, naive_ahead, region_state
from gridcast.forecasting.recursion import forecast_recursively
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

NUM_LEADS = 12
LOADS = {"AEP": make_load(900), "DOM": make_load(700, mean_mw=900, seed=1)}


def make_table(config: Config) -> FeatureTable:
    readings = {name: make_load_frame(load, flags={}) for name, load in LOADS.items()}
    return build_features(readings, config)


def settings() -> Config:
    return tiny(split={"test_share": 0.1, "validation_share": 0.2, "article_lookback": 10})


def scales_of(table: FeatureTable) -> dict[str, tuple[float, float]]:
    return {name: (each.offset_mw, each.scale_mw) for name, each in table.scales.items()}


def test_origins_lie_in_the_validation_part_of_one_region_with_all_leads() -> None:
    config, table = settings(), make_table(settings())
    origins = origins_of(table.frame, config, num_leads=NUM_LEADS, num_origins=40)
    part, region = table.frame["part"].to_numpy(), table.frame["region"].cat.codes.to_numpy()
    assert np.bincount(region[origins]).tolist() == [40, 40]
    assert len(set(origins)) == 80
    for ahead in range(1, NUM_LEADS + 1):
        assert (part[origins + ahead] == VALIDATION).all()
        assert (region[origins + ahead] == region[origins]).all()


def test_a_forecast_from_an_origin_is_the_one_that_is_issued_then() -> None:
    config, table = settings(), make_table(settings())
    forecasters = [make_forecaster(config, "gru"), make_forecaster(config, "lstm", seed=1)]
    origins = origins_of(table.frame, config, num_leads=NUM_LEADS, num_origins=3)
    found = forecast_origins(
        forecasters, table.frame, scales_of(table), origins, config, num_leads=NUM_LEADS
    )
    for origin, own in zip(origins, found, strict=True):
        row = table.frame.iloc[origin]
        readings = make_load_frame(LOADS[row["region"]], flags={})
        state = region_state(
            row["region"], readings, config, regions=sorted(LOADS),
            scale=table.scales[row["region"]], max_stale_hours=0,
            issue_time=table.frame["timestamp"].iloc[origin + 1],
        )  # fmt: skip
        assert state is not None
        known = known_at([state], config, num_leads=NUM_LEADS)
        each = [
            forecast_recursively(one, known, config.features, num_leads=NUM_LEADS)[0]
            for one in forecasters
        ]
        scale = table.scales[row["region"]]
        issued = np.mean(each, axis=0) * scale.scale_mw + scale.offset_mw
        np.testing.assert_allclose(own, issued, rtol=1e-5)
        naive = naive_origins(table.frame, np.array([origin]), "same_hour_yesterday", num_leads=30)
        np.testing.assert_allclose(
            naive[0], naive_ahead(state, "same_hour_yesterday", num_leads=30)
        )


def test_the_test_part_has_no_say_in_a_band() -> None:
    config, table = settings(), make_table(settings())
    origins = origins_of(table.frame, config, num_leads=NUM_LEADS, num_origins=40)
    forecast = naive_origins(table.frame, origins, "persistence", num_leads=NUM_LEADS)
    before = calibrate(table.frame, origins, forecast, levels=(0.05, 0.95))
    frame = table.frame.copy()
    frame.loc[frame["part"] == TEST, ["load_mw", "input_mw"]] = 1e6
    assert (origins == origins_of(frame, config, num_leads=NUM_LEADS, num_origins=40)).all()
    again = naive_origins(frame, origins, "persistence", num_leads=NUM_LEADS)
    after = calibrate(frame, origins, again, levels=(0.05, 0.95))
    for name in LOADS:
        assert after.smape_K[name].tobytes() == before.smape_K[name].tobytes()
        assert after.error_mw_KQ[name].tobytes() == before.error_mw_KQ[name].tobytes()


def test_errors_are_truth_minus_forecast_by_region_and_lead() -> None:
    config, table = settings(), make_table(settings())
    origins = origins_of(table.frame, config, num_leads=2, num_origins=30)
    truth = table.frame["load_mw"].to_numpy()[origins[:, None] + np.array([1, 2])]
    found = calibrate(table.frame, origins, truth - np.array([5.0, 7.0]), levels=(0.5,))
    for name in LOADS:
        assert found.error_mw_KQ[name][:, 0] == pytest.approx([5.0, 7.0])
