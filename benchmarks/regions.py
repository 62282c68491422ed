"""What the benchmarks train on: the regional CSVs of a folder, through the core alone."""

from __future__ import annotations

import os
import sys
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gridcast.features.table import FeatureTable, build_features
from gridcast.features.windows import cut_pass, train_starts
from gridcast.readings.parsing import parse_region, region_of
from gridcast.readings.quality import flag_readings
from gridcast.training.data import TrainingData, training_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from gridcast.config import Config

_DEFAULT = Path(__file__).resolve().parent.parent / "data"


def data_folder() -> Path:
    """``GRIDCAST_DATA``, or ``data/``."""
    return Path(os.environ.get("GRIDCAST_DATA", _DEFAULT))


def read_features(config: Config, folder: Path | None = None) -> FeatureTable:
    """CSVs → table of features, as the pipeline makes it."""
    return build_features(read_readings(config, folder), config)


def read_readings(config: Config, folder: Path | None = None) -> dict[str, pd.DataFrame]:
    """CSVs → readings by region, flagged."""
    readings = {}
    for path in sorted((folder or data_folder()).iterdir()):
        if (region := region_of(path.name)) is None:
            continue
        load = parse_region(
            path.read_bytes(), region=region, file=str(path), config=config.ingestion
        )
        readings[region] = load.frame.assign(
            flag=flag_readings(load.frame["load_mw"], config.rules.of(region).flagged)
        )
    if not readings:
        message = f"{folder or data_folder()}: no <REGION>_hourly.csv; set GRIDCAST_DATA"
        raise SystemExit(message)
    return readings


def batches_of(
    data: TrainingData, config: Config, *, seeds: Sequence[int] = (0,)
) -> Iterator[Tensor]:
    """The full batches of a first pass, ``(S, B)`` starts each, without end."""
    starts_N = train_starts(data.steps, config.windows)
    orders = [cut_pass(starts_N, config.windows, pass_number=1, seed=seed) for seed in seeds]
    order_SN = torch.as_tensor(np.stack(orders), device=data.x_TF.device)
    size = config.training.batch_size
    num_batches = order_SN.shape[1] // size
    return cycle([order_SN[:, size * batch : size * (batch + 1)] for batch in range(num_batches)])


def on_device(
    table: FeatureTable, device: torch.device, config: Config | None = None
) -> TrainingData:
    """The table where training wants it, with what ``config`` asks for beside the features."""
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in table.scales.items()}
    model = None if config is None else config.model
    return training_data(table.frame, scales, device, model=model)
