"""Which network the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcast.features.columns import ahead_columns
from gridcast.networks.forecaster import RecurrentForecaster
from gridcast.networks.lead_forecaster import LeadForecaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import Cell, Config

Forecaster = RecurrentForecaster | LeadForecaster


def build_forecaster(
    config: Config, *, cell: Cell, feature_names: Sequence[str], num_regions: int
) -> Forecaster:
    """A network with weights drawn from PyTorch's generator."""
    num_features = len(feature_names)
    horizon = config.windows.horizon
    if config.model.head == "linear":
        return RecurrentForecaster(
            config.model, cell=cell, num_features=num_features, horizon=horizon,
            num_regions=num_regions,
        )  # fmt: skip
    return LeadForecaster(
        config.model, cell=cell, num_features=num_features, horizon=horizon,
        num_known=len(ahead_columns(feature_names)), num_regions=num_regions,
    )  # fmt: skip
