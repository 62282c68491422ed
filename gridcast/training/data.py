"""The series of all regions, end to end, where they are trained on: once on each device.

Legend: ``T`` steps, ``F`` features, ``R`` regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.features.columns import feature_columns
from gridcast.features.splits import TRAIN
from gridcast.features.windows import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd


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

    @property
    def num_bytes(self) -> int:
        """Memory of what lies on the device."""
        tensors = (self.x_TF, self.target_T, self.is_train_T)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def num_regions(self) -> int:
        """How many regions there are."""
        return len(self.first_step_R)

    def to(self, device: torch.device) -> TrainingData:
        """The same on another device."""
        tensors = ("x_TF", "target_T", "is_train_T", "first_step_R")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def region_of(self, steps: Tensor) -> Tensor:
        """The number of the region in which each step lies."""
        return torch.bucketize(steps, self.first_step_R, right=True) - 1


def training_data(
    frame: pd.DataFrame, scales: Mapping[str, tuple[float, float]], device: torch.device
) -> TrainingData:
    """``FeatureTable.frame`` on a device; ``scales`` is each region's offset and scale (MW)."""
    return collect_training_data([frame], scales, device, num_steps=len(frame))


def collect_training_data(
    frames: Iterable[pd.DataFrame],
    scales: Mapping[str, tuple[float, float]],
    device: torch.device,
    *,
    num_steps: int,
) -> TrainingData:
    """The same of a table that comes piece by piece: at no time is there more of it than a piece.

    The pieces are in order; ``num_steps`` is their length in all.
    """
    regions = sorted(scales)
    region_T, part_T = np.empty(num_steps, np.int32), np.empty(num_steps, np.int8)
    is_input_T, load_mw_T = np.empty(num_steps, np.bool_), np.empty(num_steps)
    target_T, x_TF = np.empty(num_steps, np.float32), np.empty((num_steps, 0), np.float32)
    end = 0
    for frame in frames:
        names = feature_columns(frame.columns)
        if not end:
            x_TF = np.empty((num_steps, len(names)), np.float32)
        begin, end = end, end + len(frame)
        region_T[begin:end] = frame["region"].cat.set_categories(regions).cat.codes
        part_T[begin:end], is_input_T[begin:end] = frame["part"], frame["is_input"]
        load_mw_T[begin:end], target_T[begin:end] = frame["load_mw"], frame["target"]
        for number, name in enumerate(names):
            x_TF[begin:end, number] = frame[name]
    scale_R2 = np.array([scales[region] for region in regions])
    first_step_R = np.searchsorted(region_T, np.arange(len(regions)))
    return TrainingData(
        steps=Steps(region_T, part_T, is_input_T),
        x_TF=torch.from_numpy(x_TF).to(device),
        target_T=torch.from_numpy(target_T).to(device),
        is_train_T=torch.from_numpy((part_T == TRAIN).astype(np.float32)).to(device),
        first_step_R=torch.from_numpy(first_step_R).to(device),
        load_mw_T=load_mw_T,
        offset_mw_R=scale_R2[:, 0],
        scale_mw_R=scale_R2[:, 1],
    )
