"""A network by lead asked for many hours: all leads in one pass, further ones from its forecasts.

Legend: ``B`` forecasts (a region at an issue time), ``L`` known steps, ``X`` these and the steps to
come, ``F`` features, ``C`` those of the calendar, ``K`` leads, ``H`` those of one pass, ``W``
signals of all regions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from gridcast.features.table import load_features
from gridcast.forecasting.recursion import Known, forecast_recursively, steps_of_load
from gridcast.networks.lead_forecaster import LastWindow, LeadForecaster

if TYPE_CHECKING:
    from gridcast.config import Config, FeaturesConfig
    from gridcast.networks.building import Forecaster


def steps_ahead(config: Config, *, num_leads: int) -> int:
    """Of how many steps after the last known one the calendar is needed."""
    horizon = config.windows.horizon if config.model.head == "by_lead" else 1
    return horizon * -(-num_leads // horizon) - 1


def forecast_ahead(
    forecaster: Forecaster, known: Known, config: Config, *, num_leads: int
) -> np.ndarray:
    """Scaled forecasts of the ``K`` hours after the last known one, shape ``(B, K)``.

    ``known.calendar_BKC`` has the calendar of ``steps_ahead`` steps.
    """
    if isinstance(forecaster, LeadForecaster):
        return _forecast_directly(forecaster, known, config, num_leads=num_leads)
    return forecast_recursively(forecaster, known, config.features, num_leads=num_leads)


@torch.no_grad()
def _forecast_directly(
    forecaster: LeadForecaster, known: Known, config: Config, *, num_leads: int
) -> np.ndarray:
    """Leads beyond the network's own are forecast from its forecasts, taken for loads."""
    program = LastWindow(forecaster, lookback=config.windows.lookback).eval()
    passes = list[np.ndarray]()
    while True:
        y_BH = program(torch.from_numpy(_windows(known, config.windows.horizon))).double().numpy()
        passes.append(y_BH)
        if sum(each.shape[1] for each in passes) >= num_leads:
            return np.concatenate(passes, axis=1)[:, :num_leads]
        known = _lived_through(known, y_BH, config.features)


def _windows(known: Known, horizon: int) -> np.ndarray:
    """As :class:`LastWindow` takes them, ``(B, X, columns)``."""
    num_windows, lookback, num_features = known.x_BLF.shape
    signals_BLW = known.signals_BLW
    if signals_BLW is None:
        signals_BLW = np.empty((num_windows, lookback, 0), np.float32)
    num_calendar, num_signals = known.calendar_BKC.shape[2], signals_BLW.shape[2]
    shape = num_windows, lookback + horizon - 1, num_features + num_signals + 1
    windows_BXC = np.zeros(shape, np.float32)
    windows_BXC[:, :lookback, :num_features] = known.x_BLF
    windows_BXC[:, :lookback, num_features:-1] = signals_BLW
    calendar_BKC = known.calendar_BKC[:, : horizon - 1]
    windows_BXC[:, lookback:, num_features - num_calendar : num_features] = calendar_BKC
    windows_BXC[..., -1] = known.region_B[:, None]
    return windows_BXC


def _lived_through(known: Known, y_BH: np.ndarray, config: FeaturesConfig) -> Known:
    """What would be known ``H`` hours later if the forecasts were the loads; of others nothing."""
    horizon, num_steps = y_BH.shape[1], steps_of_load(config)
    load_BT = np.concatenate([known.load_BT[:, -num_steps:], y_BH], axis=1)
    of_load = [each[:, -horizon:] for each in load_features(load_BT, config).values()]
    calendar_BHC = known.calendar_BKC[:, :horizon]
    new_BHF = np.concatenate([np.stack(of_load, axis=-1), calendar_BHC], axis=-1)
    x_BLF = np.concatenate([known.x_BLF, new_BHF], axis=1)[:, horizon:]
    signals_BLW = known.signals_BLW
    if signals_BLW is not None:
        nothing = np.zeros((len(y_BH), horizon, signals_BLW.shape[2]), np.float32)
        signals_BLW = np.concatenate([signals_BLW, nothing], axis=1)[:, horizon:]
    calendar_BKC = known.calendar_BKC[:, horizon:]
    return replace(
        known, x_BLF=x_BLF, load_BT=load_BT, calendar_BKC=calendar_BKC, signals_BLW=signals_BLW
    )
