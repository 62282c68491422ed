"""A trained model as a value: its networks, what they were trained on, how wrong they were."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gridcast.evaluation.measure import measure_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridcast.baselines.linear_baselines import LinearModels
    from gridcast.config import Config
    from gridcast.covariates.values import Covariates
    from gridcast.evaluation.measure import MeasureName
    from gridcast.features.load_scale import LoadScale
    from gridcast.forecasting.calibration import Calibration
    from gridcast.networks.building import Forecaster

NETWORK = "network"
# What stands in for a network: of them the best on the validation part, region by region. The
# linear models do where a run has fitted them.
LINEAR = "linear"
STAND_INS = ("same_hour_yesterday", "same_hour_last_week")


def stand_ins_of(calibrations: Iterable[str]) -> tuple[str, ...]:
    """Of those that have a calibration, by name, what may stand in for the networks."""
    return tuple(name for name in calibrations if name != NETWORK)


@dataclass(frozen=True, slots=True)
class Contestants:
    """Who is asked for the same hours: means of networks, and what may stand in for them.

    ``members`` has of each mean the names of its ``networks``: a network by itself is one too.
    """

    networks: Mapping[str, Forecaster]
    members: Mapping[str, Sequence[str]]
    linear: LinearModels | None = None

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The names of what may stand in."""
        return STAND_INS if self.linear is None else (LINEAR, *STAND_INS)


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """The networks whose mean is forecast with.

    ``sha256`` tells the model apart: one network's weights, or a hash over those of all.
    ``scales`` has the regions that it was trained on, in the order of their numbers.
    ``calibrations`` tells of the networks' mean (``NETWORK``) and of each of ``stand_ins`` how
    wrong it was on the validation part. ``linear``: the linear models of all regions, if the run
    has fitted some. ``covariates``: by region, what it is asked with.
    """

    name: str
    sha256: str
    config: Config
    scales: Mapping[str, LoadScale]
    forecasters: tuple[Forecaster, ...]
    calibrations: Mapping[str, Calibration]
    linear: LinearModels | None = None
    covariates: Mapping[str, Covariates] = field(default_factory=dict)

    def given(self, covariates: Mapping[str, Covariates]) -> ForecastModel:
        """The same with values of covariates, by region."""
        return replace(self, covariates=covariates)

    def as_contestants(self, name: str) -> Contestants:
        """The mean of its networks under a name, and what may stand in for it."""
        networks = {str(number): each for number, each in enumerate(self.forecasters)}
        return Contestants(networks, {name: tuple(networks)}, self.linear)

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
    def regions(self) -> list[str]:
        """Those that it was trained on, in the order of their numbers."""
        return list(self.scales)
