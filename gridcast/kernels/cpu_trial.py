"""Whether the compiled loops run here: each is compiled, and run once on next to nothing.

What is compiled is what a training calls, for the same kinds of arrays, and is kept for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridcast.kernels import cpu_kernels
from gridcast.kernels.cpu_recurrence import Layer, Memory
from gridcast.kernels.numba_private import LANES

if TYPE_CHECKING:
    from gridcast.config import Cell
    from gridcast.kernels.cpu_kernels import Array

_SWITCHES = True, False, True  # a change is forecast, the head has no ReLU, the loss is L1
_STEPS, _WINDOWS, _FEATURES, _UNITS = 3, 2, 2, 2


class LoopsError(RuntimeError):
    """They compile, and what they give is not a number."""


def try_loops(cell: Cell) -> None:
    """One step of a training: gather, layer, head, loss, the way back, Adam.

    Raises:
        LoopsError: what comes out is not finite.
        Exception: whatever numba raises where it does not compile them.
    """
    rng, memory = np.random.default_rng(0), Memory()
    x_QKBF = memory("x", 1, _STEPS + 1, _WINDOWS, _FEATURES)
    series = _random(rng, _STEPS + _WINDOWS, _FEATURES)
    starts_B = np.arange(_WINDOWS)
    cpu_kernels.gather(series, starts_B, x_QKBF[0])
    kernels = cpu_kernels.KERNELS_OF_CELL[cell]
    layer = Layer(kernels, _weights(rng, kernels.num_gates * _UNITS), 0)
    layer.pack_weights()
    shape = layer.num_panels, _WINDOWS, layer.of_panel
    begin = [np.zeros(shape, np.float32) for _ in range(layer.num_states)]
    passed = layer.forward(x_QKBF, None, begin, memory)
    grad_PLBC = _score(rng, series[:, 0].copy(), x_QKBF[0], starts_B, passed.hidden_PKBC, memory)
    sums = {name: np.zeros(shape, np.float32) for name, shape in layer.shapes.items()}
    layer.backward(grad_PLBC, passed, sums, memory)
    for grads in sums.values():
        _update(grads.reshape(-1))


def _random(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def _weights(rng: np.random.Generator, num_rows: int) -> dict[str, Array]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    shapes = ((num_rows, _FEATURES), (num_rows, _UNITS), (num_rows,), (num_rows,))
    return {
        f"recurrent.{name}_l0": _random(rng, *shape)
        for name, shape in zip(names, shapes, strict=True)
    }


def _score(
    rng: np.random.Generator, target_T: Array, x_KBF: Array, starts_B: cpu_kernels.Ints,
    hidden_PKBC: Array, memory: Memory,
) -> Array:  # fmt: skip
    """The loss's gradient by the states, from a head of one step ahead."""
    panels, num_states, batch, of_panel = hidden_PKBC.shape
    columns, ones = LANES, np.ones(len(target_T), np.float32)
    grad_PLBC = memory("gradient of loss", panels, num_states - 1, batch, of_panel)
    loss = cpu_kernels.score(
        hidden_PKBC, x_KBF[..., 0], starts_B, ones[:batch], target_T, ones,
        _random(rng, panels, of_panel, columns), _random(rng, panels, 1, of_panel),
        np.zeros(columns, np.float32), 0, np.float32(1), *_SWITCHES,
        grad_PLBC, np.zeros((panels, 1, of_panel), np.float32), np.zeros(1, np.float32),
        memory("outputs", panels, batch, of_panel), memory("loads", batch, columns),
        memory("slopes", batch, 1),
    )  # fmt: skip
    _require_finite(loss)
    return grad_PLBC


def _update(grads: Array) -> None:
    """Adam's first step on weights that are zero."""
    _require_finite(cpu_kernels.square_sum(grads))
    weights, means, squares = np.zeros((3, len(grads)), np.float32)
    cpu_kernels.adam_step(weights, means, squares, grads, *np.ones(9, np.float32))
    _require_finite(float(weights.sum()))


def _require_finite(value: float) -> None:
    if not np.isfinite(value):
        message = f"found {value} where a number was expected"
        raise LoopsError(message)
