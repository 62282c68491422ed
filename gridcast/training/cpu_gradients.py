"""The losses of a batch and their gradient on a CPU: one forecaster, in loops that are compiled.

In PyTorch a step of a small network is some six hundred operations, and most of its time lies
between them. Here each thread takes its share of the windows from the series to the gradient, in a
handful of calls of ``cpu_kernels.py``. What comes out is what ``BatchGradient`` gives in 32 bits,
to rounding.

Legend: ``T`` steps of all regions, ``L`` steps of a window, ``K`` the same and one before them,
``B`` windows, ``F`` features, ``U`` units, ``V`` units filled up, ``H`` horizon (``X``: filled up),
``R`` regions, ``D`` learned numbers of a region, ``P`` parameters, or panels of ``C`` units (see
the kernels).
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gridcast.kernels import cpu_kernels
from gridcast.kernels.cpu_kernels import Array, Ints
from gridcast.kernels.cpu_recurrence import Layer, Memory, Panels, cut_evenly, filled, on_threads
from gridcast.kernels.engine import LOSSES_OF_LOOPS
from gridcast.networks.forecaster import LOAD
from gridcast.training.state import copy_into

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.config import Config
    from gridcast.kernels.cpu_kernels import CellKernels
    from gridcast.training.data import TrainingData
    from gridcast.training.stack import ForecasterStack


# Windows that go through the network and back together, for each panel of units: their gates and
# the weights of a step share the second-level cache.
_WINDOWS_A_PANEL = 16
# More threads pay only where each has that many windows: what they do in Python they do in turn
# (on 16 cores, 64 windows of base: a GRU's step takes 5.3 ms with 8 threads, 8.5 with 16).
_THREADS = 8


class _Part(NamedTuple):
    """Windows of a batch that go through the network together."""

    place: slice
    starts_B: Ints
    counts_B: Array  # 1, or 0 where a window is filling
    kept: Sequence[Array]  # dropout's factors after each layer but the last, (P, K, B, C)


class CompiledGradient:
    """``BatchGradient`` of a stack of one forecaster on a CPU; see there.

    ``kernels`` are the equations of its cell. Its threads use NumPy and no PyTorch, which would
    start more of them from each. What dropout drops does not depend on their number.
    """

    def __init__(
        self,
        stack: ForecasterStack,
        data: TrainingData,
        config: Config,
        *,
        kernels: CellKernels,
        share: int = 0,
        num_shares: int = 1,
    ) -> None:
        self._config, self._share, self._num_shares = config, share, num_shares
        self._x_TF, self._target_T, self._is_train_T, self._first_step_R = (
            each.numpy() for each in (data.x_TF, data.target_T, data.is_train_T, data.first_step_R)
        )
        self._num_labels_before_T = np.append(0, np.cumsum(self._is_train_T, dtype=np.int64))
        self._weights = {name: leaf.detach().numpy() for name, leaf in stack.leaves.items()}
        shapes = {name: each.shape for name, each in self._weights.items()}
        self._grad_P = np.empty(sum(map(prod, shapes.values())), np.float32)
        self._grads = _cut(self._grad_P, shapes)
        self._layers = [
            Layer(
                kernels, self._weights, number, num_own=0 if number else config.model.region_units
            )
            for number in range(config.model.num_layers)
        ]
        panels, of_panel = self._layers[0].num_panels, self._layers[0].of_panel
        horizon = config.windows.horizon
        head_1HU, states = self._weights["head.weight"][None], (panels, of_panel)
        self._head = Panels(head_1HU, (1, horizon), states)
        self._turned_head = Panels(head_1HU.swapaxes(1, 2), states, (1, filled(horizon)))
        self._bias_X = np.zeros(filled(horizon), np.float32)
        # Of the gradients of a part, as they come.
        self._shapes = {
            name: shape for name, shape in shapes.items() if not name.startswith("recurrent.")
        } | {"head.weight": self._head.shape}
        for layer in self._layers:
            self._shapes |= layer.shapes
        shape = panels, config.training.batch_size, of_panel
        self._begin = [
            [np.zeros(shape, np.float32) for _ in range(layer.num_states)] for layer in self._layers
        ]
        self._memory = [Memory() for _ in range(torch.get_num_threads())]
        self._rng = np.random.default_rng(stack.dropout_seeds[0])

    def begin_pass(self) -> None:
        """Forget the hidden state that ``training.carry_hidden`` carries."""
        for states in self._begin:
            for state_PBC in states:
                state_PBC[:] = 0

    def state_tensors(self) -> dict[str, Tensor]:
        """The hidden states that are carried, where they lie, and what dropout draws from.

        The latter is JSON, in bytes, and a copy.
        """
        state = bytearray(json.dumps(self._rng.bit_generator.state).encode())
        return {**self._carried(), "rng": torch.frombuffer(state, dtype=torch.uint8)}

    def put_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from there (see ``state_tensors``)."""
        carried = self._carried()
        copy_into(carried, {name: each for name, each in tensors.items() if name != "rng"})
        self._rng.bit_generator.state = json.loads(tensors["rng"].numpy().tobytes())

    def _carried(self) -> dict[str, Tensor]:
        if not self._config.training.carry_hidden:
            return {}
        return {
            f"carried.{number}.{which}": torch.from_numpy(state_PBC)
            for number, states in enumerate(self._begin)
            for which, state_PBC in enumerate(states)
        }

    def __call__(self, starts_SB: Tensor, scale_S: Tensor) -> tuple[Tensor, Tensor]:
        """The losses ``(S,)``, and the gradient ``(S, P)`` of the losses times ``scale_S``."""
        whole_B = starts_SB[0].numpy()
        num_labels = self._num_labels(whole_B[whole_B >= 0])
        starts_B = whole_B
        if self._num_shares > 1:
            starts_B = np.array_split(whole_B, self._num_shares)[self._share]
        for layer in self._layers:
            layer.pack_weights()
        self._head.pack()
        self._turned_head.pack()
        self._bias_X[: self._config.windows.horizon] = self._weights["head.bias"]
        parts = self._parts(starts_B)
        losses, sums = zip(*on_threads(self._run, parts, self._memory), strict=True)
        self._fill(_cut(sum(sums[1:], sums[0]), self._shapes))
        self._grad_P *= scale_S.item() / num_labels
        loss_S = np.array([sum(losses) / num_labels], np.float32)
        return torch.from_numpy(loss_S), torch.from_numpy(self._grad_P)[None]

    def _num_labels(self, starts_B: Ints) -> int:
        """The training labels of these windows."""
        windows, before_T = self._config.windows, self._num_labels_before_T
        starts_BH = starts_B[:, None] + np.arange(1, windows.horizon + 1)
        num_BH = before_T[starts_BH + windows.lookback] - before_T[starts_BH + windows.warmup]
        return int(num_BH.sum())

    def _parts(self, starts_B: Ints) -> list[list[_Part]]:
        """Those of each thread."""
        is_filling_B = starts_B < 0
        starts_B = np.where(is_filling_B, -1 - starts_B, starts_B)
        counts_B = 1 - is_filling_B.astype(np.float32)
        kept = [self._draw(len(starts_B)) for _ in self._layers[1:] if self._config.model.dropout]
        most = _WINDOWS_A_PANEL * self._layers[0].num_panels
        num_threads = min(len(self._memory), max(_THREADS, len(starts_B) // _WINDOWS_A_PANEL))
        return [
            [
                _Part(place, starts_B[place], counts_B[place], [each[:, :, place] for each in kept])
                for place in cut_evenly(of_thread, -(-(of_thread.stop - of_thread.start) // most))
            ]
            for of_thread in cut_evenly(slice(0, len(starts_B)), num_threads)
        ]

    def _draw(self, num_windows: int) -> Array:
        """Factors after a layer, ``(P, K, B, C)``: 0, or what makes up for those dropped."""
        layer, steps = self._layers[0], self._config.windows.lookback + 1
        shape = layer.num_panels, steps, num_windows, layer.of_panel
        share = self._config.model.dropout
        is_kept = self._rng.random(shape, np.float32) >= share
        return is_kept * np.float32(1 / (1 - share))

    def _run(self, parts: Sequence[_Part], memory: Memory) -> tuple[float, Array]:
        """The sum of a thread's losses, and those of their gradients (``_shapes``) in a row."""
        row = memory("sums", sum(map(prod, self._shapes.values())))
        row[:] = 0
        sums = _cut(row, self._shapes)
        return sum(self._run_part(part, sums, memory) for part in parts), row

    def _run_part(self, part: _Part, sums: Mapping[str, Array], memory: Memory) -> float:
        """The sum of the losses; those of the gradients are added to ``sums``."""
        config, starts_B = self._config, part.starts_B
        region_B = np.searchsorted(self._first_step_R, starts_B, side="right") - 1
        has_own = config.model.region_units > 0
        own_BD = self._weights["region_RD"][region_B] if has_own else None
        shape = config.windows.lookback + 1, len(starts_B), self._x_TF.shape[1]
        x_QKBF = memory("x", 1, *shape)
        cpu_kernels.gather(self._x_TF, starts_B, x_QKBF[0])
        begin = [[each_PBC[:, part.place] for each_PBC in states] for states in self._begin]
        passed = [self._layers[0].forward(x_QKBF, own_BD, begin[0], memory)]
        for number, layer in enumerate(self._layers[1:], start=1):
            inputs_PKBC = passed[-1].hidden_PKBC
            if part.kept:
                dropped_PKBC = memory(f"dropped {number}", *inputs_PKBC.shape)
                inputs_PKBC = np.multiply(inputs_PKBC, part.kept[number - 1], out=dropped_PKBC)
            passed.append(layer.forward(inputs_PKBC, None, begin[number], memory))
        total, grad_PLBC = self._score(part, x_QKBF[0], passed[-1].hidden_PKBC, sums, memory)
        for number in range(len(self._layers) - 1, 0, -1):
            grad_PLBC, _ = self._layers[number].backward(grad_PLBC, passed[number], sums, memory)
            if part.kept:
                grad_PLBC *= part.kept[number - 1][:, 1:]
        _, grad_own_BD = self._layers[0].backward(grad_PLBC, passed[0], sums, memory)
        if grad_own_BD is not None:
            np.add.at(sums["region_RD"], region_B, grad_own_BD)
        if config.training.carry_hidden:
            for before, after in zip(begin, passed, strict=True):
                for state_PBC, state_PKBC in zip(before, after.states, strict=True):
                    state_PBC[:] = state_PKBC[:, -1]
        return total

    def _score(
        self, part: _Part, x_KBF: Array, hidden_PKBC: Array, sums: Mapping[str, Array],
        memory: Memory,
    ) -> tuple[float, Array]:  # fmt: skip
        """The sum of the losses and its gradient by the states; ``sums`` get that by the head."""
        model, training = self._config.model, self._config.training
        is_change = model.target == "change"
        panels, num_steps, batch, units = hidden_PKBC.shape
        grad_PLBC = memory("gradient of loss", panels, num_steps - 1, batch, units)
        warmup = self._config.windows.warmup
        grad_PLBC[:, :warmup] = 0
        total = cpu_kernels.score(
            hidden_PKBC, x_KBF[..., LOAD], part.starts_B, part.counts_B,
            self._target_T, self._is_train_T,
            self._turned_head.panels[0, :, 0], self._head.panels[0, 0], self._bias_X, warmup,
            np.float32(model.change_scale if is_change else 1),
            is_change, model.head_relu, LOSSES_OF_LOOPS[training.loss],
            grad_PLBC, sums["head.weight"][0, 0], sums["head.bias"],
            memory("outputs", panels, batch, units), memory("loads", batch, len(self._bias_X)),
            memory("slopes", batch, self._config.windows.horizon),
        )  # fmt: skip
        return total, grad_PLBC

    def _fill(self, sums: Mapping[str, Array]) -> None:
        """Bring the gradients into the order of the parameters."""
        self._grads["head.weight"][:] = self._head.unpacked(sums["head.weight"])[0]
        self._grads["head.bias"][:] = sums["head.bias"]
        if self._config.model.region_units:
            self._grads["region_RD"][:] = sums["region_RD"]
        for layer in self._layers:
            layer.fill(self._grads, sums)


def _cut(row: Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Arrays that lie in a row one after the other."""
    arrays, first = dict[str, Array](), 0
    for name, shape in shapes.items():
        arrays[name] = row[first : first + prod(shape)].reshape(shape)
        first += prod(shape)
    return arrays
