"""A trained model as a value: its networks, what they were trained on, how wrong they were."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gridcast.evaluation.blending import blended
from gridcast.evaluation.measure import measure_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from gridcast.baselines.linear_models import LinearModels
    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.evaluation.measure import MeasureName
    from gridcast.features.load_scale import LoadScale
    from gridcast.forecasting.calibration import Calibration
    from gridcast.networks.building import Forecaster

NETWORK = "network"
# What stands in for a network: of them the best on the validation part, region by region. The
# linear models do where a run has fitted them.
LINEAR = ("linear", "linear_neighbours")
STAND_INS = ("same_hour_yesterday", "same_hour_last_week")


def stand_ins_of(calibrations: Iterable[str]) -> tuple[str, ...]:
    """Of those that have a calibration, by name, what may stand in for the networks."""
    return tuple(name for name in calibrations if name != NETWORK)


@dataclass(frozen=True, slots=True)
class Blend:
    """How much of a forecast is that of linear models (``linear``, one of ``LINEAR``), by lead."""

    linear: str
    weight_K: np.ndarray

    def of(self, networks_NK: np.ndarray, linear_NK: np.ndarray) -> np.ndarray:
        """Both together, ``(N, K)``."""
        return blended(networks_NK, linear_NK, self.weight_K[: networks_NK.shape[1]])


@dataclass(frozen=True, slots=True)
class Contestants:
    """Who is asked for the same hours: means of networks, and what may stand in for them.

    ``members`` has of each mean the names of its ``networks``: a network by itself is one too.
    Those that are blended with linear models stand in ``blends``.
    """

    networks: Mapping[str, Forecaster]
    members: Mapping[str, Sequence[str]]
    linear: Mapping[str, LinearModels] = field(default_factory=dict)
    blends: Mapping[str, Blend] = field(default_factory=dict)

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The names of what may stand in."""
        return (*self.linear, *STAND_INS)


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """The networks whose mean is forecast with.

    ``sha256`` tells the model apart: one network's weights, or a hash over those of all.
    ``scales`` has the regions that it was trained on, in the order of their numbers.
    ``calibrations`` tells of the networks' mean (``NETWORK``) and of each of ``stand_ins`` how
    wrong it was on the validation part. ``linear``: the linear models of all regions by their kind
    (``LINEAR``), as far as the run has fitted some. ``covariates``: by region, what it is asked
    with. ``blend``: what is blended with the networks' mean, which is then meant by ``NETWORK``.
    """

    name: str
    sha256: str
    config: Config
    scales: Mapping[str, LoadScale]
    forecasters: tuple[Forecaster, ...]
    calibrations: Mapping[str, Calibration]
    linear: Mapping[str, LinearModels] = field(default_factory=dict)
    covariates: Mapping[str, Covariates] = field(default_factory=dict)
    blend: Blend | None = None

    def given(self, covariates: Mapping[str, Covariates]) -> ForecastModel:
        """The same with values of covariates, by region."""
        return replace(self, covariates=covariates)

    def as_contestants(self, name: str) -> Contestants:
        """The mean of its networks under a name, and what may stand in for it."""
        networks = {str(number): each for number, each in enumerate(self.forecasters)}
        blends = {name: self.blend} if self.blend else {}
        return Contestants(networks, {name: tuple(networks)}, self.linear, blends)

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """What may stand in for the networks: the contestants with a calibration beside them."""
        return stand_ins_of(self.calibrations)

    @property
    def norms(self) -> dict[str, float]:
        """What errors of each region are told in percent of, MW; empty: of each hour's load."""
        known = {name: each.norm_mw for name, each in self.scales.items()}
        return {name: norm for name, norm in known.items() if norm is not None}

    @property
    def measure(self) -> MeasureName:
        """How its errors are told."""
        return measure_of(self.scales.values())

    @property
    def reads_others(self) -> bool:
        """Whether what is known of one region has a say in the forecasts of another."""
        has_mixes = bool(self.config.model.neighbour_units)
        return has_mixes or any(each.reads_neighbours for each in self.linear.values())

    @property
    def regions(self) -> list[str]:
        """Those that it was trained on, in the order of their numbers."""
        return list(self.scales)
