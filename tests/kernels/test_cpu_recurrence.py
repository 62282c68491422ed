"""Our layers on a CPU are PyTorch's: states and gradients; the kernels are what they are named.

Legend: ``B`` windows, ``L`` steps, ``F`` features, ``D`` features of a window, ``U`` units; ``M``,
``K``, ``N`` of a product.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gridcast.kernels.cpu_kernels import (
    KERNELS_OF_CELL,
    add_product,
    set_product,
    take_sigmoid,
    take_tanh,
)
from gridcast.kernels.cpu_recurrence import Layer, Memory, cut_evenly, filled
from gridcast.kernels.numba_private import LANES

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDING = 3e-7  # of 32 bits, in a sum of few
BOTH = pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
States = Tensor | tuple[Tensor, ...]


def weights_of_states(hidden_BLU: Tensor) -> Tensor:
    """Of a sum of all hidden states, by which to derive."""
    return torch.randn(hidden_BLU.shape, generator=torch.Generator().manual_seed(1))


def by_pytorch(
    network: nn.GRU | nn.LSTM, x_BLF: Tensor, begin: States | None, own_BD: Tensor | None = None
) -> list[Tensor]:
    """Hidden states, the last ones, and gradients by all weights, and by ``own_BD``."""
    leaves: list[Tensor] = list(network.parameters())
    if own_BD is not None:
        own_BD = own_BD.clone().requires_grad_()
        leaves.append(own_BD)
        x_BLF = torch.cat([x_BLF, own_BD[:, None].expand(-1, x_BLF.shape[1], -1)], -1)
    hidden, end = network(x_BLF, begin)
    grads = torch.autograd.grad((hidden * weights_of_states(hidden).to(hidden)).sum(), leaves)
    return [each.detach() for each in (hidden, *states_of(end), *grads)]


def by_us(
    network: nn.GRU | nn.LSTM,
    x_BLF: Tensor,
    begin: States | None,
    own_BD: Tensor | None = None,
) -> list[Tensor]:
    """The same."""
    parameters = {f"recurrent.{name}": each for name, each in network.named_parameters()}
    weights = {name: each.detach().numpy() for name, each in parameters.items()}
    grads = {name: np.full_like(each, np.nan) for name, each in weights.items()}
    batch, units = len(x_BLF), network.hidden_size
    own = None if own_BD is None else own_BD.numpy()
    layers = [
        Layer(
            KERNELS_OF_CELL["lstm" if isinstance(network, nn.LSTM) else "gru"],
            weights,
            number,
            num_own=own.shape[1] if own is not None and number == 0 else 0,
        )
        for number in range(network.num_layers)
    ]
    memory, passed = Memory(), []
    inputs = np.full((1, x_BLF.shape[1] + 1, batch, x_BLF.shape[2]), np.nan, np.float32)
    inputs[0, 1:] = x_BLF.numpy().transpose(1, 0, 2)
    for number, layer in enumerate(layers):
        layer.pack_weights()
        shape = layer.num_panels, batch, layer.of_panel
        before = [np.zeros(shape, np.float32) for _ in range(layer.num_states)]
        for each_PBC, state in zip(before, () if begin is None else states_of(begin), strict=False):
            each_BPC = np.zeros((batch, layer.num_panels, layer.of_panel), np.float32)
            each_BPC.reshape(batch, -1)[:, :units] = state[number]
            each_PBC[:] = each_BPC.swapaxes(0, 1)
        passed.append(layer.forward(inputs, own if number == 0 else None, before, memory))
        inputs = passed[-1].hidden_PKBC
    hidden = torch.from_numpy(out_of_panels(inputs, units)[:, 1:].copy())
    grad_BLPC = np.zeros_like(inputs[:, 1:].transpose(2, 1, 0, 3), order="C")
    grad_BLPC.reshape(*hidden.shape[:2], -1)[..., :units] = weights_of_states(hidden)
    grad = np.ascontiguousarray(grad_BLPC.transpose(2, 1, 0, 3))
    by_own: list[np.ndarray] = []
    for layer, there in zip(reversed(layers), reversed(passed), strict=True):
        sums = {name: np.zeros(shape, np.float32) for name, shape in layer.shapes.items()}
        grad, grad_own = layer.backward(grad, there, sums, memory)
        layer.fill(grads, sums)
        by_own.extend([] if grad_own is None else [grad_own])
    ends = [
        np.stack([out_of_panels(there.states[which], units)[:, -1] for there in passed])
        for which in range(layers[0].num_states)
    ]
    return [hidden, *map(torch.from_numpy, [*ends, *grads.values(), *by_own])]


def out_of_panels(panels_PKBC: np.ndarray, units: int) -> np.ndarray:
    """``(B, K, U)``."""
    num_panels, num_steps, batch, of_panel = panels_PKBC.shape
    states_BKPC = panels_PKBC.transpose(2, 1, 0, 3)
    return states_BKPC.reshape(batch, num_steps, num_panels * of_panel)[..., :units]


def states_of(begin: States) -> Sequence[Tensor]:
    return (begin,) if isinstance(begin, Tensor) else begin


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from([nn.GRU, nn.LSTM]),
    shape=st.tuples(st.integers(1, 17), st.integers(1, 12), st.integers(1, 20)),
    num_own=st.integers(0, 3),
    units=st.one_of(st.integers(1, 70), st.integers(71, 200)),
    num_layers=st.integers(1, 2),
    is_carried=st.booleans(),
    seed=st.integers(0, 9),
)
def test_states_and_gradients_are_those_of_pytorch(
    *, kind: type[nn.GRU | nn.LSTM], shape: tuple[int, int, int], num_own: int, units: int,
    num_layers: int, is_carried: bool, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    batch, _, num_features = shape
    network = kind(num_features + num_own, units, num_layers, batch_first=True)
    x_BLF = torch.randn(shape)
    own_BD = torch.randn(batch, num_own) if num_own else None
    begin: States | None = None
    if is_carried:
        begin = torch.randn(num_layers, batch, units)
        begin = begin if kind is nn.GRU else (begin, torch.randn(num_layers, batch, units))
    theirs = by_pytorch(network, x_BLF, begin, own_BD)
    for found, wanted in zip(by_us(network, x_BLF, begin, own_BD), theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_parts", [1, 2, 5, 16])
@pytest.mark.parametrize("num_windows", [1, 4, 9, 16, 1000])
def test_each_window_is_in_one_part_and_parts_are_about_as_large(
    num_windows: int, num_parts: int
) -> None:
    parts = cut_evenly(slice(3, 3 + num_windows), num_parts)
    windows = [each for part in parts for each in range(3 + num_windows)[part]]
    assert windows == list(range(3, 3 + num_windows))
    sizes = [part.stop - part.start for part in parts]
    assert 0 < len(parts) <= num_parts
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) < 8


SIZES = pytest.mark.parametrize(
    ("batch", "lookback", "units"), [(16, 168, 64), (3, 20, 100), (5, 20, 150)]
)
# With the last, gates are nearly shut or open.
SCALES = pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])


def errors_of(
    kind: type[nn.GRU | nn.LSTM],
    shape: tuple[int, int],
    units: int,
    scale: float,
) -> list[tuple[float, float]]:
    """Ours and PyTorch's, against 64 bits, of states and of each gradient."""
    torch.manual_seed(0)
    network = kind(45, units, batch_first=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
    x_BLF = torch.randn(*shape, 45)
    exact = by_pytorch(deepcopy(network).double(), x_BLF.double(), None)
    ours = by_us(network, x_BLF, None)
    theirs = by_pytorch(network, x_BLF, None)
    return [
        (float((found - true).norm() / true.norm()), float((other - true).norm() / true.norm()))
        for true, found, other in zip(exact, ours, theirs, strict=True)
    ]


@BOTH
@SIZES
@SCALES
def test_it_is_as_exact_as_pytorch(
    kind: type[nn.GRU | nn.LSTM], batch: int, lookback: int, units: int, scale: float
) -> None:
    for error, their_error in errors_of(kind, (batch, lookback), units, scale):
        assert error < max(3 * their_error, ROUNDING)


@BOTH
def test_the_same_again_is_the_same_to_the_bit(kind: type[nn.GRU | nn.LSTM]) -> None:
    torch.manual_seed(0)
    network, x_BLF = kind(45, 24, 2, batch_first=True), torch.randn(7, 30, 45)
    first, again = (by_us(network, x_BLF, None) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


@BOTH
@pytest.mark.parametrize("units", [8, 64, 100])
def test_a_window_comes_out_the_same_in_any_company(
    kind: type[nn.GRU | nn.LSTM], units: int
) -> None:
    torch.manual_seed(0)
    network, x_BLF = kind(45, units, batch_first=True), torch.randn(11, 30, 45)
    whole = by_us(network, x_BLF, None)[0]
    for some in (slice(0, 1), slice(3, 10), slice(10, 11)):
        assert torch.equal(by_us(network, x_BLF[some], None)[0], whole[some])


def test_memory_is_as_asked_for_and_is_not_asked_for_twice() -> None:
    memory = Memory()
    large = memory("a", 3, 5)
    assert large.shape == (3, 5)
    assert np.shares_memory(memory("a", 2, 2), large)
    assert not np.shares_memory(memory("b", 2, 2), large)
    assert memory("a", 4, 5).shape == (4, 5)
    assert filled(LANES) == LANES
    assert filled(LANES + 1) == 2 * LANES


# -- the kernels -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 13),
    k=st.integers(1, 40),
    blocks=st.integers(1, 9),
    is_turned=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_product_is_numpys(*, m: int, k: int, blocks: int, is_turned: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left_MK = rng.standard_normal((k, m) if is_turned else (m, k)).astype(np.float32)
    left_MK = left_MK.T if is_turned else left_MK
    right_KN = rng.standard_normal((k, blocks * LANES)).astype(np.float32)
    sums_MN = rng.standard_normal((m, blocks * LANES)).astype(np.float32)
    wanted = sums_MN + left_MK.astype(np.float64) @ right_KN
    filled_MN = np.full_like(sums_MN, np.nan)
    set_product(filled_MN, sums_MN, left_MK, right_KN)
    add_product(sums_MN, left_MK, right_KN)
    np.testing.assert_allclose(sums_MN, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(filled_MN, sums_MN)


def test_tanh_and_sigmoid_are_exact_to_rounding() -> None:
    x = np.linspace(-30, 30, 600_001).astype(np.float32)
    tanh, sigmoid = x.copy(), x.copy()
    take_tanh(tanh)
    take_sigmoid(sigmoid)
    np.testing.assert_allclose(tanh, np.tanh(x.astype(np.float64)), rtol=4e-7)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-x.astype(np.float64))), atol=2e-7, rtol=0)


def test_what_is_not_a_number_stays_so_and_infinity_is_a_limit() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)
    take_tanh(values)
    np.testing.assert_allclose(values, [np.nan, 1, -1, 1], rtol=1e-6)
    values = np.full(40, np.nan, np.float32)  # longer than a register
    take_sigmoid(values)
    assert np.isnan(values).all()
