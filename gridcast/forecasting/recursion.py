"""A next-hour network asked for many hours: each forecast is the load that the next one sees.

The recursive strategy (Ben Taieb and Hyndman 2012): the network runs once over the hours that are
known, then step by step over those that it has forecast, its state carried on. What is known of an
hour ahead, its calendar, is given.

Legend: ``B`` forecasts (a region at an issue time), ``L`` known steps, ``F`` features, ``C`` those
of the calendar, ``K`` leads, ``T`` steps of the load, ``R`` regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gridcast.features.table import load_features

if TYPE_CHECKING:
    from gridcast.config import FeaturesConfig
    from gridcast.networks.forecaster import RecurrentForecaster


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at each issue time, all of it scaled; the last step is the last known hour."""

    x_BLF: np.ndarray  # features of the known steps
    load_BT: np.ndarray  # the load, at least as far back as the longest lag needs
    calendar_BKC: np.ndarray  # calendar features of the steps ahead; the first is the issue's own
    region_B: np.ndarray  # number of the region
    signals_BLW: np.ndarray | None = None  # of all regions (features.neighbours), as far as known


def steps_of_load(config: FeaturesConfig) -> int:
    """How many steps of the load the features of one step look back over, itself included."""
    return max(config.lags_hours, default=1) + 1


@torch.no_grad()
def forecast_recursively(
    forecaster: RecurrentForecaster, known: Known, config: FeaturesConfig, *, num_leads: int
) -> np.ndarray:
    """Scaled forecasts of the ``K`` hours after the last known one, shape ``(B, K)``.

    Of a network with a longer horizon only its next hour is used. ``known.calendar_BKC`` has the
    calendar of ``num_leads - 1`` steps: that of the last forecast is not needed.
    """
    forecaster.eval()
    region_B = torch.from_numpy(np.ascontiguousarray(known.region_B))
    x_BLF = torch.from_numpy(np.ascontiguousarray(known.x_BLF, dtype=np.float32))
    y_BOH, state = forecaster.run(x_BLF, region_B, x_BLF.shape[1] - 1, None)
    num_steps = steps_of_load(config)
    load_BT = np.concatenate(
        [known.load_BT[:, -num_steps:], np.empty((len(known.load_BT), num_leads))], axis=1
    )
    forecasts_BK = np.empty((len(load_BT), num_leads))
    for lead in range(num_leads):
        forecasts_BK[:, lead] = load_BT[:, num_steps + lead] = y_BOH[:, -1, 0].double().numpy()
        if lead + 1 == num_leads:
            break
        tail_BT = load_BT[:, lead + 1 : num_steps + lead + 1]
        now_BF = [each[:, -1] for each in load_features(tail_BT, config).values()]
        step_BF = np.concatenate([np.stack(now_BF, axis=1), known.calendar_BKC[:, lead]], axis=1)
        x_B1F = torch.from_numpy(step_BF.astype(np.float32))[:, None]
        y_BOH, state = forecaster.run(x_B1F, region_B, 0, state)
    return forecasts_BK
