"""The figures of docs/models.md are those of our networks, docs/results.md is made of kept ones.

The equations of docs/models.md are held to our networks in test_forecaster.py, our loops and
kernels to PyTorch's layers in tests/kernels, the article's sMAPE in test_metrics.py.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import write_results
from benchmarks.article_accuracy import key_of
from benchmarks.write_results import (
    MODELS,
    PAGE,
    cells_table,
    cells_verdict,
    grouped,
    models_block,
    paired,
    precision_table,
    read_files,
    results_page,
    speed_section,
)
from gridcast.config import Cell, Config
from gridcast.networks.forecaster import RecurrentForecaster
from gridcast.report import article

torch.set_num_threads(1)

CELLS: list[Cell] = ["gru", "lstm"]
NUM_FEATURES = 5  # of the profile `seed`


def make_seed_profile(cell: Cell) -> RecurrentForecaster:
    model = Config.load("seed").model
    return RecurrentForecaster(model, cell=cell, num_features=NUM_FEATURES, horizon=1)


def test_the_pages_weights_of_the_seed_profile_are_those_of_its_networks() -> None:
    gru, lstm = (make_seed_profile(cell) for cell in CELLS)

    def line(name: str, *parts: str) -> str:
        counts = [
            sum(weight.numel() for key, weight in network.named_parameters() if key.endswith(parts))
            for network in (gru, lstm)
        ]
        return f"| {name} | {counts[0]:,} | {counts[1]:,} |"

    text = MODELS.read_text(encoding="utf-8")
    assert line("layer 1: $I = 5$", "_l0") in text
    assert line("layer 2: $I = 256$", "_l1") in text
    assert line("head: $256 + 1$", "head.weight", "head.bias") in text
    assert f"| together | {gru.num_parameters:,} | {lstm.num_parameters:,} |" in text


# -- the pages -----------------------------------------------------------------------------------


def make_row(cell: str, precision: str, seed: int, smape: float, **other: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "contestant": cell,
        "precision": precision,
        "seed": seed,
        "settings": [],
        "pass_seconds": [2.0, 3.0],
        "train_seconds": 5.0,
        "evaluation_seconds": 0.5,
        "windows_per_second": 200_000.0,
        "smape": smape,
        "smape_by_region": {"AEP": smape, "NI": smape + 1},
        "peak_memory_bytes": 3 * 2**20,
        "data_bytes": 2**20,
        **other,
    }


def make_kept(benchmark: str, *rows: dict[str, Any], device: str = "GPU X") -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "machine": "Linux",
        "device": device,
        "versions": {"torch": "2.0"},
        "commit": "0123456789abcdef",
        "date": "2026-01-01",
        "rows": list(rows),
    }


def make_turn(way: str, step_seconds: float, num_bytes: int) -> dict[str, Any]:
    return {
        "contestant": way, "cell": "gru", "precision": "fp16", "steps": 200,
        "step_seconds": step_seconds, "windows_per_second": 1024 / step_seconds,
        "data_bytes": num_bytes, "peak_host_bytes": 10 * num_bytes, "peak_device_bytes": num_bytes,
    }  # fmt: skip


def cells_of(table: str, first: str) -> list[str]:
    """The cells of the row that begins so."""
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_seeds_are_summed_up_by_mean_deviation_and_range() -> None:
    rows = [make_row("gru", "fp16", seed, smape) for seed, smape in enumerate([1.0, 1.1, 1.2])]
    page = results_page([make_kept("article", *rows)])
    assert cells_of(page.split("### sMAPE")[0], "GRU, fp16") == [
        "3", "**1.100 %** ± 0.100", "1.000 to 1.200 %", "5.0 s ± 0.0", "2.50 s", "200,000",
        "0.50 s", "3 MiB",
    ]  # fmt: skip
    assert cells_of(page, "NI") == ["2.100 %"]


def test_a_paired_interval_is_students() -> None:
    # By hand: differences 1, 2, 3 have mean 2 and deviation 1; t(0.975, 2) = 4.3027.
    between = paired({0: 2.0, 1: 4.0, 2: 6.0, 7: 9.0}, {0: 1.0, 1: 2.0, 2: 3.0, 8: 9.0})
    assert between is not None
    assert (between.num_pairs, between.middle, between.deviation) == (3, 2.0, 1.0)
    assert between.low == pytest.approx(2 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert between.high == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=1e-4)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_a_difference_is_claimed_only_where_the_interval_leaves_out_zero() -> None:
    rows = [make_row("gru", "fp32", seed, 1.0 + seed / 100) for seed in range(5)]
    near = [make_row("lstm", "fp32", seed, 1.02 - (-1) ** seed / 10) for seed in range(5)]
    far = [make_row("lstm", "fp32", seed, 1.5 + seed / 99, train_seconds=10.0) for seed in range(5)]
    assert cells_of(cells_table(grouped(rows + near)), "GRU − LSTM, fp32")[-1] == (
        "no difference shown"
    )
    assert "no difference in error is shown" in cells_verdict(grouped(rows + near))
    assert cells_of(cells_table(grouped(rows + far)), "GRU − LSTM, fp32")[-2:] == [
        "0.50", "the GRU is better",
    ]  # fmt: skip
    assert "the GRU's sMAPE was lower than the LSTM's by 0.5" in cells_verdict(grouped(rows + far))
    assert "with one seed nothing can be said" in cells_verdict(grouped(rows[:1] + far[:1]))


def test_reduced_precision_is_paired_with_fp32_seed_by_seed() -> None:
    whole = [make_row("gru", "fp32", seed, seed, train_seconds=20.0) for seed in range(3)]
    half = [make_row("gru", "fp16", seed, seed + 0.5) for seed in range(3)]
    table = precision_table(grouped(half + whole))
    assert cells_of(table, "GRU, fp16 − fp32") == [
        "3", "+0.500 ± 0.000", "+0.500 to +0.500", "0.25", "fp16 is worse",
    ]  # fmt: skip
    missing = precision_table(grouped(half))
    for first in ("GRU, fp16 − fp32", "fp32"):
        assert cells_of(missing, first) == ["0", *["not measured"] * 4]
    tf32 = [make_row("gru", "tf32", seed, seed) for seed in range(3)]
    assert cells_of(precision_table(grouped(half + tf32)), "GRU, fp16 − tf32")[0] == "3"


def test_the_speed_table_has_the_medians_and_says_whether_the_bars_are_met() -> None:
    turns = [make_turn("article", each, 40 * 2**20) for each in (0.02, 0.03, 0.9)]
    turns += [make_turn("ours", each, 2**20) for each in (0.004, 0.005, 0.006)]
    section = speed_section(make_kept("article-speed", *turns))
    assert cells_of(section, "GRU, article")[1:3] == ["30.00 ms", "40 MiB"]
    assert cells_of(section, "GRU, ratio") == [
        "**6.00 ×**", "6.00 × shorter", "**40 × less**", "40.0 × less", "40.00 × less",
    ]  # fmt: skip
    assert cells_of(section, "LSTM, ours") == ["not measured"] * 5
    assert "are met and met" in section
    slow = speed_section(make_kept("article-speed", *turns[:3], make_turn("ours", 0.02, 2**21)))
    assert "are not met and met" in slow


def test_what_is_missing_is_said_to_be_not_measured() -> None:
    page = results_page([])
    assert page.count("Not measured.") == 2
    assert "not measured" in models_block([])
    for cell, printed in article.PRINTED_SMAPE.items():
        row = cells_of(page, cell.upper())
        assert row[-2:] == [f"{printed:.4f} %", f"**{4 * printed:.3f} %**"]


def test_rows_measured_again_are_those_of_one_cell_precision_seed_and_settings() -> None:
    row = make_row("gru", "fp16", 0, 1.0)
    assert key_of(row) == key_of({**row, "smape": 2.0})
    others = ({"contestant": "lstm"}, {"precision": "bf16"}, {"seed": 1}, {"settings": ["a=1"]})
    assert len({key_of(row), *(key_of({**row, **other}) for other in others)}) == 5


@pytest.mark.parametrize("page", [PAGE, MODELS], ids=lambda page: Path(page).name)
def test_the_page_is_what_the_kept_figures_make(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == write_results.pages(read_files())[page]


def test_kept_figures_are_those_of_the_articles_whole_protocol() -> None:
    for kept in read_files():
        assert len(kept["rows"]) == len({json.dumps(row) for row in kept["rows"]})
        for row in kept["rows"] if kept["benchmark"] == "article" else []:
            if not row["settings"]:
                assert (row["passes"], row["num_steps"]) == (5, 5 * 957)
                assert row["num_test_labels"] == 108_902
                assert len(row["smape_by_region"]) == 12
