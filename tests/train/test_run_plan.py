"""`--plan` tells the windows exactly and the memory closely, and does nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchmarks.jobs import train, write_job, write_table
from gridcast.features.windows import WindowsRecord, steps_of
from gridcast.training.counts import count_data
from gridcast.training.requirements import Plan, plan_job
from tasks.train.measure_training import measure
from tests.builders.pipelines import (
    SMALL_MODEL,
    copy_artifacts,
    first_run,
    gridcast,
    settings,
    small_data,
)
from tests.builders.values import make_config

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import Cell

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
CLOSE = 0.10  # of the memory, as a share


def test_the_plan_of_a_run_has_its_windows_steps_and_memory_and_publishes_nothing(
    tmp_path: Path,
) -> None:
    run = first_run()  # before the plan: the first training compiles, which takes memory
    result = gridcast(
        "run", "--plan", "--json", "--data", small_data(), "--artifacts", tmp_path,
        *settings(*SMALL_MODEL, "model.cells=[lstm]"), is_cold=True,  # as the run: for the memory
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    plan, summary = Plan.model_validate_json(result.stdout), run.summary
    assert plan.windows == summary.windows
    assert plan.num_regions == len(summary.regions)
    (job,), model = plan.jobs, summary.models["lstm-seed0"]
    assert job.peak_memory_bytes == pytest.approx(model.peak_memory_bytes, rel=CLOSE)
    (path,) = (run.artifacts / "jobs").glob("lstm-seed0-*/result.json")
    assert job.num_steps == json.loads(path.read_bytes())["num_steps"]
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_the_plan_of_a_training_is_for_people_and_needs_something_published(tmp_path: Path) -> None:
    options = settings(*SMALL_MODEL, "model.cells=[gru]")
    artifacts = copy_artifacts(tmp_path / "artifacts")
    result = gridcast("train", "--plan", "--artifacts", artifacts, *options)
    assert result.returncode == 0, result.stderr
    windows = first_run().summary.windows
    assert windows is not None
    assert f"windows: {windows.train:,} train" in result.stdout
    assert "gru-seed0" in result.stdout
    empty = gridcast("train", "--plan", "--artifacts", tmp_path / "empty", *options)
    assert empty.returncode == 2
    assert "found nothing published" in empty.stderr


def test_a_training_on_ten_times_the_data_peaks_at_the_memory_that_was_planned(
    tmp_path: Path,
) -> None:
    num_regions: int = 120
    cell: Cell = "gru"
    config = make_config(training={"max_steps": 3, "passes": 1, "precision": "fp32"})
    features = write_table(
        tmp_path / "features.parquet", num_regions=num_regions, num_hours=8760, config=config
    )
    counts = count_data([steps_of(pd.read_parquet(features["path"]))], config.windows)
    assert counts.windows == WindowsRecord(**features["windows"])
    measured = measure(config, counts, cell=cell, device="cpu", threads=1)
    num_features = len(features["feature_names"])
    plan = plan_job(
        counts, measured, config, cell=cell, seed=0, device="cpu", num_features=num_features
    )
    job = write_job(tmp_path, features, config, cell=cell, seed=0, device="cpu", threads=1)
    (result,) = train([job])
    assert plan.peak_memory_bytes == pytest.approx(result["peak_memory_bytes"], rel=CLOSE)
    assert plan.data_bytes == result["data_bytes"]
    assert plan.num_steps == result["num_steps"]
