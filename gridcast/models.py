"""One recurrent forecaster; GRU and LSTM differ in its cell only.

Legend: ``B`` windows, ``L`` lookback, ``F`` features, ``U`` units, ``O`` origins (``L - warmup``),
``H`` horizon.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gridcast.recurrence import layers_of, run_fused

if TYPE_CHECKING:
    from gridcast.config import Cell, ModelConfig

State = tuple[Tensor, ...]
_CELLS: dict[Cell, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
_LOAD = 0  # the first feature is the scaled load


class RecurrentForecaster(nn.Module):
    """Forecasts the next ``horizon`` scaled loads from each step after the warm-up."""

    def __init__(self, config: ModelConfig, *, cell: Cell, num_features: int, horizon: int) -> None:
        super().__init__()
        self.head_relu = config.head_relu
        self.adds_last_load = config.target == "change"
        self.change_scale = config.change_scale
        self.recurrent = _CELLS[cell](
            num_features,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
        )
        self.head = nn.Linear(config.hidden_size, horizon)

    def forward(self, x_BLF: Tensor, warmup: int) -> Tensor:
        """Scaled features to scaled forecasts, shape ``(B, O, H)``."""
        return self.run(x_BLF, warmup, None)[0]

    def run(
        self,
        x_BLF: Tensor,
        warmup: int,
        state: State | None,
        *,
        fused: torch.dtype | None = None,
    ) -> tuple[Tensor, State]:
        """As ``forward``, from a hidden state on (none: zeros), which is given back as it ends.

        The state is ``(h,)`` of a GRU and ``(h, c)`` of an LSTM, each ``(layers, B, U)``. With
        ``fused`` the recurrence is that of our GPU kernels, with products in this 16-bit type.
        """
        if fused is None:
            begin = state[0] if state is not None and len(state) == 1 else state
            hidden_BLU, end = self.recurrent(x_BLF, begin)
            state = (end,) if isinstance(end, Tensor) else tuple(end)
            out_BOU = hidden_BLU[:, warmup:]
        else:
            out_BOU, state = self._run_fused(x_BLF, warmup, state, fused)
        y_BOH: Tensor = self.head(out_BOU.relu() if self.head_relu else out_BOU)
        if self.adds_last_load:
            last_BO1 = x_BLF[:, warmup:, _LOAD, None]
            y_BOH = last_BO1 + self.change_scale * y_BOH.to(x_BLF.dtype)
        return y_BOH, state

    def _run_fused(
        self, x_BLF: Tensor, warmup: int, state: State | None, dtype: torch.dtype
    ) -> tuple[Tensor, State]:
        begin = None if state is None else tuple(each[:, None] for each in state)
        out_SBOU, end = run_fused(
            layers_of(self.recurrent),
            x_BLF[None],
            begin,
            warmup=warmup,
            dropout=self.recurrent.dropout if self.training else 0.0,
            dtype=dtype,
        )
        return out_SBOU[0], tuple(each[:, 0] for each in end)

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


class LastStep(nn.Module):
    """The forecaster as one runs it: a window in, the forecast from its last step out."""

    def __init__(self, forecaster: RecurrentForecaster, *, lookback: int) -> None:
        super().__init__()
        self.forecaster, self.last = forecaster, lookback - 1

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Scaled features to scaled forecasts, shape ``(B, H)``."""
        y_BOH: Tensor = self.forecaster(x_BLF, self.last)
        return y_BOH[:, 0]


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of each weight, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.numpy().tobytes())
    return digest.hexdigest()
