"""A recurrent forecaster of many hours: one state at the issue time, of each hour what is known.

The recurrent layer reads the past; a small head, the same for all leads, joins its state at the
origin with what is known of an hour ahead (``features.known_ahead``). With
``model.neighbour_units`` the layer also reads a mix of all regions' past (``features.neighbours``),
learned for each region; in training that of some regions is hidden, so that a forecast bears their
absence.

Legend: ``B`` windows, ``L`` lookback, ``F`` features, ``O`` origins, ``H`` leads, ``U`` units of
the state, ``A`` of the head, ``Z`` numbers of an hour ahead, ``E`` learned numbers of a lead, ``R``
regions, ``J`` signals of each, ``W`` of all regions, ``M`` their mixes, ``D`` learned numbers of a
region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gridcast.features.known_ahead import (
    NUM_LOADS,
    SINCE_YESTERDAY,
    LeadLags,
    loads_ahead,
)
from gridcast.features.neighbours import NUM_SIGNALS
from gridcast.networks.forecaster import LOAD, RecurrentNetwork, rows_of, with_region

if TYPE_CHECKING:
    from gridcast.config import Cell, ModelConfig

_LEAD_NUMBERS = 16  # learned of each lead
# As learning begins: hours over which what lies above yesterday is carried on, and over which a
# forecast grows unsure.
_CARRIED_HOURS, _SURE_HOURS = 12.0, 6.0
_FIRST_MIX = 0.02  # deviation of a mix's weights as it begins


class LeadForecaster(RecurrentNetwork):
    """Forecasts the next ``horizon`` scaled loads from any steps of a window, in one pass."""

    lags_HK: Tensor

    def __init__(
        self,
        config: ModelConfig,
        *,
        cell: Cell,
        num_features: int,
        num_known: int,
        horizon: int,
        num_regions: int,
    ) -> None:
        num_inputs = num_features + config.region_units + config.neighbour_units
        super().__init__(config, cell=cell, num_inputs=num_inputs)
        self.num_known, self.num_regions = num_known, num_regions
        hours_HK = torch.from_numpy(LeadLags.of(horizon).hours_HK)
        self.register_buffer("lags_HK", hours_HK, persistent=False)
        self.head = LeadHead(config, num_ahead=NUM_LOADS + num_known, horizon=horizon)
        if config.region_units:
            self.region_RD = nn.Parameter(0.5 * torch.randn(num_regions, config.region_units))
        if config.neighbour_units:
            shape = num_regions, num_regions * NUM_SIGNALS * config.neighbour_units
            self.mix_RN = nn.Parameter(_FIRST_MIX * torch.randn(shape))

    def forward(
        self,
        x_BLF: Tensor,
        region_B: Tensor,
        signals_BLW: Tensor | None,
        at_BO: Tensor,
        ahead_BOHZ: Tensor,
    ) -> Tensor:
        """Scaled forecasts ``(B, O, H)`` from the places ``at_BO`` of the windows.

        ``signals_BLW`` is not needed where ``model.neighbour_units`` is 0.
        """
        hidden_BLU = self.run_layers(self.inputs_of(x_BLF, region_B, signals_BLW))[0]
        at_BOU = at_BO[..., None].expand(-1, -1, hidden_BLU.shape[-1])
        y_BOH: Tensor = self.head(hidden_BLU.gather(1, at_BOU), ahead_BOHZ)
        return y_BOH

    def inputs_of(
        self, x_BLF: Tensor, region_B: Tensor | None, signals_BLW: Tensor | None
    ) -> Tensor:
        """The features, what was learned of the region, and the mixes of all regions' past."""
        inputs_BLF = x_BLF
        if region_B is None:
            return inputs_BLF
        if self.config.region_units:
            inputs_BLF = with_region(x_BLF, region_B, self.region_RD)
        if self.config.neighbour_units and signals_BLW is not None:
            mixed_BLM = self._mix(signals_BLW, region_B)
            inputs_BLF = torch.cat([inputs_BLF, mixed_BLM.to(inputs_BLF.dtype)], -1)
        return inputs_BLF

    def _mix(self, signals_BLW: Tensor, region_B: Tensor) -> Tensor:
        """The mixes of the windows' regions, ``(B, L, M)``."""
        if self.training and self.config.neighbour_dropout:
            signals_BLW = self._hide_some(signals_BLW)
        own_BN = rows_of(region_B, self.mix_RN)
        mix_BWM = own_BN.view(-1, self.num_signals, self.config.neighbour_units)
        return torch.matmul(signals_BLW, mix_BWM)

    def _hide_some(self, signals_BLW: Tensor) -> Tensor:
        """Of each window the past of some regions is as if nobody knew it."""
        shape = len(signals_BLW), 1, self.num_regions, 1
        is_seen = torch.rand(shape, device=signals_BLW.device) >= self.config.neighbour_dropout
        each_BLRJ = signals_BLW.view(*signals_BLW.shape[:2], self.num_regions, NUM_SIGNALS)
        hidden_BLRJ: Tensor = each_BLRJ * is_seen
        return hidden_BLRJ.flatten(-2)

    @property
    def num_signals(self) -> int:
        """Columns (``W``) that the past of all regions has."""
        return self.num_regions * NUM_SIGNALS if self.config.neighbour_units else 0


class LeadHead(nn.Module):
    """State at the origin and what is known of an hour ahead → its scaled load; for all leads."""

    def __init__(self, config: ModelConfig, *, num_ahead: int, horizon: int) -> None:
        super().__init__()
        units = config.lead_units
        lead_H = torch.arange(1, horizon + 1)
        self.is_change = config.target == "change"
        if self.is_change:
            self.carried_H = nn.Parameter(torch.exp(-lead_H / _CARRIED_HOURS))
            scale_H = config.change_scale * (1 - torch.exp(-lead_H / _SURE_HOURS))
            self.scale_H = nn.Parameter(scale_H)
        self.lead_HE = nn.Parameter(torch.randn(horizon, _LEAD_NUMBERS))
        self.of_state = nn.Linear(config.hidden_size, units)
        self.of_hour = nn.Linear(num_ahead, units)
        self.of_lead = nn.Linear(_LEAD_NUMBERS, units, bias=False)
        self.deep = nn.Linear(units, units)
        self.last = nn.Linear(units, 1)

    def forward(self, state_BOU: Tensor, ahead_BOHZ: Tensor) -> Tensor:
        """Shape ``(B, O, H)``.

        With ``target: change`` it is the latest same hour, and what the load now lies above
        yesterday's as far as that is carried on to the lead, and what the last layer gives times a
        scale: the next hour is surer than those to come. Both are learned, a number a lead.
        """
        from_state = self.of_state(state_BOU)[..., None, :] + self.of_lead(self.lead_HE)
        hidden = torch.relu(self.of_hour(ahead_BOHZ) + from_state)
        y_BOH: Tensor = self.last(torch.relu(self.deep(hidden)))[..., 0]
        if not self.is_change:
            return y_BOH
        base_BOH = ahead_BOHZ[..., LOAD] + self.carried_H * ahead_BOHZ[..., SINCE_YESTERDAY]
        return base_BOH + self.scale_H * y_BOH.to(ahead_BOHZ.dtype)


def ahead_of(
    x_TF: Tensor,
    is_known_T: Tensor,
    origins: Tensor,
    first: Tensor,
    lags_HK: Tensor,
    *,
    num_known: int,
    issued_TLC: Tensor | None = None,
) -> Tensor:
    """What is known of the hours after each origin, shape ``(O, H, Z)``.

    The calendar of an hour, and the covariates that are known of it always, stand in the features
    of the step before it, the last ``num_known``; of steps after the origin nothing else is looked
    at. ``first``: where an origin's series begins. ``issued_TLC``: of each step what had been
    issued when it ended of the ``L`` hours after the next one; it stands in the place of the last
    ``C`` of those features.
    """
    loads = loads_ahead(x_TF[:, LOAD], is_known_T, origins, first, lags_HK)
    steps = origins[..., None] + torch.arange(len(lags_HK), device=origins.device)
    known = x_TF[steps.clamp_(max=x_TF.shape[0] - 1), -num_known:]
    if issued_TLC is not None:
        issued = issued_TLC[origins]
        later = torch.cat([known[..., 1:, : -issued.shape[-1]], issued], -1)
        known = torch.cat([known[..., :1, :], later], -2)
    return torch.cat([loads, known], -1)
