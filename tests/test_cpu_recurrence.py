"""Our GRU on a CPU is ``torch.nn.GRU``: states and gradients, in 64 bits.

Legend: ``B`` windows, ``L`` steps, ``F`` features, ``U`` units.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gridcast.cpu_gru import run_gru
from tests.test_training import make_data, tiny, train, weights_of


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("lookback", [1, 2, 17])
@pytest.mark.parametrize("is_carried", [False, True])
def test_states_and_gradients_are_those_of_pytorch(
    num_layers: int, lookback: int, *, is_carried: bool
) -> None:
    torch.manual_seed(0)
    network = nn.GRU(5, 8, num_layers, batch_first=True)
    x_BLF = torch.randn(3, lookback, 5, requires_grad=True)
    begin = torch.randn(num_layers, 3, 8) if is_carried else None
    weight_BLU = torch.randn(3, lookback, 8)

    def derived(out: tuple[Tensor, Tensor]) -> list[Tensor]:
        hidden, end = out
        grads = torch.autograd.grad((hidden * weight_BLU).sum(), [x_BLF, *network.parameters()])
        return [hidden, end, *grads]

    theirs = derived(network(x_BLF, begin))
    for found, wanted in zip(derived(run_gru(network, x_BLF, begin)), theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_training_ends_where_that_of_the_library_ends() -> None:
    config, data = tiny(), make_data(tiny())
    library = tiny(training={"recurrence": "library"})
    assert weights_of(config, data) != weights_of(library, data)  # else nothing is compared
    ours, theirs = (train(each, data).forecaster for each in (config, library))
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_half_precision_leaves_the_states_in_32_bits() -> None:
    network = nn.GRU(5, 8, batch_first=True)
    x_BLF = torch.randn(3, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, _ = run_gru(network, x_BLF, None)
        torch.autograd.backward(hidden.sum())
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(hidden, network(x_BLF)[0])
