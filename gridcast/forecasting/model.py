"""A trained model as a value: its networks, what they were trained on, how wrong they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import Config
    from gridcast.features.load_scale import LoadScale
    from gridcast.forecasting.calibration import Calibration
    from gridcast.networks.building import Forecaster

NETWORK = "network"
# What stands in for a network: of them the better on the validation part, region by region.
STAND_INS = ("same_hour_yesterday", "same_hour_last_week")


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """The networks whose mean is forecast with.

    ``sha256`` tells the model apart: one network's weights, or a hash over those of all.
    ``scales`` has the regions that it was trained on, in the order of their numbers.
    ``calibrations`` tells of the networks' mean (``NETWORK``) and of each of ``STAND_INS`` how
    wrong it was on the validation part.
    """

    name: str
    sha256: str
    config: Config
    scales: Mapping[str, LoadScale]
    forecasters: tuple[Forecaster, ...]
    calibrations: Mapping[str, Calibration]

    @property
    def networks(self) -> dict[str, Forecaster]:
        """The forecasters under names of their own."""
        return {str(number): each for number, each in enumerate(self.forecasters)}

    @property
    def regions(self) -> list[str]:
        """Those that it was trained on, in the order of their numbers."""
        return list(self.scales)
