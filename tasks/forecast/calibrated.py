"""A model with bands for what is asked: its own, or learned anew for other hours or quantiles."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.features.columns import feature_columns
from gridcast.forecasting.calibration import CALIBRATED_ON, calibrations_of
from gridcast.forecasting.model import NETWORK
from tasks.runs.keys import require_sha256

if TYPE_CHECKING:
    from gridcast.config import ForecastingConfig
    from gridcast.forecasting.model import ForecastModel
    from tasks.forecast.chosen_model import ChosenModel

_log = logging.getLogger("gridcast.forecast")


def with_bands_for(chosen: ChosenModel, asked: ForecastingConfig) -> ForecastModel:
    """The model, with errors by lead at all leads that are asked for, and at these quantiles.

    Raises:
        IntegrityError: the table of features is gone, or not the one that it was trained on.
    """
    model = chosen.model
    own = model.calibrations[NETWORK]
    num_leads = asked.horizon + asked.max_stale_hours
    if own.levels == asked.quantiles and own.smape_RK.shape[1] >= num_leads:
        return model
    _log.info("Learning from the validation part how wrong %s is at each lead", model.name)
    require_sha256(chosen.features_path, chosen.features_sha256)
    frame = pd.read_parquet(chosen.features_path)
    frame = frame[[*CALIBRATED_ON, *feature_columns(frame.columns)]]
    members = {str(number): each for number, each in enumerate(model.forecasters)}
    config = model.config.model_copy(update={"forecasting": asked})
    found = calibrations_of(members, {model.name: tuple(members)}, frame, model.scales, config)
    return replace(model, calibrations=found[model.name])
