"""A GRU layer on a CPU, compiled: ``cpu_kernels.py``, in PyTorch.

On small batches PyTorch's own GRU spends most of its time between operations: some forty a step,
there and back, and each costs more than its arithmetic. What comes out here is what it gives, to
rounding, in 32 bits. (For the LSTM PyTorch has a fused layer, which is as fast as ours would be.)
The windows are shared out to threads of our own.

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``U`` units, ``G`` gates (r, z, n); ``V`` and
``X`` are ``U`` and ``F`` filled up as the kernels want it; ``4``: see there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Windows of a thread at least, and in steps of as many: what the kernels' tiles hold.
_WINDOWS = 4


def is_available() -> bool:
    """Whether ``run_gru`` can be taken: it needs numba."""
    return find_spec("numba") is not None


@contextmanager
def pytorch_on_one_thread() -> Iterator[None]:
    """Leave the other cores to threads of our own.

    After an operation PyTorch's threads wait for the next one by going round in circles.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def run_gru(
    recurrent: nn.GRU, x_BLF: Tensor, begin: Tensor | None, *, num_threads: int = 1
) -> tuple[Tensor, Tensor]:
    """What ``recurrent`` gives (``batch_first``): hidden states ``(B, L, U)``, and the last ones.

    The hidden states before are ``begin``, ``(layers, B, U)``, or zeros; they get no gradient.
    """
    parts = _parts(len(x_BLF), num_threads)
    x_LBF = x_BLF.transpose(0, 1)
    ends = []
    for number in range(recurrent.num_layers):
        weights = [
            getattr(recurrent, f"{name}_l{number}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        first = x_LBF.new_zeros(x_LBF.shape[1], recurrent.hidden_size)
        apply: Any = _Gru.apply
        x_LBF = apply(x_LBF, *weights, first if begin is None else begin[number], parts)
        ends.append(x_LBF[-1])
        if number < recurrent.num_layers - 1:
            x_LBF = dropout(x_LBF, recurrent.dropout, recurrent.training)
    return x_LBF.transpose(0, 1), torch.stack(ends)


class _Gru(torch.autograd.Function):
    """One layer over all steps, in 32 bits also where half as many are asked for."""

    @staticmethod
    @torch.amp.custom_fwd(  # type: ignore[untyped-decorator]
        device_type="cpu", cast_inputs=torch.float32
    )
    def forward(
        ctx: Any,  # noqa: ANN401
        x_LBF: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        begin_BU: Tensor,
        parts: list[slice],
    ) -> Tensor:
        from gridcast.cpu_kernels import gru_forward

        lookback, batch, _ = x_LBF.shape
        units = weight_hh.shape[1]
        of_input_GU, of_state_GU = bias_ih.view(3, units), bias_hh.view(3, units)
        bias_4U = torch.cat([of_input_GU[:2] + of_state_GU[:2], of_input_GU[2:], of_state_GU[2:]])
        bias_4BV = _filled(bias_4U)[:, None].expand(-1, batch, -1).contiguous()
        w_ih_GFV, w_hh_GUV = (
            _filled(each.view(3, units, -1).transpose(1, 2)) for each in (weight_ih, weight_hh)
        )
        begin_BV = _filled(begin_BU)
        ctx.parts, kept = parts, []
        for part in parts:
            gates_L4BV = x_LBF.new_empty(lookback, *bias_4BV[:, part].shape)
            hidden_LBV = torch.empty_like(gates_L4BV[:, 0], memory_format=torch.contiguous_format)
            kept.append((begin_BV[part], gates_L4BV, hidden_LBV))
        _on_threads(
            gru_forward,
            [
                _arrays(x_LBF[:, part], w_ih_GFV, w_hh_GUV, bias_4BV[:, part].contiguous(), *each)
                for part, each in zip(parts, kept, strict=True)
            ],
        )
        ctx.save_for_backward(x_LBF, weight_ih, weight_hh, *chain.from_iterable(kept))
        hidden = [hidden_LBV for _, _, hidden_LBV in kept]
        return (hidden[0] if len(parts) == 1 else torch.cat(hidden, 1))[..., :units]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        from gridcast.cpu_kernels import gru_backward

        x_LBF, weight_ih, weight_hh, *kept = ctx.saved_tensors
        (lookback, _, num_features), units = x_LBF.shape, weight_hh.shape[1]
        w_ih_GUX, w_hh_GUV = (_filled(each.view(3, units, -1)) for each in (weight_ih, weight_hh))
        num_filled, grad_LBU = w_hh_GUV.shape[2], grads[0]
        num_x_steps = lookback if ctx.needs_input_grad[0] else 0
        sums, calls = [], []
        for number, part in enumerate(ctx.parts):
            of_part = kept[3 * number : 3 * number + 3]
            sums.append((
                x_LBF.new_zeros(num_x_steps, len(of_part[0]), w_ih_GUX.shape[2]),
                x_LBF.new_zeros(3, num_features, num_filled),
                x_LBF.new_zeros(3, num_filled, num_filled),
                x_LBF.new_zeros(4, len(of_part[0]), num_filled),
            ))  # fmt: skip
            calls.append(
                _arrays(_filled(grad_LBU[:, part]), x_LBF[:, part], w_ih_GUX, w_hh_GUV,
                        *of_part, *sums[-1])
            )  # fmt: skip
        _on_threads(gru_backward, calls)
        x_parts, w_ih_parts, w_hh_parts, bias_parts = zip(*sums, strict=True)
        x_LBX, bias_4BV = torch.cat(x_parts, 1), torch.cat(bias_parts, 1)
        w_ih_GFV, w_hh_GVV = sum(w_ih_parts[1:], w_ih_parts[0]), sum(w_hh_parts[1:], w_hh_parts[0])
        bias_4U = bias_4BV.sum(1)[:, :units]
        return (
            x_LBX[..., :num_features] if num_x_steps else None,
            w_ih_GFV[..., :units].transpose(1, 2).flatten(0, 1),
            w_hh_GVV[:, :units, :units].transpose(1, 2).flatten(0, 1),
            bias_4U[:3].flatten(), bias_4U[[0, 1, 3]].flatten(), None, None,
        )  # fmt: skip


def _parts(num_windows: int, num_threads: int) -> list[slice]:
    """The windows of each thread, as alike in number as tiles let them be."""
    num_tiles = -(-num_windows // _WINDOWS)
    num_parts = min(num_threads, num_tiles)
    bounds = [
        min(num_windows, _WINDOWS * (num_tiles * number // num_parts))
        for number in range(num_parts + 1)
    ]
    return [slice(first, end) for first, end in pairwise(bounds)]


def _on_threads(kernel: Callable[..., None], calls: Iterable[list[Any]]) -> None:
    """Each call on a thread of its own; the kernels leave Python's lock to others."""
    first, *others = calls
    waiting = [_pool(len(others)).submit(kernel, *each) for each in others]
    kernel(*first)
    for each in waiting:
        each.result()


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads)


def _filled(tensor: Tensor) -> Tensor:
    """With zeros at the end of each row, as many as the kernels want."""
    from gridcast.cpu_kernels import LANES

    missing = -tensor.shape[-1] % LANES
    return (pad(tensor, (0, missing)) if missing else tensor).contiguous()


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]
