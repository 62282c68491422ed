"""Each network of a stack is updated as PyTorch's optimizers would update it alone.

Legend: ``S`` networks, ``P`` parameters.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gridcast.engine import Kernels
from gridcast.kernels.adam import LossScale, StackedAdam
from tests.builders.values import make_config


def gradients(num_steps: int, shape: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for _ in range(num_steps)]


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("clip_value", [None, 0.3])
@pytest.mark.parametrize("kernels", ["pytorch", "cpu-loops"])
def test_each_row_goes_the_way_of_pytorch_s_optimizer(
    *, optimizer: str, clip_norm: float | None, clip_value: float | None, kernels: Kernels
) -> None:
    config = make_config(
        training={
            "optimizer": optimizer, "weight_decay": 0.1, "precision": "fp32",
            "clip_norm": clip_norm, "clip_value": clip_value,
        }
    ).training  # fmt: skip
    weights = torch.randn((3, 7), generator=torch.Generator().manual_seed(0))
    alone = [torch.nn.Parameter(row.clone()) for row in weights]
    kind = torch.optim.AdamW if optimizer == "adamw" else torch.optim.Adam
    optimizers = [kind([row], weight_decay=0.1) for row in alone]
    stacked = StackedAdam(weights, config, kernels=kernels)
    for number, grad_SP in enumerate(gradients(20, (3, 7))):
        rate = 0.01 * (1 + number % 3)
        stacked.step(grad_SP.clone(), torch.tensor(rate))
        for row, grad, each in zip(alone, grad_SP, optimizers, strict=True):
            row.grad = grad.clone()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_([row], clip_norm)
            if clip_value is not None:
                torch.nn.utils.clip_grad_value_([row], clip_value)
            each.param_groups[0]["lr"] = rate
            each.step()
    torch.testing.assert_close(weights, torch.stack([row.detach() for row in alone]))


@pytest.mark.parametrize("kernels", ["pytorch", "cpu-loops"])
def test_what_is_not_a_number_reaches_the_weights(*, kernels: Kernels) -> None:
    weights = torch.ones((2, 3))
    stacked = StackedAdam(weights, make_config().training, kernels=kernels)
    stacked.step(torch.tensor([[1.0, torch.nan, 1.0], [1.0, 1.0, 1.0]]), torch.tensor(0.1))
    assert torch.isnan(weights[0]).all()  # through the norm, by which they are clipped
    assert torch.isfinite(weights[1]).all()


def test_an_overflow_stops_its_own_network_for_that_step_and_no_other() -> None:
    config = make_config(training={"precision": "fp16"}).training
    weights = torch.ones((2, 3))
    whole, missed = StackedAdam(weights, config), 2
    alone = torch.ones((1, 3))
    second = StackedAdam(alone, config)
    for number, grad_SP in enumerate(gradients(5, (2, 3))):
        scaled_SP = grad_SP * whole.loss_scale.scale_S[:, None]
        if number == missed:
            scaled_SP[1, 0] = float("inf")
        before = weights.clone()
        whole.step(scaled_SP, torch.tensor(0.01))
        assert not torch.equal(weights[0], before[0])
        assert torch.equal(weights[1], before[1]) == (number == missed)
        if number != missed:  # as though that step had never been
            second.step(grad_SP[1:] * second.loss_scale.scale_S[:, None], torch.tensor(0.01))
    assert whole.loss_scale.scale_S.tolist() == [2.0**16, 2.0**15]
    torch.testing.assert_close(weights[1:], alone)


def test_the_loss_scale_moves_as_pytorch_s_grad_scaler() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = LossScale(2, torch.device("cpu"), is_on=True)
    theirs = [torch.amp.GradScaler("cpu") for _ in range(2)]
    rows = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizers = [torch.optim.SGD([row], lr=0.1) for row in rows]
    for _ in range(4500):
        is_finite_S = torch.rand(2, generator=generator) > torch.tensor([0.0005, 0.0])
        ours.update(is_finite_S)
        for scaler, optimizer, row, is_finite in zip(
            theirs, optimizers, rows, is_finite_S.tolist(), strict=True
        ):
            scaler.scale(torch.zeros(1))  # it makes its scale when it is first used
            row.grad = torch.full((1,), 0.0 if is_finite else float("inf"))
            scaler.step(optimizer)
            scaler.update()
    assert ours.scale_S.tolist() == [scaler.get_scale() for scaler in theirs]
    assert ours.scale_S.tolist()[1] == 2.0**18


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("clips", [{}, {"clip_norm": 1.0}, {"clip_value": 0.3}])
def test_the_gpu_s_kernels_do_what_is_said_in_pytorch(
    optimizer: str, precision: str, clips: dict[str, float]
) -> None:
    settings = {"optimizer": optimizer, "weight_decay": 0.1, "precision": precision}
    config = make_config(training={**settings, **clips}).training
    shape, device = (3, 5_001), torch.device("cuda")
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    on_gpu = weights.to(device)
    one = StackedAdam(weights, config)
    other = StackedAdam(on_gpu, config, kernels="gpu-kernels")
    for number, grad_SP in enumerate(gradients(20, shape)):
        scaled_SP = grad_SP * one.loss_scale.scale_S[:, None]
        if precision == "fp16" and number % 7 == 3:
            scaled_SP[1, 17] = torch.inf  # an overflow of one network
        rate = torch.tensor(0.01 * (1 + number % 3))
        one.step(scaled_SP, rate)
        other.step(scaled_SP.to(device), rate.to(device))
        assert one.loss_scale.scale_S.tolist() == other.loss_scale.scale_S.tolist()
    torch.testing.assert_close(on_gpu.cpu(), weights, rtol=2e-5, atol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_loss_scale_grows_after_2000_good_steps() -> None:
    config = make_config(training={"precision": "fp16"}).training
    adam = StackedAdam(torch.zeros((2, 8), device="cuda"), config, kernels="gpu-kernels")
    grad_SP, rate = torch.ones((2, 8), device="cuda"), torch.tensor(1e-3, device="cuda")
    overflow_SP = grad_SP.clone()
    overflow_SP[1] = torch.nan
    for number in range(2_000):
        adam.step(overflow_SP if number == 5 else grad_SP, rate)
    assert adam.loss_scale.scale_S.tolist() == [2.0**17, 2.0**15]
