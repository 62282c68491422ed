"""Forecasts for every label of a part: the network runs along the series, not once a label.

Legend: ``N`` tiles, ``O`` origins, ``H`` horizon, ``L`` lookback, ``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gridcast.evaluation.measure import percent_errors
from gridcast.evaluation.metrics import smape
from gridcast.features.load_scale import to_mw
from gridcast.features.windows import Bools, Ints, Tiles, scored_origins, tile_origins
from gridcast.networks.lead_forecaster import LeadForecaster
from gridcast.training.clock import Validation
from gridcast.training.lead_windows import forecast_windows

if TYPE_CHECKING:
    from torch import Tensor

    from gridcast.config import Config, WindowsConfig
    from gridcast.networks.building import Forecaster
    from gridcast.training.data import TrainingData

_STEPS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 17}


@dataclass(frozen=True, slots=True)
class Scored:
    """Forecast and truth (MW) at each origin, in the order of the steps."""

    origins_O: np.ndarray  # step from which is forecast
    region_O: np.ndarray  # int
    y_true_OH: np.ndarray
    y_pred_OH: np.ndarray

    def smape_by_region(self) -> dict[int, float]:
        """Region number to sMAPE in percent."""
        # They stand in order, so that each region is a slice.
        found = np.unique(self.region_O, return_index=True, return_counts=True)
        return {
            int(region): smape(
                self.y_true_OH[first : first + num], self.y_pred_OH[first : first + num]
            )
            for region, first, num in zip(*found, strict=True)
        }

    def mean_smape(self) -> float:
        """The mean over the regions of their sMAPE, in percent: the project's headline figure."""
        return float(np.mean(list(self.smape_by_region().values())))

    def validation(self, norm_mw_R: np.ndarray | None) -> Validation:
        """Its errors; ``norm_mw_R`` None: they are not told by the nMAE."""
        if not len(self.origins_O):
            return Validation()
        return Validation(
            self.mean_smape(), None if norm_mw_R is None else self.mean_nmae(norm_mw_R)
        )

    def mean_nmae(self, norm_mw_R: np.ndarray) -> float:
        """The same of their nMAE: in percent of ``norm_mw_R`` (MW, by the region's number)."""
        norm_O1 = norm_mw_R[self.region_O][:, None]
        error_O = percent_errors(self.y_true_OH, self.y_pred_OH, norm_O1).mean(axis=1)
        num_R = np.bincount(self.region_O)
        total_R = np.bincount(self.region_O, error_O)
        return float(np.mean(total_R[num_R > 0] / num_R[num_R > 0]))


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """Which windows forecast the labels of a part; the same for every forecaster."""

    origins_O: Ints
    tiles: Tiles
    is_wanted_O: Bools  # of the tiles' outputs, in their order


def plan_scoring(data: TrainingData, part: int, config: Config) -> ScoringPlan:
    """Cover every label of ``part`` (see ``splits``) that has its inputs, and no other."""
    origins = scored_origins(data.steps, part, config.windows)
    tiles = tile_origins(data.steps, origins, config.windows)
    return ScoringPlan(origins, tiles, np.isin(tiles.origins_O, origins, assume_unique=True))


def score(forecaster: Forecaster, data: TrainingData, part: int, config: Config) -> Scored:
    """Forecast every label of ``part`` (see ``splits``) that has its inputs, and no other."""
    return score_planned(forecaster, data, plan_scoring(data, part, config), config)


@torch.no_grad()
def score_planned(
    forecaster: Forecaster, data: TrainingData, plan: ScoringPlan, config: Config
) -> Scored:
    """Run the network along the plan's tiles; the forecasts at its origins."""
    windows, tiles, origins = config.windows, plan.tiles, plan.origins_O
    forecaster.eval()
    device = data.x_TF.device
    y_scaled = np.zeros((int(tiles.num_origins_N.sum()), windows.horizon), dtype=np.float32)
    reach = np.arange(windows.lookback - windows.warmup)
    batch = tiles_at_once(windows, device)
    done = 0
    for first in range(0, len(tiles.starts_N), batch):
        starts = torch.as_tensor(tiles.starts_N[first : first + batch], device=device)
        y_BOH = _forecast_tiles(forecaster, data, starts, windows).float().cpu().numpy()
        wanted = y_BOH[reach < tiles.num_origins_N[first : first + batch, None]]
        y_scaled[done : done + len(wanted)] = wanted
        done += len(wanted)
    y_scaled = y_scaled[plan.is_wanted_O]
    ahead_OH = origins[:, None] + np.arange(1, windows.horizon + 1)
    region_O = data.steps.region_T[origins]
    y_pred = to_mw(
        y_scaled,
        offset_mw=data.offset_mw_R[region_O, None],
        scale_mw=data.scale_mw_R[region_O, None],
    )
    return Scored(origins, region_O, data.load_mw_T[ahead_OH], y_pred)


def _forecast_tiles(
    forecaster: Forecaster, data: TrainingData, starts_N: Tensor, windows: WindowsConfig
) -> Tensor:
    """From every step after the warm-up of these windows, ``(N, O, H)``, scaled."""
    places_L = torch.arange(windows.lookback, device=starts_N.device)
    if isinstance(forecaster, LeadForecaster):
        at_NO = places_L[windows.warmup :].expand(len(starts_N), -1)
        return forecast_windows(forecaster, data, starts_N, at_NO, windows)
    steps_NL = (starts_N[:, None] + places_L).clamp_(max=len(data.x_TF) - 1)
    y_NOH: Tensor = forecaster(data.x_TF[steps_NL], windows.warmup, data.region_of(starts_N))
    return y_NOH


def tiles_at_once(windows: WindowsConfig, device: torch.device) -> int:
    """How many windows are scored together: of a longer horizon, which takes memory, fewer."""
    return max(1, _STEPS_AT_ONCE[device.type] // (windows.lookback * windows.horizon))
