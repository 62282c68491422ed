"""The series of all regions, end to end, where they are trained on: once on each device.

Legend: ``T`` steps, ``F`` features, ``R`` regions, ``G`` hours of the grid that all regions share,
``W`` signals of all regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gridcast.covariates.inputs import AHEAD_PREFIX
from gridcast.features.columns import feature_columns, issued_columns
from gridcast.features.grid_hours import grid_hours
from gridcast.features.neighbours import regional_signals
from gridcast.features.splits import TRAIN
from gridcast.features.windows import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from gridcast.config import ModelConfig


class RegionalPast(NamedTuple):
    """The signals of all regions at each hour (``features.neighbours``)."""

    values_GW: Tensor  # float32
    hour_T: Tensor  # int64: at which hour each step lies


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The steps of all regions, end to end, on one device."""

    steps: Steps
    x_TF: Tensor  # scaled features, float32
    target_T: Tensor  # scaled load, float32
    is_train_T: Tensor  # float32: 1 where the step is a training label
    first_step_R: Tensor  # int64: where each region begins
    load_mw_T: np.ndarray  # MW, NaN where missing
    offset_mw_R: np.ndarray  # MW, of each region
    scale_mw_R: np.ndarray  # MW, of each region
    feature_names: tuple[str, ...]
    norm_mw_R: np.ndarray | None = None  # MW: what errors are told in percent of; None: sMAPE
    is_known_T: Tensor | None = None  # bool: the step has a load; for a head by lead
    regional: RegionalPast | None = None  # what regions see of one another, where they do
    # Where training sees covariates as they had been issued (features.table): of each step, of the
    # leads from 2 on. For a head by lead.
    issued_TLC: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Memory of what lies on the device."""
        tensors = [self.x_TF, self.target_T, self.is_train_T, *(self.regional or ())]
        tensors += [each for each in (self.is_known_T, self.issued_TLC) if each is not None]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def num_regions(self) -> int:
        """How many regions there are."""
        return len(self.first_step_R)

    def to(self, device: torch.device) -> TrainingData:
        """The same on another device."""
        names = ("x_TF", "target_T", "is_train_T", "first_step_R")
        tensors = {name: getattr(self, name).to(device) for name in names}
        for name in ("is_known_T", "issued_TLC"):
            if getattr(self, name) is not None:
                tensors[name] = getattr(self, name).to(device)
        regional = self.regional and RegionalPast(*(each.to(device) for each in self.regional))
        return replace(self, **tensors, regional=regional)

    def region_of(self, steps: Tensor) -> Tensor:
        """The number of the region in which each step lies."""
        return torch.bucketize(steps, self.first_step_R, right=True) - 1


def training_data(
    frame: pd.DataFrame,
    scales: Mapping[str, tuple[float, float]],
    device: torch.device,
    *,
    model: ModelConfig | None = None,
) -> TrainingData:
    """``FeatureTable.frame`` on a device; ``scales`` is each region's offset and scale (MW).

    With what a network like ``model`` reads beside the features.
    """
    return collect_training_data([frame], scales, device, num_steps=len(frame), model=model)


def collect_training_data(
    frames: Iterable[pd.DataFrame],
    scales: Mapping[str, tuple[float, float]],
    device: torch.device,
    *,
    num_steps: int,
    model: ModelConfig | None = None,
    norms: Mapping[str, float] | None = None,
) -> TrainingData:
    """The same of a table that comes piece by piece: at no time is there more of it than a piece.

    The pieces are in order; ``num_steps`` is their length in all. ``norms`` (MW) is what errors of
    each region are told in percent of; none: each hour's own load.
    """
    regions = sorted(scales)
    sees_regions = model is not None and model.neighbour_units > 0
    is_by_lead = model is not None and model.head == "by_lead"
    host = _Host.of(num_steps, with_hours=sees_regions, with_issued=is_by_lead)
    for frame in frames:
        host.add(frame, regions)
    scale_R2 = np.array([scales[region] for region in regions])
    first_step_R = np.searchsorted(host.region_T, np.arange(len(regions)))
    return TrainingData(
        steps=Steps(host.region_T, host.part_T, host.is_input_T),
        x_TF=torch.from_numpy(host.x_TF).to(device),
        target_T=torch.from_numpy(host.target_T).to(device),
        is_train_T=torch.from_numpy((host.part_T == TRAIN).astype(np.float32)).to(device),
        first_step_R=torch.from_numpy(first_step_R).to(device),
        load_mw_T=host.load_mw_T,
        offset_mw_R=scale_R2[:, 0],
        scale_mw_R=scale_R2[:, 1],
        feature_names=tuple(host.names),
        norm_mw_R=np.array([norms[region] for region in regions]) if norms else None,
        is_known_T=torch.from_numpy(host.is_input_T).to(device) if is_by_lead else None,
        regional=host.regional(len(regions), device) if sees_regions else None,
        issued_TLC=host.issued(device),
    )


@dataclass(slots=True)
class _Host:
    """The columns of a table as its pieces fill them."""

    region_T: np.ndarray
    part_T: np.ndarray
    is_input_T: np.ndarray
    load_mw_T: np.ndarray
    target_T: np.ndarray
    hour_T: np.ndarray  # empty where nobody asks for the hours
    x_TF: np.ndarray
    names: list[str]
    issued_TI: np.ndarray
    issued_names: list[str]
    with_issued: bool
    end: int = 0

    @classmethod
    def of(cls, num_steps: int, *, with_hours: bool, with_issued: bool) -> _Host:
        return cls(
            region_T=np.empty(num_steps, np.int32),
            part_T=np.empty(num_steps, np.int8),
            is_input_T=np.empty(num_steps, np.bool_),
            load_mw_T=np.empty(num_steps),
            target_T=np.empty(num_steps, np.float32),
            hour_T=np.empty(num_steps if with_hours else 0, "datetime64[h]"),
            x_TF=np.empty((num_steps, 0), np.float32),
            names=[],
            issued_TI=np.empty((num_steps, 0), np.float32),
            issued_names=[],
            with_issued=with_issued,
        )

    def add(self, frame: pd.DataFrame, regions: Sequence[str]) -> None:
        """The next piece."""
        if not self.end:
            self.names = feature_columns(frame.columns)
            self.x_TF = np.empty((len(self.region_T), len(self.names)), np.float32)
            self.issued_names = issued_columns(frame.columns) if self.with_issued else []
            self.issued_TI = np.empty((len(self.region_T), len(self.issued_names)), np.float32)
        begin, self.end = self.end, self.end + len(frame)
        place = slice(begin, self.end)
        self.region_T[place] = frame["region"].cat.set_categories(regions).cat.codes
        self.part_T[place], self.is_input_T[place] = frame["part"], frame["is_input"]
        self.load_mw_T[place], self.target_T[place] = frame["load_mw"], frame["target"]
        if len(self.hour_T):
            self.hour_T[place] = grid_hours(frame["timestamp"].dt.tz_localize(None).to_numpy())
        for number, name in enumerate(self.names):
            self.x_TF[place, number] = frame[name]
        for number, name in enumerate(self.issued_names):
            self.issued_TI[place, number] = frame[name]

    def issued(self, device: torch.device) -> Tensor | None:
        """What had been issued, by step, lead (from 2 on) and input; None: it is not told apart."""
        if not self.issued_names:
            return None
        num_inputs = sum(name.startswith(AHEAD_PREFIX) for name in self.names)
        issued_TLC = self.issued_TI.reshape(len(self.issued_TI), -1, num_inputs)
        return torch.from_numpy(issued_TLC).to(device)

    def regional(self, num_regions: int, device: torch.device) -> RegionalPast:
        """What the regions see of one another."""
        signals = regional_signals(
            self.x_TF[:, 0], self.is_input_T, self.region_T, self.hour_T, num_regions=num_regions
        )
        return RegionalPast(*(torch.from_numpy(each).to(device) for each in signals))
