"""From a batch to its loss and gradient: gather, forward, loss, backward, on one device.

Legend: ``S`` forecasters, ``P`` parameters, ``B`` windows, ``L`` lookback, ``F`` features, ``O``
origins, ``H`` horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gridcast.kernels.recurrence import HALF
from gridcast.training.state import check_names, copy_into

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import Config
    from gridcast.networks.forecaster import State
    from gridcast.training.data import TrainingData
    from gridcast.training.stack import ForecasterStack


# What an error in scaled load costs; loops know some of them (`gridcast.kernels.engine`).
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l1": torch.abs, "mse": torch.square}


class BatchGradient:
    """The losses of a batch, and their gradient by each weight of a stack.

    Of ``num_shares`` devices that share a batch each takes the ``share``-th part of its windows;
    the sum of what they give is what one gives for the whole.
    """

    def __init__(
        self,
        stack: ForecasterStack,
        data: TrainingData,
        config: Config,
        *,
        share: int = 0,
        num_shares: int = 1,
    ) -> None:
        self._stack, self._data, self._config = stack, data, config
        self._share, self._num_shares = share, num_shares
        self._half = HALF.get(config.training.precision)
        self._state: State | None = None

    def begin_pass(self) -> None:
        """Forget the hidden state that ``training.carry_hidden`` carries."""
        for tensor in self._state or ():
            tensor.zero_()

    def state_tensors(self) -> dict[str, Tensor]:
        """The hidden states that are carried, where they lie; none before there are any."""
        return {f"carried.{number}": each for number, each in enumerate(self._state or ())}

    def put_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from there (see ``state_tensors``)."""
        names = [f"carried.{number}" for number in range(len(tensors))]
        check_names(tensors, names if self._config.training.carry_hidden else [])
        if not tensors:
            self.begin_pass()
        elif self._state is None:
            device = self._data.x_TF.device
            self._state = tuple(tensors[name].to(device, copy=True) for name in names)
        else:
            copy_into(self.state_tensors(), tensors)

    def __call__(self, starts_SB: Tensor, scale_S: Tensor) -> tuple[Tensor, Tensor]:
        """The losses ``(S,)``, and the gradient ``(S, P)`` of the losses times ``scale_S``.

        The windows of each forecaster start at the steps of its row; a start below 0 is filling
        (see :func:`fill_up`).
        """
        loss_S, state = self._losses(starts_SB)
        grads = torch.autograd.grad((loss_S * scale_S).sum(), list(self._stack.leaves.values()))
        if self._config.training.carry_hidden:
            self._carry(state)  # only now: the backward pass still needs what it overwrites
        return loss_S.detach(), torch.cat([each.reshape(len(starts_SB), -1) for each in grads], 1)

    def _losses(self, starts_SB: Tensor) -> tuple[Tensor, State]:
        """Mean over each forecaster's training labels, on the scaled load, and the end state."""
        windows, training, data = self._config.windows, self._config.training, self._data
        device = data.x_TF.device
        is_filling_SB = starts_SB < 0
        starts_SB = torch.where(is_filling_SB, -1 - starts_SB, starts_SB)
        steps_L = torch.arange(windows.lookback, device=device)
        ahead_H = torch.arange(1, windows.horizon + 1, device=device)
        labels_SBOH = starts_SB[..., None, None] + steps_L[windows.warmup :, None] + ahead_H
        weight_SBOH = data.is_train_T[labels_SBOH] * ~is_filling_SB[..., None, None]
        total_S = weight_SBOH.flatten(1).sum(1)  # of the whole batch
        starts_SB, labels_SBOH, weight_SBOH = map(self._own, (starts_SB, labels_SBOH, weight_SBOH))
        x_SBLF = data.x_TF[starts_SB[..., None] + steps_L]
        with self._autocast():
            y_SBOH, state = self._stack.run(
                x_SBLF, data.region_of(starts_SB), windows.warmup, self._state
            )
        error = y_SBOH.float() - data.target_T[labels_SBOH]
        each = LOSSES[training.loss](error)
        return (each * weight_SBOH).flatten(1).sum(1) / total_S, state

    def _autocast(self) -> torch.autocast:
        """The precision of the matrix products."""
        device_type, half = self._data.x_TF.device.type, self._half
        return torch.autocast(device_type, half, enabled=half is not None, cache_enabled=False)

    def _own(self, whole: Tensor) -> Tensor:
        """This device's windows of a batch."""
        if self._num_shares == 1:
            return whole
        return whole.tensor_split(self._num_shares, dim=1)[self._share]

    def _carry(self, state: State) -> None:
        """Keep the hidden state for the next batch, in place: a recorded step reads it there."""
        if self._state is None:
            self._state = tuple(tensor.detach().clone() for tensor in state)
            return
        for kept, new in zip(self._state, state, strict=True):
            kept.copy_(new.detach())


def fill_up(starts_SB: Tensor, num_windows: int) -> Tensor:
    """As many windows as asked for; those added repeat the first one and say so: ``-1 - start``."""
    missing = num_windows - starts_SB.shape[1]
    if missing == 0:
        return starts_SB
    filling = (-1 - starts_SB[:, :1]).expand(-1, missing)
    return torch.cat([starts_SB, filling], 1)
