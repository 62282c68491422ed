"""One training step: gather, forward, loss, backward, update. On a GPU it is a CUDA graph.

Eager recurrent training on a GPU waits for kernel launches; the step captured once and replayed
does not. Its recurrence is that of our own kernels where they fit. The first steps run eagerly
(they are real steps and warm the libraries up), then the step is captured; a smaller last batch of
a pass runs eagerly, on the same weights and moments.

Legend: ``B`` windows, ``L`` lookback, ``F`` features, ``O`` origins, ``H`` horizon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gridcast.recurrence import can_fuse

if TYPE_CHECKING:
    from gridcast.config import Config, TrainingConfig
    from gridcast.models import RecurrentForecaster, State
    from gridcast.training import TrainingData

_EAGER_STEPS = 3
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingStep:
    """Updates a forecaster on one batch after another; ``__call__`` gives the batch's loss."""

    def __init__(
        self, forecaster: RecurrentForecaster, data: TrainingData, config: Config, num_steps: int
    ) -> None:
        self._forecaster, self._data, self._config = forecaster, data, config
        self._device = data.x_TF.device
        rates = learning_rates(config.training, num_steps)
        self._rates = torch.tensor(rates, dtype=torch.float32, device=self._device)
        self._optimizer = _optimizer(forecaster, config.training, self._rates[0].clone())
        # fp16 gradients are scaled up, or they would vanish; on the device, without waiting for it.
        self._scaler = torch.amp.GradScaler(
            self._device.type, enabled=config.training.precision == "fp16"
        )
        self._half = _HALF.get(config.training.precision)
        wants_fused = config.training.recurrence == "auto"
        is_fused = wants_fused and can_fuse(forecaster.recurrent, self._half)
        self._fused = self._half if is_fused else None
        self._state: State | None = None
        self._step = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._starts_B = torch.zeros(0, dtype=torch.int64, device=self._device)
        self._loss = torch.zeros((), device=self._device)

    def begin_pass(self) -> None:
        """Forget the hidden state that ``training.carry_hidden`` carries."""
        for tensor in self._state or ():
            tensor.zero_()

    def __call__(self, starts_B: Tensor) -> Tensor:
        """One update on the windows that start there; its loss, without waiting for the device."""
        self._set_rate()
        self._step += 1
        is_full = len(starts_B) == self._config.training.batch_size
        if self._device.type == "cpu" or not is_full or self._step <= _EAGER_STEPS:
            self._optimizer.zero_grad(set_to_none=True)
            return self._update(starts_B)
        if self._graph is None:
            self._capture(starts_B)
        self._starts_B.copy_(starts_B)
        if self._graph is not None:
            self._graph.replay()
        return self._loss.clone()

    def _update(self, starts_B: Tensor) -> Tensor:
        training = self._config.training
        loss, state = self._forward(starts_B)
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self._optimizer)
        if training.carry_hidden:
            self._carry(state)  # only now: the backward pass still needs what it overwrites
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._forecaster.parameters(), training.clip_norm)
        if training.clip_value is not None:
            nn.utils.clip_grad_value_(self._forecaster.parameters(), training.clip_value)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def _forward(self, starts_B: Tensor) -> tuple[Tensor, State]:
        """Mean loss over the batch's training labels, on the scaled load, and the end state."""
        windows, training, data = self._config.windows, self._config.training, self._data
        steps_L = torch.arange(windows.lookback, device=self._device)
        ahead_H = torch.arange(1, windows.horizon + 1, device=self._device)
        x_BLF = data.x_TF[starts_B[:, None] + steps_L]
        labels_BOH = starts_B[:, None, None] + steps_L[windows.warmup :, None] + ahead_H
        with torch.autocast(
            self._device.type, self._half, enabled=self._half is not None, cache_enabled=False
        ):
            y_BOH, state = self._forecaster.run(
                x_BLF, windows.warmup, self._state, fused=self._fused
            )
        error = y_BOH.float() - data.target_T[labels_BOH]
        weight = data.is_train_T[labels_BOH]
        each = error.abs() if training.loss == "l1" else error.square()
        mean: Tensor = (each * weight).sum() / weight.sum()
        return mean, state

    def _carry(self, state: State) -> None:
        """Keep the hidden state for the next batch, in place: a captured graph reads it there."""
        if self._state is None:
            self._state = tuple(tensor.detach().clone() for tensor in state)
            return
        for kept, new in zip(self._state, state, strict=True):
            kept.copy_(new.detach())

    def _capture(self, starts_B: Tensor) -> None:
        """Record the step. Nothing runs: weights, moments and random numbers stay as they are."""
        self._starts_B = starts_B.clone()
        self._optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._loss = self._update(self._starts_B)
        self._graph = graph

    def _set_rate(self) -> None:
        rate = self._rates[self._step]
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(rate)
            else:
                group["lr"] = float(rate)


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


def _optimizer(
    forecaster: nn.Module, training: TrainingConfig, rate: Tensor
) -> torch.optim.Optimizer:
    """On a GPU fused and with its rate on the device, so that a graph can hold the update."""
    on_gpu = rate.device.type == "cuda"
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(
        forecaster.parameters(),
        lr=rate if on_gpu else float(rate),
        weight_decay=training.weight_decay,
        fused=on_gpu,
        capturable=on_gpu,
    )
