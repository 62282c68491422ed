"""The process that measures a short training: ``python -m tasks.train.measuring_process <folder>``.

It reads ``specification.json``, trains and scores the real network on random numbers, with the real
batch, on the real device, through what ``tasks.train.training_process`` trains and scores with, and
leaves one ``Measurement`` as ``result.json``. Like it, it imports neither Prefect nor MLflow, and
ends when its owner is gone.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from gridcast.engine import Engine
from gridcast.errors import GridcastError, NotFiniteError
from gridcast.features.columns import FEATURE_PREFIX, LOAD_FEATURE
from gridcast.features.splits import TEST, TRAIN, VALIDATION
from gridcast.kernels.engine import engine_of
from gridcast.training.counts import count_data
from gridcast.training.loop import train_models
from gridcast.training.prediction import score, tiles_at_once
from gridcast.training.requirements import Measurement, held_bytes
from gridcast.training.stack import max_seeds_per_pass
from tasks.machine.owned_process import end_with_owner, exit_process, send_event
from tasks.runs.keys import file_sha256
from tasks.runs.record_files import read_record
from tasks.runs.storage import write_json
from tasks.train.records import FeaturesFile, MeasuringSpecification
from tasks.train.training_process import (
    peak_memory_bytes,
    read_training_data,
    set_fp32_precision,
    write_forecasts,
)

if TYPE_CHECKING:
    from gridcast.training.data import TrainingData
    from gridcast.training.loop import TrainedModel

# The first steps load libraries and compile kernels; a second look goes on for about so long.
_FIRST_STEPS, _MOST_STEPS, _SECONDS = 4, 200, 2.0
_REGION = "MEASURED"


class Timing(NamedTuple):
    """What ``Measurement`` says of steps, in seconds."""

    first_seconds: float
    step_seconds: float


def main(folder: Path) -> int:
    """Measure what is asked for in ``folder``; 0, or 1 after an ``error`` line."""
    begun = time.time()
    end_with_owner()
    try:
        wanted = read_record(folder / "specification.json", MeasuringSpecification)
        measured = measure(wanted, folder, start_seconds=begun - _born_at())
    except (GridcastError, torch.OutOfMemoryError, MemoryError) as error:
        send_event("error", reason=str(error) or type(error).__name__)
        return 1
    write_json(folder / "result.json", measured.model_dump(mode="json"))
    return 0


def measure(wanted: MeasuringSpecification, folder: Path, *, start_seconds: float) -> Measurement:
    """Train and score on random numbers, which lie in ``folder``; what that took."""
    device, config = torch.device(wanted.device), wanted.config
    torch.set_num_threads(wanted.threads)
    set_fp32_precision(device, config.training.precision)
    device_type: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    if device_type == "cuda":
        torch.cuda.set_device(device)
    data = _random_data(wanted, folder, device)
    trained, timing = _time_steps(wanted, data)
    begun = time.perf_counter()
    scored = {part: score(trained.forecaster, data, part, config) for part in wanted.num_tiles}
    score_seconds = time.perf_counter() - begun
    write_forecasts(folder / "forecasts.parquet", scored)
    counts = count_data([data.steps], config.windows)
    held = held_bytes(
        counts, config.model, num_features=wanted.num_features, device_type=device_type
    )
    del scored
    gc.collect()
    idle_bytes = 0 if device_type == "cuda" else max(0, resident_bytes() - held)
    return Measurement(
        seeds_per_pass=trained.seeds_per_pass,
        idle_bytes=idle_bytes,
        step_bytes=max(0, peak_memory_bytes(device) - idle_bytes - held),
        device_bytes=device_bytes(device),
        first_seconds=timing.first_seconds,
        step_seconds=timing.step_seconds,
        tile_seconds=score_seconds / max(1, sum(counts.num_tiles.values())),
        start_seconds=start_seconds,
    )


def _time_steps(wanted: MeasuringSpecification, data: TrainingData) -> tuple[TrainedModel, Timing]:
    """A training, the seconds of one of its steps, and what the first ones took longer.

    Of two trainings the difference, so that what each begins with falls out. Before them one that
    loads the libraries; where that one took long on a CPU, which has little to load, it will do.
    What it takes to find the engine, which compiles kernels, comes before the first step too.
    """
    begun = time.perf_counter()
    engine = engine_of(wanted.config, data.x_TF.device, cells=[wanted.cell])
    engine_seconds = time.perf_counter() - begun
    trained = _train(wanted, data, engine, _FIRST_STEPS)
    first_seconds = trained.train_seconds
    if wanted.device == "cpu" and first_seconds > 2 * _SECONDS:
        return trained, Timing(engine_seconds, first_seconds / _FIRST_STEPS)
    few_seconds = _train(wanted, data, engine, _FIRST_STEPS).train_seconds
    more = max(_FIRST_STEPS, min(_MOST_STEPS, int(_SECONDS * _FIRST_STEPS / few_seconds)))
    del trained
    _forget_peak(data.x_TF.device)
    trained = _train(wanted, data, engine, _FIRST_STEPS + more)
    step_seconds = max(0.0, trained.train_seconds - few_seconds) / more
    first_seconds = engine_seconds + max(0.0, first_seconds - _FIRST_STEPS * step_seconds)
    return trained, Timing(first_seconds, step_seconds)


def _train(
    wanted: MeasuringSpecification, data: TrainingData, engine: Engine, num_steps: int
) -> TrainedModel:
    """One pass that is stopped early, of as many seeds as will share it; the first one's model."""
    config = wanted.config
    training = config.training.model_copy(update={"max_steps": num_steps, "passes": 1})
    windows = config.windows.model_copy(update={"stride": 1})  # as many windows in fewer steps
    config = config.model_copy(update={"training": training, "windows": windows})
    seeds_per_pass = min(wanted.num_seeds, max_seeds_per_pass(engine))
    models = [(wanted.cell, seed) for seed in range(seeds_per_pass)]
    outcomes = train_models(
        data, config=config, models=models, engine=engine, on_progress=lambda *_: None
    )
    first = outcomes[wanted.cell, 0]
    if isinstance(first, NotFiniteError):
        raise first
    return first


def _forget_peak(device: torch.device) -> None:
    """What an earlier training had of a GPU and its graph kept is no part of one training."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _random_data(
    wanted: MeasuringSpecification, folder: Path, device: torch.device
) -> TrainingData:
    """Steps for all the batches, and to score as many windows at once as will be."""
    windows, rng = wanted.config.windows, np.random.default_rng(0)
    reach = windows.lookback - windows.warmup
    num_train = wanted.config.training.batch_size * (_FIRST_STEPS + _MOST_STEPS)
    num_train += windows.lookback + windows.horizon
    most = tiles_at_once(windows, device)
    num_scored = {
        part: reach * min(most, num) + windows.horizon for part, num in wanted.num_tiles.items()
    }
    part_T = np.repeat(
        np.array([TRAIN, VALIDATION, TEST], np.int8),
        [num_train, num_scored[VALIDATION], num_scored[TEST]],
    )
    names = [LOAD_FEATURE, *(f"{FEATURE_PREFIX}{i}" for i in range(1, wanted.num_features))]
    noise = {name: rng.standard_normal(len(part_T), np.float32) for name in names}
    frame = pd.DataFrame(
        {
            "region": pd.Categorical.from_codes(
                np.zeros(len(part_T), np.int8), pd.Index([_REGION])
            ),
            "timestamp": pd.date_range("2000-01-01", periods=len(part_T), freq="h", tz="UTC"),
            "part": part_T,
            "is_input": np.ones(len(part_T), np.bool_),
            "target": noise[LOAD_FEATURE],
            "load_mw": noise[LOAD_FEATURE].astype(float),
            **noise,
        }
    )
    path = folder / "features.parquet"
    frame.to_parquet(path, compression="zstd", index=False)
    features = FeaturesFile(
        path=str(path),
        file_sha256=file_sha256(path),
        feature_names=names,
        scales={_REGION: (0.0, 1.0)},
    )
    return read_training_data(features, device, wanted.config.model)


def resident_bytes() -> int:
    """Of this process, now; what it had at most where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_memory_bytes(torch.device("cpu"))
    return pages * os.sysconf("SC_PAGE_SIZE")


def device_bytes(device: torch.device) -> int:
    """All memory of a device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _born_at() -> float:
    """When this process began, in seconds of the clock; now where the system does not tell."""
    try:
        ticks = int(
            Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
        )
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except OSError:
        return time.time()
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


if __name__ == "__main__":
    exit_process(main(Path(sys.argv[1])))
