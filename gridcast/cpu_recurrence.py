"""GRU and LSTM layers on a CPU, compiled: ``cpu_kernels.py`` with PyTorch's weights.

On small batches PyTorch's own layers spend most of their time between operations, and each costs
more than its arithmetic. What comes out here is what they give, to rounding, in 32 bits.

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``D`` features that stay the same in all steps
of a window, ``U`` units, ``G`` gates (r, z, n; i, f, g, o); ``V`` and ``X`` are ``U`` and ``F``
filled up as the kernels want it; ``4``: see there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from gridcast import cpu_kernels
from gridcast.cpu_kernels import LANES, Array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
U = TypeVar("U")
_LSTM_GATES = 4
_OWN = "by what is the same in all steps"
# Windows of a thread at least, and in steps of as many: what the kernels' tiles hold.
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

    x_LBF: Array
    own_BD: Array | None
    begin: Sequence[Array]  # (B, V): the hidden states before, and of an LSTM those of the cells
    gates_L4BV: Array
    states: Sequence[Array]  # (L, B, V): the same after each step

    @property
    def hidden_LBV(self) -> Array:  # noqa: N802
        """What the next layer sees."""
        return self.states[0]


class Layer:
    """Layer ``number`` of a network whose ``weights`` have PyTorch's names and shapes.

    The last ``num_own`` of its features stay the same in all steps of a window: to the gates they
    are a bias of the window, and cost next to nothing.
    """

    def __init__(self, weights: Mapping[str, Array], number: int, *, num_own: int = 0) -> None:
        self._number = number
        self._names = [
            f"recurrent.{each}_l{number}"
            for each in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        w_ih, w_hh, self._bias_ih, self._bias_hh = (weights[name] for name in self._names)
        self.units = w_hh.shape[1]
        self.num_filled = filled(self.units)
        self._num_gates = len(w_hh) // self.units
        self._is_lstm = self._num_gates == _LSTM_GATES
        self.num_states = 1 + self._is_lstm
        num_features = w_ih.shape[1] - num_own
        self._own_ND = w_ih[:, num_features:]  # N: the units of all gates
        w_ih_GUF, w_hh_GUU = (each.reshape(-1, self.units, each.shape[1]) for each in (w_ih, w_hh))
        self._w_ih_GUF, self._w_hh_GUU = w_ih_GUF[..., :num_features], w_hh_GUU
        # As the kernels want them; what they are filled up with stays zero.
        self._bias_4V = np.zeros((4, self.num_filled), np.float32)
        self._w_ih_GFV, self._w_hh_GUV, self._back_ih_GUX, self._back_hh_GUV = (
            np.zeros((self._num_gates, *shape), np.float32)
            for shape in (
                (num_features, self.num_filled), (self.units, self.num_filled),
                (self.units, filled(num_features)), (self.units, self.num_filled),
            )
        )  # fmt: skip
        self.shapes = dict(
            zip(
                self._names[:3],
                (self._w_ih_GFV.shape, self._w_hh_GUV.shape, self._bias_4V.shape),
                strict=True,
            )
        )
        if num_own:
            self.shapes[_OWN] = self._own_ND.shape

    def take_weights(self) -> None:
        """Go on with the weights as they are now."""
        units, num_features = self.units, self._w_ih_GUF.shape[2]
        self._w_ih_GFV[..., :units] = self._w_ih_GUF.transpose(0, 2, 1)
        self._w_hh_GUV[..., :units] = self._w_hh_GUU.transpose(0, 2, 1)
        self._back_ih_GUX[..., :num_features] = self._w_ih_GUF
        self._back_hh_GUV[..., :units] = self._w_hh_GUU
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
        self, x_LBF: Array, own_BD: Array | None, begin: Sequence[Array], memory: Memory
    ) -> Passed:
        """All steps of these windows."""
        num_steps, num_windows = x_LBF.shape[:2]
        shape = num_windows, self.num_filled
        bias_4BV = memory("bias", 4, *shape)
        bias_4BV[:] = self._bias_4V[:, None]
        if own_BD is not None:
            own_BGU = (own_BD @ self._own_ND.T).reshape(num_windows, -1, self.units)
            bias_4BV[: self._num_gates, :, : self.units] += own_BGU.transpose(1, 0, 2)
        gates_L4BV = memory(f"gates {self._number}", num_steps, 4, *shape)
        states = [
            memory(f"state {self._number} {which}", num_steps, *shape)
            for which in range(self.num_states)
        ]
        kernel = cpu_kernels.lstm_forward if self._is_lstm else cpu_kernels.gru_forward
        kernel(x_LBF, self._w_ih_GFV, self._w_hh_GUV, bias_4BV, *begin, gates_L4BV, *states)
        return Passed(x_LBF, own_BD, begin, gates_L4BV, states)

    def backward(
        self, grad_LBV: Array, passed: Passed, sums: Mapping[str, Array], memory: Memory
    ) -> tuple[Array, Array | None]:
        """Add what the hidden states' gradient gives by the weights to ``sums`` (``shapes``).

        What it gives by the features, ``(L, B, X)``, comes back, or no step of it for the first
        layer, and by what is the same in all steps, ``(B, D)``.
        """
        num_steps, num_windows = grad_LBV.shape[:2] if self._number else (0, grad_LBV.shape[1])
        grad_x_LBX = memory(
            f"gradient {self._number}", num_steps, num_windows, self._back_ih_GUX.shape[2]
        )
        grad_bias_4BV = memory("gradient of bias", 4, num_windows, self.num_filled)
        grad_x_LBX[:], grad_bias_4BV[:] = 0, 0
        kernel = cpu_kernels.lstm_backward if self._is_lstm else cpu_kernels.gru_backward
        kernel(
            grad_LBV, passed.x_LBF, self._back_ih_GUX, self._back_hh_GUV, *passed.begin,
            passed.gates_L4BV, *passed.states,
            grad_x_LBX, *(sums[name] for name in self._names[:2]), grad_bias_4BV,
        )  # fmt: skip
        sums[self._names[2]][:] += grad_bias_4BV.sum(1)
        if passed.own_BD is None:
            return grad_x_LBX, None
        grad_GBU = grad_bias_4BV[: self._num_gates, :, : self.units]
        grad_BN = grad_GBU.transpose(1, 0, 2).reshape(num_windows, -1)
        sums[_OWN][:] += grad_BN.T @ passed.own_BD
        return grad_x_LBX, grad_BN @ self._own_ND

    def fill(self, grads: Mapping[str, Array], sums: Mapping[str, Array]) -> None:
        """The gradients by its weights, as PyTorch has these, from ``sums`` over all windows."""
        units, num_features = self.units, self._w_ih_GUF.shape[2]
        w_ih, w_hh, bias_ih, bias_hh = (grads[name] for name in self._names)
        w_ih_GUF, w_hh_GUU = (each.reshape(-1, units, each.shape[1]) for each in (w_ih, w_hh))
        w_ih_GUF[..., :num_features] = sums[self._names[0]][..., :units].transpose(0, 2, 1)
        w_hh_GUU[:] = sums[self._names[1]][..., :units].transpose(0, 2, 1)
        if _OWN in self.shapes:
            w_ih[:, num_features:] = sums[_OWN]
        bias_4U = sums[self._names[2]][:, :units]
        bias_ih.reshape(-1, units)[:] = bias_4U[: self._num_gates]
        bias_hh.reshape(-1, units)[:] = bias_4U if self._is_lstm else bias_4U[[0, 1, 3]]


def filled(number: int) -> int:
    """As many numbers of a row as the kernels want."""
    return number + -number % LANES


def parts_of(num_windows: int, num_threads: int) -> list[slice]:
    """The windows of each thread, as alike in number as tiles let them be."""
    num_tiles = -(-num_windows // _WINDOWS)
    num_parts = min(num_threads, num_tiles)
    bounds = [
        min(num_windows, _WINDOWS * (num_tiles * number // num_parts))
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
