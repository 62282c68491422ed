"""GRU and LSTM layers on a CPU, compiled: ``cpu_kernels.py`` with PyTorch's weights.

On small batches PyTorch's own layers spend most of their time between operations, and each costs
more than its arithmetic. What comes out here is what they give, to rounding, in 32 bits.

Legend: ``L`` steps, ``K`` the same and one before them, ``B`` windows, ``F`` features, ``D``
features that stay the same in all steps of a window, ``U`` units, ``V`` units filled up, ``G``
gates (r, z, n; i, f, g, o); ``P``, ``Q``, ``C``, ``X`` and ``4``: see the kernels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from gridcast.kernels.cpu_kernels import PANEL, SUMMED, Array
from gridcast.kernels.numba_private import LANES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gridcast.kernels.cpu_kernels import CellKernels

T = TypeVar("T")
U = TypeVar("U")
_OWN = "by what is the same in all steps"
# Windows of a part, a multiple of that: what the kernels' tiles hold.
_WINDOWS = 4


class Memory:
    """Arrays that are asked for again in each step; what they last held is still in them.

    Memory that is given back, and taken again, the system fills with zeros page by page.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Array] = {}

    def __call__(self, name: str, *shape: int) -> Array:
        """The array of that name, the caller's until somebody asks for the name again."""
        size = prod(shape)
        if name not in self._flat or len(self._flat[name]) < size:
            self._flat[name] = np.empty(size, np.float32)
        return self._flat[name][:size].reshape(shape)


class Passed(NamedTuple):
    """What the way back wants to know of the way there."""

    x_QKBF: Array
    own_BD: Array | None
    gates_PL4BC: Array
    states: Sequence[Array]  # (P, K, B, C): the hidden ones, and of an LSTM those of the cells

    @property
    def hidden_PKBC(self) -> Array:  # noqa: N802
        """What the next layer sees."""
        return self.states[0]


class Layer:
    """Layer ``number`` of a network whose ``weights`` have PyTorch's names and shapes.

    ``kernels`` are those of its cell.

    The last ``num_own`` of its features stay the same in all steps of a window: to the gates they
    are a bias of the window, and cost next to nothing.
    """

    def __init__(
        self, kernels: CellKernels, weights: Mapping[str, Array], number: int, *, num_own: int = 0
    ) -> None:
        self._kernels, self._number = kernels, number
        self._names = [
            f"recurrent.{each}_l{number}"
            for each in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        w_ih, w_hh, self._bias_ih, self._bias_hh = (weights[name] for name in self._names)
        self.units = w_hh.shape[1]
        self.num_panels, self.of_panel = panels_of(self.units)
        self._num_gates, self.num_states = kernels.num_gates, kernels.num_states
        self._is_lstm = kernels.num_states > 1
        num_features = w_ih.shape[1] - num_own
        w_ih_GUF, w_hh_GUU = (
            each.reshape(self._num_gates, self.units, -1) for each in (w_ih, w_hh)
        )
        self._w_ih_GUF, self._own_GUD = w_ih_GUF[..., :num_features], w_ih_GUF[..., num_features:]
        here = self.num_panels, self.of_panel
        # Another layer's states lie in panels.
        there = here if number else (1, num_features)
        self._ih = Panels(self._w_ih_GUF.transpose(0, 2, 1), there, here)
        self._hh = Panels(w_hh_GUU.transpose(0, 2, 1), here, here)
        self._back_ih = Panels(self._w_ih_GUF, here, (there[0], filled(there[1])))
        self._back_hh = Panels(w_hh_GUU, here, here)
        self._bias_4V = np.zeros((4, self.num_panels * self.of_panel), np.float32)
        self._own_GVD = np.zeros((self._num_gates, self._bias_4V.shape[1], num_own), np.float32)
        self.shapes = {
            self._names[0]: self._ih.shape,
            self._names[1]: self._hh.shape,
            self._names[2]: (self.num_panels, 4, self.of_panel),
            **({_OWN: self._own_GVD.shape} if num_own else {}),
        }

    def pack_weights(self) -> None:
        """Go on with the weights as they are now."""
        for each in (self._ih, self._hh, self._back_hh):
            each.pack()
        if self._number:  # nobody asks for a gradient by the first one's features
            self._back_ih.pack()
        units = self.units
        self._own_GVD[:, :units] = self._own_GUD
        bias_ih_GU, bias_hh_GU = (
            each.reshape(-1, units) for each in (self._bias_ih, self._bias_hh)
        )
        bias_4U = self._bias_4V[:, :units]
        if self._is_lstm:
            bias_4U[:] = bias_ih_GU + bias_hh_GU
        else:
            bias_4U[:3], bias_4U[3] = bias_ih_GU, bias_hh_GU[2]
            bias_4U[:2] += bias_hh_GU[:2]

    def forward(
        self, x_QKBF: Array, own_BD: Array | None, begin: Sequence[Array], memory: Memory
    ) -> Passed:
        """All steps of these windows, from states ``(P, B, C)`` on."""
        num_steps, num_windows = x_QKBF.shape[1] - 1, x_QKBF.shape[2]
        panels, shape = self.num_panels, (num_windows, self.of_panel)
        bias_P4BC = memory("bias", panels, 4, *shape)
        bias_P4BC[:] = self._bias_4V.reshape(4, panels, 1, -1).swapaxes(0, 1)
        if own_BD is not None:
            own_BN = own_BD @ self._own_GVD.reshape(-1, own_BD.shape[1]).T
            own_BGPC = own_BN.reshape(num_windows, -1, panels, self.of_panel)
            bias_P4BC[:, : self._num_gates] += own_BGPC.transpose(2, 1, 0, 3)
        gates_PL4BC = memory(f"gates {self._number}", panels, num_steps, 4, *shape)
        states = [
            memory(f"state {self._number} {which}", panels, num_steps + 1, *shape)
            for which in range(self.num_states)
        ]
        for state_PKBC, before_PBC in zip(states, begin, strict=True):
            state_PKBC[:, 0] = before_PBC
        weights = self._ih.panels, self._hh.panels
        self._kernels.forward(x_QKBF, *weights, bias_P4BC, gates_PL4BC, *states)
        return Passed(x_QKBF, own_BD, gates_PL4BC, states)

    def backward(
        self, grad_PLBC: Array, passed: Passed, sums: Mapping[str, Array], memory: Memory
    ) -> tuple[Array, Array | None]:
        """Add what the hidden states' gradient gives by the weights to ``sums`` (``shapes``).

        What it gives by the features, ``(Q, L, B, X)``, comes back, or no step of it for the first
        layer, and by what is the same in all steps, ``(B, D)``.
        """
        num_steps, num_windows = grad_PLBC.shape[1:3]
        num_panels, of_panel = self._back_ih.shape[2], self._back_ih.shape[4]
        grad_x_QLBX = memory(
            f"gradient {self._number}",
            num_panels, num_steps if self._number else 0, num_windows, of_panel,
        )  # fmt: skip
        grad_bias_P4BC = memory("gradient of bias", self.num_panels, 4, num_windows, self.of_panel)
        grad_x_QLBX[:], grad_bias_P4BC[:] = 0, 0
        of_step = self.num_panels, num_windows, self.of_panel
        grad_states = [
            memory(f"gradient of state {which}", *of_step) for which in range(self.num_states)
        ]
        for each_PBC in grad_states:
            each_PBC[:] = 0
        summed = max(1, SUMMED // num_windows), num_windows
        self._kernels.backward(
            grad_PLBC, passed.x_QKBF, self._back_ih.panels, self._back_hh.panels,
            passed.gates_PL4BC, *passed.states,
            grad_x_QLBX, *(sums[name] for name in self._names[:2]), grad_bias_P4BC, *grad_states,
            memory("gradients of gates", 4, self.num_panels, *summed, self.of_panel),
        )  # fmt: skip
        sums[self._names[2]][:] += grad_bias_P4BC.sum(2)
        if passed.own_BD is None:
            return grad_x_QLBX, None
        grad_PGBC = grad_bias_P4BC[:, : self._num_gates]
        grad_BN = grad_PGBC.transpose(2, 1, 0, 3).reshape(num_windows, -1)
        sums[_OWN][:] += (grad_BN.T @ passed.own_BD).reshape(sums[_OWN].shape)
        return grad_x_QLBX, grad_BN @ self._own_GVD.reshape(grad_BN.shape[1], -1)

    def fill(self, grads: Mapping[str, Array], sums: Mapping[str, Array]) -> None:
        """The gradients by its weights, as PyTorch has these, from ``sums`` over all windows."""
        units, num_features = self.units, self._w_ih_GUF.shape[2]
        w_ih, w_hh, bias_ih, bias_hh = (grads[name] for name in self._names)
        w_ih_GUF, w_hh_GUU = (each.reshape(-1, units, each.shape[1]) for each in (w_ih, w_hh))
        in_ih_GFU, in_hh_GUU = (
            self._ih.unpacked(sums[self._names[0]]),
            self._hh.unpacked(sums[self._names[1]]),
        )
        w_ih_GUF[..., :num_features] = in_ih_GFU.transpose(0, 2, 1)
        w_hh_GUU[:] = in_hh_GUU.transpose(0, 2, 1)
        if _OWN in self.shapes:
            w_ih_GUF[..., num_features:] = sums[_OWN][:, :units]
        bias_4U = sums[self._names[2]].swapaxes(0, 1).reshape(4, -1)[:, :units]
        bias_ih.reshape(-1, units)[:] = bias_4U[: self._num_gates]
        bias_hh.reshape(-1, units)[:] = bias_4U if self._is_lstm else bias_4U[[0, 1, 3]]


class Panels:
    """A matrix for each gate, ``(G, I, J)``, cut into panels as the kernels want them.

    Of panels down and across are given how many there are, and the rows or columns of each.
    """

    def __init__(self, weights_GIJ: Array, down: tuple[int, int], across: tuple[int, int]) -> None:
        self._weights_GIJ, (_, self._num_rows, self._num_columns) = weights_GIJ, weights_GIJ.shape
        self._whole = np.zeros((len(weights_GIJ), prod(down), prod(across)), np.float32)
        self._cut = self._whole.reshape(-1, *down, *across).swapaxes(2, 3)
        self._is_one = down[0] == across[0] == 1
        self.shape = self._cut.shape
        self.panels = np.ascontiguousarray(self._cut)

    def pack(self) -> None:
        """Go on with the weights as they are now; what panels are filled up with stays zero."""
        self._whole[:, : self._num_rows, : self._num_columns] = self._weights_GIJ
        if not self._is_one:  # else they are the same memory
            self.panels[:] = self._cut

    def unpacked(self, panels: Array) -> Array:
        """From panels like these, ``(G, I, J)``."""
        matrix = panels.swapaxes(2, 3).reshape(self._whole.shape)
        return matrix[:, : self._num_rows, : self._num_columns]


def panels_of(units: int) -> tuple[int, int]:
    """How many panels they lie in, and the units of each, filled up."""
    num_panels = -(-units // PANEL)
    return num_panels, filled(-(-units // num_panels))


def filled(number: int) -> int:
    """As many numbers of a row as the kernels want."""
    return number + -number % LANES


def cut_evenly(windows: slice, num_parts: int) -> list[slice]:
    """So many parts, or fewer, as alike in number as tiles let them be."""
    num_windows = windows.stop - windows.start
    num_tiles = -(-num_windows // _WINDOWS)
    num_parts = min(num_parts, num_tiles)
    bounds = [
        windows.start + min(num_windows, _WINDOWS * (num_tiles * number // num_parts))
        for number in range(num_parts + 1)
    ]
    return [slice(first, end) for first, end in pairwise(bounds)]


def on_threads(
    run: Callable[[T, Memory], U], parts: Sequence[T], memory: Sequence[Memory]
) -> list[U]:
    """What comes of each part, on a thread of its own; kernels leave Python's lock to others."""
    first, *others = zip(parts, memory[: len(parts)], strict=True)
    waiting = [_pool(len(memory) - 1).submit(run, *each) for each in others]
    return [run(*first), *(each.result() for each in waiting)]


@cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads)
