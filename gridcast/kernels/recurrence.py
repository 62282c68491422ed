"""GRU and LSTM layers as one GPU kernel each way: ``recurrence.cu``, in PyTorch.

cuDNN starts kernels at every step of every layer and reads the recurrent weights each time; here
the weights stay on the chip from the first step to the last. What comes out is what
``torch.nn.GRU`` and ``torch.nn.LSTM`` give under autocast, to rounding; sums and states have 32
bits.

Legend: ``S`` models side by side, ``B`` windows, ``L`` lookback (steps), ``F`` features, ``U``
units, ``G`` gates, ``O`` steps from the warm-up on, ``N`` = ``L B``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridcast.kernels.recurrence_kernels import Kind

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}  # of precisions that have 16 bits
_UNITS = (64, 128, 256)
_HOPPER = 9  # the compute capability on which this was tried
_LSTM_GATES = 4
_LARGE_SUM = 1 << 33  # products of two numbers
_ALIGNED = 8  # features of a row, so that tensor cores take the product with the inputs


class Layer(NamedTuple):
    """One layer's parameters: ``(S, G U, F)``, ``(S, G U, U)``, and ``(S, G U)`` twice."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def why_not_fused(num_units: int, device: torch.device, precision: str) -> str:
    """Why the kernels don't run this network on that GPU; empty where they do."""
    if precision not in HALF:
        return f"training.precision={precision}: our layers for a GPU multiply {' or '.join(HALF)}"
    if num_units not in _UNITS:
        units = ", ".join(map(str, _UNITS))
        return f"model.hidden_size={num_units}: our layers for a GPU have one of {units}"
    major, minor = torch.cuda.get_device_capability(device)
    if major != _HOPPER:
        return f"a GPU of compute capability {major}.{minor}: our layers are for {_HOPPER}.x"
    return ""


def run_fused(
    layers: list[Layer],
    x_SBLF: Tensor,
    begin: tuple[Tensor, ...] | None,
    *,
    warmup: int,
    drop: Callable[[Tensor, int], Tensor],
    dtype: torch.dtype,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Hidden states of the last layer from step ``warmup`` on, and the state at the end.

    Args:
        layers: of ``S`` models.
        x_SBLF: features.
        begin: ``(h,)`` or ``(h, c)``, each ``(layers, S, B, U)``, or None for zeros.
        warmup: steps whose hidden states are not asked for.
        drop: what lies between two layers, ``(S, L, B, U)`` to the same: dropout, or nothing; it is
            told the number of the layer before.
        dtype: of products, ``float16`` or ``bfloat16``.

    Returns:
        ``(S, B, O, U)`` of ``dtype``, and ``(h,)`` or ``(h, c)`` like ``begin``, without gradients.
    """
    padding = (0, -x_SBLF.shape[-1] % _multiple(x_SBLF.shape[-1]))
    x_SLBF = nn.functional.pad(x_SBLF.transpose(1, 2).to(dtype), padding).contiguous()
    ends = []
    for number, layer in enumerate(layers):
        is_last = number == len(layers) - 1
        states = (None, None) if begin is None else (*(each[number] for each in begin), None)[:2]
        apply: Any = _Recurrence.apply
        x_SLBF, *end = apply(x_SLBF, *layer, *states, warmup if is_last else 0)
        if not is_last:
            x_SLBF = drop(x_SLBF, number)
        ends.append(end)
    return x_SLBF.transpose(1, 2), tuple(torch.stack(each) for each in zip(*ends, strict=True))


def _multiple(num_features: int) -> int:
    """To which multiple the features of a window are filled up with zeros."""
    from gridcast.kernels.recurrence_kernels import FEATURES, times_inside

    return FEATURES if times_inside(num_features) else _ALIGNED


class _Recurrence(torch.autograd.Function):
    """One layer over all steps: the product with many inputs, then the kernel.

    Of few inputs the kernel makes the product itself.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - autograd takes tensors one by one
        ctx: Any,  # noqa: ANN401
        x_SLBF: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        begin_h: Tensor | None,
        begin_c: Tensor | None,
        first: int,
    ) -> tuple[Tensor, ...]:
        num_models, lookback, batch, num_features = x_SLBF.shape
        plan = _plan(weight_hh, x_SLBF)
        padding = (0, num_features - weight_ih.shape[2])
        w_ih = nn.functional.pad(weight_ih.detach().to(x_SLBF.dtype), padding)
        w_hh = weight_hh.detach().to(x_SLBF.dtype)
        x_SNF = x_SLBF.view(num_models, -1, num_features)
        given: list[Tensor | None] = [x_SNF, w_ih]
        if not plan.kind.inside:
            given = [torch.bmm(x_SNF, _by_pair(w_ih, plan.units).transpose(1, 2)), None]
        hidden_SLBU = x_SLBF.new_empty((num_models, lookback, batch, plan.units))
        ends = [
            x_SLBF.new_empty((num_models, batch, plan.units), dtype=torch.float32)
            for _ in range(plan.num_states)
        ]
        kept = x_SLBF.new_empty(plan.kept_shape, dtype=torch.float16)
        biases = _join_biases(bias_ih, bias_hh, is_lstm=plan.kind.is_lstm)
        end_h, end_c = (*ends, None)[:2]
        plan.launch_forward(
            [*given, w_hh, biases, begin_h, begin_c, hidden_SLBU, end_h, end_c, kept]
        )
        ctx.save_for_backward(x_SNF, w_ih, w_hh, hidden_SLBU, kept, begin_h)
        ctx.plan, ctx.first, ctx.num_features = plan, first, weight_ih.shape[2]
        ctx.mark_non_differentiable(*ends)
        return (hidden_SLBU[:, first:], *ends)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x_SNF, w_ih, w_hh, hidden_SLBU, kept, begin_h = ctx.saved_tensors
        plan: _Plan = ctx.plan
        batch, units, num_models = plan.batch, plan.units, plan.num_models
        gates = x_SNF.new_empty((num_models, plan.lookback * batch, 4 * units))
        sums = x_SNF.new_empty((num_models, -(-batch // plan.rows), 4, units), dtype=torch.float32)
        weights = w_hh.transpose(1, 2).contiguous()
        plan.launch_backward([grads[0].contiguous(), kept, weights, gates, sums], ctx.first)
        bias = sums.sum(1)
        if plan.kind.is_lstm:
            of_input = of_state = gates
            bias_ih = bias_hh = bias.flatten(1)
        else:  # n, r, z and the hidden side of n; PyTorch's order is r, z, n
            of_input, of_state = gates[..., : 3 * units], gates[..., units:]
            bias_ih, bias_hh = bias[:, :3].roll(-1, dims=1).flatten(1), bias[:, 1:].flatten(1)
            w_ih = w_ih.roll(units, dims=1)
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = torch.bmm(of_input, w_ih).view(num_models, plan.lookback, batch, -1)
        weight_ih = _outer(of_input, x_SNF)[..., : ctx.num_features]
        if not plan.kind.is_lstm:
            weight_ih = weight_ih.roll(-units, dims=1)
        before_SNU = hidden_SLBU.view(num_models, -1, units)[:, :-batch]
        weight_hh = _outer(of_state[:, batch:], before_SNU)
        if begin_h is not None:
            weight_hh += _outer(of_state[:, :batch], begin_h.to(x_SNF.dtype))
        return x_grad, weight_ih, weight_hh, bias_ih, bias_hh, None, None, None


def _by_pair(weights_SGF: Tensor, units: int) -> Tensor:
    """Rows gate by gate → four of each pair of units, as a thread of the kernel takes them.

    The fourth gate of a GRU is none: zeros.
    """
    num_models, num_rows, num_columns = weights_SGF.shape
    num_gates = num_rows // units
    pairs = weights_SGF.view(num_models, num_gates, units // 2, 2, num_columns).transpose(1, 2)
    padded = nn.functional.pad(pairs, (0, 0, 0, 0, 0, _LSTM_GATES - num_gates))
    return padded.reshape(num_models, _LSTM_GATES * units, num_columns)


def _outer(grad_SNG: Tensor, x_SNF: Tensor) -> Tensor:
    """Sum over ``N`` of the outer products, in 32 bits: ``(S, G, F)``.

    Large ones model by model: cuBLAS cuts such a sum up for all processors only where it is alone
    (the step of four models of 2 x 256 units takes a tenth less so; small ones go together).
    """
    if len(grad_SNG) > 1 and grad_SNG[0].numel() * x_SNF.shape[2] >= _LARGE_SUM:
        models = [slice(number, number + 1) for number in range(len(grad_SNG))]
        return torch.cat([_outer(grad_SNG[model], x_SNF[model]) for model in models])
    return torch.bmm(grad_SNG.transpose(1, 2), x_SNF, out_dtype=torch.float32)


def _join_biases(bias_ih: Tensor, bias_hh: Tensor, *, is_lstm: bool) -> Tensor:
    """``(S, 4, U)``: what is added to each gate, and last the hidden side of a GRU's n."""
    num_gates = _LSTM_GATES if is_lstm else 3
    ih, hh = (each.detach().view(len(each), num_gates, -1) for each in (bias_ih, bias_hh))
    if is_lstm:
        return ih + hh
    return torch.cat([ih[:, :2] + hh[:, :2], ih[:, 2:], hh[:, 2:]], dim=1)


# -- how the windows are shared out ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """One launch: ``rows`` windows a cluster, of ``num_models`` models."""

    kind: Kind
    device: int
    num_models: int
    lookback: int
    batch: int
    rows: int

    @property
    def units(self) -> int:
        return self.kind.units

    @property
    def num_blocks(self) -> int:
        return self.num_models * ceil(self.batch / self.rows) * self.kind.blocks

    @property
    def num_states(self) -> int:
        return 2 if self.kind.is_lstm else 1

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """In the threads' own order, which the kernels alone know."""
        from gridcast.kernels.recurrence_kernels import KEPT, THREADS

        return self.lookback, self.num_blocks, KEPT, self.kind.tiles, THREADS, 4

    def launch_forward(self, tensors: list[Tensor | None]) -> None:
        from gridcast.kernels.recurrence_kernels import kernel

        numbers = [self.lookback, self.batch, self.rows]
        kernel("forward", self.kind, self.device).launch((self.num_blocks, 1), tensors, *numbers)

    def launch_backward(self, tensors: list[Tensor | None], first: int) -> None:
        from gridcast.kernels.recurrence_kernels import kernel

        numbers = [self.lookback, self.batch, self.rows, first]
        kernel("backward", self.kind, self.device).launch((self.num_blocks, 1), tensors, *numbers)


def _plan(weight_hh: Tensor, x_SLBF: Tensor) -> _Plan:
    """As few windows a cluster as let all clusters be on the chip at once, or the most."""
    from gridcast.kernels.recurrence_kernels import (
        MOST_TILES,
        TILE,
        Kind,
        clusters_at_once,
        times_inside,
    )

    num_models, lookback, batch, num_features = x_SLBF.shape
    units, device = weight_hh.shape[2], x_SLBF.device.index
    is_lstm = weight_hh.shape[1] == _LSTM_GATES * units
    kind = Kind(is_lstm, units, 1, x_SLBF.dtype == torch.bfloat16)
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    rows = TILE
    if num_models * ceil(batch / TILE) * kind.blocks > processors // 2:
        room = clusters_at_once(kind._replace(tiles=MOST_TILES), device) // num_models
        rows = min(MOST_TILES * TILE, max(TILE, ceil(batch / max(1, room))))
    kind = kind._replace(tiles=ceil(rows / TILE), inside=times_inside(num_features))
    return _Plan(kind, device, num_models, lookback, batch, rows)
