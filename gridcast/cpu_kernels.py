"""A GRU layer over all its steps, each way one loop, compiled for the CPU at hand.

On small matrices the time goes into what lies between operations, and libraries for matrices are
made for large ones. So a step is one piece of code here, its products included. ``numba`` compiles
it where this module is first imported, and keeps the result for later processes; a GPU needs none
of it, so it is imported where it is used.

Units are filled up to a multiple of ``LANES``, so that a product has no remainder: weights that are
zero keep the states of those added zero. No sum depends on how many windows there are.

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``U`` units, ``G`` gates (r, z, n of the GRU);
``V`` and ``X`` are ``U`` and ``F`` filled up, ``N = B V``. ``4`` stands for r, z, the input side of
n and its hidden side (``q``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[np.float32]

LANES = 16  # a register of AVX-512; where they are shorter the compiler takes several
# A tile of sums that stays in registers, of which AVX-512 has 32 long ones.
_ROWS, _VECTORS = 4, 4 if binding.get_host_cpu_features().get("avx512f") else 1

# tanh(x) is x A(x²) / B(x²) up to _MOST, beyond it 1 in 32 bits (Eigen's fraction).
_MOST = np.float32(7.90531110763549805)
_A0, _A1 = np.float32(4.89352455891786e-3), np.float32(6.37261928875436e-4)
_A2, _A3 = np.float32(1.48572235717979e-5), np.float32(5.12229709037114e-8)
_A4, _A5 = np.float32(-8.60467152213735e-11), np.float32(2.00018790482477e-13)
_A6 = np.float32(-2.76076847742355e-16)
_B0, _B1 = np.float32(4.89352518554385e-3), np.float32(2.26843463243900e-3)
_B2, _B3 = np.float32(1.18534705686654e-4), np.float32(1.19825839466702e-6)
_HALF, _ONE = np.float32(0.5), np.float32(1)


# Arrays of so many dimensions, the first two laid out anyhow: turned, or a part of another.
_ANY_2, _ANY_3 = types.float32[:, :], types.float32[:, :, :]
_1, _2, _3, _4 = (types.Array(types.float32, number, "C") for number in (1, 2, 3, 4))


def _compiled(*kinds: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile at once, or take what an earlier process kept beside this file or in the cache.

    A product and a sum may become one instruction, nothing else: what is not a number stays so.
    """

    def compiled(function: Callable[..., None]) -> Callable[..., None]:
        signature = types.void(*kinds)
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
        try:
            kernel: Callable[..., None] = njit(signature, cache=True, **options)(function)
        except RuntimeError:  # no folder for a cache can be written: compiled in each process
            kernel = njit(signature, **options)(function)
        return kernel

    return compiled


def _tile(num_rows: int, num_vectors: int) -> Callable[..., None]:
    """What adds ``left @ right`` to the tile of ``sums`` that begins at a row and a column.

    numba has no type for a vector, so it is written in what LLVM reads: columns of ``left`` times
    rows of ``right`` are summed up in registers, and the sum is added to the tile at the end (one
    by one the terms would lose digits in a sum over many steps).
    """
    vector, index = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32)
    none, zeros = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * LANES)
    all_first = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
    rows, columns = range(num_rows), range(0, num_vectors * LANES, LANES)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, row, column = signature.args[:3], arguments[3], arguments[4]
        arrays = [
            context.make_array(kind)(context, builder, argument)
            for kind, argument in zip(kinds, arguments, strict=False)
        ]

        def place(number: int, i: Any, j: Any) -> Any:
            return cgutils.get_item_pointer(
                context, builder, kinds[number], arrays[number], [i, j], wraparound=False
            )

        def after(start: Any, offset: int) -> Any:
            return builder.add(start, ir.Constant(start.type, offset))

        def vectors(number: int, i: Any) -> list[Any]:
            places = [place(number, i, after(column, offset)) for offset in columns]
            return [builder.bitcast(each, vector.as_pointer()) for each in places]

        targets = [target for i in rows for target in vectors(0, after(row, i))]
        sums = [cgutils.alloca_once_value(builder, zeros) for _ in targets]
        depth = builder.extract_value(arrays[2].shape, 0)
        with cgutils.for_range(builder, depth) as loop:
            rights = [builder.load(each, align=4) for each in vectors(2, loop.index)]
            for i in rows:
                left = builder.load(place(1, after(row, i), loop.index))
                left = builder.insert_element(none, left, ir.Constant(index, 0))
                left = builder.shuffle_vector(left, none, all_first)
                for right, total in zip(rights, sums[i * num_vectors :], strict=False):
                    product = builder.fmul(left, right, flags=("contract",))
                    new = builder.fadd(builder.load(total), product, flags=("contract",))
                    builder.store(new, total)
        for total, target in zip(sums, targets, strict=True):
            before = builder.load(target, align=4)
            builder.store(builder.fadd(before, builder.load(total)), target, align=4)
        return context.get_dummy_value()

    def add_tile(_: Any, sums: Any, left: Any, right: Any, row: Any, column: Any) -> Any:
        return types.void(sums, left, right, row, column), build

    tile: Callable[..., None] = intrinsic(add_tile)
    return tile


_tile_of_rows, _tile_of_row = _tile(_ROWS, _VECTORS), _tile(1, _VECTORS)
_narrow_of_rows, _narrow_of_row = _tile(_ROWS, 1), _tile(1, 1)


@_compiled(_2, _ANY_2, _2)
def add_product(sums: Array, left: Array, right: Array) -> None:
    """``sums += left @ right``; the columns of ``sums`` and ``right`` are filled up."""
    num_rows, num_columns = sums.shape
    end_of_rows = num_rows - num_rows % _ROWS
    end_of_wide = num_columns - num_columns % (_VECTORS * LANES)
    for column in range(0, end_of_wide, _VECTORS * LANES):
        for row in range(0, end_of_rows, _ROWS):
            _tile_of_rows(sums, left, right, row, column)
        for row in range(end_of_rows, num_rows):
            _tile_of_row(sums, left, right, row, column)
    for column in range(end_of_wide, num_columns, LANES):
        for row in range(0, end_of_rows, _ROWS):
            _narrow_of_rows(sums, left, right, row, column)
        for row in range(end_of_rows, num_rows):
            _narrow_of_row(sums, left, right, row, column)


# In the kernels each loop writes one array, else the compiler would not dare to take many numbers
# at a time: it does not know that the arrays lie apart.


@_compiled(_1)
def take_tanh(values: Array) -> None:
    """``tanh(values)``, in place, to 4e-7 of it."""
    for i in range(len(values)):
        x = max(min(values[i], _MOST), -_MOST)
        s = x * x
        above = (((((_A6 * s + _A5) * s + _A4) * s + _A3) * s + _A2) * s + _A1) * s + _A0
        values[i] = x * above / (((_B3 * s + _B2) * s + _B1) * s + _B0)


@_compiled(_1)
def take_sigmoid(values: Array) -> None:
    """``1 / (1 + exp(-values))``, in place, to 2e-7."""
    for i in range(len(values)):
        values[i] *= _HALF
    take_tanh(values)
    for i in range(len(values)):
        values[i] = _HALF + _HALF * values[i]


@_compiled(_ANY_3, _3, _3, _3, _2, _4, _3)
def gru_forward(
    x_LBF: Array, w_ih_GFV: Array, w_hh_GUV: Array, bias_4BV: Array, begin_BV: Array,
    gates_L4BV: Array, hidden_LBV: Array,
) -> None:  # fmt: skip
    """Fill the last two: r, z, n and q of each step, and the hidden states."""
    num_steps = len(x_LBF)
    gates_L4N, bias_N = gates_L4BV.reshape(num_steps, 4, -1), bias_4BV.reshape(-1)
    hidden_LN = hidden_LBV.reshape(num_steps, -1)
    before_BV, before = begin_BV, begin_BV.reshape(-1)
    for step in range(num_steps):
        gates_4BV, gates_N, hidden = gates_L4BV[step], gates_L4BV[step].reshape(-1), hidden_LN[step]
        for i in range(len(bias_N)):
            gates_N[i] = bias_N[i]
        for gate, hidden_gate in enumerate((0, 1, 3)):
            add_product(gates_4BV[gate], x_LBF[step], w_ih_GFV[gate])
            add_product(gates_4BV[hidden_gate], before_BV, w_hh_GUV[gate])
        r, z, n, q = gates_L4N[step, 0], gates_L4N[step, 1], gates_L4N[step, 2], gates_L4N[step, 3]
        take_sigmoid(r)
        take_sigmoid(z)
        for i in range(len(n)):
            n[i] += r[i] * q[i]
        take_tanh(n)
        for i in range(len(n)):
            hidden[i] = n[i] + z[i] * (before[i] - n[i])
        before_BV, before = hidden_LBV[step], hidden


@_compiled(*[_1] * 11)
def _take_through_gates(
    state: Array, given: Array, r: Array, z: Array, n: Array, q: Array, before: Array,
    dr: Array, dz: Array, dn: Array, dq: Array,
) -> None:  # fmt: skip
    """Fill the last four, from ``state`` and ``given``, the gradients by a hidden state.

    ``state`` becomes that by the hidden state before, but for what comes through the products.
    """
    for i in range(len(n)):
        state[i] += given[i]
    for i in range(len(n)):
        dn[i] = state[i] * (_ONE - z[i]) * (_ONE - n[i] * n[i])
    for i in range(len(n)):
        dq[i] = dn[i] * r[i]
    for i in range(len(n)):
        dr[i] = dq[i] * q[i] * (_ONE - r[i])
    for i in range(len(n)):
        dz[i] = state[i] * (before[i] - n[i]) * z[i] * (_ONE - z[i])
    for i in range(len(n)):
        state[i] *= z[i]


@_compiled(_3, _ANY_3, _3, _3, _2, _4, _3, _3, _3, _3, _3)
def gru_backward(
    grad_LBV: Array, x_LBF: Array, w_ih_GUX: Array, w_hh_GUV: Array, begin_BV: Array,
    gates_L4BV: Array, hidden_LBV: Array,
    grad_x_LBX: Array, grad_w_ih_GFV: Array, grad_w_hh_GVV: Array, grad_bias_4BV: Array,
) -> None:  # fmt: skip
    """Add to the last four, which begin as zeros, what ``grad_LBV``, by the hidden states, gives.

    Where ``grad_x_LBX`` has no steps, nobody asks for it.
    """
    num_steps = len(x_LBF)
    gates_L4N, hidden_LN = gates_L4BV.reshape(num_steps, 4, -1), hidden_LBV.reshape(num_steps, -1)
    given_LN, begin = grad_LBV.reshape(num_steps, -1), begin_BV.reshape(-1)
    state_BV, grad_4BV = np.zeros_like(begin_BV), np.zeros_like(grad_bias_4BV)
    state, grad_N, bias_N = state_BV.reshape(-1), grad_4BV.reshape(-1), grad_bias_4BV.reshape(-1)
    grad_4N = grad_4BV.reshape(4, -1)
    dr, dz, dn, dq = grad_4N[0], grad_4N[1], grad_4N[2], grad_4N[3]
    for step in range(num_steps - 1, -1, -1):
        before_BV = hidden_LBV[step - 1] if step else begin_BV
        before, given = hidden_LN[step - 1] if step else begin, given_LN[step]
        r, z, n, q = gates_L4N[step, 0], gates_L4N[step, 1], gates_L4N[step, 2], gates_L4N[step, 3]
        _take_through_gates(state, given, r, z, n, q, before, dr, dz, dn, dq)
        for i in range(len(grad_N)):
            bias_N[i] += grad_N[i]
        for gate, hidden_gate in enumerate((0, 1, 3)):
            add_product(grad_w_ih_GFV[gate], x_LBF[step].T, grad_4BV[gate])
            if len(grad_x_LBX):
                add_product(grad_x_LBX[step], grad_4BV[gate], w_ih_GUX[gate])
            add_product(grad_w_hh_GVV[gate], before_BV.T, grad_4BV[hidden_gate])
            add_product(state_BV, grad_4BV[hidden_gate], w_hh_GUV[gate])
