"""docs/performance.md is made of the kept figures, and what is counted for it is counted right.

Legend: ``B`` windows, ``L`` lookback, ``F`` features.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import rivals
from benchmarks.ceilings import step_need
from benchmarks.performance_accuracy import accuracy_section, pace_section
from benchmarks.performance_scale import (
    gpus_section,
    pipeline_section,
    seeds_section,
    size_section,
)
from benchmarks.performance_speed import limits, rivals_section
from benchmarks.rivals import Turn, Way, check_networks, contests, train_ours, verdicts, ways
from benchmarks.tables import aligned, table
from benchmarks.turns import Clock
from benchmarks.write_performance import PAGE, page, performance_page
from gridcast.config import Cell
from gridcast.features.splits import TRAIN
from gridcast.readings.synthetic import csv_bytes, synthesize
from tests.builders.values import make_config

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")

Json = dict[str, Any]


def make_kept(*rows: Json, device: str = "cpu", benchmark: str = "rivals") -> Json:
    return {
        "benchmark": benchmark,
        "machine": "Linux",
        "device": device,
        "versions": {"torch": "2.0"},
        "commit": "0123456789abcdef",
        "date": "2026-01-01",
        "rows": list(rows),
    }


def make_turn(contestant: str, windows_per_second: float, data_bytes: int, **other: Any) -> Json:  # noqa: ANN401
    return {
        "contestant": contestant, "setting": "", "shape": "base", "cell": "gru",
        "precision": "fp32", "hidden_size": 64, "num_layers": 1, "lookback": 168,
        "batch_size": 64, "num_inputs": 12, "num_parameters": 15041, "num_threads": 2,
        "windows_per_second": windows_per_second, "labels_per_second": windows_per_second,
        "step_seconds": 64 / windows_per_second, "data_bytes": data_bytes,
        "peak_over_imports_bytes": 2**20, "peak_device_bytes": 0, **other,
    }  # fmt: skip


def make_contestant(name: str, by_region: dict[str, float], **other: Any) -> Json:  # noqa: ANN401
    error = float(np.mean(list(by_region.values())))
    return {
        "contestant": name, "seed": 0, "profile": "base", "settings": [], "smape": error,
        "validation_smape": error, "train_seconds": 2.0, "evaluation_seconds": 0.5,
        "smape_by_region": by_region, **other,
    }  # fmt: skip


def cells_of(text: str, first: str) -> list[str]:
    """The cells of the only row that begins so."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


# -- the page ------------------------------------------------------------------------------------


def test_the_page_is_what_the_kept_figures_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == performance_page()


def test_what_no_file_tells_of_is_said_to_be_not_measured() -> None:
    text = page(lambda _: [])
    headings = re.findall(r"^## .+$", text, re.MULTILINE)
    assert len(headings) == text.count("\n\nNot measured.") == 11


def test_make_bench_runs_what_measures_and_nothing_else() -> None:
    output = subprocess.run(
        ["make", "-n", "bench"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    run = set(re.findall(r"benchmarks/(\w+)\.py", output))
    texts = {path.stem: path.read_text("utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
    keep = {name for name, text in texts.items() if "= envelope(" in text and "__main__" in text}
    keep -= {name for name in keep if 'add_argument("artifacts"' in texts[name]}  # of a past run
    keep -= {name for name in keep if name.startswith("write_")}  # of one too
    assert run == keep
    assert {"rivals", "ceilings", "ingestion"} <= run


def test_a_table_for_a_terminal_is_as_wide_as_its_cells() -> None:
    assert aligned(["", "a"], [["long", "1"], ["b", "22"]]) == "       a\nlong   1\nb     22"
    assert table(["", "a"], [["b", "1"]]) == "|  | a |\n| --- | --: |\n| b | 1 |"


# -- throughput ----------------------------------------------------------------------------------


def test_the_bars_ask_of_a_rivals_faster_setting() -> None:
    turns = [make_turn("ours", speed, 10) for speed in (900.0, 1000.0, 5000.0)]
    slow = make_turn("darts", 50.0, 1000, setting="0 loading processes")
    fast = make_turn("darts", 250.0, 100, setting="8 loading processes")
    (contest,) = contests([*turns, slow, fast]).values()
    (verdict,) = verdicts(contest, "cpu")
    assert verdict.startswith("darts: 4.00 times the speed (bar 5: not met), 10.0 times less")
    assert verdict.endswith("(bar 20: not met)")
    (contest,) = contests([*turns, slow]).values()
    assert verdicts(contest, "cuda") == [
        "darts: 20.00 times the speed (bar 7: met), 100.0 times less for windows (bar 20: met)"
    ]


def test_the_rivals_table_has_ours_against_each_line() -> None:
    turns = [make_turn("ours", 1000.0, 2**20), make_turn("darts", 250.0, 50 * 2**20)]
    section = rivals_section(make_kept(*turns))
    assert cells_of(section, "darts") == [
        "250", "250", "256.0 ms", "50 MiB", "1.0 MiB", "–", "4.00 ×", "50.0 × less",
    ]  # fmt: skip
    assert cells_of(section, "ours")[-2:] == ["–", "–"]


def test_networks_of_other_sizes_are_not_compared() -> None:
    turns = [make_turn("ours", 1.0, 1), make_turn("neuralforecast", 1.0, 1, num_parameters=3904)]
    with pytest.raises(SystemExit, match="expected the same for all"):
        check_networks(turns)
    check_networks([turns[0], {**turns[1], "cell": "lstm"}])


def test_the_rivals_are_pinned_to_the_last_package() -> None:
    lines = rivals.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert {"neuralforecast==3.3.0", "darts==0.48.1"} <= set(pins)


def test_a_turn_is_timed_without_its_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter((0.2, 0.22, 0.25, 0.35))  # what a busy machine's own clock would tell is no oracle
    monkeypatch.setattr("benchmarks.turns.perf_counter", lambda: next(ends))
    clock = Clock(CPU, warm_steps=1, steps=3)
    for _ in range(4):
        clock.tick()
    assert clock.step_seconds() == pytest.approx(0.03)  # the median of the last three


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_ours_trains_on_what_is_handed_over_and_the_rivals_get_no_label_held_out(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = tmp_path / "data", tmp_path / "handed"
    data.mkdir()
    folder.mkdir()
    for region, frame in synthesize(["AEP", "NI"], num_hours=12_000, seed=0).items():
        (data / f"{region}_hourly.csv").write_bytes(csv_bytes(frame))
    monkeypatch.setenv("GRIDCAST_DATA", str(data))
    assert rivals._hand_over("base", folder) == 2
    with np.load(folder / rivals._REGIONS) as kept:
        lengths = {name: len(kept[name]) for name in kept.files}
    frame = pd.read_parquet(folder / rivals._FRAME)
    trains = frame[frame["part"] <= TRAIN].groupby("region", observed=True)
    assert lengths == {str(region): len(each) for region, each in trains}
    turn = Turn(0, "base", cell, "fp32", ways("base", CPU, 2)[0])
    row = train_ours(rivals._task(turn, CPU, folder, argparse.Namespace(steps=2)))
    assert row["num_inputs"] == 12
    assert row["labels_a_window"] == 120
    assert row["windows_per_second"] == pytest.approx(64 / row["step_seconds"])
    assert row["data_bytes"] > frame["target"].nbytes * 14


def test_only_a_gpu_machine_gives_darts_loading_processes() -> None:
    on_cpu, on_gpu = (ways("article", torch.device(kind), 12)[-1] for kind in ("cpu", "cuda"))
    assert on_cpu == Way("darts", "", num_workers=0)
    assert on_gpu.num_workers <= 8


# -- accuracy ------------------------------------------------------------------------------------


def test_regions_won_against_lightgbm_are_counted_for_the_best_network_and_the_mean() -> None:
    rows = [
        make_contestant("lightgbm", {"AEP": 1.0, "NI": 1.0, "DOM": 1.0}),
        make_contestant("gru", {"AEP": 0.5, "NI": 2.0, "DOM": 1.0}),
        make_contestant("lstm", {"AEP": 3.0, "NI": 3.0, "DOM": 3.0}),
        make_contestant("mean of gru and lstm", {"AEP": 0.9, "NI": 0.9, "DOM": 1.1}),
    ]
    section = accuracy_section(make_kept(*rows, benchmark="accuracy"))
    assert "GRU, the best network: lower than LightGBM in 1 of 3 regions (AEP)." in section
    assert "mean of GRU and LSTM: lower than LightGBM in 2 of 3 regions (AEP, NI)." in section
    assert cells_of(section, "NI") == ["1.000 %", "2.000 %", "**0.900 %**"]
    ranked = re.findall(r"^\| ([\w ]+) \| 1 \|", section, re.MULTILINE)
    assert ranked == ["mean of gru and lstm", "lightgbm", "gru", "lstm"]
    without = accuracy_section(make_kept(*rows[1:], benchmark="accuracy"))
    assert "Against LightGBM, region by region: not measured." in without


def test_the_soonest_training_that_reaches_the_articles_best_is_named() -> None:
    rows = [
        {"contestant": "gru", "num_layers": 1, "hidden_size": 64, "passes": passes,
         "train_seconds": seconds, "smape": error, "validation_smape": error}
        for passes, seconds, error in ((1, 0.1, 1.2), (2, 0.25, 1.05), (3, 0.4, 0.9))
    ]  # fmt: skip
    assert "is reached after 0.25 s of training" in pace_section(make_kept(*rows))
    assert "is reached after – of training" in pace_section(make_kept(rows[0]))


# -- size, stages, GPUs, seeds -------------------------------------------------------------------


def test_memory_is_set_against_what_was_planned() -> None:
    row = {"contestant": "80 regions", "num_regions": 80, "num_hours": 26_304, "hidden_size": 64}
    row |= {"peak_memory_bytes": 300 * 2**20, "planned_memory_bytes": 400 * 2**20}
    assert cells_of(size_section(make_kept(row)), "80 regions") == [
        "80", "26,304", "64", "–", "–", "300 MiB", "400 MiB", "75 %",
    ]  # fmt: skip


def test_a_stage_that_has_come_since_has_its_line() -> None:
    run = {"contestant": "first run", "prepare_data_seconds": 5.0, "tune_models_seconds": 7.0}
    run |= {"total_seconds": 12.0, "wall_seconds": 20.0, "peak_memory_bytes": 2**30}
    section = pipeline_section(make_kept({**run, "num_trained": 2}))
    assert cells_of(section, "tune models") == ["7.00 s"]
    assert cells_of(section, "report") == ["–"]
    assert cells_of(section, "**the command, start to end**") == ["**20.0 s**"]


def test_further_gpus_are_set_against_linear_and_seeds_against_one_by_one() -> None:
    sizes = {"num_layers": 2, "hidden_size": 256, "num_regions": 100, "num_hours": 8760}
    gpus = [sizes | {"num_gpus": number, "num_jobs": 4, "wall_seconds": seconds + 10,
                     "longest_train_seconds": seconds, "batch_size": 1024}
            for number, seconds in ((1, 40.0), (2, 20.0), (4, 16.0))]  # fmt: skip
    section = gpus_section(make_kept(*gpus))
    assert cells_of(section, "1,024 windows a step, 2 GPUs") == [
        "4", "20.0 s", "**2.00 ×**", "100 %", "30.0 s", "1.67 ×"
    ]  # fmt: skip
    assert cells_of(section, "1,024 windows a step, 4 GPUs")[2:4] == ["**2.50 ×**", "62 %"]
    seeds = [{"contestant": "gru", "num_seeds": number, "train_seconds": seconds}
             for number, seconds in ((1, 10.0), (5, 20.0))]  # fmt: skip
    assert seeds_section(make_kept(*seeds)).splitlines()[-1] == (
        "| gru | 5 | 20.00 s | 2.00 × | 2.50 × |"
    )


# -- the machine's limit -------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_the_arithmetic_of_a_step_is_that_of_the_networks_products(
    cell: Cell, kind: type[nn.GRU | nn.LSTM]
) -> None:
    config = make_config(
        model={"hidden_size": 8, "num_layers": 2, "region_units": 0},
        windows={"lookback": 10, "warmup": 4},
        training={"batch_size": 3},
    )
    layers = kind(5, 8, 2)
    weights = sum(each.numel() for each in layers.parameters() if each.dim() == 2)
    need = step_need(config, cell=cell, num_features=5, precision="fp32")
    assert need.flops == 6 * weights * 3 * 10
    half = step_need(config, cell=cell, num_features=5, precision="fp16")
    # By hand, of the GRU: 2 layers of 8 units keep 3 gates, their gradients and a state, each
    # written and read; in half precision that is half of it.
    kept = {"gru": 7, "lstm": 10}[cell]
    assert need.num_bytes - half.num_bytes == 30 * 2 * kept * 8 * 2 * 2


def test_a_share_of_the_limit_is_of_the_same_device_and_precision() -> None:
    ceilings = [
        {"contestant": "compiled product", "precision": "fp32", "flops_per_second": 1e12},
        {"contestant": "matrix product", "precision": "fp32", "flops_per_second": 5e11},
        {"contestant": "copy", "bytes_per_second": 1e10},
    ]
    kept = make_kept(
        make_turn("ours", 64.0, 1), make_turn("ours", 64.0, 1, precision="bf16"),
        make_turn("darts", 8.0, 1, setting="slow"), make_turn("darts", 16.0, 1, setting="fast"),
    )  # fmt: skip
    machine = make_kept(*ceilings, benchmark="ceilings")
    text = "\n".join(limits({"cpu": machine}, [kept, {**kept, "device": "GPU X"}]))
    weights = 3 * 64 * (12 + 64)
    share = 100 * 6 * weights * 64 * 168 / 1e12
    assert cells_of(text, "GRU, fp32, shape of base (rivals), ours")[2] == f"{share:.1f} %"
    assert cells_of(text, "GRU, fp32, shape of base (rivals), darts")[2] == f"{share / 4:.1f} %"
    assert cells_of(text, "GRU, bf16, shape of base (rivals), ours")[2] == "not measured"
