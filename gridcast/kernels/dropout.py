"""Dropout (Srivastava et al. 2014) for networks side by side, each with chances of its own.

PyTorch's dropout draws from one generator a device, for all that runs there; here a network draws
what it would draw alone. Only where our kernels run (``nvrtc.py``).

Legend: ``S`` networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gridcast.kernels.nvrtc import Kernel, compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

_THREADS, _MOST_BLOCKS = 256, 1024
_PIECE = 8  # numbers of a thread
_ONE = 2**24  # what random numbers are below


class Dropout:
    """Sets a share of the numbers to zero, and makes the others larger by as much.

    ``seeds`` are the networks' own; what is dropped depends on them, on the step and on the layer.
    """

    def __init__(self, share: float, seeds: Sequence[int], device: torch.device) -> None:
        self.share = share
        self._keys_S = torch.tensor(seeds, dtype=torch.int64, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)

    def state_tensors(self) -> dict[str, Tensor]:
        """What a step changes, where it lies."""
        return {"step": self._step}

    def next_step(self) -> None:
        """From now on other numbers are dropped. A CUDA graph can hold it."""
        if self.share:
            self._step += 1

    def __call__(self, x: Tensor, layer: int) -> Tensor:
        """``(S, ...)`` of 16 bits, a multiple of 8 numbers for each network, to the same."""
        if not self.share:
            return x
        apply: Any = _Drop.apply
        dropped: Tensor = apply(x, self._keys_S, self._step, layer, self.share)
        return dropped


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        keys_S: Tensor,
        step: Tensor,
        layer: int,
        share: float,
    ) -> Tensor:
        ctx.save_for_backward(keys_S, step)
        ctx.layer, ctx.share = layer, share
        return _drop(x, keys_S, step, layer, share)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        keys_S, step = ctx.saved_tensors
        return _drop(grads[0], keys_S, step, ctx.layer, ctx.share), None, None, None, None


def _drop(x: Tensor, keys_S: Tensor, step: Tensor, layer: int, share: float) -> Tensor:
    x = x.contiguous()
    dropped = torch.empty_like(x)
    count = x[0].numel()
    function = compiled("dropout.cu", "drop", x.device.index, BF16=int(x.dtype == torch.bfloat16))
    num_blocks = min(_MOST_BLOCKS, -(-count // (_PIECE * _THREADS)))
    Kernel(function, _THREADS).launch(
        (num_blocks, len(x)), [x, dropped, keys_S, step],
        count, layer, round((1 - share) * _ONE), 1 / (1 - share),
    )  # fmt: skip
    return dropped
