"""Windows as a forecaster by lead sees them, cut from the series; and its losses of a batch.

Legend: ``S`` forecasters (here always one), ``P`` parameters, ``B`` windows, ``L`` lookback, ``O``
origins, ``H`` leads, ``G`` hours of the grid that all regions share, ``W`` signals of all regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gridcast.networks.lead_forecaster import ahead_of
from gridcast.training.gradients import LOSSES, BatchGradient

if TYPE_CHECKING:
    from gridcast.config import WindowsConfig
    from gridcast.networks.forecaster import State
    from gridcast.networks.lead_forecaster import LeadForecaster
    from gridcast.training.data import TrainingData


def forecast_windows(
    forecaster: LeadForecaster,
    data: TrainingData,
    starts_B: Tensor,
    at_BO: Tensor,
    windows: WindowsConfig,
) -> Tensor:
    """Scaled forecasts ``(B, O, H)`` from the places ``at_BO`` of the windows that start there.

    Of steps past the end of the series nothing is known: windows there are filling.
    """
    last = len(data.x_TF) - 1
    steps_BL = starts_B[:, None] + torch.arange(windows.lookback, device=starts_B.device)
    steps_BL = steps_BL.clamp_(max=last)
    region_B = data.region_of(starts_B)
    signals_BLW = None
    if data.regional is not None:
        signals_BLW = data.regional.values_GW[data.regional.hour_T[steps_BL]]
    origins_BO = (starts_B[:, None] + at_BO).clamp_(max=last)
    if data.is_known_T is None:
        message = "training data of a model whose head is by lead"
        raise ValueError(message)
    ahead_BOHZ = ahead_of(
        data.x_TF, data.is_known_T, origins_BO,
        data.first_step_R[region_B][:, None].expand_as(origins_BO),
        forecaster.lags_HK, num_known=forecaster.num_known, issued_TLC=data.issued_TLC,
    )  # fmt: skip
    y_BOH: Tensor = forecaster(data.x_TF[steps_BL], region_B, signals_BLW, at_BO, ahead_BOHZ)
    return y_BOH


def places_of_loss(starts_B: Tensor, windows: WindowsConfig) -> Tensor:
    """The places of each window from which it forecasts in training, ``(B, O)``.

    One of ``origin_stride`` after the warm-up. Where the first one lies follows from the window's
    start, which shifts from pass to pass: in time each origin has its turn.
    """
    stride = windows.origin_stride
    num_origins = (windows.lookback - windows.warmup) // stride
    places_O = windows.warmup + stride * torch.arange(num_origins, device=starts_B.device)
    return (starts_B % stride)[:, None] + places_O


class LeadGradient(BatchGradient):
    """``BatchGradient`` of a stack of one forecaster by lead; see there."""

    def _losses(self, starts_SB: Tensor) -> tuple[Tensor, State]:
        windows, data = self._config.windows, self._data
        is_filling_B = starts_SB[0] < 0
        starts_B = torch.where(is_filling_B, -1 - starts_SB[0], starts_SB[0])
        at_BO = places_of_loss(starts_B, windows)
        ahead_H = torch.arange(1, windows.horizon + 1, device=starts_B.device)
        labels_BOH = (starts_B[:, None] + at_BO)[..., None] + ahead_H
        weight_BOH = data.is_train_T[labels_BOH] * ~is_filling_B[:, None, None]
        total = weight_BOH.sum()  # of the whole batch
        starts_B, at_BO, labels_BOH, weight_BOH = (
            self._own(each[None])[0] for each in (starts_B, at_BO, labels_BOH, weight_BOH)
        )
        forecaster = cast("LeadForecaster", self._stack.alone())
        with self._autocast():
            y_BOH = forecast_windows(forecaster, data, starts_B, at_BO, windows)
        each = LOSSES[self._config.training.loss](y_BOH.float() - data.target_T[labels_BOH])
        return ((each * weight_BOH).sum() / total)[None], ()
