"""Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) for a stack of networks.

PyTorch's optimizers and its ``GradScaler`` share one count of steps and one sign of overflow among
all parameters; here each row has its own, so that a network in a stack is trained as it is alone.
``adam.cu`` does on a GPU what is said here in PyTorch, and ``cpu_kernels.py`` on a CPU; which of
the three, the caller says.

Legend: ``S`` networks, ``P`` parameters.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gridcast.kernels.nvrtc import Kernel, compiled

if TYPE_CHECKING:
    from gridcast.config import TrainingConfig
    from gridcast.engine import Kernels

# PyTorch's defaults.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_FIRST_SCALE, _STEPS_TO_GROW = 2.0**16, 2000
_CLIP_EPSILON = 1e-6
# On a GPU: of a block, and the most blocks of a network.
_THREADS, _MOST_BLOCKS, _WEIGHTS_OF_BLOCK = 256, 256, 1024


class LossScale:
    """A factor on each network's loss, or gradients in fp16 vanish; halved where they overflow."""

    def __init__(self, num_networks: int, device: torch.device, *, is_on: bool) -> None:
        self.is_on = is_on
        self.scale_S = torch.full((num_networks,), _FIRST_SCALE if is_on else 1.0, device=device)
        self.good_S = torch.zeros(num_networks, device=device)

    def update(self, is_finite_S: Tensor) -> None:
        """Halve where a gradient was not finite; double after 2000 steps where all were."""
        if not self.is_on:
            return
        self.good_S.add_(1.0).mul_(is_finite_S)
        has_grown_S = self.good_S >= _STEPS_TO_GROW
        factor_S = torch.where(is_finite_S, torch.where(has_grown_S, 2.0, 1.0), 0.5)
        self.scale_S.mul_(factor_S)
        self.good_S.masked_fill_(has_grown_S, 0.0)


class StackedAdam:
    """Updates ``weights_SP`` in place, without waiting for the device: a CUDA graph can hold it."""

    def __init__(
        self, weights_SP: Tensor, config: TrainingConfig, *, kernels: Kernels = "pytorch"
    ) -> None:
        self._weights_SP, self._config, self._kernels = weights_SP, config, kernels
        self._mean_SP = torch.zeros_like(weights_SP)
        self._square_SP = torch.zeros_like(weights_SP)
        self._count_S = torch.zeros(len(weights_SP), device=weights_SP.device)
        self.loss_scale = LossScale(
            len(weights_SP), weights_SP.device, is_on=config.precision == "fp16"
        )

    def state_tensors(self) -> dict[str, Tensor]:
        """What a step changes beside the weights, where it lies."""
        return {
            "mean_SP": self._mean_SP,
            "square_SP": self._square_SP,
            "count_S": self._count_S,
            "scale_S": self.loss_scale.scale_S,
            "good_S": self.loss_scale.good_S,
        }

    @torch.no_grad()
    def step(self, grad_SP: Tensor, rate: Tensor) -> None:
        """One update at learning rate ``rate`` with the gradients of the scaled losses.

        A network whose gradient overflowed in fp16 is left as it is.
        """
        if self._kernels == "gpu-kernels":
            self._step_on_gpu(grad_SP, rate)
            return
        if self._kernels == "cpu-loops":
            self._step_on_cpu(grad_SP, float(rate))
            return
        grad_SP, is_used_S = self._prepared(grad_SP)
        used_S1 = is_used_S[:, None].to(grad_SP.dtype)
        self._count_S += used_S1[:, 0]
        decay = self._config.weight_decay
        if decay and self._config.optimizer == "adamw":
            self._weights_SP.mul_(1 - used_S1 * (rate * decay))
        elif decay:
            grad_SP = grad_SP + decay * self._weights_SP
        self._mean_SP.lerp_(grad_SP, used_S1 * (1 - _BETA_1))
        self._square_SP.lerp_(grad_SP.square(), used_S1 * (1 - _BETA_2))
        # A network that was never updated has a count of 0: its moments are 0 as well.
        count_S1 = self._count_S[:, None].clamp(min=1.0)
        deviation_SP = self._square_SP.sqrt().div_((1 - _BETA_2**count_S1).sqrt_()).add_(_EPSILON)
        size_S1 = used_S1 * (-rate) / (1 - _BETA_1**count_S1)
        self._weights_SP.addcmul_(self._mean_SP / deviation_SP, size_S1)

    def _prepared(self, grad_SP: Tensor) -> tuple[Tensor, Tensor]:
        """Unscaled and clipped, network by network, and which of them are to be used."""
        config = self._config
        factor_S = 1.0 / self.loss_scale.scale_S
        norm_S = torch.linalg.vector_norm(grad_SP, dim=1)
        is_finite_S = torch.isfinite(norm_S)
        if config.clip_norm is not None:
            factor_S *= (config.clip_norm / (norm_S * factor_S + _CLIP_EPSILON)).clamp(max=1.0)
        if self.loss_scale.is_on:
            grad_SP = torch.where(is_finite_S[:, None], grad_SP * factor_S[:, None], 0.0)
            self.loss_scale.update(is_finite_S)
        else:  # what is not finite shows in the loss, and ends the training there
            grad_SP = grad_SP * factor_S[:, None]
            is_finite_S = torch.ones_like(is_finite_S)
        if config.clip_value is not None:
            grad_SP = grad_SP.clamp(-config.clip_value, config.clip_value)
        return grad_SP, is_finite_S

    def _step_on_cpu(self, grad_SP: Tensor, rate: float) -> None:
        """The same in compiled loops, in 32 bits; the gradient is used up."""
        from gridcast.kernels.cpu_kernels import adam_step, square_sum

        config, decay = self._config, self._config.weight_decay
        self._count_S += 1
        is_decoupled = config.optimizer == "adamw"
        rows = (self._weights_SP, self._mean_SP, self._square_SP, grad_SP.contiguous())
        for *arrays, grad_P, count in zip(
            *(each.numpy() for each in (*rows, self._count_S)), strict=True
        ):
            factor = 1.0
            if config.clip_norm is not None:
                factor = config.clip_norm / (square_sum(grad_P) ** 0.5 + _CLIP_EPSILON)
            numbers = (
                1.0 if factor > 1 else factor,  # and what is not a number stays so
                inf if config.clip_value is None else config.clip_value,
                0.0 if is_decoupled else decay,
                1 - rate * decay if is_decoupled else 1.0,
                1 - _BETA_1, 1 - _BETA_2, (1 - _BETA_2**count) ** 0.5, _EPSILON,
                -rate / (1 - _BETA_1**count),
            )  # fmt: skip
            adam_step(*arrays, grad_P, *map(np.float32, numbers))

    def _step_on_gpu(self, grad_SP: Tensor, rate: Tensor) -> None:
        """The same in three kernels."""
        config, (num_networks, num_weights) = self._config, grad_SP.shape
        device = grad_SP.device.index
        square_sums, update, account = (
            Kernel(compiled("adam.cu", name, device), _THREADS)
            for name in ("square_sums", "update", "account")
        )
        grid = (min(_MOST_BLOCKS, -(-num_weights // _WEIGHTS_OF_BLOCK)), num_networks)
        grad_SP = grad_SP.contiguous()
        sums, is_used_S = grad_SP.new_empty(grid[::-1]), grad_SP.new_empty(num_networks)
        scale, has_scale = self.loss_scale, int(self.loss_scale.is_on)
        square_sums.launch(grid, [grad_SP, sums], num_weights)
        update.launch(
            grid,
            [self._weights_SP, self._mean_SP, self._square_SP, grad_SP, sums, rate, scale.scale_S,
             self._count_S, is_used_S],
            num_weights, has_scale, int(config.optimizer == "adamw"), float(config.weight_decay),
            inf if config.clip_norm is None else float(config.clip_norm),
            inf if config.clip_value is None else float(config.clip_value),
            _BETA_1, _BETA_2, 1 - _BETA_1, 1 - _BETA_2, _EPSILON, _CLIP_EPSILON,
        )  # fmt: skip
        account.launch(
            (1, 1), [self._count_S, scale.scale_S, scale.good_S, is_used_S],
            num_networks, has_scale, float(_STEPS_TO_GROW),
        )  # fmt: skip
