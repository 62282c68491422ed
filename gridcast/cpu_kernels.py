"""A GRU or LSTM layer over all its steps, each way one loop, compiled for the CPU at hand.

On small matrices the time goes into what lies between operations, and libraries for matrices are
made for large ones. So a step is one piece of code here, its products included. ``numba`` compiles
it when it is first called, and keeps the result for later processes. A GPU needs none of it, so
this module is imported where it is used. All kernels stand in one file: of what it kept, numba
asks only whether that file has changed.

Units are filled up to a multiple of ``LANES``, so that a product has no remainder: weights that are
zero keep the states of those added zero. No sum depends on how many windows there are.

Legend: ``L`` steps, ``B`` windows, ``F`` features, ``U`` units, ``G`` gates (r, z, n of the GRU; i,
f, g, o of the LSTM); ``V`` and ``X`` are ``U`` and ``F`` filled up, ``N = B V``. ``4`` stands for
the LSTM's gates, or for the GRU's r, z, the input side of n and its hidden side (``q``). ``C`` are
steps whose gradients are added to those of the weights together, ``M = C B``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[np.float32]
Ints = NDArray[np.int64]

LANES = 16  # a register of AVX-512; where they are shorter the compiler takes several
# Windows, step by step, that are summed up in registers for a weight's gradient: while they last
# nothing of it is read or written, and they lie in the first-level cache.
_SUMMED = 64
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


# Arrays of so many dimensions, the first one laid out anyhow: turned, or a part of another.
_ANY_2 = types.float32[:, :]
_1, _2 = (types.Array(types.float32, number, "C") for number in (1, 2))


def _compiled(
    *kinds: Any, in_any_order: bool = False
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Compile for these kinds of arrays at once; where none are named, when it is first called.

    What an earlier process kept beside this file or in the cache is taken. A product and a sum may
    become one instruction, and sums may be added up ``in_any_order`` (the same one each time),
    nothing else: what is not a number stays so.
    """
    flags = {"contract", "reassoc"} if in_any_order else {"contract"}

    def compiled(function: Callable[..., T]) -> Callable[..., T]:
        signature = [types.void(*kinds)] if kinds else []
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": flags}
        try:
            kernel: Callable[..., T] = njit(*signature, cache=True, **options)(function)
        except RuntimeError:  # no folder for a cache can be written: compiled in each process
            kernel = njit(*signature, **options)(function)
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


# The layers are compiled when they are first called: a process trains one of the two.
#
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


@_compiled(_1, _1)
def _add(sums: Array, values: Array) -> None:
    for i in range(len(sums)):
        sums[i] += values[i]


@_compiled()
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


@_compiled()
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


@_compiled()
def _add_to_weights(
    grad_w_ih_GFV: Array, grad_w_hh_GVV: Array, grad_4MV: Array, x_LBF: Array, begin_BV: Array,
    hidden_LBV: Array, first: int, end: int,
) -> None:  # fmt: skip
    """Add to the first two what the gradients of the steps from ``first`` to ``end`` give."""
    batch, num_gates = len(begin_BV), len(grad_w_ih_GFV)
    num = (end - first) * batch
    x_NF, hidden_NV = x_LBF.reshape(-1, x_LBF.shape[2]), hidden_LBV.reshape(-1, begin_BV.shape[1])
    for gate in range(num_gates):
        of_input = grad_4MV[gate][:num]
        of_state = grad_4MV[3 if gate == num_gates - 1 else gate][:num]
        add_product(grad_w_ih_GFV[gate], x_NF[first * batch : end * batch].T, of_input)
        if first:
            before_NV = hidden_NV[(first - 1) * batch : (end - 1) * batch]
            add_product(grad_w_hh_GVV[gate], before_NV.T, of_state)
        else:
            add_product(grad_w_hh_GVV[gate], begin_BV.T, of_state[:batch])
            add_product(grad_w_hh_GVV[gate], hidden_NV[: num - batch].T, of_state[batch:])


@_compiled()
def gru_backward(
    grad_LBV: Array, x_LBF: Array, w_ih_GUX: Array, w_hh_GUV: Array, begin_BV: Array,
    gates_L4BV: Array, hidden_LBV: Array,
    grad_x_LBX: Array, grad_w_ih_GFV: Array, grad_w_hh_GVV: Array, grad_bias_4BV: Array,
) -> None:  # fmt: skip
    """Add to the last four, which begin as zeros, what ``grad_LBV``, by the hidden states, gives.

    Where ``grad_x_LBX`` has no steps, nobody asks for it.
    """
    num_steps, (batch, filled) = len(x_LBF), begin_BV.shape
    gates_L4N, hidden_LN = gates_L4BV.reshape(num_steps, 4, -1), hidden_LBV.reshape(num_steps, -1)
    given_LN, begin = grad_LBV.reshape(num_steps, -1), begin_BV.reshape(-1)
    state_BV, num_together = np.zeros_like(begin_BV), max(1, _SUMMED // batch)
    grad_4CBV = np.zeros((4, num_together, batch, filled), np.float32)
    grad_4CN, grad_4MV = grad_4CBV.reshape(4, num_together, -1), grad_4CBV.reshape(4, -1, filled)
    state, bias_4N = state_BV.reshape(-1), grad_bias_4BV.reshape(4, -1)
    for end in range(num_steps, 0, -num_together):
        first = max(0, end - num_together)
        for step in range(end - 1, first - 1, -1):
            place = step - first
            _take_through_gates(
                state, given_LN[step],
                gates_L4N[step, 0], gates_L4N[step, 1], gates_L4N[step, 2], gates_L4N[step, 3],
                hidden_LN[step - 1] if step else begin,
                grad_4CN[0, place], grad_4CN[1, place], grad_4CN[2, place], grad_4CN[3, place],
            )  # fmt: skip
            for gate in range(4):
                _add(bias_4N[gate], grad_4CN[gate, place])
            for gate, hidden_gate in enumerate((0, 1, 3)):
                if len(grad_x_LBX):
                    add_product(grad_x_LBX[step], grad_4CBV[gate, place], w_ih_GUX[gate])
                add_product(state_BV, grad_4CBV[hidden_gate, place], w_hh_GUV[gate])
        _add_to_weights(
            grad_w_ih_GFV, grad_w_hh_GVV, grad_4MV, x_LBF, begin_BV, hidden_LBV, first, end
        )


@_compiled()
def lstm_forward(
    x_LBF: Array, w_ih_GFV: Array, w_hh_GUV: Array, bias_4BV: Array,
    begin_BV: Array, begin_cell_BV: Array,
    gates_L4BV: Array, hidden_LBV: Array, cell_LBV: Array,
) -> None:  # fmt: skip
    """Fill the last three: the gates of each step, the hidden states, and the cells'."""
    num_steps = len(x_LBF)
    gates_L4N, bias_N = gates_L4BV.reshape(num_steps, 4, -1), bias_4BV.reshape(-1)
    hidden_LN, cell_LN = hidden_LBV.reshape(num_steps, -1), cell_LBV.reshape(num_steps, -1)
    before_BV, before = begin_BV, begin_cell_BV.reshape(-1)
    for step in range(num_steps):
        gates_4BV, gates_N = gates_L4BV[step], gates_L4BV[step].reshape(-1)
        hidden, cell = hidden_LN[step], cell_LN[step]
        for i in range(len(bias_N)):
            gates_N[i] = bias_N[i]
        for gate in range(4):
            add_product(gates_4BV[gate], x_LBF[step], w_ih_GFV[gate])
            add_product(gates_4BV[gate], before_BV, w_hh_GUV[gate])
        enter, keep = gates_L4N[step, 0], gates_L4N[step, 1]
        new, show = gates_L4N[step, 2], gates_L4N[step, 3]
        take_sigmoid(enter)
        take_sigmoid(keep)
        take_tanh(new)
        take_sigmoid(show)
        for i in range(len(cell)):
            cell[i] = keep[i] * before[i] + enter[i] * new[i]
        for i in range(len(cell)):
            hidden[i] = cell[i]
        take_tanh(hidden)
        for i in range(len(cell)):
            hidden[i] *= show[i]
        before_BV, before = hidden_LBV[step], cell


@_compiled()
def _take_through_cell(
    state: Array, cell_state: Array, given: Array,
    enter: Array, keep: Array, new: Array, show: Array, before: Array, cell: Array,
    tanh_cell: Array, d_enter: Array, d_keep: Array, d_new: Array, d_show: Array,
) -> None:  # fmt: skip
    """Fill the last five, from ``state``, ``cell_state`` and ``given``.

    These are the gradients by a hidden state and by a cell's, and what of the former comes from
    above. The first two become those by the states before, but for what comes through the products.
    """
    for i in range(len(cell)):
        tanh_cell[i] = cell[i]
    take_tanh(tanh_cell)
    for i in range(len(cell)):
        state[i] += given[i]
    for i in range(len(cell)):
        d_show[i] = state[i] * tanh_cell[i] * show[i] * (_ONE - show[i])
    for i in range(len(cell)):
        cell_state[i] += state[i] * show[i] * (_ONE - tanh_cell[i] * tanh_cell[i])
    for i in range(len(cell)):
        d_enter[i] = cell_state[i] * new[i] * enter[i] * (_ONE - enter[i])
    for i in range(len(cell)):
        d_new[i] = cell_state[i] * enter[i] * (_ONE - new[i] * new[i])
    for i in range(len(cell)):
        d_keep[i] = cell_state[i] * before[i] * keep[i] * (_ONE - keep[i])
    for i in range(len(cell)):
        cell_state[i] *= keep[i]
    for i in range(len(cell)):
        state[i] = 0


@_compiled()
def lstm_backward(
    grad_LBV: Array, x_LBF: Array, w_ih_GUX: Array, w_hh_GUV: Array,
    begin_BV: Array, begin_cell_BV: Array,
    gates_L4BV: Array, hidden_LBV: Array, cell_LBV: Array,
    grad_x_LBX: Array, grad_w_ih_GFV: Array, grad_w_hh_GVV: Array, grad_bias_4BV: Array,
) -> None:  # fmt: skip
    """As ``gru_backward``."""
    num_steps, (batch, filled) = len(x_LBF), begin_BV.shape
    gates_L4N, cell_LN = gates_L4BV.reshape(num_steps, 4, -1), cell_LBV.reshape(num_steps, -1)
    given_LN, begin = grad_LBV.reshape(num_steps, -1), begin_cell_BV.reshape(-1)
    state_BV, num_together = np.zeros_like(begin_BV), max(1, _SUMMED // batch)
    grad_4CBV = np.zeros((4, num_together, batch, filled), np.float32)
    grad_4CN, grad_4MV = grad_4CBV.reshape(4, num_together, -1), grad_4CBV.reshape(4, -1, filled)
    state, bias_4N = state_BV.reshape(-1), grad_bias_4BV.reshape(4, -1)
    tanh_cell, cell_state = np.zeros_like(begin), np.zeros_like(begin)
    for end in range(num_steps, 0, -num_together):
        first = max(0, end - num_together)
        for step in range(end - 1, first - 1, -1):
            place = step - first
            _take_through_cell(
                state, cell_state, given_LN[step],
                gates_L4N[step, 0], gates_L4N[step, 1], gates_L4N[step, 2], gates_L4N[step, 3],
                cell_LN[step - 1] if step else begin, cell_LN[step], tanh_cell,
                grad_4CN[0, place], grad_4CN[1, place], grad_4CN[2, place], grad_4CN[3, place],
            )  # fmt: skip
            for gate in range(4):
                _add(bias_4N[gate], grad_4CN[gate, place])
                if len(grad_x_LBX):
                    add_product(grad_x_LBX[step], grad_4CBV[gate, place], w_ih_GUX[gate])
                add_product(state_BV, grad_4CBV[gate, place], w_hh_GUV[gate])
        _add_to_weights(
            grad_w_ih_GFV, grad_w_hh_GVV, grad_4MV, x_LBF, begin_BV, hidden_LBV, first, end
        )


@_compiled()
def gather(x_TF: Array, starts_B: Ints, x_LBF: Array) -> None:
    """Fill the last with the windows of the first that begin at these steps."""
    for step in range(len(x_LBF)):
        for window, start in enumerate(starts_B):
            for feature in range(x_TF.shape[1]):
                x_LBF[step, window, feature] = x_TF[start + step, feature]


@_compiled()
def score(
    hidden_LBV: Array, load_LB: Array, starts_B: Ints, counts_B: Array, target_T: Array,
    is_train_T: Array, w_VX: Array, w_HV: Array, bias_H: Array, warmup: int, gain: np.float32,
    is_change: bool, has_relu: bool, is_l1: bool,
    grad_LBV: Array, grad_w_HV: Array, grad_bias_H: Array,
) -> float:  # fmt: skip
    """The sum of the losses of all labels; fills ``grad_LBV`` and adds to what comes after it.

    The head's outputs, times ``gain``, are a scaled load, or its change from that of ``load_LB``.
    A label counts where ``is_train_T`` is 1, times ``counts_B``. ``w_VX`` is ``w_HV`` turned, with
    the horizon ``H`` filled up.
    """
    total, horizon = 0.0, len(bias_H)
    out_BV = np.zeros_like(hidden_LBV[0])
    y_BX = np.empty((len(starts_B), w_VX.shape[1]), np.float32)
    slope_BH = np.empty((len(starts_B), horizon), np.float32)
    grad_LBV[:warmup] = 0
    for step in range(warmup, len(hidden_LBV)):
        hidden_BV = hidden_LBV[step]
        if has_relu:
            out, hidden = out_BV.reshape(-1), hidden_BV.reshape(-1)
            for i in range(len(out)):
                out[i] = max(hidden[i], np.float32(0))
            hidden_BV = out_BV
        y_BX[:] = 0
        add_product(y_BX, hidden_BV, w_VX)
        for window, start in enumerate(starts_B):
            for ahead in range(horizon):
                label = start + step + 1 + ahead
                count = is_train_T[label] * counts_B[window]
                error = gain * (y_BX[window, ahead] + bias_H[ahead]) - target_T[label]
                if is_change:
                    error += load_LB[step, window]
                total += count * (abs(error) if is_l1 else error * error)
                slope = np.sign(error) if is_l1 else error + error
                slope_BH[window, ahead] = slope * count * gain
                grad_bias_H[ahead] += slope * count * gain
        grad_LBV[step] = 0
        add_product(grad_LBV[step], slope_BH, w_HV)
        add_product(grad_w_HV, slope_BH.T, hidden_BV)
        if has_relu:
            grad = grad_LBV[step].reshape(-1)
            for i in range(len(grad)):
                grad[i] = grad[i] if out[i] > 0 else np.float32(0)
    return total


@_compiled(in_any_order=True)
def square_sum(values: Array) -> float:
    """The sum of the squares, in 64 bits."""
    total = 0.0
    for i in range(len(values)):
        total += np.float64(values[i]) * np.float64(values[i])
    return total


@_compiled()
def adam_step(
    weights: Array, means: Array, squares: Array, grads: Array, factor: np.float32,
    most: np.float32, decay: np.float32, share: np.float32, gain_1: np.float32, gain_2: np.float32,
    root: np.float32, epsilon: np.float32, size: np.float32,
) -> None:  # fmt: skip
    """The last lines of ``StackedAdam.step`` for one network; what is in ``grads`` is lost.

    The gradients are taken times ``factor``, ``most`` at most, with ``decay`` times the weights, of
    which ``share`` is left.
    """
    for i in range(len(grads)):
        grads[i] = max(min(grads[i] * factor, most), -most) + decay * weights[i]
    for i in range(len(grads)):
        means[i] += gain_1 * (grads[i] - means[i])
    for i in range(len(grads)):
        squares[i] += gain_2 * (grads[i] * grads[i] - squares[i])
    for i in range(len(grads)):
        step = means[i] / (np.sqrt(squares[i]) / root + epsilon)
        weights[i] = weights[i] * share + size * step
