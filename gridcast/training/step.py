"""One training step: the gradient of a batch, and the update of the weights.

On a GPU the step is a CUDA graph. A graph has one shape, so a smaller last batch of a pass is
filled up with windows that count for nothing. Where several devices share each batch
(``training.split_over``), each has the data and the weights and takes its part of the windows; the
first adds the gradients up, changes the weights and hands them on.

Legend: ``S`` forecasters, ``P`` parameters, ``B`` windows.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gridcast.kernels.adam import StackedAdam
from gridcast.kernels.cuda_graph import Recorded
from gridcast.training.gradients import fill_up
from gridcast.training.state import (
    check_names,
    copy_into,
    named,
    of_part,
    put_generators,
    take_generators,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gridcast.config import Config, TrainingConfig
    from gridcast.training.cpu_gradients import CompiledGradient
    from gridcast.training.gradients import BatchGradient
    from gridcast.training.stack import ForecasterStack


class TrainingStep:
    """Updates a stack on one batch after another; ``__call__`` gives the batch's losses.

    ``gradient`` derives its losses; ``replicas`` has a copy of the stack, and what derives its
    losses, on each further device that shares the batches. ``num_done`` counts the steps, and
    is the place in the schedule.
    """

    def __init__(
        self,
        stack: ForecasterStack,
        gradient: BatchGradient | CompiledGradient,
        config: Config,
        num_steps: int,
        replicas: Sequence[tuple[ForecasterStack, BatchGradient | CompiledGradient]] = (),
    ) -> None:
        self.stack, self.num_done = stack, 0
        self._config, self._device = config, stack.weights_SP.device
        training = config.training
        self._schedule = torch.tensor(
            [learning_rates(training, num_steps), averaging_shares(training, num_steps)],
            dtype=torch.float32,
            device=self._device,
        )
        self._now = self._schedule[:, 0].clone()  # learning rate, share of the mean
        has_loops = stack.engine.layers == "cpu-loops"
        self._on_its_threads = _pytorch_on_one_thread if has_loops else nullcontext
        self._adam = StackedAdam(stack.weights_SP, training, kernels=stack.engine.adam)
        self._starts_SB = torch.zeros((0, 0), dtype=torch.int64, device=self._device)
        self._gradient = gradient
        self._others = [_Other(*replica) for replica in replicas]
        self._send_weights()
        # The gradients of all devices, the losses in a last column.
        self._sum_SQ = stack.weights_SP.new_zeros(
            len(stack.weights_SP), stack.weights_SP.shape[1] + 1
        )
        self._update = Recorded(
            self._share_of_gradient if replicas else self._whole_step, self._device
        )
        self._apply = Recorded(self._apply_sum, self._device)

    def begin_pass(self) -> None:
        """Forget the hidden state that ``training.carry_hidden`` carries."""
        for each in self._gradients():
            each.begin_pass()

    def state_tensors(self) -> dict[str, Tensor]:
        """All that a step changes, by name, where it lies; of generators the states as they are."""
        gradients = enumerate(self._gradients())
        return {
            **named(self._kept()),
            **named({f"gradient.{share}": each.state_tensors() for share, each in gradients}),
            **named({"generator": take_generators(self._devices())}),
        }

    def put_state(self, tensors: Mapping[str, Tensor], *, num_done: int) -> None:
        """Go on from there, after so many steps, with copies of these tensors.

        Raises:
            StateRefusedError: they are another training's: it has tensors of other names or shapes.
        """
        check_names(_lasting(tensors), _lasting(self.state_tensors()))
        kept = named(self._kept())
        copy_into(kept, {name: tensors[name] for name in kept})
        for share, gradient in enumerate(self._gradients()):
            gradient.put_tensors(of_part(f"gradient.{share}", tensors))
        put_generators(of_part("generator", tensors), self._devices())
        self._send_weights()
        self.num_done = num_done

    def wait(self) -> None:
        """Until the devices have done what they were given to do, on whatever stream."""
        for device in self._devices():
            if device.type == "cuda":
                torch.cuda.synchronize(device)

    def _kept(self) -> dict[str, dict[str, Tensor]]:
        """Of each part what it keeps in tensors that stay where they are."""
        stacks = [self.stack, *(other.stack for other in self._others)]
        return {
            "stack": self.stack.state_tensors(),
            "adam": self._adam.state_tensors(),
            **{f"dropout.{share}": each.drop.state_tensors() for share, each in enumerate(stacks)},
        }

    def _gradients(self) -> list[BatchGradient | CompiledGradient]:
        return [self._gradient, *(other.gradient for other in self._others)]

    def _devices(self) -> list[torch.device]:
        return [self._device, *(other.device for other in self._others)]

    def _send_weights(self) -> None:
        """Let the other devices go on with the weights as they are now."""
        for other in self._others:
            other.load(self.stack.weights_SP, self._adam.loss_scale.scale_S)

    def __call__(self, starts_SB: Tensor) -> Tensor:
        """One update on the windows that start there; their losses, without waiting for the device.

        Each forecaster has windows of its own, as many as the others.
        """
        self._now.copy_(self._schedule[:, self.num_done])
        self.num_done += 1
        is_fixed = self._device.type == "cuda" or self._others
        if is_fixed:
            starts_SB = fill_up(starts_SB, self._config.training.batch_size)
        if is_fixed and len(self._starts_SB):
            self._starts_SB.copy_(starts_SB)
        else:
            self._starts_SB = starts_SB.clone()
        for other in self._others:
            other.run(self._starts_SB)
        with self._on_its_threads():
            given = self._update()
        if not self._others:
            return given.clone()
        self._sum_SQ.copy_(given)
        for other in self._others:
            self._sum_SQ += other.sum_SQ.to(self._device, non_blocking=True)
        self._apply()
        self._send_weights()
        return self._sum_SQ[:, -1].clone()

    def _whole_step(self) -> Tensor:
        """Gradient and update; the losses."""
        loss_S, grad_SP = self._gradient(self._starts_SB, self._adam.loss_scale.scale_S)
        self._change_weights(grad_SP)
        return loss_S

    def _share_of_gradient(self) -> Tensor:
        """The gradient of this device's windows, the losses in a last column."""
        return _with_losses(*self._gradient(self._starts_SB, self._adam.loss_scale.scale_S))

    def _apply_sum(self) -> Tensor:
        self._change_weights(self._sum_SQ[:, :-1])
        return self._sum_SQ

    def _change_weights(self, grad_SP: Tensor) -> None:
        rate, share = self._now
        self._adam.step(grad_SP, rate)
        self.stack.average(share)


class _Other:
    """A further device that takes its share of each batch."""

    def __init__(self, stack: ForecasterStack, gradient: BatchGradient | CompiledGradient) -> None:
        self.device = device = stack.weights_SP.device
        self.gradient, self.sum_SQ = gradient, torch.zeros(0, device=device)
        self.stack = stack
        self._scale_S = torch.ones(len(stack.weights_SP), device=device)
        self._starts_SB = torch.zeros((0, 0), dtype=torch.int64, device=device)
        self._run = Recorded(self._share_of_gradient, device)

    def run(self, starts_SB: Tensor) -> None:
        """Its part of the gradient of the batch, without waiting for it."""
        if len(self._starts_SB):
            self._starts_SB.copy_(starts_SB, non_blocking=True)
        else:
            self._starts_SB = starts_SB.to(self._starts_SB.device, copy=True)
        self.sum_SQ = self._run()

    @torch.no_grad()
    def load(self, weights_SP: Tensor, scale_S: Tensor) -> None:
        """Go on from there."""
        self.stack.weights_SP.copy_(weights_SP, non_blocking=True)
        self._scale_S.copy_(scale_S, non_blocking=True)

    def _share_of_gradient(self) -> Tensor:
        return _with_losses(*self.gradient(self._starts_SB, self._scale_S))


def _lasting(tensors: Iterable[str]) -> list[str]:
    """But for the carried hidden states, which are not there before a first step."""
    return [name for name in tensors if ".carried." not in name]


@contextmanager
def _pytorch_on_one_thread() -> Iterator[None]:
    """Leave the other cores to threads of our own.

    After an operation PyTorch's threads wait for the next one by going round in circles.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def stream_for(device: torch.device, place: int) -> torch.cuda.Stream | None:
    """That of the training in a place among those that run side by side; on a CPU none."""
    if device.type != "cuda":
        return None
    stream = _stream(device, place)
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream


@cache
def _stream(device: torch.device, place: int) -> torch.cuda.Stream:  # noqa: ARG001 - a key
    """The same one for every training in that place: cuBLAS keeps a workspace for each stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _with_losses(loss_S: Tensor, grad_SP: Tensor) -> Tensor:
    return torch.cat([grad_SP, loss_S[:, None]], 1)


def learning_rates(training: TrainingConfig, num_steps: int) -> list[float]:
    """The learning rate of each step: constant, or one cycle (Smith and Topin 2018).

    As PyTorch's ``OneCycleLR``: half a cosine up over the first 30 % of the steps, half a one down.
    That class wants an optimizer, and with PyTorch's comes its compiler: 2.5 s of imports.
    """
    highest = training.learning_rate
    if training.schedule == "constant":
        return [highest] * num_steps
    first = highest / 25.0
    turn = 0.3 * (num_steps + 1) - 1
    return [
        _half_a_cosine(first, highest, step / turn)
        if step <= turn
        else _half_a_cosine(highest, first / 1e4, (step - turn) / (num_steps - turn))
        for step in range(num_steps)
    ]


def _half_a_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def averaging_shares(training: TrainingConfig, num_steps: int) -> list[float]:
    """What each step's weights count for in the mean that is served: 1 before averaging begins.

    The last ``training.average_last`` of the steps count alike (Polyak and Juditsky 1992).
    """
    first = num_steps - round(training.average_last * num_steps)
    return [1.0 if step < first else 1.0 / (step - first + 1) for step in range(num_steps)]
