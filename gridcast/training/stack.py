"""Forecasters that differ in their seed only, trained side by side: one pass for all of them.

Their weights lie in one matrix, a row a forecaster. On a GPU with our kernels (``recurrence.py``)
all of them go through the network together; ten small ones then cost little more than one.
Everywhere else a stack holds one forecaster: PyTorch's own layers run it, or on a CPU loops that
are compiled (``cpu_gradients.py``).

Legend: ``S`` forecasters, ``P`` parameters, ``B`` windows, ``L`` lookback, ``F`` features, ``U``
units, ``O`` origins, ``H`` horizon, ``R`` regions.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from gridcast.kernels.dropout import Dropout
from gridcast.kernels.recurrence import HALF, Layer, run_fused
from gridcast.networks.building import build_forecaster
from gridcast.networks.forecaster import add_last_load, with_region

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import Cell, Config, ModelConfig
    from gridcast.engine import Engine
    from gridcast.networks.building import Forecaster
    from gridcast.networks.forecaster import RecurrentForecaster, State
    from gridcast.training.data import TrainingData

_MAX_SEEDS = 16  # of one pass: the memory of its states grows with them
_NEXT_SHARE = 1 << 32  # from the random numbers of one device's share of a batch to the next one's


def max_seeds_per_pass(engine: Engine) -> int:
    """How many seeds of a cell are trained in one pass, at most."""
    return _MAX_SEEDS if engine.layers == "gpu-kernels" else 1


def stacks_of(models: Sequence[tuple[Cell, int]], *, most: int) -> list[tuple[Cell, list[int]]]:
    """Each cell's seeds, ``most`` at a time; the first of each cell, then the second, and so on."""
    seeds_of: dict[Cell, list[int]] = {}
    for cell, seed in models:
        seeds_of.setdefault(cell, []).append(seed)
    longest = max(len(seeds) for seeds in seeds_of.values())
    return [
        (cell, seeds[first : first + most])
        for first in range(0, longest, most)
        for cell, seeds in seeds_of.items()
        if first < len(seeds)
    ]


class ForecasterStack:
    """``S`` forecasters of one cell, one a seed, on one engine; each begins as it would alone.

    ``share`` counts the devices that share their batches: dropout is drawn anew on each.
    """

    def __init__(
        self,
        data: TrainingData,
        config: Config,
        *,
        cell: Cell,
        seeds: Sequence[int],
        engine: Engine,
        share: int = 0,
    ) -> None:
        self.engine, self.cell = engine, cell
        self._config, self._device = config, data.x_TF.device
        rows = []
        for seed in seeds:
            torch.manual_seed(seed)
            drawn = build_forecaster(
                config, cell=cell, feature_names=data.feature_names, num_regions=data.num_regions
            )
            rows.append(nn.utils.parameters_to_vector(drawn.parameters()).detach())
        self._pattern = drawn.to(self._device)
        self.weights_SP = torch.stack(rows).to(self._device)
        self._views = [self._view_of(row_P) for row_P in self.weights_SP]
        averages = config.training.average_last > 0
        self._served_SP = self.weights_SP.clone() if averages else self.weights_SP
        self._served = [self._view_of(row_P) for row_P in self._served_SP]
        # The type in which our kernels for a GPU multiply; None where they do not run.
        self.fused = HALF[config.training.precision] if engine.layers == "gpu-kernels" else None
        self.dropout_seeds = [seed + share * _NEXT_SHARE for seed in seeds]  # seeds of dropout
        self.drop = Dropout(
            config.model.dropout, self.dropout_seeds, self._device
        )  # of our GPU kernels
        if share and self._device.type == "cuda":  # PyTorch's layers draw from the device's own
            with torch.cuda.device(self._device):
                torch.cuda.manual_seed(self.dropout_seeds[0])
        alone = dict[str, Tensor](self._views[0].named_parameters())
        self._leaves = alone if self.fused is None else self._stacked_leaves()
        if self.fused is None and len(seeds) > 1:
            message = f"{len(seeds)} forecasters in one pass need our GPU kernels"
            raise ValueError(message)

    @property
    def leaves(self) -> Mapping[str, Tensor]:
        """The parameters by which to derive, in the order of the columns of ``weights_SP``."""
        return self._leaves

    def forecaster(self, number: int, *, last_step: bool = False) -> Forecaster:
        """One of the forecasters, as it is now, with weights of its own.

        It has the mean of its weights over the last steps where ``training.average_last`` asks for
        it, unless ``last_step`` wants those of the last step.
        """
        forecaster = deepcopy((self._views if last_step else self._served)[number])
        forecaster.recurrent.flatten_parameters()  # else cuDNN does so in each call
        return forecaster

    def alone(self) -> Forecaster:
        """The only forecaster, in training, with the weights that a step changes."""
        return self._views[0].train()

    def state_tensors(self) -> dict[str, Tensor]:
        """What a step changes, where it lies: the weights, and their mean where there is one."""
        has_mean = self._served_SP is not self.weights_SP
        mean = {"served_SP": self._served_SP} if has_mean else {}
        return {"weights_SP": self.weights_SP, **mean}

    @torch.no_grad()
    def average(self, share: Tensor) -> None:
        """Let the present weights count for ``share`` in what is served."""
        if self._served_SP is not self.weights_SP:
            self._served_SP.lerp_(self.weights_SP, share)

    def run(
        self, x_SBLF: Tensor, region_SB: Tensor, warmup: int, state: State | None
    ) -> tuple[Tensor, State]:
        """Scaled features to scaled forecasts ``(S, B, O, H)``; see ``RecurrentForecaster.run``."""
        if self.fused is None:
            forecaster = cast("RecurrentForecaster", self.alone())
            y_BOH, state = forecaster.run(x_SBLF[0], region_SB[0], warmup, state)
            return y_BOH[None], state
        model, weights = self._config.model, self._leaves
        self.drop.next_step()
        inputs_SBLF = x_SBLF
        if model.region_units:
            inputs_SBLF = with_region(x_SBLF, region_SB, weights["region_RD"])
        out_SBOU, state = run_fused(
            self._layers(), inputs_SBLF, state, warmup=warmup, drop=self.drop, dtype=self.fused
        )
        out_SBOU = out_SBOU.relu() if model.head_relu else out_SBOU
        y_SNH = out_SBOU.flatten(1, 2) @ weights["head.weight"].transpose(1, 2)
        y_SNH = y_SNH + weights["head.bias"][:, None]
        y_SBOH = y_SNH.view(*out_SBOU.shape[:3], -1)
        return add_last_load(y_SBOH, x_SBLF[:, :, warmup:], model), state

    def _layers(self) -> list[Layer]:
        return [
            Layer(*(self._leaves[f"recurrent.{name}_l{number}"] for name in Layer._fields))
            for number in range(self._config.model.num_layers)
        ]

    def _view_of(self, row_P: Tensor) -> Forecaster:
        """A forecaster whose parameters are places in ``row_P``."""
        forecaster, first = deepcopy(self._pattern), 0
        for parameter in forecaster.parameters():
            parameter.data = row_P[first : first + parameter.numel()].view_as(parameter)
            first += parameter.numel()
        return forecaster

    def _stacked_leaves(self) -> dict[str, Tensor]:
        """Each parameter of all forecasters, ``(S, ...)``: places in ``weights_SP``."""
        leaves, first = dict[str, Tensor](), 0
        for name, parameter in self._views[0].named_parameters():
            columns = self.weights_SP[:, first : first + parameter.numel()]
            leaves[name] = columns.view(-1, *parameter.shape).requires_grad_()
            first += parameter.numel()
        return leaves


def draws_at_random(model: ModelConfig) -> bool:
    """Whether a training step of PyTorch's layers draws from PyTorch's own generator."""
    hides_regions = model.neighbour_units > 0 and model.neighbour_dropout > 0
    return hides_regions or (model.num_layers > 1 and model.dropout > 0)
