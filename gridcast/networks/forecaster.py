"""One recurrent forecaster; GRU and LSTM differ in its cell only.

Legend: ``B`` windows, ``L`` lookback, ``F`` features, ``U`` units, ``O`` origins (``L - warmup``),
``H`` horizon, ``R`` regions, ``D`` learned numbers of a region.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from gridcast.config import Cell, ModelConfig

State = tuple[Tensor, ...]
_CELLS: dict[Cell, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
LOAD = 0  # the first feature is the scaled load


class RecurrentNetwork(nn.Module, ABC):
    """The recurrent layers of a network, a GRU or an LSTM; who inherits adds a head."""

    def __init__(self, config: ModelConfig, *, cell: Cell, num_inputs: int) -> None:
        super().__init__()
        self.config = config
        self.recurrent = _CELLS[cell](
            num_inputs,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
        )

    def run_layers(
        self, x_BLF: Tensor, begin: Tensor | State | None = None
    ) -> tuple[Tensor, Tensor | State]:
        """The states of the last layer, ``(B, L, U)``, and the last ones of all layers."""
        drops_on_gpu = self.training and self.recurrent.dropout > 0 and x_BLF.is_cuda
        run = self.run_layer_by_layer if drops_on_gpu else self.recurrent
        hidden_BLU, end = run(x_BLF, begin)
        return hidden_BLU, end

    def run_layer_by_layer(
        self, x_BLF: Tensor, begin: Tensor | State | None
    ) -> tuple[Tensor, Tensor | State]:
        """What ``self.recurrent`` gives, dropout between its layers drawn by PyTorch's generator.

        cuDNN draws from one of its own, which a process has once and nobody can take or put back: a
        training would not go on from its state, nor a second one give what it gives alone.
        """
        layers = self.recurrent
        given = () if begin is None else (begin,) if isinstance(begin, Tensor) else begin
        num_states = 2 if isinstance(layers, nn.LSTM) else 1
        zeros = x_BLF.new_zeros(layers.num_layers, len(x_BLF), layers.hidden_size)
        states = given or (zeros,) * num_states
        x_LBF, ends = x_BLF.transpose(0, 1), list[State]()
        for number, weights in enumerate(layers.all_weights):
            if number:
                x_LBF = nn.functional.dropout(x_LBF, layers.dropout, self.training)
            own = tuple(each[number : number + 1].contiguous() for each in states)
            params, settings = list[Tensor](weights), (True, 1, 0.0, self.training, False, False)
            if num_states == 1:
                x_LBF, *end = torch.gru(x_LBF, own[0], params, *settings)
            else:
                x_LBF, *end = torch.lstm(x_LBF, own, params, *settings)
            ends.append(tuple(end))
        h, *c = (torch.cat(each) for each in zip(*ends, strict=True))
        return x_LBF.transpose(0, 1), ((h, *c) if c else h)

    @abstractmethod
    def inputs_of(
        self, x_BLF: Tensor, region_B: Tensor | None, signals_BLW: Tensor | None
    ) -> Tensor:
        """What the layers read at each step."""

    def read_on(
        self, x_BLF: Tensor, region_B: Tensor, signals_BLW: Tensor | None, state: State | None
    ) -> tuple[Tensor, State]:
        """Read some steps, from a hidden state on (none: zeros).

        The last layer's state after the last step, ``(B, U)``, and those of all layers: ``(h,)`` of
        a GRU and ``(h, c)`` of an LSTM, each ``(layers, B, U)``.
        """
        begin = state[0] if state is not None and len(state) == 1 else state
        hidden_BLU, end = self.run_layers(self.inputs_of(x_BLF, region_B, signals_BLW), begin)
        return hidden_BLU[:, -1], ((end,) if isinstance(end, Tensor) else tuple(end))

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


class CellSteps:
    """A network's layers, asked step by step without a gradient.

    What PyTorch does before it runs a layer costs more than a step of few series.
    """

    def __init__(self, network: RecurrentNetwork) -> None:
        self._is_lstm = isinstance(network.recurrent, nn.LSTM)
        self._weights = network.recurrent.all_weights

    def read(self, inputs_BF: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of what ``inputs_of`` gives, and of a state what ``read_on`` gives of it."""
        below_BF, after = inputs_BF, list[State]()
        for number, weights in enumerate(self._weights):
            own = tuple(each[number] for each in state)
            if self._is_lstm:
                after.append(torch.lstm_cell(below_BF, own, *weights))
            else:
                after.append((torch.gru_cell(below_BF, own[0], *weights),))
            below_BF = after[-1][0]
        return below_BF, tuple(torch.stack(each) for each in zip(*after, strict=True))


class RecurrentForecaster(RecurrentNetwork):
    """Forecasts the next ``horizon`` scaled loads from each step after the warm-up.

    With ``model.region_units`` it also learns that many numbers for each of ``num_regions`` regions
    and sees those of the window's region at each step.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        cell: Cell,
        num_features: int,
        horizon: int,
        num_regions: int = 0,
    ) -> None:
        super().__init__(config, cell=cell, num_inputs=num_features + config.region_units)
        self.head = nn.Linear(config.hidden_size, horizon)
        if config.region_units:
            numbers_RD = 0.5 * torch.randn(num_regions, config.region_units)
            self.region_RD = nn.Parameter(numbers_RD)

    def forward(self, x_BLF: Tensor, warmup: int, region_B: Tensor | None = None) -> Tensor:
        """Scaled features to scaled forecasts, shape ``(B, O, H)``.

        ``region_B``, the number of each window's region, is not needed where ``model.region_units``
        is 0.
        """
        return self.run(x_BLF, region_B, warmup, None)[0]

    def run(
        self, x_BLF: Tensor, region_B: Tensor | None, warmup: int, state: State | None
    ) -> tuple[Tensor, State]:
        """As ``forward``, from a hidden state on (none: zeros), which is given back as it ends.

        The state is ``(h,)`` of a GRU and ``(h, c)`` of an LSTM, each ``(layers, B, U)``.
        """
        begin = state[0] if state is not None and len(state) == 1 else state
        hidden_BLU, end = self.run_layers(self.inputs_of(x_BLF, region_B), begin)
        y_BOH = self.forecast_from(hidden_BLU[:, warmup:], x_BLF[:, warmup:])
        return y_BOH, ((end,) if isinstance(end, Tensor) else tuple(end))

    def inputs_of(
        self, x_BLF: Tensor, region_B: Tensor | None, signals_BLW: Tensor | None = None
    ) -> Tensor:
        """The features, and what was learned of the region; it sees no other one."""
        del signals_BLW
        if self.config.region_units and region_B is not None:
            return with_region(x_BLF, region_B, self.region_RD)
        return x_BLF

    def forecast_from(self, hidden_BOU: Tensor, x_BOF: Tensor) -> Tensor:
        """Scaled forecasts ``(B, O, H)`` from the last layer's states and the steps they are of."""
        y_BOH = self.head(hidden_BOU.relu() if self.config.head_relu else hidden_BOU)
        return add_last_load(y_BOH, x_BOF, self.config)


def rows_of(region_B: Tensor, region_RD: Tensor) -> Tensor:
    """The row of each window's region, ``(B, D)``.

    Where there is a gradient, a product with zeros and ones: that of a look-up depends on the order
    in which a GPU adds. Without one it is a look-up, of which many regions make no more work.
    """
    if not torch.is_grad_enabled() and region_RD.dim() == 2 and region_B.dim() == 1:  # noqa: PLR2004
        return region_RD[region_B]
    is_region_BR = region_B[..., None] == torch.arange(region_RD.shape[-2], device=region_RD.device)
    return is_region_BR.to(region_RD.dtype) @ region_RD


def with_region(x_BLF: Tensor, region_B: Tensor, region_RD: Tensor) -> Tensor:
    """The features of each step, then the learned numbers of the window's region.

    Any dimensions may stand before ``B`` and ``R``, the same in all.
    """
    own_BD = rows_of(region_B, region_RD)
    own_BLD = own_BD[..., None, :].expand(*x_BLF.shape[:-1], -1)
    return torch.cat([x_BLF, own_BLD.to(x_BLF.dtype)], -1)


def add_last_load(y_BOH: Tensor, x_BOF: Tensor, config: ModelConfig) -> Tensor:
    """What the head gives as a scaled load, with ``target: change`` from the last known one."""
    if config.target == "level":
        return y_BOH
    return x_BOF[..., LOAD, None] + config.change_scale * y_BOH.to(x_BOF.dtype)


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of each weight, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.numpy().tobytes())
    return digest.hexdigest()
