"""GRU and LSTM layers on a CPU, compiled: ``cpu_kernels.py``, in PyTorch.

On small batches PyTorch's own GRU spends most of its time between operations: some forty a step,
there and back, and each costs more than its arithmetic. Its LSTM is one operation; a training step
takes a third longer with it than with ours (16 windows), or two thirds (64, on two threads). What
comes out here is what PyTorch's layers give, to rounding, in 32 bits. The windows are shared out to
threads of our own.

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``U`` units, ``G`` gates (r, z, n; i, f, g, o);
``V`` and ``X`` are ``U`` and ``F`` filled up as the kernels want it; ``4``: see there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
Array = NDArray[np.float32]
States = Tensor | tuple[Tensor, ...]
_LSTM_GATES = 4
# Windows of a thread at least, and in steps of as many: what the kernels' tiles hold.
_WINDOWS = 4


def is_available() -> bool:
    """Whether ``run_layers`` can be taken: it needs numba."""
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


def run_layers(
    recurrent: nn.GRU | nn.LSTM,
    x_BLF: Tensor,
    own_BD: Tensor | None,
    begin: States | None,
    *,
    num_threads: int = 1,
) -> tuple[Tensor, States]:
    """What ``recurrent`` gives (``batch_first``): hidden states ``(B, L, U)``, and the last ones.

    ``own_BD`` are further features, after those of ``x_BLF``, which stay the same in all steps of a
    window: to the gates they are a bias of the window, and cost next to nothing. The states before
    are ``begin``, ``(layers, B, U)`` (of an LSTM two of them, hidden and cell), or zeros; they get
    no gradient.
    """
    is_lstm = isinstance(recurrent, nn.LSTM)
    parts = _parts(len(x_BLF), num_threads)
    x_LBF = x_BLF.transpose(0, 1)
    firsts = (begin,) if isinstance(begin, Tensor) else begin
    ends = []
    for number in range(recurrent.num_layers):
        weights = [
            getattr(recurrent, f"{name}_l{number}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        if number == 0 and own_BD is not None:
            weight_ih, num_features = weights[0], x_BLF.shape[2]
            weights[0] = weight_ih[:, :num_features]
            weights[2] = weights[2] + own_BD @ weight_ih[:, num_features:].T
        zeros = x_LBF.new_zeros(x_LBF.shape[1], recurrent.hidden_size)
        first = (zeros,) * (1 + is_lstm) if firsts is None else [each[number] for each in firsts]
        apply: Any = _Layer.apply
        x_LBF, *cell = apply(x_LBF, *weights, parts, *first)
        ends.append((x_LBF[-1], *cell))
        if number < recurrent.num_layers - 1:
            x_LBF = dropout(x_LBF, recurrent.dropout, recurrent.training)
    end = tuple(torch.stack(each) for each in zip(*ends, strict=True))
    return x_LBF.transpose(0, 1), end if is_lstm else end[0]


class _Layer(torch.autograd.Function):
    """One layer over all steps, in 32 bits also where half as many are asked for.

    ``bias_ih`` is ``(G U,)``, or ``(B, G U)``: one for each window. Of an LSTM the states of its
    cells at the end come too; they give no gradient.
    """

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
        parts: list[slice],
        *begin: Tensor,
    ) -> tuple[Tensor, ...]:
        from gridcast.cpu_kernels import gru_forward, lstm_forward

        units, is_lstm = weight_hh.shape[1], len(begin) > 1
        of_input_GBU, of_state_GBU = (_by_gate(each, units) for each in (bias_ih, bias_hh))
        of_input_GBU = of_input_GBU.expand(-1, x_LBF.shape[1], -1)
        bias_4BV = _filled(_join_biases(of_input_GBU, of_state_GBU, is_lstm=is_lstm))
        w_ih_GFV, w_hh_GUV = (
            _filled(each.view(-1, units, each.shape[1]).transpose(1, 2))
            for each in (weight_ih, weight_hh)
        )
        begin_BV = [_array(_filled(each)) for each in begin]
        x, w_ih, w_hh, bias = map(_array, (x_LBF, w_ih_GFV, w_hh_GUV, bias_4BV))
        kernel = lstm_forward if is_lstm else gru_forward

        def run(part: slice) -> list[Array]:
            x_of_part, bias_of_part = map(np.ascontiguousarray, (x[:, part], bias[:, part]))
            gates = np.empty((len(x), *bias_of_part.shape), np.float32)
            states = [np.empty_like(gates[:, 0], order="C") for _ in begin]
            filled = [*(each[part] for each in begin_BV), gates, *states]
            kernel(x_of_part, w_ih, w_hh, bias_of_part, *filled)
            return [x_of_part, *filled]

        ctx.kept = _on_threads(run, parts)
        ctx.parts, ctx.is_bias_of_window = parts, bias_ih.dim() > 1
        ctx.save_for_backward(weight_ih, weight_hh)
        states = zip(*(of_part[-len(begin) :] for of_part in ctx.kept), strict=True)
        hidden_LBV, *cells = (_joined(each, 1) for each in states)
        ends = [cell_LBV[-1, :, :units] for cell_LBV in cells]
        ctx.mark_non_differentiable(*ends)
        return hidden_LBV[..., :units], *ends

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        from gridcast.cpu_kernels import gru_backward, lstm_backward

        weight_ih, weight_hh = ctx.saved_tensors
        units, num_features = weight_hh.shape[1], weight_ih.shape[1]
        num_gates = len(weight_hh) // units
        is_lstm = num_gates == _LSTM_GATES
        w_ih_GUX, w_hh_GUV = (
            _filled(each.view(num_gates, units, -1)) for each in (weight_ih, weight_hh)
        )
        w_ih, w_hh, grad_LBU = map(_array, (w_ih_GUX, w_hh_GUV, grads[0]))
        num_x_steps = len(grad_LBU) if ctx.needs_input_grad[0] else 0
        kernel = lstm_backward if is_lstm else gru_backward

        def run(number: int) -> list[Array]:
            x, *filled = ctx.kept[number]
            num_windows, num_filled = x.shape[1], w_hh.shape[2]
            shapes = (
                (num_x_steps, num_windows, w_ih.shape[2]),
                (num_gates, num_features, num_filled),
                (num_gates, num_filled, num_filled),
                (4, num_windows, num_filled),
            )
            sums = [np.zeros(shape, np.float32) for shape in shapes]
            given = np.empty((len(grad_LBU), num_windows, num_filled), np.float32)
            given[..., :units], given[..., units:] = grad_LBU[:, ctx.parts[number]], 0
            kernel(given, x, w_ih, w_hh, *filled, *sums)
            return sums

        sums = zip(*_on_threads(run, range(len(ctx.parts))), strict=True)
        x_parts, w_ih_parts, w_hh_parts, bias_parts = sums
        w_ih_GFV, w_hh_GVV = (
            torch.from_numpy(sum(of_parts[1:], of_parts[0]))
            for of_parts in (w_ih_parts, w_hh_parts)
        )
        bias_4BU = _joined(bias_parts, 1)[..., :units]
        bias_4U = bias_4BU.sum(1)
        bias_ih = bias_4U[:num_gates].flatten()
        if ctx.is_bias_of_window:
            bias_ih = bias_4BU[:num_gates].transpose(0, 1).flatten(1)
        return (
            _joined(x_parts, 1)[..., :num_features] if num_x_steps else None,
            w_ih_GFV[..., :units].transpose(1, 2).flatten(0, 1),
            w_hh_GVV[:, :units, :units].transpose(1, 2).flatten(0, 1),
            bias_ih,
            bias_4U[[0, 1, 2, 3] if is_lstm else [0, 1, 3]].flatten(),
            *[None] * (2 + is_lstm),
        )  # fmt: skip


def _by_gate(bias: Tensor, units: int) -> Tensor:
    """``(G, B, U)``, or one for all windows."""
    return bias.reshape(-1, bias.shape[-1] // units, units).transpose(0, 1)


def _join_biases(of_input_GBU: Tensor, of_state_GBU: Tensor, *, is_lstm: bool) -> Tensor:
    """What is added to each of the 4; the second has one for all windows."""
    if is_lstm:
        return of_input_GBU + of_state_GBU
    both, of_new = of_input_GBU[:2] + of_state_GBU[:2], of_state_GBU[2:].expand_as(of_input_GBU[2:])
    return torch.cat([both, of_input_GBU[2:], of_new])


def _joined(parts: Sequence[Array], dimension: int) -> Tensor:
    """The parts of all threads; what one thread has is not copied."""
    return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts, dimension))


def _parts(num_windows: int, num_threads: int) -> list[slice]:
    """The windows of each thread, as alike in number as tiles let them be."""
    num_tiles = -(-num_windows // _WINDOWS)
    num_parts = min(num_threads, num_tiles)
    bounds = [
        min(num_windows, _WINDOWS * (num_tiles * number // num_parts))
        for number in range(num_parts + 1)
    ]
    return [slice(first, end) for first, end in pairwise(bounds)]


def _on_threads(run: Callable[[T], list[Array]], parts: Sequence[T]) -> list[list[Array]]:
    """What comes of each part, on a thread of its own; kernels leave Python's lock to others.

    They use NumPy and no PyTorch, which would start more threads from each of them.
    """
    first, *others = parts
    waiting = [_pool(len(others)).submit(run, each) for each in others]
    return [run(first), *(each.result() for each in waiting)]


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads)


def _filled(tensor: Tensor) -> Tensor:
    """With zeros at the end of each row, as many as the kernels want."""
    from gridcast.cpu_kernels import LANES

    missing = -tensor.shape[-1] % LANES
    return (pad(tensor, (0, missing)) if missing else tensor).contiguous()


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array
