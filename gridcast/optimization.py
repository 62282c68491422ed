"""One training step: gather, forward, loss, backward, update. On a GPU it is a CUDA graph.

Eager recurrent training on a GPU waits for kernel launches; the step captured once and replayed
does not. The first steps run eagerly (they are real steps and warm the libraries up), then the step
is captured. A graph has one shape, so a smaller last batch of a pass is filled up with windows that
count for nothing.

Legend: ``S`` forecasters, ``B`` windows, ``L`` lookback, ``F`` features, ``O`` origins, ``H``
horizon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gridcast.adam import StackedAdam
from gridcast.stack import HALF

if TYPE_CHECKING:
    from gridcast.config import Config, TrainingConfig
    from gridcast.models import State
    from gridcast.stack import ForecasterStack
    from gridcast.training import TrainingData

_EAGER_STEPS = 3


class TrainingStep:
    """Updates a stack on one batch after another; ``__call__`` gives the batch's losses."""

    def __init__(
        self, stack: ForecasterStack, data: TrainingData, config: Config, num_steps: int
    ) -> None:
        self._stack, self._data, self._config = stack, data, config
        self._device = data.x_TF.device
        rates = learning_rates(config.training, num_steps)
        self._rates = torch.tensor(rates, dtype=torch.float32, device=self._device)
        self._rate = self._rates[0].clone()
        shares = averaging_shares(config.training, num_steps)
        self._shares = torch.tensor(shares, dtype=torch.float32, device=self._device)
        self._share = self._shares[0].clone()
        self._adam = StackedAdam(stack.weights_SP, config.training)
        self._half = HALF.get(config.training.precision)
        self._state: State | None = None
        self._step = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._starts_SB = torch.zeros((0, 0), dtype=torch.int64, device=self._device)
        self._loss_S = torch.zeros(0, device=self._device)

    def begin_pass(self) -> None:
        """Forget the hidden state that ``training.carry_hidden`` carries."""
        for tensor in self._state or ():
            tensor.zero_()

    def __call__(self, starts_SB: Tensor) -> Tensor:
        """One update on the windows that start there; their losses, without waiting for the device.

        Each forecaster has windows of its own, as many as the others.
        """
        self._rate.copy_(self._rates[self._step])
        self._share.copy_(self._shares[self._step])
        self._step += 1
        if self._device.type == "cpu":
            return self._update(starts_SB)
        starts_SB = fill_up(starts_SB, self._config.training.batch_size)
        if self._step <= _EAGER_STEPS:
            return self._update(starts_SB)
        if self._graph is None:
            self._capture(starts_SB)
        self._starts_SB.copy_(starts_SB)
        if self._graph is not None:
            self._graph.replay()
        return self._loss_S.clone()

    def _update(self, starts_SB: Tensor) -> Tensor:
        loss_S, state = self._forward(starts_SB)
        scaled = (loss_S * self._adam.loss_scale.scale_S).sum()
        grads = torch.autograd.grad(scaled, self._stack.leaves)
        if self._config.training.carry_hidden:
            self._carry(state)  # only now: the backward pass still needs what it overwrites
        num_forecasters = len(starts_SB)
        self._adam.step(torch.cat([each.reshape(num_forecasters, -1) for each in grads], 1),
                        self._rate)  # fmt: skip
        self._stack.average(self._share)
        return loss_S.detach()

    def _forward(self, starts_SB: Tensor) -> tuple[Tensor, State]:
        """Mean loss over each forecaster's training labels, on the scaled load, and the end state.

        A start below 0 is filling (see :func:`fill_up`).
        """
        windows, training, data = self._config.windows, self._config.training, self._data
        is_filling_SB = starts_SB < 0
        starts_SB = torch.where(is_filling_SB, -1 - starts_SB, starts_SB)
        steps_L = torch.arange(windows.lookback, device=self._device)
        ahead_H = torch.arange(1, windows.horizon + 1, device=self._device)
        x_SBLF = data.x_TF[starts_SB[..., None] + steps_L]
        labels_SBOH = starts_SB[..., None, None] + steps_L[windows.warmup :, None] + ahead_H
        with torch.autocast(
            self._device.type, self._half, enabled=self._half is not None, cache_enabled=False
        ):
            y_SBOH, state = self._stack.run(
                x_SBLF, data.region_of(starts_SB), windows.warmup, self._state
            )
        error = y_SBOH.float() - data.target_T[labels_SBOH]
        weight = data.is_train_T[labels_SBOH] * ~is_filling_SB[..., None, None]
        each = error.abs() if training.loss == "l1" else error.square()
        return (each * weight).flatten(1).sum(1) / weight.flatten(1).sum(1), state

    def _carry(self, state: State) -> None:
        """Keep the hidden state for the next batch, in place: a captured graph reads it there."""
        if self._state is None:
            self._state = tuple(tensor.detach().clone() for tensor in state)
            return
        for kept, new in zip(self._state, state, strict=True):
            kept.copy_(new.detach())

    def _capture(self, starts_SB: Tensor) -> None:
        """Record the step. Nothing runs: weights, moments and random numbers stay as they are."""
        self._starts_SB = starts_SB.clone()
        graph = torch.cuda.CUDAGraph()
        for generator in self._stack.generators:
            graph.register_generator_state(generator)
        # On this training's own stream if it has one: cuBLAS keeps a workspace a stream, and graphs
        # that were captured on one stream would share it when they run side by side.
        stream = torch.cuda.current_stream()
        own = None if stream == torch.cuda.default_stream() else stream
        with torch.cuda.graph(graph, stream=own):
            self._loss_S = self._update(self._starts_SB)
        self._graph = graph


def fill_up(starts_SB: Tensor, num_windows: int) -> Tensor:
    """As many windows as asked for; those added repeat the first one and say so: ``-1 - start``."""
    missing = num_windows - starts_SB.shape[1]
    if missing == 0:
        return starts_SB
    filling = (-1 - starts_SB[:, :1]).expand(-1, missing)
    return torch.cat([starts_SB, filling], 1)


def learning_rates(training: TrainingConfig, num_steps: int) -> list[float]:
    """The learning rate of each step: constant, or PyTorch's one cycle (Smith and Topin 2018)."""
    if training.schedule == "constant":
        return [training.learning_rate] * num_steps
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=training.learning_rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=num_steps + 1, cycle_momentum=False
    )
    rates = []
    for _ in range(num_steps):
        rates.append(float(cycle.get_last_lr()[0]))
        optimizer.step()
        cycle.step()
    return rates


def averaging_shares(training: TrainingConfig, num_steps: int) -> list[float]:
    """What each step's weights count for in the mean that is served: 1 before averaging begins.

    The last ``training.average_last`` of the steps count alike (Polyak and Juditsky 1992).
    """
    first = num_steps - round(training.average_last * num_steps)
    return [1.0 if step < first else 1.0 / (step - first + 1) for step in range(num_steps)]
