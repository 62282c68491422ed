"""Our layers on a CPU are PyTorch's: states and gradients; the kernels are what they are named.

Legend: ``B`` windows, ``L`` steps, ``F`` features, ``U`` units; ``M``, ``K``, ``N`` of a product.
"""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gridcast import cpu_kernels, cpu_recurrence
from gridcast.cpu_kernels import LANES, add_product, take_sigmoid, take_tanh
from gridcast.cpu_recurrence import run_layers
from gridcast.models import beside, weights_sha256
from tests.pipelines import ROOT, clean_environment
from tests.test_training import make_data, tiny, train, weights_of

if TYPE_CHECKING:
    from gridcast.config import Cell

ROUNDING = 3e-7  # of 32 bits, in a sum of few
BOTH = pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])


def derived(
    network: nn.GRU | nn.LSTM,
    x_BLF: Tensor,
    begin: Tensor | tuple[Tensor, ...] | None,
    *,
    is_ours: bool,
    own_BD: Tensor | None = None,
    num_threads: int = 1,
) -> list[Tensor]:
    """Hidden states, the last ones, and the gradients of a sum of the former, with weights."""
    x_BLF = x_BLF.clone().requires_grad_()
    leaves = [x_BLF, *network.parameters()]
    if own_BD is not None:
        own_BD = own_BD.clone().requires_grad_()
        leaves.append(own_BD)
    hidden, end = (
        run_layers(network, x_BLF, own_BD, begin, num_threads=num_threads)
        if is_ours
        else network(x_BLF if own_BD is None else beside(x_BLF, own_BD), begin)
    )
    weight = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1)).to(hidden)
    grads = torch.autograd.grad((hidden * weight).sum(), leaves)
    ends = (end,) if isinstance(end, Tensor) else end
    return [each.detach() for each in (hidden, *ends, *grads)]


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from([nn.GRU, nn.LSTM]),
    shape=st.tuples(st.integers(1, 17), st.integers(1, 12), st.integers(1, 20)),
    num_own=st.integers(0, 3),
    units=st.integers(1, 70),
    num_layers=st.integers(1, 2),
    is_carried=st.booleans(),
    num_threads=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_states_and_gradients_are_those_of_pytorch(
    *, kind: type[nn.GRU | nn.LSTM], shape: tuple[int, int, int], num_own: int, units: int,
    num_layers: int, is_carried: bool, num_threads: int, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    batch, _, num_features = shape
    network = kind(num_features + num_own, units, num_layers, batch_first=True)
    x_BLF = torch.randn(shape)
    own_BD = torch.randn(batch, num_own) if num_own else None
    begin: Tensor | tuple[Tensor, ...] | None = None
    if is_carried:
        begin = torch.randn(num_layers, batch, units)
        begin = begin if kind is nn.GRU else (begin, torch.randn(num_layers, batch, units))
    theirs = derived(network, x_BLF, begin, is_ours=False, own_BD=own_BD)
    ours = derived(
        network, x_BLF, begin, is_ours=True, own_BD=own_BD, num_threads=num_threads
    )  # fmt: skip
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_threads", [1, 2, 5, 16])
@pytest.mark.parametrize("num_windows", [1, 4, 9, 16, 1000])
def test_each_window_is_one_threads_and_threads_have_about_as_many(
    num_windows: int, num_threads: int
) -> None:
    parts = cpu_recurrence._parts(num_windows, num_threads)
    windows = [each for part in parts for each in range(num_windows)[part]]
    assert windows == list(range(num_windows))
    sizes = [part.stop - part.start for part in parts]
    assert 0 < len(parts) <= num_threads
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) < 8


@BOTH
@pytest.mark.parametrize(("batch", "lookback", "units"), [(16, 168, 64), (3, 20, 100)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])  # with the last, gates are nearly shut or open
def test_it_is_as_exact_as_pytorch(
    kind: type[nn.GRU | nn.LSTM], batch: int, lookback: int, units: int, scale: float
) -> None:
    torch.manual_seed(0)
    network = kind(45, units, batch_first=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
    x_BLF = torch.randn(batch, lookback, 45)
    exact = derived(deepcopy(network).double(), x_BLF.double(), None, is_ours=False)
    ours, theirs = (derived(network, x_BLF, None, is_ours=is_ours) for is_ours in (True, False))
    for true, found, other in zip(exact, ours, theirs, strict=True):
        error, their_error = (
            float((each.double() - true).norm() / true.norm()) for each in (found, other)
        )
        assert error < max(3 * their_error, ROUNDING)


@BOTH
def test_the_same_again_is_the_same_to_the_bit(kind: type[nn.GRU | nn.LSTM]) -> None:
    torch.manual_seed(0)
    network, x_BLF = kind(45, 24, 2, batch_first=True), torch.randn(7, 30, 45)
    first, again = (derived(network, x_BLF, None, is_ours=True) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


@BOTH
@pytest.mark.parametrize("units", [8, 64, 100])
def test_a_window_comes_out_the_same_in_any_company(
    kind: type[nn.GRU | nn.LSTM], units: int
) -> None:
    torch.manual_seed(0)
    network, x_BLF = kind(45, units, batch_first=True), torch.randn(11, 30, 45)
    together, ends = run_layers(network, x_BLF, None, None)
    for some in (slice(0, 1), slice(3, 10), slice(10, 11)):
        hidden, end = run_layers(network, x_BLF[some], None, None)
        assert torch.equal(hidden, together[some])
        for one, all_ends in zip(_states(end), _states(ends), strict=True):
            assert torch.equal(one, all_ends[:, some])


def _states(end: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (end,) if isinstance(end, Tensor) else end


def test_dropout_lies_between_the_layers_and_only_in_training() -> None:
    torch.manual_seed(0)
    network = nn.GRU(5, 8, 2, batch_first=True, dropout=0.5)
    x_BLF = torch.randn(3, 6, 5)
    layers = [nn.GRU(5, 8, batch_first=True), nn.GRU(8, 8, batch_first=True)]
    for layer, each in product((0, 1), ("weight_ih", "weight_hh", "bias_ih", "bias_hh")):
        setattr(layers[layer], f"{each}_l0", getattr(network, f"{each}_l{layer}"))
    torch.manual_seed(1)
    found = run_layers(network, x_BLF, None, None)[0]
    torch.manual_seed(1)
    between_LBU = nn.functional.dropout(layers[0](x_BLF)[0].transpose(0, 1), 0.5)
    torch.testing.assert_close(found, layers[1](between_LBU.transpose(0, 1))[0])
    torch.testing.assert_close(run_layers(network.eval(), x_BLF, None, None)[0], network(x_BLF)[0])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_training_ends_where_that_of_the_library_ends(cell: Cell) -> None:
    config, data = tiny(), make_data(tiny())
    library = tiny(training={"recurrence": "library"})
    ours, theirs = (train(each, data, cell=cell).forecaster for each in (config, library))
    assert weights_sha256(ours) != weights_sha256(theirs)  # else nothing is compared
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_half_precision_leaves_the_states_in_32_bits() -> None:
    network = nn.GRU(5, 8, batch_first=True)
    x_BLF = torch.randn(3, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, _ = run_layers(network, x_BLF, None, None)
        torch.autograd.backward(hidden.sum())
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, network(x_BLF)[0])


# -- when it is taken ------------------------------------------------------------------------------


def test_without_numba_pytorchs_layer_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_recurrence, "find_spec", lambda _: None)
    library = tiny(training={"recurrence": "library"})
    assert weights_of(tiny()) == weights_of(library)


def test_numba_is_not_imported_before_a_layer_runs() -> None:
    code = "import sys, gridcast.training, gridcast.stack\nassert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), check=True)


def test_where_no_cache_can_be_written_kernels_are_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from numba.core import caching

    monkeypatch.setattr(caching.FunctionCache._impl_class, "_locator_classes", [])
    compiled = cpu_kernels._compiled(cpu_kernels._1)

    @compiled
    def double(values: np.ndarray) -> None:
        for i in range(len(values)):
            values[i] *= 2

    values = np.ones(3, np.float32)
    double(values)
    assert values.tolist() == [2, 2, 2]


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
    add_product(sums_MN, left_MK, right_KN)
    np.testing.assert_allclose(sums_MN, wanted, rtol=1e-5, atol=1e-5)


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
