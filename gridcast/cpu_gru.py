"""A GRU layer on a CPU, with as few operations a step as there can be.

On small batches PyTorch's own GRU spends most of its time between operations: some forty a step,
there and back. Here it is six on the way there and three on the way back; all that does not depend
on the step before is done for all steps at once. (For the LSTM PyTorch has a fused layer.)

Equations (PyTorch's): ``r, z = sigmoid(a_r, a_z)``, ``q`` = the hidden side of ``n``,
``n = tanh(a_n + r q)``, ``h' = (1 - z) n + z h``.

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``U`` units, ``G`` gates (r, z, n) times ``U``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_gru(recurrent: nn.GRU, x_BLF: Tensor, begin: Tensor | None) -> tuple[Tensor, Tensor]:
    """What ``recurrent`` gives (``batch_first``): hidden states ``(B, L, U)``, and the last ones.

    The hidden states before are ``begin``, ``(layers, B, U)``, or zeros.
    """
    x_LBF = x_BLF.transpose(0, 1).contiguous()
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
            x_LBF = nn.functional.dropout(x_LBF, recurrent.dropout, recurrent.training)
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
        lookback, batch, _ = x_LBF.shape
        units = weight_hh.shape[1]
        gates_LBG = torch.addmm(bias_ih, x_LBF.flatten(0, 1), weight_ih.T).view(lookback, batch, -1)
        hidden_LBG, out_LBU = torch.empty_like(gates_LBG), x_LBF.new_empty(lookback, batch, units)
        both, r, z, n = _parts(gates_LBG, units)
        hidden, hidden_both, q = (
            part.unbind() for part in (hidden_LBG, hidden_LBG[..., : 2 * units],
                                       hidden_LBG[..., 2 * units :])
        )  # fmt: skip
        out, before, weight = out_LBU.unbind(), begin_BU, weight_hh.T.contiguous()
        for step in range(lookback):
            torch.addmm(bias_hh, before, weight, out=hidden[step])
            both[step].add_(hidden_both[step]).sigmoid_()
            n[step].addcmul_(r[step], q[step]).tanh_()
            before = torch.lerp(n[step], before, z[step], out=out[step])
        ctx.save_for_backward(x_LBF, weight_ih, weight_hh, begin_BU, gates_LBG, hidden_LBG, out_LBU)
        return out_LBU

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x_LBF, weight_ih, weight_hh, begin_BU, gates_LBG, hidden_LBG, out_LBU = ctx.saved_tensors
        lookback, batch, units = out_LBU.shape
        r_LBU, z_LBU, n_LBU = gates_LBG.chunk(3, -1)
        before_LBU = torch.cat([begin_BU[None], out_LBU[:-1]])
        # What each gate's sum before its function has of the gradient of the new hidden state.
        of_n_LBU = (1 - z_LBU) * (1 - n_LBU.square())
        of_r_LBU = of_n_LBU * hidden_LBG[..., 2 * units :] * r_LBU * (1 - r_LBU)
        of_z_LBU = (before_LBU - n_LBU) * z_LBU * (1 - z_LBU)
        share_LB3U = torch.stack([of_r_LBU, of_z_LBU, of_n_LBU * r_LBU], 2)
        hidden_LB3U, state_LBU = torch.empty_like(share_LB3U), torch.empty_like(out_LBU)
        shares, hidden, flat = share_LB3U.unbind(), hidden_LB3U.unbind(), hidden_LB3U.flatten(2)
        sums, states, z, given = (
            flat.unbind(),
            state_LBU.unbind(),
            z_LBU.unbind(),
            grads[0].unbind(),
        )
        states[-1].copy_(given[-1])
        for step in range(lookback - 1, -1, -1):
            state = states[step]
            torch.mul(state[:, None], shares[step], out=hidden[step])
            if step:
                kept = torch.addcmul(given[step - 1], state, z[step])
                torch.addmm(kept, sums[step], weight_hh, out=states[step - 1])
        hidden_NG = flat.flatten(0, 1)
        input_NG = torch.cat(
            [hidden_LB3U[:, :, :2].flatten(2), (state_LBU * of_n_LBU)], -1
        ).flatten(0, 1)  # fmt: skip
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (input_NG @ weight_ih).view(lookback, batch, -1)
        return (
            x_grad, input_NG.T @ x_LBF.flatten(0, 1), hidden_NG.T @ before_LBU.flatten(0, 1),
            input_NG.sum(0), hidden_NG.sum(0), None,
        )  # fmt: skip


def _parts(gates_LBG: Tensor, units: int) -> Sequence[Sequence[Tensor]]:
    """Of each step r and z together, then r, z and n: views, made once."""
    pieces = (slice(0, 2 * units), slice(0, units), slice(units, 2 * units), slice(2 * units, None))
    return [gates_LBG[..., piece].unbind() for piece in pieces]
