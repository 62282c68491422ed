"""Our dropout drops the share that it is asked for, each network and step its own numbers.

Legend: ``S`` networks.
"""

from __future__ import annotations

import pytest
import torch

from gridcast.kernels.dropout import Dropout

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
SHAPE = (90, 64, 256)


def dropped(drop: Dropout, num_networks: int, layer: int = 0) -> torch.Tensor:
    return drop(torch.ones((num_networks, *SHAPE), device="cuda", dtype=torch.half), layer)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_so_many_numbers_are_zero_and_the_others_larger(share: float, dtype: torch.dtype) -> None:
    x = torch.randn((2, *SHAPE), device="cuda", dtype=dtype)
    y = Dropout(share, [0, 1], x.device)(x, 0)
    is_zero = y == 0
    # The share of n independent draws: five deviations.
    deviation = (share * (1 - share) / x[0].numel()) ** 0.5
    for network in is_zero:
        assert abs(float(network.float().mean()) - share) < 5 * deviation
    wanted = (x.float() / (1 - share)).to(dtype)
    torch.testing.assert_close(y[~is_zero], wanted[~is_zero])


def test_neighbours_are_dropped_independently_of_each_other() -> None:
    kept = (dropped(Dropout(0.5, [0], torch.device("cuda")), 1)[0] != 0).float() * 2 - 1
    flat = kept.flatten()
    for distance in (1, 2, 3, 4, 8, 256, 64 * 256):
        correlation = float((flat[:-distance] * flat[distance:]).mean())
        assert abs(correlation) < 5 / len(flat) ** 0.5, distance


def test_the_gradient_passes_where_the_number_did() -> None:
    drop = Dropout(0.3, [4, 5], torch.device("cuda"))
    drop.next_step()
    x = torch.ones((2, *SHAPE), device="cuda", dtype=torch.half, requires_grad=True)
    y = drop(x, 1)
    (grad,) = torch.autograd.grad(y.float().sum(), x)
    torch.testing.assert_close(grad, y.detach())


def test_a_network_draws_what_it_draws_alone_and_other_numbers_at_each_step_and_layer() -> None:
    device = torch.device("cuda")
    both, alone = Dropout(0.5, [3, 9], device), Dropout(0.5, [9], device)
    masks = []
    for _ in range(3):
        both.next_step()
        alone.next_step()
        for layer in range(2):
            both_dropped = dropped(both, 2, layer)
            assert torch.equal(both_dropped[1], dropped(alone, 1, layer)[0])
            masks += [both_dropped[0] != 0, both_dropped[1] != 0]
    for number, mask in enumerate(masks):
        for other in masks[:number]:
            assert float((mask == other).float().mean()) == pytest.approx(0.5, abs=0.01)


def test_without_a_share_nothing_happens() -> None:
    x = torch.ones((1, 8), device="cuda", dtype=torch.half)
    assert Dropout(0.0, [0], x.device)(x, 0) is x
