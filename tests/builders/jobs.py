"""Builders of training jobs in folders of their own, without a pipeline before them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.runs.keys import file_sha256
from tasks.runs.record_files import write_record
from tasks.train.feature_table import write_features
from tasks.train.records import Features, FeaturesFile, NetworkJob, Specification
from tests.builders.trainings import LOADS
from tests.builders.values import make_load_frame

if TYPE_CHECKING:
    from gridcast.config import Cell, Config

Loads = Mapping[str, Any]


def make_jobs(
    artifacts: Path,
    config: Config,
    *,
    models: tuple[tuple[Cell, int], ...] = (("gru", 3),),
    device: str = "cpu",
    loads: Loads = LOADS,
) -> list[Path]:
    """A folder a job, as its owner leaves it to the process."""
    features = FeaturesFile.of(make_features_record(artifacts, config, loads))
    folders = []
    for cell, seed in models:
        name = f"{cell}-seed{seed}"
        folder = artifacts / "jobs" / f"{name}-{'0' * 12}"
        folder.mkdir(parents=True)
        job = NetworkJob(
            name=name, cell=cell, seed=seed, device=device, threads=1, limit_seconds=300.0,
            key=f"key of {name}", folder=str(folder), parts={},
        )  # fmt: skip
        asked = Specification(job=job, features=features, config=config)
        write_record(folder / "job.json", asked, artifacts=artifacts)
        folders.append(folder)
    return folders


def make_features_record(artifacts: Path, config: Config, loads: Loads = LOADS) -> Features:
    """A table of features and its record."""
    path = artifacts / "features" / "table.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    built = write_features(
        path, sorted(loads), lambda name: make_load_frame(loads[name], config=config), config
    )
    return Features(
        path=str(path), file_sha256=file_sha256(path), key="", parts={}, **built._asdict()
    )  # fmt: skip
