"""What a training will take, told beforehand, is what it does take."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from gridcast.config import Cell, Config
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.table import FeatureTable, build_features, labelled_steps, names_of_features
from gridcast.features.windows import Steps, count_windows, scored_origins, steps_of, tile_origins
from gridcast.networks.forecaster import RecurrentForecaster
from gridcast.readings.required import broken_rule
from gridcast.training.counts import (
    count_data,
    estimate_cpu_seconds,
    num_recurrent_weights,
    num_training_steps,
)
from gridcast.training.loop import train_model
from gridcast.training.requirements import Measurement, data_bytes, make_plan, plan_job
from tests.builders.values import make_config, make_load, make_load_frame, make_training_data

LENGTHS = {"AEP": 1500, "DOM": 1100, "FE": 1300}


def make_table(config: Config) -> tuple[FeatureTable, list[Steps]]:
    """Three regions with a gap each: as one table, and one by one without features."""
    readings = {
        name: make_load_frame(make_load(num), missing=range(300, 300 + 2 * place), config=config)
        for place, (name, num) in enumerate(LENGTHS.items(), start=1)
    }
    steps = [labelled_steps(name, each, config) for name, each in sorted(readings.items())]
    alone = [
        Steps(np.zeros(len(each), np.int32), each["part"].to_numpy(), each["is_input"].to_numpy())
        for each in steps
    ]
    return build_features(readings, config), alone


@pytest.mark.parametrize("profile", ["base", "seed"])
def test_what_is_counted_region_by_region_is_what_the_whole_table_has(profile: str) -> None:
    config = make_config(profile)
    table, alone = make_table(config)
    counts, steps = count_data(alone, config.windows), steps_of(table.frame)
    assert counts.windows == count_windows(steps, config.windows)
    assert (counts.num_regions, counts.num_steps) == (3, len(table.frame))
    for part in VALIDATION, TEST:
        tiles = tile_origins(steps, scored_origins(steps, part, config.windows), config.windows)
        # A tile of the whole table may not reach into the next region either.
        assert counts.num_tiles[part] == len(tiles.starts_N)
    assert names_of_features(config.features, config.covariates) == table.feature_names
    num_bytes = data_bytes(counts.num_steps, num_features=len(table.feature_names))
    assert num_bytes == make_training_data(table).num_bytes


@pytest.mark.parametrize("more", [{}, {"max_steps": 7}, {"drop_last": True}], ids=str)
def test_the_steps_of_a_plan_are_those_that_a_training_takes(more: dict[str, Any]) -> None:
    config = make_config(
        windows={"lookback": 24, "warmup": 8, "stride": 24},
        model={"hidden_size": 4},
        training={"passes": 3, "batch_size": 16, **more},
    )
    table, alone = make_table(config)
    trained = train_model(
        make_training_data(table), config=config, cell="gru", seed=5, on_progress=lambda _: None
    )
    plan = plan_job(
        count_data(alone, config.windows), make_measurement(), config, cell="gru", seed=5,
        device="cpu", num_features=12,
    )  # fmt: skip
    assert plan.num_steps == trained.num_steps
    assert plan.train_seconds == pytest.approx(3.0 + 0.5 * trained.num_steps)


def make_measurement(*, seeds_per_pass: int = 1) -> Measurement:
    return Measurement(
        seeds_per_pass=seeds_per_pass, idle_bytes=400, step_bytes=50, device_bytes=10**9,
        first_seconds=3.0, step_seconds=0.5, tile_seconds=0.0, start_seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("devices", "at_once", "rounds"),
    [(["cpu"], 2, 2), (["cpu"], 4, 1), (["cuda:0"], 2, 4), (["cuda:0", "cuda:1"], 2, 2)],
    ids=str,
)
def test_a_cpu_trains_jobs_side_by_side_and_a_gpu_shares_itself_among_them(
    devices: list[str], at_once: int, rounds: int
) -> None:
    config = make_config()
    counts = count_data(make_table(config)[1], config.windows)
    measured = make_measurement()
    jobs = [
        plan_job(counts, measured, config, cell="gru", seed=seed, num_features=12,
                 device=devices[seed % len(devices)])
        for seed in range(4)
    ]  # fmt: skip
    plan = make_plan(counts, jobs, {"gru": measured}, profile="base", at_once=at_once,
                     prepares_data=False)  # fmt: skip
    starts = 1 if devices == ["cpu"] else rounds  # a process each, or one for all of a device
    wanted = rounds * jobs[0].seconds - (starts - 1) * jobs[0].start_seconds
    assert plan.seconds["train_models"] == pytest.approx(wanted)
    assert plan.seconds["total"] == pytest.approx(
        sum(each for name, each in plan.seconds.items() if name != "total")
    )
    assert "prepare_data" not in plan.seconds
    assert plan.disk_bytes["features"] == 60 * counts.num_steps
    assert plan.disk_bytes["jobs"] == 13 * 4 * (counts.windows.validation + counts.windows.test)
    device = plan.devices[devices[0]]
    peak, shared = jobs[0].peak_memory_bytes, jobs[0].shared_bytes
    if devices == ["cpu"]:
        assert device.peak_memory_bytes == at_once * peak
    else:  # one process for all jobs of a GPU: the series is there once
        assert device.peak_memory_bytes == shared + 4 // len(devices) * (peak - shared)
        assert 0 < shared < peak


def test_seeds_that_share_a_pass_take_its_time_and_its_memory_once() -> None:
    config = make_config()
    counts = count_data(make_table(config)[1], config.windows)
    measured = make_measurement(seeds_per_pass=3)
    cells: list[Cell] = ["gru", "lstm"]
    jobs = [
        plan_job(counts, measured, config, cell=cell, seed=seed, num_features=12, device="cuda:0")
        for seed, cell in product(range(4), cells)
    ]
    plan = make_plan(counts, jobs, dict.fromkeys(cells, measured), profile="base", at_once=2,
                     prepares_data=False)  # fmt: skip
    one, num_passes = jobs[0], 4  # of each cell three seeds, and the fourth
    other_seconds = one.seconds - one.start_seconds - one.train_seconds
    wanted = one.start_seconds + num_passes * one.train_seconds + 8 * other_seconds
    assert plan.seconds["train_models"] == pytest.approx(wanted)
    of_a_pass = one.peak_memory_bytes - one.shared_bytes
    assert plan.devices["cuda:0"].peak_memory_bytes == one.shared_bytes + num_passes * of_a_pass


@pytest.mark.parametrize(
    ("rule", "num", "frame"),
    [
        ("", 1200, {}),
        ("min_rows", 900, {}),
        ("max_missing_share", 1200, {"missing": range(400, 440)}),
        ("max_flagged_share", 1200, {"flags": dict.fromkeys(range(100), "flat")}),
    ],
)
def test_a_region_that_a_run_would_refuse_is_known(
    rule: str, num: int, frame: dict[str, Any]
) -> None:
    required = make_config().rules.default.required
    readings = make_load_frame(make_load(num), **frame)
    assert broken_rule(readings, required) == rule
    for column, load in ("min_mw", -1.0), ("max_mw", 1e6):
        if not rule:
            assert broken_rule(readings.assign(load_mw=load), required) == column


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(("hidden_size", "num_layers"), [(5, 1), (8, 3)])
def test_recurrent_weights_are_counted_as_the_network_has_them(
    cell: Cell, hidden_size: int, num_layers: int
) -> None:
    config = make_config(model={"hidden_size": hidden_size, "num_layers": num_layers})
    network = RecurrentForecaster(config.model, cell=cell, num_features=3, horizon=1).recurrent
    weights = sum(w.numel() for name, w in network.named_parameters() if "weight" in name)
    assert num_recurrent_weights(config, cell=cell, num_features=3) == weights


def test_the_articles_training_is_told_as_958_steps_a_pass_at_most() -> None:
    # It takes 957: the last, smaller batch is left out.
    assert num_training_steps(make_config("seed"), num_windows=980_185) == 5 * 958
    short = make_config("seed", training={"max_steps": 7})
    assert num_training_steps(short, num_windows=980_185) == 7


def test_five_thousand_regions_of_twenty_years_are_estimated_within_the_patience_of_a_run() -> None:
    config = make_config()
    hours = estimate_cpu_seconds(
        config, num_features=33, num_windows=5000 * 20 * 8766, num_cores=2
    ) / 3600  # fmt: skip
    assert config.training.confirm_above_hours is not None
    assert hours < config.training.confirm_above_hours


def test_the_estimate_grows_with_seeds_cells_and_windows_and_shrinks_with_cores() -> None:
    def seconds(
        num_windows: int = 168_000,
        num_cores: int = 1,
        seeds: tuple[int, ...] = (0,),
        cells: tuple[str, ...] = ("gru", "lstm"),
    ) -> float:
        config = make_config(training={"seeds": seeds, "passes": 6}, model={"cells": cells})
        return estimate_cpu_seconds(
            config, num_features=12, num_windows=num_windows, num_cores=num_cores
        )

    assert seconds(num_cores=2) == pytest.approx(seconds() / 2)
    assert seconds(seeds=(0, 1, 2)) == pytest.approx(3 * seconds())
    assert seconds(num_windows=16 * 168_000) == pytest.approx(16 * seconds(), rel=0.05)
    gru, lstm = (seconds(cells=(cell,)) for cell in ("gru", "lstm"))
    assert gru + lstm == pytest.approx(seconds())
    assert gru * 4 == pytest.approx(lstm * 3)
