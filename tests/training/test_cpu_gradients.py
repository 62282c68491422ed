"""The compiled step on a CPU is PyTorch's: losses, gradients, and where a training ends.

Legend: ``S`` forecasters (one), ``B`` windows, ``P`` parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gridcast.kernels.cpu_kernels import KERNELS_OF_CELL
from gridcast.networks.forecaster import weights_sha256
from gridcast.training.cpu_gradients import CompiledGradient
from gridcast.training.gradients import BatchGradient
from tests.builders.trainings import make_data, make_stack, tiny, train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridcast.config import Cell, Config
    from gridcast.training.data import TrainingData
    from gridcast.training.stack import ForecasterStack

CELLS = pytest.mark.parametrize("cell", ["gru", "lstm"])
ONE = torch.ones(1)
ROUNDING = 1e-6  # of a hidden state
BATCH = 40  # more windows than go through a small network together


def compiled(
    stack: ForecasterStack, data: TrainingData, config: Config, **share: int
) -> CompiledGradient:
    return CompiledGradient(stack, data, config, kernels=KERNELS_OF_CELL[stack.cell], **share)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


def some_starts(seed: int, num_windows: int) -> Tensor:
    """Of windows that lie in one region, training labels or not."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 350, (1, num_windows), generator=generator)


@settings(max_examples=max(30, settings().max_examples))
@given(
    cell=st.sampled_from(["gru", "lstm"]),
    model=st.fixed_dictionaries(
        {
            "num_layers": st.integers(1, 3),
            "hidden_size": st.sampled_from([4, 16, 21, 70]),
            "region_units": st.sampled_from([0, 2]),
            "head_relu": st.booleans(),
            "target": st.sampled_from(["change", "level"]),
        }
    ),
    loss=st.sampled_from(["l1", "mse"]),
    horizon=st.integers(1, 3),
    is_carried=st.booleans(),
    num_windows=st.integers(1, BATCH),
    num_filling=st.integers(0, 3),
    num_threads=st.integers(1, 3),
)
def test_losses_and_gradients_are_those_of_pytorch(
    *, cell: Cell, model: dict[str, Any], loss: str, horizon: int, is_carried: bool,
    num_windows: int, num_filling: int, num_threads: int,
) -> None:  # fmt: skip
    torch.set_num_threads(num_threads)
    num_windows = BATCH if is_carried else num_windows
    config = tiny(
        windows={"lookback": 12, "warmup": 4, "horizon": horizon, "stride": 6},
        model=model,
        training={"passes": 2, "batch_size": BATCH, "precision": "fp32", "loss": loss,
                  "carry_hidden": is_carried, "drop_last": is_carried},
    )  # fmt: skip
    data = make_data(config)
    stack = make_stack(data, config, cell=cell, seed=1)
    ours, theirs = (
        compiled(stack, data, config),
        BatchGradient(stack, data, config),
    )
    given_states: list[Tensor] = []
    stack._views[0].recurrent.register_forward_hook(
        lambda *call: given_states.append(call[2][0].detach())
    )
    for seed in range(3):
        starts_SB = some_starts(seed, num_windows)
        filling = starts_SB[:, 1 : 1 + num_filling]
        filling.copy_(-1 - filling)
        wanted_both = theirs(starts_SB, 2 * ONE)
        # At zero a gradient through the head's ReLU is a matter of rounding.
        assume(not model["head_relu"] or float(given_states[-1].abs().min()) > ROUNDING)
        for wanted, found in zip(wanted_both, ours(starts_SB, 2 * ONE), strict=True):
            error = (found - wanted).norm() / wanted.norm()
            assert float(error) < 1e-5
    for each in (ours, theirs):
        each.begin_pass()
    first, wanted = (each(starts_SB, ONE)[0] for each in (ours, theirs))
    torch.testing.assert_close(first, wanted)


@CELLS
def test_shares_of_a_batch_add_up_to_it(cell: Cell) -> None:
    config = tiny()
    data = make_data(config)
    stack = make_stack(data, config, cell=cell, seed=1)
    starts_SB = some_starts(0, 15)
    whole = compiled(stack, data, config)(starts_SB, ONE)
    shares = [
        compiled(stack, data, config, share=share, num_shares=3)(starts_SB, ONE)
        for share in range(3)
    ]
    for wanted, *parts in zip(whole, *shares, strict=True):
        torch.testing.assert_close(sum(parts), wanted, rtol=1e-5, atol=1e-7)


@CELLS
def test_what_dropout_drops_depends_on_seed_and_step_and_not_on_threads(cell: Cell) -> None:
    config = tiny(model={"num_layers": 2, "hidden_size": 8, "region_units": 2, "dropout": 0.5})
    data, starts_SB = make_data(config), some_starts(0, 16)

    def derived(seed: int, num_threads: int) -> list[Tensor]:
        torch.set_num_threads(num_threads)
        stack = make_stack(data, config, cell=cell, seed=3)
        stack.dropout_seeds = [seed]
        gradient = compiled(stack, data, config)
        return [gradient(starts_SB, ONE)[1].clone() for _ in range(2)]

    first, second = derived(0, 1)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, derived(1, 1)[0])
    for found, wanted in zip(derived(0, 3), (first, second), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_dropout_is_derived_as_it_is_applied() -> None:
    """The loss falls by what the gradient says, where the same states are dropped."""
    model = {"num_layers": 2, "hidden_size": 8, "region_units": 2, "dropout": 0.3}
    config = tiny(model=model)
    data, starts_SB = make_data(config), some_starts(0, 16)
    stack = make_stack(data, config, cell="gru", seed=3)

    def derived() -> tuple[Tensor, Tensor]:
        return compiled(stack, data, config)(starts_SB, ONE)

    loss, grad_SP = derived()
    step = 1e-3 / float(grad_SP.norm())
    with torch.no_grad():
        stack.weights_SP.sub_(step * grad_SP)
    wanted = step * float(grad_SP.square().sum())
    assert float(loss - derived()[0]) == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_dropout_keeps_the_mean(share: float) -> None:
    config = tiny(model={"num_layers": 2, "hidden_size": 64, "region_units": 0, "dropout": share})
    data = make_data(config)
    stack = make_stack(data, config, cell="gru", seed=3)
    factors = compiled(stack, data, config)._draw(50)
    assert (factors == 0).mean() == pytest.approx(share, abs=0.01)
    assert factors.mean() == pytest.approx(1, abs=0.05)


@CELLS
def test_a_training_ends_where_that_of_the_library_ends(cell: Cell) -> None:
    config, data = tiny(), make_data(tiny())
    library = tiny(training={"recurrence": "library"})
    ours, theirs = (train(each, data, cell=cell).forecaster for each in (config, library))
    assert weights_sha256(ours) != weights_sha256(theirs)  # else nothing is compared
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
