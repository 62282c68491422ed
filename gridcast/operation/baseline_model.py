"""What forecasts where no model can be loaded: the better naive forecast of each region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridcast.evaluation.measure import (
    NMAE,
    mean_load,
    measure_of_run,
    near_zero_share,
    norms_of,
)
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.calibration import Calibration, error_of
from gridcast.forecasting.hindcast import bands_on, first_learned, hindcast, num_leads_of
from gridcast.forecasting.model import NETWORK, STAND_INS, Contestants, ForecastModel
from gridcast.forecasting.region_state import hours_back
from gridcast.forecasting.rolling import rolling_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from gridcast.config import Config

_WORST = 1e6  # percent: no forecast is worse, so that no network is asked for
ALWAYS = "1970-01-01T00"  # since when the truth is new to a naive forecast


def baseline_model(
    readings: Mapping[str, pd.DataFrame], config: Config, *, day: np.datetime64
) -> ForecastModel:
    """A model without networks, whose bands are of errors that were known when ``day`` began.

    Of the naive forecasts each region gets the one that was better in the weeks before.
    """
    own = config.forecasting
    hours = np.timedelta64(hours_back(config) + num_leads_of(own), "h")
    begin = first_learned(day, own).astype("datetime64[h]") - hours
    times = {name: each["timestamp"].dt.tz_localize(None) for name, each in readings.items()}
    known = {
        name: each[((times[name] >= begin) & (times[name] < day)).to_numpy()]
        for name, each in readings.items()
    }
    scales = scales_of_baseline({name: each for name, each in known.items() if len(each)})
    some = {name: known[name] for name in scales}
    frame = build_features(some, config, scales=scales, regions=list(scales)).frame
    table = rolling_table(frame, scales, config, num_leads=num_leads_of(own))
    past = hindcast(
        Contestants({}, {}), table, frame, dict.fromkeys(scales, ALWAYS), config,
        first=first_learned(day, own), end=day,
    )  # fmt: skip
    bands = bands_on(past, own)
    norm_R = norms_of(scales.values())
    errors = {
        kind: error_of(past.truth_NK, past.forecasts[kind], past.region_N, norm_R)
        for kind in STAND_INS
    }
    calibrations = {kind: Calibration(errors[kind], bands[kind]) for kind in STAND_INS}
    worst = np.full_like(calibrations[STAND_INS[0]].error_RK, _WORST)
    calibrations[NETWORK] = Calibration(worst, bands[STAND_INS[0]])
    return ForecastModel("baseline", "", config, scales, (), calibrations)


def scales_of_baseline(known: Mapping[str, pd.DataFrame]) -> dict[str, LoadScale]:
    """No scale at all; errors are told as the trusted readings of these weeks ask for."""
    loads = {
        name: each["load_mw"].to_numpy(float)[(each["flag"] == "").to_numpy()]
        for name, each in known.items()
    }
    is_nmae = measure_of_run(near_zero_share(own) for own in loads.values()) == NMAE
    return {
        name: LoadScale(0.0, 1.0, norm_mw=mean_load(own) if is_nmae else None)
        for name, own in loads.items()
    }
