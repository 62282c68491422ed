"""How wrong a model was at each lead on its validation part; computed once a model, and kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gridcast.features.columns import feature_columns
from gridcast.forecasting.calibration import (
    Calibration,
    calibrate,
    forecast_origins,
    naive_origins,
    origins_of,
)
from gridcast.record import Record, StoredRecord
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of, require_sha256
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import ForecastingConfig
    from tasks.forecast.chosen_model import ChosenModel

# What stands in for a network: of them the better on the validation part, region by region.
STAND_INS = ("same_hour_yesterday", "same_hour_last_week")
NETWORK = "network"
_ABOUT = ("region", "timestamp", "load_mw", "input_mw", "part", "is_input")
_log = logging.getLogger("gridcast.forecast")


class KeptCalibration(Record):
    """A :class:`Calibration` as a file keeps it: NaN as null, as JSON has none."""

    levels: tuple[float, ...]
    error_mw: dict[str, list[list[float | None]]]
    smape: dict[str, list[float | None]]


class KeptCalibrations(StoredRecord):
    """Those of a model and of its stand-ins, by name; ``key``: all on which they depend."""

    key: str
    calibrations: dict[str, KeptCalibration]


def calibrations_of(
    artifacts: Path, model: ChosenModel, config: ForecastingConfig
) -> dict[str, Calibration]:
    """Of the model (``network``) and of each naive stand-in, at all leads that may be needed.

    Raises:
        IntegrityError: the table of features is not the one that the model was trained on.
    """
    num_leads = config.horizon + config.max_stale_hours
    key = key_of(
        model=model.sha256,
        features=model.features_sha256,
        config=model.config.keyed(
            "features", "ingestion", "rules", "scaling", "split", "windows", "model"
        ),
        num_leads=num_leads,
        quantiles=config.quantiles,
        origins=config.calibration_origins,
        code=code_sha256("gridcast.forecasting.calibration", "gridcast.networks.building"),
    )
    path = artifacts / "forecasts" / "calibration" / f"{key[:16]}.json"
    with held(artifacts, f"calibration-{key[:16]}"):
        kept = cached_record(path, KeptCalibrations)
        if kept is not None and kept.key == key:
            return {name: _from_record(each) for name, each in kept.calibrations.items()}
        _log.info("Learning from the validation part how wrong %s is at each lead", model.name)
        found = _calibrate(model, config, num_leads=num_leads)
        made = {name: _to_record(each) for name, each in found.items()}
        write_record(path, KeptCalibrations(key=key, calibrations=made))
    return found


def _calibrate(
    model: ChosenModel, config: ForecastingConfig, *, num_leads: int
) -> dict[str, Calibration]:
    require_sha256(model.features_path, model.features_sha256)
    frame = pd.read_parquet(model.features_path)
    frame = frame[[*_ABOUT, *feature_columns(frame.columns)]]
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in model.scales.items()}
    origins = origins_of(
        frame, model.config, num_leads=num_leads, num_origins=config.calibration_origins
    )
    forecasts = {
        NETWORK: forecast_origins(
            model.forecasters, frame, scales, origins, model.config, num_leads=num_leads
        )
    }
    for name in STAND_INS:
        forecasts[name] = naive_origins(frame, origins, name, num_leads=num_leads)
    return {
        name: calibrate(frame, origins, each, levels=config.quantiles)
        for name, each in forecasts.items()
    }


def _to_record(calibration: Calibration) -> KeptCalibration:
    return KeptCalibration(
        levels=calibration.levels,
        error_mw={n: _listed(each) for n, each in calibration.error_mw_KQ.items()},
        smape={n: _listed(each) for n, each in calibration.smape_K.items()},
    )


def _listed(values: np.ndarray) -> list[Any]:
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    listed: list[Any] = plain.tolist()
    return listed


def _from_record(kept: KeptCalibration) -> Calibration:
    return Calibration(
        levels=kept.levels,
        error_mw_KQ={n: np.array(v, dtype=float) for n, v in kept.error_mw.items()},
        smape_K={n: np.array(v, dtype=float) for n, v in kept.smape.items()},
    )
