"""The networks are the equations of the article and of the LSTM, written out here in plain code.

Legend: ``B`` windows, ``L`` lookback, ``F`` features, ``U`` units, ``O`` origins, ``H`` horizon.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gridcast.config import Cell
from gridcast.networks.forecaster import CellSteps, RecurrentForecaster, weights_sha256
from tests.builders.values import make_config

torch.set_num_threads(1)  # on networks this small, threads only wait for each other

CELLS: list[Cell] = ["gru", "lstm"]
NUM_FEATURES, NUM_REGIONS = 3, 4


def make_forecaster(
    cell: Cell = "gru",
    *,
    horizon: int = 1,
    seed: int = 0,
    **model: Any,  # noqa: ANN401
) -> RecurrentForecaster:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 5, "num_layers": 1, "region_units": 0}
    config = make_config(model={**sizes, **model}).model
    return RecurrentForecaster(
        config, cell=cell, num_features=NUM_FEATURES, horizon=horizon, num_regions=NUM_REGIONS
    ).eval()


def make_inputs(num_windows: int = 4, lookback: int = 7) -> Tensor:
    return torch.randn(
        num_windows, lookback, NUM_FEATURES, generator=torch.Generator().manual_seed(1)
    )


def gates(forecaster: RecurrentForecaster, layer: int, num: int) -> tuple[list[Tensor], ...]:
    """Input weights, hidden weights and both biases of a layer, a tensor a gate."""
    weights = dict(forecaster.recurrent.named_parameters())
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return tuple(list(weights[f"{name}_l{layer}"].chunk(num)) for name in names)


def run_gru(forecaster: RecurrentForecaster, x_BLF: Tensor, layer: int) -> Tensor:
    """The article's equations; biases, which it leaves out, stand where PyTorch has them."""
    w_input, w_hidden, b_input, b_hidden = gates(forecaster, layer, 3)
    reset, update, new = range(3)
    h = torch.zeros(len(x_BLF), w_hidden[0].shape[0])
    out = []
    for x in x_BLF.unbind(1):

        def from_input(gate: int, x: Tensor = x) -> Tensor:
            return x @ w_input[gate].T + b_input[gate]

        def from_hidden(gate: int, h: Tensor = h) -> Tensor:
            return h @ w_hidden[gate].T + b_hidden[gate]

        gate_reset = torch.sigmoid(from_input(reset) + from_hidden(reset))
        gate_update = torch.sigmoid(from_input(update) + from_hidden(update))
        r = torch.tanh(gate_reset * from_hidden(new) + from_input(new))
        u = gate_update * h
        h = r * (1 - gate_update) + u
        out.append(h)
    return torch.stack(out, dim=1)


def run_lstm(forecaster: RecurrentForecaster, x_BLF: Tensor, layer: int) -> Tensor:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000."""
    w_input, w_hidden, b_input, b_hidden = gates(forecaster, layer, 4)
    h = c = torch.zeros(len(x_BLF), w_hidden[0].shape[0])
    out = []
    for x in x_BLF.unbind(1):
        i, f, g, o = (
            x @ w_input[gate].T + b_input[gate] + h @ w_hidden[gate].T + b_hidden[gate]
            for gate in range(4)
        )
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        out.append(h)
    return torch.stack(out, dim=1)


def run_layers(forecaster: RecurrentForecaster, cell: Cell, x_BLF: Tensor) -> Tensor:
    for layer in range(forecaster.recurrent.num_layers):
        run = run_gru if cell == "gru" else run_lstm
        x_BLF = run(forecaster, x_BLF, layer)
    return x_BLF


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_forecast_is_the_equations_then_a_linear_head(cell: Cell, num_layers: int) -> None:
    forecaster = make_forecaster(cell, num_layers=num_layers, horizon=2, target="level")
    x_BLF = make_inputs()
    hidden_BLU = run_layers(forecaster, cell, x_BLF)
    expected = hidden_BLU[:, 3:] @ forecaster.head.weight.T + forecaster.head.bias
    torch.testing.assert_close(forecaster(x_BLF, 3), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_the_articles_head_cuts_the_hidden_state_off_at_zero(cell: Cell) -> None:
    forecaster = make_forecaster(cell, target="level", head_relu=True)
    x_BLF = make_inputs()
    hidden_BLU = run_layers(forecaster, cell, x_BLF)
    assert (hidden_BLU < 0).any()
    expected = hidden_BLU.clamp(min=0)[:, 6:] @ forecaster.head.weight.T + forecaster.head.bias
    torch.testing.assert_close(forecaster(x_BLF, 6), expected)


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_change_is_added_to_the_load_of_the_step_from_which_is_forecast(horizon: int) -> None:
    level = make_forecaster(target="level", horizon=horizon)
    change = make_forecaster(target="change", change_scale=0.1, horizon=horizon)
    change.load_state_dict(level.state_dict())
    x_BLF = make_inputs()
    load_BO1 = x_BLF[:, 2:, :1]  # the first feature
    torch.testing.assert_close(change(x_BLF, 2), load_BO1 + 0.1 * level(x_BLF, 2))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("warmup", "num_origins"), [(0, 7), (3, 4), (6, 1)])
@pytest.mark.parametrize("horizon", [1, 3])
def test_there_is_a_forecast_of_each_horizon_from_each_step_after_the_warmup(
    cell: Cell, warmup: int, num_origins: int, horizon: int
) -> None:
    assert make_forecaster(cell, horizon=horizon)(make_inputs(4, 7), warmup).shape == (
        4, num_origins, horizon,
    )  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_no_forecast_depends_on_later_steps_or_on_other_windows(cell: Cell) -> None:
    forecaster, x_BLF = make_forecaster(cell, num_layers=2), make_inputs()
    changed = x_BLF.clone()
    changed[0, 5:] = float("nan")
    ours, theirs = forecaster(x_BLF, 0), forecaster(changed, 0)
    assert torch.equal(theirs[0, :5], ours[0, :5])
    assert theirs[0, 5:].isnan().all()
    assert torch.equal(theirs[1:], ours[1:])


@pytest.mark.parametrize(("hidden_size", "num_layers"), [(5, 1), (8, 2)])
def test_the_parameters_are_as_many_as_the_equations_have(
    hidden_size: int, num_layers: int
) -> None:
    for cell, num_gates in zip(CELLS, (3, 4), strict=True):
        sizes = [NUM_FEATURES, *[hidden_size] * (num_layers - 1)]
        layers = sum(num_gates * hidden_size * (size + hidden_size + 2) for size in sizes)
        head = 2 * (hidden_size + 1)
        forecaster = make_forecaster(
            cell, hidden_size=hidden_size, num_layers=num_layers, horizon=2
        )
        assert forecaster.num_parameters == layers + head


def test_a_gru_layer_has_three_quarters_of_the_parameters_of_an_lstm_layer() -> None:
    num_gru, num_lstm = (
        sum(weight.numel() for weight in make_forecaster(cell).recurrent.parameters())
        for cell in CELLS
    )
    assert num_gru * 4 == num_lstm * 3


def test_dropout_acts_between_layers_in_training_only() -> None:
    forecaster, x_BLF = make_forecaster(num_layers=2, dropout=0.5), make_inputs()
    assert torch.equal(forecaster(x_BLF, 0), forecaster(x_BLF, 0))
    forecaster.train()
    assert not torch.equal(forecaster(x_BLF, 0), forecaster(x_BLF, 0))
    one_layer = make_forecaster(num_layers=1, dropout=0.5).train()
    assert torch.equal(one_layer(x_BLF, 0), one_layer(x_BLF, 0))


def test_the_numbers_of_a_region_are_inputs_of_each_step_of_its_windows() -> None:
    forecaster, x_BLF = make_forecaster(region_units=2), make_inputs()
    region_B = torch.tensor([3, 0, 3, 1])
    own_BLD = forecaster.region_RD[region_B][:, None].expand(-1, x_BLF.shape[1], -1)
    hidden_BLU, _ = forecaster.recurrent(torch.cat([x_BLF, own_BLD], -1))
    expected = x_BLF[:, 2:, :1] + forecaster.config.change_scale * forecaster.head(
        hidden_BLU[:, 2:]
    )
    torch.testing.assert_close(forecaster(x_BLF, 2, region_B), expected)


def test_the_hash_depends_on_the_weights_and_on_nothing_else() -> None:
    first = make_forecaster(seed=0)
    other_settings = make_forecaster(seed=1, head_relu=True, change_scale=5.0, dropout=0.3)
    assert weights_sha256(other_settings) != weights_sha256(first)
    other_settings.load_state_dict(first.state_dict())
    assert weights_sha256(other_settings.train()) == weights_sha256(first)
    first(make_inputs(), 0).sum().backward()  # gradients are no weights
    assert weights_sha256(first) == weights_sha256(other_settings)


@pytest.mark.parametrize(
    "name", [name for name, _ in make_forecaster("lstm", region_units=2).named_parameters()]
)
def test_the_least_change_of_any_weight_changes_the_hash(name: str) -> None:
    forecaster = make_forecaster("lstm", region_units=2)
    before = weights_sha256(forecaster)
    with torch.no_grad():
        weight = forecaster.get_parameter(name).view(-1)
        weight[-1] = torch.nextafter(weight[-1], torch.tensor(9.0))
    assert weights_sha256(forecaster) != before


def test_weights_of_another_type_or_shape_have_another_hash() -> None:
    zeros = [torch.nn.Linear(size, 1, bias=False) for size in (2, 4)]
    for module in zeros:
        torch.nn.init.zeros_(module.weight)
    hashes = {
        weights_sha256(zeros[0]),
        weights_sha256(zeros[1]),
        weights_sha256(zeros[0].double()),
    }
    assert len(hashes) == 3


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("is_carried", [False, True])
def test_layer_by_layer_comes_out_what_the_library_gives_at_once(
    *, cell: Cell, num_layers: int, is_carried: bool
) -> None:
    """With dropout too: on a CPU both draw it from one generator."""
    forecaster = make_forecaster(cell, num_layers=num_layers, dropout=0.4).train()
    x_BLF = make_inputs().requires_grad_()
    begin = torch.randn(num_layers, len(x_BLF), 5) if is_carried else None
    state = begin if begin is None or cell == "gru" else (begin, begin / 2)
    found = []
    for run in (forecaster.recurrent, forecaster.run_layer_by_layer):
        torch.manual_seed(3)
        out_BLU, end = run(x_BLF, state)
        ends = [end] if isinstance(end, Tensor) else list(end)
        loss = out_BLU.square().sum() + sum(each.sum() for each in ends)
        grads = torch.autograd.grad(loss, [x_BLF, *forecaster.recurrent.parameters()])
        found.append([out_BLU, *ends, *grads])
    assert all(torch.equal(*each) for each in zip(*found, strict=True))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_layers_asked_step_by_step_give_what_they_give_at_once(cell: Cell, num_layers: int) -> None:
    forecaster = make_forecaster(cell, num_layers=num_layers)
    x_BLF, region_B = make_inputs(), torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        hidden_BU, state = forecaster.read_on(x_BLF[:, :3], region_B, None, None)
        steps = CellSteps(forecaster)
        for x_BF in x_BLF[:, 3:].unbind(1):
            hidden_BU, state = steps.read(x_BF, state)
        expected_BU, expected = forecaster.read_on(x_BLF, region_B, None, None)
    torch.testing.assert_close(hidden_BU, expected_BU)
    torch.testing.assert_close(state, expected)
