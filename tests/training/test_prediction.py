"""Running along the series gives what forecasting one window at a time gives.

Legend: ``T`` steps, ``F`` features, ``O`` origins, ``H`` horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from gridcast.config import Cell, Config
from gridcast.features.splits import TEST, TRAIN, VALIDATION
from gridcast.features.table import build_features
from gridcast.features.windows import scored_origins, tile_origins
from gridcast.networks.forecaster import RecurrentForecaster
from gridcast.training import prediction
from gridcast.training.data import TrainingData
from gridcast.training.prediction import Scored, score
from tests.builders.values import make_config, make_load, make_load_frame, make_training_data

torch.set_num_threads(1)  # on networks this small, threads only wait for each other


def make_setup(
    split: Mapping[str, object] | None = None, **windows: object
) -> tuple[Config, TrainingData]:
    """Two regions, of which the first has gaps in its training and in its test part."""
    sizes = {"lookback": 24, "warmup": 6, "horizon": 1, **windows}
    config = make_config(
        split=split or {},
        windows=sizes,
        model={"hidden_size": 4},
        features={"lags_hours": [24]},
        rules={"default": {"repaired": {"max_fill_hours": 2}}},
    )
    readings = {
        "AEP": make_load_frame(make_load(500), missing=[100, *range(470, 480)]),
        "DOM": make_load_frame(make_load(400, mean_mw=900, seed=1)),
    }
    return config, make_training_data(build_features(readings, config))


def make_forecaster(config: Config, data: TrainingData, cell: Cell = "gru") -> RecurrentForecaster:
    torch.manual_seed(0)
    return RecurrentForecaster(
        config.model,
        cell=cell,
        num_features=data.x_TF.shape[1],
        horizon=config.windows.horizon,
        num_regions=data.num_regions,
    )


@torch.no_grad()
def forecast_one_by_one(
    forecaster: RecurrentForecaster, data: TrainingData, origins: np.ndarray, first_of: np.ndarray
) -> np.ndarray:
    """MW: the network reads from ``first_of`` each origin up to the origin, and nothing more."""
    forecasts = []
    for origin, first in zip(origins, first_of, strict=True):
        window = data.x_TF[first : origin + 1]
        region_B = torch.tensor([int(data.steps.region_T[origin])])
        last = forecaster(window[None], len(window) - 1, region_B)[0, 0].numpy()
        region = data.steps.region_T[origin]
        forecasts.append(last * data.scale_mw_R[region] + data.offset_mw_R[region])
    return np.array(forecasts)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("part", [VALIDATION, TEST], ids=["validation", "test"])
def test_where_a_window_holds_one_origin_each_forecast_is_that_of_its_own_window(
    cell: Cell, horizon: int, part: int
) -> None:
    config, data = make_setup(lookback=7, warmup=6, horizon=horizon)
    forecaster = make_forecaster(config, data, cell)
    scored = score(forecaster, data, part, config)
    assert len(scored.origins_O) > 20
    expected = forecast_one_by_one(forecaster, data, scored.origins_O, scored.origins_O - 6)
    np.testing.assert_allclose(scored.y_pred_OH, expected, rtol=1e-5)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("steps_at_once", [1, 100, 1 << 16])
def test_a_tile_gives_each_of_its_origins_what_reading_up_to_it_gives(
    horizon: int, steps_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "_STEPS_AT_ONCE", {"cpu": steps_at_once})
    config, data = make_setup(horizon=horizon)
    forecaster = make_forecaster(config, data)
    scored = score(forecaster, data, TEST, config)
    tiles = tile_origins(data.steps, scored.origins_O, config.windows)
    firsts = dict(zip(tiles.origins_O, np.repeat(tiles.starts_N, tiles.num_origins_N), strict=True))
    first_of = np.array([firsts[origin] for origin in scored.origins_O])
    assert (tiles.num_origins_N > 1).any()
    expected = forecast_one_by_one(forecaster, data, scored.origins_O, first_of)
    np.testing.assert_allclose(scored.y_pred_OH, expected, rtol=1e-5)


@pytest.mark.parametrize("horizon", [1, 3])
def test_truth_region_and_order_are_those_of_the_labels(horizon: int) -> None:
    config, data = make_setup(horizon=horizon)
    scored = score(make_forecaster(config, data), data, TEST, config)
    origins = scored_origins(data.steps, TEST, config.windows)
    assert scored.origins_O.tolist() == origins.tolist()
    for number, origin in enumerate(origins):
        truth = data.load_mw_T[origin + 1 : origin + 1 + horizon]
        assert scored.y_true_OH[number].tolist() == truth.tolist()
        assert scored.region_O[number] == data.steps.region_T[origin]
    assert set(scored.region_O) == {0, 1}


def test_a_network_that_foresees_no_change_forecasts_the_last_load() -> None:
    config, data = make_setup(horizon=3)
    forecaster = make_forecaster(config, data)
    torch.nn.init.zeros_(forecaster.head.weight)
    torch.nn.init.zeros_(forecaster.head.bias)
    scored = score(forecaster, data, TRAIN, config)
    known = ~np.isnan(data.load_mw_T[scored.origins_O])
    assert known.sum() > 500
    last = np.repeat(data.load_mw_T[scored.origins_O, None], 3, axis=1)
    np.testing.assert_allclose(scored.y_pred_OH[known], last[known], rtol=1e-5)


def test_forecasting_needs_no_truth_and_leaves_the_network_in_eval_mode() -> None:
    config, data = make_setup()
    forecaster = make_forecaster(config, data).train()
    expected = score(forecaster, data, TEST, config).y_pred_OH
    blind = replace(
        data,
        target_T=torch.full_like(data.target_T, float("nan")),
        load_mw_T=np.full_like(data.load_mw_T, np.nan),
    )
    np.testing.assert_array_equal(score(forecaster, blind, TEST, config).y_pred_OH, expected)
    assert not forecaster.training


def test_a_part_without_labels_has_no_forecasts() -> None:
    config, data = make_setup(split={"validation_share": 0.0})
    scored = score(make_forecaster(config, data), data, VALIDATION, config)
    assert scored.y_pred_OH.shape == (0, 1)
    assert scored.smape_by_region() == {}


def test_the_mean_smape_is_the_mean_over_regions_and_not_over_labels() -> None:
    y_true = np.array([[100.0], [100.0], [100.0], [200.0]])
    y_pred = np.array([[300.0], [300.0], [300.0], [200.0]])  # 100 %, and 0 %
    scored = Scored(np.arange(4), np.array([0, 0, 0, 2]), y_true, y_pred)
    assert scored.smape_by_region() == {0: 100.0, 2: 0.0}
    assert scored.mean_smape() == 50.0


def test_errors_in_percent_of_a_norm_are_the_maes_over_it() -> None:
    y_true = np.array([[0.0, 4.0], [2.0, 0.0], [-3.0, 1.0]])
    y_pred = y_true + np.array([[1.0, -2.0], [3.0, 0.0], [-4.0, 0.0]])
    scored = Scored(np.arange(3), np.array([0, 0, 2]), y_true, y_pred)
    found = scored.validation(np.array([10.0, np.nan, 5.0]))
    assert found.nmae == pytest.approx((100 * 1.5 / 10 + 100 * 2.0 / 5) / 2)
    assert found.smape == scored.mean_smape()
    assert scored.validation(None).nmae is None
