"""A GRU layer on a CPU, compiled: ``cpu_kernels.py``, in PyTorch.

On small batches PyTorch's own GRU spends most of its time between operations: some forty a step,
there and back, and each costs more than its arithmetic. What comes out here is what it gives, to
rounding, in 32 bits. (For the LSTM PyTorch has a fused layer, which is as fast as ours would be.)

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``U`` units, ``G`` gates (r, z, n); ``V`` and
``X`` are ``U`` and ``F`` filled up as the kernels want it; ``4``: see there.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

# Windows times units, up to which one thread of ours is faster than several of PyTorch's.
_SMALL = 1 << 14


def is_faster(recurrent: nn.GRU, batch_size: int) -> bool:
    """Whether to take ``run_gru`` on a CPU: where numba is there, on one thread at every size."""
    is_small = batch_size * recurrent.hidden_size <= _SMALL
    return find_spec("numba") is not None and (is_small or torch.get_num_threads() == 1)


def run_gru(recurrent: nn.GRU, x_BLF: Tensor, begin: Tensor | None) -> tuple[Tensor, Tensor]:
    """What ``recurrent`` gives (``batch_first``): hidden states ``(B, L, U)``, and the last ones.

    The hidden states before are ``begin``, ``(layers, B, U)``, or zeros; they get no gradient.
    """
    x_LBF = x_BLF.transpose(0, 1)
    ends = []
    for number in range(recurrent.num_layers):
        weights = [
            getattr(recurrent, f"{name}_l{number}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        first = x_LBF.new_zeros(x_LBF.shape[1], recurrent.hidden_size)
        apply: Any = _Gru.apply
        x_LBF = apply(x_LBF, *weights, first if begin is None else begin[number])
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
        gates_L4BV = x_LBF.new_empty(lookback, *bias_4BV.shape)
        hidden_LBV = torch.empty_like(gates_L4BV[:, 0], memory_format=torch.contiguous_format)
        kept = _filled(begin_BU), gates_L4BV, hidden_LBV
        gru_forward(*_arrays(x_LBF, w_ih_GFV, w_hh_GUV, bias_4BV, *kept))
        ctx.save_for_backward(x_LBF, weight_ih, weight_hh, *kept)
        return hidden_LBV[..., :units]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        from gridcast.cpu_kernels import gru_backward

        x_LBF, weight_ih, weight_hh, *kept = ctx.saved_tensors
        (lookback, batch, num_features), units = x_LBF.shape, weight_hh.shape[1]
        w_ih_GUX, w_hh_GUV = (_filled(each.view(3, units, -1)) for each in (weight_ih, weight_hh))
        num_filled = w_hh_GUV.shape[2]
        x_LBX = x_LBF.new_zeros(
            lookback if ctx.needs_input_grad[0] else 0, batch, w_ih_GUX.shape[2]
        )
        w_ih_GFV = x_LBF.new_zeros(3, num_features, num_filled)
        w_hh_GVV = x_LBF.new_zeros(3, num_filled, num_filled)
        bias_4BV = x_LBF.new_zeros(4, batch, num_filled)
        sums = x_LBX, w_ih_GFV, w_hh_GVV, bias_4BV
        gru_backward(*_arrays(_filled(grads[0]), x_LBF, w_ih_GUX, w_hh_GUV, *kept, *sums))
        bias_4U = bias_4BV.sum(1)[:, :units]
        return (
            x_LBX[..., :num_features] if len(x_LBX) else None,
            w_ih_GFV[..., :units].transpose(1, 2).flatten(0, 1),
            w_hh_GVV[:, :units, :units].transpose(1, 2).flatten(0, 1),
            bias_4U[:3].flatten(), bias_4U[[0, 1, 3]].flatten(), None,
        )  # fmt: skip


def _filled(tensor: Tensor) -> Tensor:
    """With zeros at the end of each row, as many as the kernels want."""
    from gridcast.cpu_kernels import LANES

    return pad(tensor, (0, -tensor.shape[-1] % LANES)).contiguous()


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]
