"""What docs/models.md states is so, and docs/results.md is made of the kept figures.

The equations themselves are held to PyTorch's GRU and LSTM in test_models.py, the article's sMAPE
in test_metrics.py.

Legend: ``B`` windows, ``L`` lookback, ``F`` features, ``U`` units.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

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
from gridcast.report import article
from gridcast.training.forecaster import RecurrentForecaster

torch.set_num_threads(1)

CELLS: list[Cell] = ["gru", "lstm"]
NUM_FEATURES = 5  # of the profile `seed`
KINDS: dict[Cell, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
NUM_PRODUCTS: dict[Cell, int] = {"gru": 3, "lstm": 4}


def make_seed_profile(cell: Cell) -> RecurrentForecaster:
    model = Config.load("seed").model
    return RecurrentForecaster(model, cell=cell, num_features=NUM_FEATURES, horizon=1)


# -- the cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_two_layers_are_one_layer_reading_the_states_of_another(cell: Cell) -> None:
    torch.manual_seed(0)
    both = KINDS[cell](3, 4, num_layers=2, batch_first=True)
    layers = [KINDS[cell](size, 4, batch_first=True) for size in (3, 4)]
    for number, layer in enumerate(layers):
        weights = {
            name.replace(f"_l{number}", "_l0"): weight
            for name, weight in both.state_dict().items()
            if name.endswith(f"_l{number}")
        }
        layer.load_state_dict(weights)
    x_BLF = torch.randn(2, 6, 3)
    torch.testing.assert_close(both(x_BLF)[0], layers[1](layers[0](x_BLF)[0])[0])


@pytest.mark.parametrize("update", [0.0, 1.0])
def test_the_update_gate_keeps_a_state_whole_or_takes_the_candidate(update: float) -> None:
    torch.manual_seed(0)
    cell = nn.GRUCell(3, 4)
    with torch.no_grad():
        cell.bias_ih[4:8] = 1000.0 * (2 * update - 1)  # PyTorch's order: reset, update, new
    x_BF, h_BU = torch.randn(2, 3), torch.rand(2, 4)
    new_BU = cell(x_BF, h_BU)
    assert torch.equal(new_BU, h_BU) == bool(update)
    if not update:
        torch.testing.assert_close(new_BU, candidate(cell, x_BF, h_BU, reset_first=False))


def candidate(cell: nn.GRUCell, x_BF: Tensor, h_BU: Tensor, *, reset_first: bool) -> Tensor:
    """The new value before it is mixed: PyTorch's, or with the reset before the product (2014)."""
    w_r, _, w_n = cell.weight_ih.chunk(3)
    v_r, _, v_n = cell.weight_hh.chunk(3)
    (b_r, _, b_n), (c_r, _, c_n) = cell.bias_ih.chunk(3), cell.bias_hh.chunk(3)
    reset = torch.sigmoid(x_BF @ w_r.T + b_r + h_BU @ v_r.T + c_r)
    if reset_first:
        return torch.tanh(x_BF @ w_n.T + b_n + (reset * h_BU) @ v_n.T + c_n)
    return torch.tanh(x_BF @ w_n.T + b_n + reset * (h_BU @ v_n.T + c_n))


def test_the_gru_of_2014_resets_before_the_product_and_gives_other_values() -> None:
    torch.manual_seed(0)
    cell, x_BF, h_BU = nn.GRUCell(3, 4), torch.randn(2, 3), torch.rand(2, 4)
    ours, theirs = (candidate(cell, x_BF, h_BU, reset_first=first) for first in (False, True))
    assert not torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_of_two_biases_of_a_gate_only_the_sum_counts_but_in_the_grus_candidate(cell: Cell) -> None:
    torch.manual_seed(0)
    network = KINDS[cell](3, 4, batch_first=True)
    bias, other = (network.get_parameter(f"bias_{name}_l0") for name in ("ih", "hh"))
    x_BLF = torch.randn(2, 6, 3)
    before = network(x_BLF)[0]
    changed = []
    for gate in range(NUM_PRODUCTS[cell]):
        rows = slice(4 * gate, 4 * gate + 4)
        with torch.no_grad():
            bias[rows] += 0.5
            other[rows] -= 0.5
            changed.append(not torch.allclose(network(x_BLF)[0], before, atol=1e-5))
            bias[rows] -= 0.5
            other[rows] += 0.5
    assert changed == ([False, False, True] if cell == "gru" else [False] * 4)


def test_the_state_of_a_gru_stays_within_1_and_the_cell_state_of_an_lstm_can_count() -> None:
    gru, lstm = nn.GRUCell(1, 1), nn.LSTMCell(1, 1)
    with torch.no_grad():
        for weight in (*gru.parameters(), *lstm.parameters()):
            weight.fill_(3.0)
        h, state = torch.zeros(1, 1), (torch.zeros(1, 1), torch.zeros(1, 1))
        for _ in range(50):
            h, state = gru(torch.ones(1, 1), h), lstm(torch.ones(1, 1), state)
    assert float(h.abs()) <= 1
    assert float(state[0].abs()) <= 1
    assert float(state[1]) == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("inputs", "units"), [(5, 256), (256, 256), (1, 1), (12, 64)])
def test_a_layer_has_the_weights_of_the_page(cell: Cell, inputs: int, units: int) -> None:
    num_weights = sum(weight.numel() for weight in KINDS[cell](inputs, units).parameters())
    assert num_weights == NUM_PRODUCTS[cell] * units * (inputs + units + 2)


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


# -- gradients -----------------------------------------------------------------------------------


def test_clipping_by_norm_keeps_the_direction_and_by_value_may_not() -> None:
    def clipped(*, by_norm: bool) -> Tensor:
        weight = nn.Parameter(torch.zeros(2))
        weight.grad = torch.tensor([3.0, 0.1])
        if by_norm:
            nn.utils.clip_grad_norm_([weight], 1.0)
        else:
            nn.utils.clip_grad_value_([weight], 1.0)
        return weight.grad

    before = torch.tensor([3.0, 0.1])
    by_norm, by_value = clipped(by_norm=True), clipped(by_norm=False)
    assert float(by_norm.norm()) == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(by_norm / by_norm.norm(), before / before.norm())
    torch.testing.assert_close(by_value, torch.tensor([1.0, 0.1]))
    turned = float(nn.functional.cosine_similarity(by_value, before, dim=0))
    assert turned < 1 - 1e-3


def test_an_open_forget_or_update_gate_passes_the_gradient_through_90_hours() -> None:
    def gradient(bias: float) -> float:
        cell = nn.GRUCell(1, 1)
        with torch.no_grad():
            for weight in cell.parameters():
                weight.zero_()
            cell.bias_ih[1] = bias
        h = first = torch.full((1, 1), 0.5, requires_grad=True)
        for _ in range(90):
            h = cell(torch.zeros(1, 1), h)
        return float(torch.autograd.grad(h.sum(), first)[0])

    assert gradient(20.0) == pytest.approx(1.0)
    at_0_9 = math.log(0.9 / 0.1)
    assert gradient(at_0_9) == pytest.approx(0.9**90, rel=1e-3)
    assert gradient(at_0_9) == pytest.approx(0.00008, rel=0.05)
    assert math.isclose(1.1**90, 5300, rel_tol=0.01)


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
