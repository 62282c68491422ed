"""A network asked for more hours than it was trained for: its forecasts are the loads it sees next.

A network forecasts the next hour, or with a head by lead the next ``H`` hours at once; these are
the hours of one pass. What comes after them is forecast as if they had come true (the recursive
strategy of Ben Taieb and Hyndman 2012): the network reads on over them, its state carried on. What
is known of an hour ahead, its calendar, is given.

Legend: ``B`` series (a region on a day), ``L`` known steps, ``O`` those from which is forecast, the
origins, ``F`` features, ``C`` those of the calendar, ``S`` steps from the first origin on, ``K``
leads, ``H`` leads of one pass, ``T`` steps of the load, ``W`` signals of all regions, ``U`` units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.features.known_ahead import LONGEST_LAG, loads_ahead
from gridcast.features.table import load_features, load_features_now
from gridcast.networks.forecaster import CellSteps
from gridcast.networks.lead_forecaster import LeadForecaster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridcast.config import Config
    from gridcast.networks.building import Forecaster
    from gridcast.networks.forecaster import RecurrentForecaster, State

_SERIES_AT_ONCE = 1024  # of several origins: enough to fill a step, few enough to stay small


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of some series, all of it scaled; the last step is the last origin.

    ``origins`` are places of the known steps, in ascending order, the same in all series.
    """

    x_BLF: np.ndarray  # features of the known steps
    load_BT: np.ndarray  # the load up to the last step; NaN where it is not known
    calendar_BSC: np.ndarray  # the calendar's features of the first origin and the steps after it
    covariates_BOSC: np.ndarray  # covariates' inputs of each origin and the steps after it
    region_B: np.ndarray  # number of the region
    signals_BLW: np.ndarray | None  # of all regions (features.neighbours), as far as known
    origins: tuple[int, ...]
    num_past: int = 0  # inputs that tell of covariates in the past


def steps_of_load(config: Config) -> int:
    """How many steps of the load are looked back over from an origin, itself included."""
    longest = max(config.features.lags_hours, default=1)
    return 1 + (max(longest, LONGEST_LAG) if config.model.head == "by_lead" else longest)


def steps_of_calendar(config: Config, *, num_leads: int) -> int:
    """Of how many steps, an origin and those after it, the calendar is needed."""
    hours = _hours_of_a_pass(config)
    return hours * -(-num_leads // hours)


def _hours_of_a_pass(config: Config) -> int:
    """Of a next-hour head that gives more than an hour only the next one is used."""
    return config.windows.horizon if config.model.head == "by_lead" else 1


@torch.inference_mode()
def forecast_leads(
    forecaster: Forecaster, known: Known, config: Config, *, num_leads: int
) -> np.ndarray:
    """Scaled forecasts of the ``K`` hours after each origin, shape ``(B, O, K)``.

    ``known`` has at least :func:`steps_of_load` up to the first origin, and from the last one on
    :func:`steps_of_calendar`.
    """
    forecaster.eval()
    paths = list(_paths(forecaster, known, steps_of_load(config)))
    num_series = len(known.region_B)
    at_once = max(1, _SERIES_AT_ONCE // num_series)
    forecasts = []
    for first in range(0, len(paths), at_once):
        path = _side_by_side(paths[first : first + at_once])
        if isinstance(forecaster, LeadForecaster):
            y_BK = _pass_by_pass(forecaster, path, config, num_leads=num_leads)
        else:
            y_BK = _hour_by_hour(forecaster, path, config, num_leads=num_leads)
        forecasts.append(y_BK.reshape(-1, num_series, num_leads))
    return np.concatenate(forecasts).transpose(1, 0, 2)


def _paths(forecaster: Forecaster, known: Known, num_steps: int) -> Iterator[_Path]:
    """Where the forecasts from each origin begin: what is known is read once, on and on."""
    x_BLF, region_B = _tensor(known.x_BLF, np.float32), _tensor(known.region_B, np.int64)
    signals_BLW = None if known.signals_BLW is None else _tensor(known.signals_BLW, np.float32)
    num_ahead = known.calendar_BSC.shape[1] - (known.origins[-1] - known.origins[0])
    state, done = None, 0
    for number, place in enumerate(known.origins):
        signals_BSW = None if signals_BLW is None else signals_BLW[:, done : place + 1]
        x_BSF = x_BLF[:, done : place + 1]
        hidden_BU, state = forecaster.read_on(x_BSF, region_B, signals_BSW, state)
        done = place + 1
        end = known.load_BT.shape[1] - known.x_BLF.shape[1] + done
        first = place - known.origins[0]
        ahead_BSC = known.calendar_BSC[:, first : first + num_ahead]
        if known.covariates_BOSC.shape[-1]:
            ahead_BSC = np.concatenate([ahead_BSC, known.covariates_BOSC[:, number]], axis=-1)
        yield _Path(
            hidden_BU, state, region_B, known.load_BT[:, end - num_steps : end],
            ahead_BSC,
            known.num_past,
        )  # fmt: skip


def _side_by_side(paths: Sequence[_Path]) -> _Path:
    """Paths of several origins as series of one: a step of few costs as much as one of many."""
    states = zip(*(each.state for each in paths), strict=True)
    return _Path(
        torch.cat([each.hidden_BU for each in paths]),
        tuple(torch.cat(each, dim=1) for each in states),
        torch.cat([each.region_B for each in paths]),
        np.concatenate([each.load_BT for each in paths]),
        np.concatenate([each.ahead_BSC for each in paths]),
        paths[0].num_past,
    )


def _tensor(values: np.ndarray, dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=dtype))


@dataclass(frozen=True, slots=True)
class _Path:
    """Where the forecasts from one origin of each series stand: the loads end where it has come."""

    hidden_BU: Tensor
    state: State
    region_B: Tensor
    load_BT: np.ndarray
    ahead_BSC: np.ndarray  # calendar and covariates of the hour after each step
    num_past: int


def _hour_by_hour(
    forecaster: RecurrentForecaster, path: _Path, config: Config, *, num_leads: int
) -> np.ndarray:
    """All leads of one origin, ``(B, K)``, by a network of the next hour."""
    num_series, num_known = path.load_BT.shape
    load_BT = np.concatenate([path.load_BT, np.empty((num_series, num_leads))], axis=1)
    inputs_BKF = _inputs_ahead(forecaster, path, config, num_leads=num_leads)
    written_BKF, steps = inputs_BKF.numpy(), CellSteps(forecaster)
    hidden_BU, state = path.hidden_BU, path.state
    for lead in range(num_leads):
        end = num_known + lead
        if lead:
            of_load_BF = load_features_now(load_BT[:, :end], config.features)
            written_BKF[:, lead - 1, : of_load_BF.shape[1]] = of_load_BF
            hidden_BU, state = steps.read(inputs_BKF[:, lead - 1], state)
        now_B11 = torch.from_numpy(load_BT[:, None, end - 1 : end].astype(np.float32))
        y_BOH = forecaster.forecast_from(hidden_BU[:, None], now_B11)
        load_BT[:, end] = y_BOH[:, 0, 0].numpy()
    return load_BT[:, num_known:]


def _inputs_ahead(
    forecaster: RecurrentForecaster, path: _Path, config: Config, *, num_leads: int
) -> Tensor:
    """What the layers read of the hours ahead, ``(B, K - 1, F)``; those of the load are 0 yet.

    Of covariates that are known afterwards nothing is known.
    """
    num_before = load_features_now(path.load_BT, config.features).shape[1] + path.num_past
    ahead_BKC = path.ahead_BSC[:, 1:num_leads]
    x_BKF = np.zeros((*ahead_BKC.shape[:2], num_before + ahead_BKC.shape[2]), np.float32)
    x_BKF[..., num_before:] = np.nan_to_num(ahead_BKC)
    return forecaster.inputs_of(torch.from_numpy(x_BKF), path.region_B)


def _pass_by_pass(
    forecaster: LeadForecaster, path: _Path, config: Config, *, num_leads: int
) -> np.ndarray:
    """All leads of one origin, ``(B, K)``, by a network of several hours at once."""
    passes = list[np.ndarray]()
    num_done = 0
    while True:
        y_BH = _one_pass(forecaster, path)
        passes.append(y_BH)
        num_done += y_BH.shape[1]
        if num_done >= num_leads:
            return np.concatenate(passes, axis=1)[:, :num_leads]
        path = _come_true(forecaster, path, y_BH, config)


def _one_pass(forecaster: LeadForecaster, path: _Path) -> np.ndarray:
    """Scaled forecasts of one pass, ``(B, H)``."""
    num_series, num_steps = path.load_BT.shape
    load_T = torch.from_numpy(path.load_BT.astype(np.float32).reshape(-1))
    first_B = torch.arange(num_series) * num_steps
    loads_BHZ = loads_ahead(
        torch.nan_to_num(load_T), ~load_T.isnan(), first_B + num_steps - 1, first_B,
        forecaster.lags_HK,
    )  # fmt: skip
    horizon = loads_BHZ.shape[1]
    known_BHC = torch.from_numpy(path.ahead_BSC[:, :horizon].astype(np.float32))
    ahead_BHZ = torch.cat([loads_BHZ, known_BHC], -1)
    y_BOH = forecaster.head(path.hidden_BU[:, None], ahead_BHZ[:, None])
    return np.asarray(y_BOH[:, 0].double().numpy())


def _come_true(forecaster: LeadForecaster, path: _Path, y_BH: np.ndarray, config: Config) -> _Path:
    """``H`` hours later, if the forecasts were the loads.

    Of other regions, and of covariates that are known afterwards, nothing is known.
    """
    horizon, num_steps = y_BH.shape[1], path.load_BT.shape[1]
    load_BT = np.concatenate([path.load_BT, y_BH], axis=1)
    of_load = load_features(load_BT, config.features, last=horizon).values()
    past_BHC = np.zeros((*y_BH.shape, path.num_past))
    ahead_BHC = path.ahead_BSC[:, 1 : horizon + 1]
    values_BHF = np.concatenate([np.stack(list(of_load), axis=-1), past_BHC, ahead_BHC], axis=-1)
    x_BHF = _tensor(np.nan_to_num(values_BHF), np.float32)
    unknown = None
    if forecaster.num_signals:
        unknown = torch.zeros(len(y_BH), horizon, forecaster.num_signals)
    hidden_BU, state = forecaster.read_on(x_BHF, path.region_B, unknown, path.state)
    return _Path(
        hidden_BU, state, path.region_B, load_BT[:, -num_steps:], path.ahead_BSC[:, horizon:],
        path.num_past,
    )  # fmt: skip
