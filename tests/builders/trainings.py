"""Builders of small trainings: a network of four units on two short series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gridcast.config import Cell, Config
from gridcast.features.table import build_features, names_of_features
from gridcast.kernels.engine import engine_of
from gridcast.networks.building import build_forecaster
from gridcast.networks.forecaster import RecurrentForecaster, weights_sha256
from gridcast.networks.lead_forecaster import LeadForecaster
from gridcast.training.data import TrainingData
from gridcast.training.loop import TrainedModel, train_model
from gridcast.training.stack import ForecasterStack
from tests.builders.values import make_config, make_load, make_load_frame, make_training_data

torch.set_num_threads(1)  # on networks this small, threads only wait for each other

LOADS = {"AEP": make_load(420), "DOM": make_load(300, mean_mw=900, seed=1)}


def tiny(profile: str = "base", **sections: Mapping[str, object]) -> Config:
    defaults: dict[str, dict[str, object]] = {
        "windows": {"lookback": 12, "warmup": 4, "horizon": 1, "stride": 6},
        "model": {"hidden_size": 4, "region_units": 2},
        "training": {"passes": 2, "batch_size": 16, "precision": "fp32"},
        "features": {"lags_hours": [24]},
    }
    if profile == "seed":
        defaults["windows"] = {"lookback": 10, "warmup": 9}
        defaults["model"] = {"hidden_size": 4, "region_units": 0}
    for section, values in sections.items():
        defaults[section] = {**defaults.get(section, {}), **values}
    return make_config(profile, **defaults)


def make_data(config: Config, loads: Mapping[str, np.ndarray] = LOADS) -> TrainingData:
    readings = {region: make_load_frame(load, config=config) for region, load in loads.items()}
    return make_training_data(build_features(readings, config), config.model)


def tiny_by_lead(**sections: Mapping[str, object]) -> Config:
    """A network of four units that forecasts five hours at once, with the past of all regions."""
    defaults: dict[str, dict[str, object]] = {
        "windows": {"lookback": 336, "warmup": 320, "horizon": 5, "stride": 24, "origin_stride": 3},
        "model": {
            "head": "by_lead", "lead_units": 6, "neighbour_units": 3, "neighbour_dropout": 0.3
        },
        "features": {"lags_hours": [24, 168], "next_day_holiday": True},
        "training": {"batch_size": 8},
    }  # fmt: skip
    for section, values in sections.items():
        defaults[section] = {**defaults.get(section, {}), **values}
    return tiny("base", **defaults)


LONG_LOADS = {"AEP": make_load(900), "DOM": make_load(700, mean_mw=900, seed=1)}


def make_stack(
    data: TrainingData, config: Config, *, cell: Cell = "gru", seed: int = 0
) -> ForecasterStack:
    """A stack of one forecaster, on the engine that a training of it has."""
    engine = engine_of(config, data.x_TF.device, cells=[cell])
    return ForecasterStack(data, config, cell=cell, seeds=[seed], engine=engine)


def train(
    config: Config, data: TrainingData | None = None, *, cell: Cell = "gru", seed: int = 0
) -> TrainedModel:
    data = make_data(config) if data is None else data
    return train_model(data, config=config, cell=cell, seed=seed, on_progress=lambda _: None)


def weights_of(config: Config, data: TrainingData | None = None, **job: Any) -> str:  # noqa: ANN401
    return weights_sha256(train(config, data, **job).forecaster)


def make_by_lead(
    config: Config, cell: Cell, *, seed: int = 0, num_regions: int = 2
) -> LeadForecaster:
    """A forecaster by lead that has learned nothing."""
    torch.manual_seed(seed)
    names = names_of_features(config.features, config.covariates)
    made = build_forecaster(config, cell=cell, feature_names=names, num_regions=num_regions)
    assert isinstance(made, LeadForecaster)
    if config.model.neighbour_units:
        made.mix_RN.data *= 20  # as small as they are drawn, mixes hardly count
    return made


def make_forecaster(
    config: Config, cell: Cell, *, seed: int = 0, num_regions: int = 2
) -> RecurrentForecaster:
    """A forecaster that has learned nothing."""
    torch.manual_seed(seed)
    names = names_of_features(config.features, config.covariates)
    return RecurrentForecaster(
        config.model, cell=cell, num_features=len(names),
        horizon=config.windows.horizon, num_regions=num_regions,
    )  # fmt: skip
