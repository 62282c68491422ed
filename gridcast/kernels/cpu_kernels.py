"""A GRU or LSTM layer over all its steps, each way one loop, compiled for the CPU at hand.

On small matrices the time goes into what lies between operations, and libraries for matrices are
made for large ones. So a step is one piece of code here, its products included. ``numba`` compiles
it when it is first called, and keeps the result for later processes. A GPU needs none of it, so
this module is imported where it is used. All kernels stand in one file: of what it kept, numba asks
only whether this file has changed (hence ``PRIVATE_SHA256``, of the file that it does not see).

Units lie in panels of ``PANEL`` at most, each panel's numbers together: rows that are longer than
that would put one another out of the first-level cache. They are filled up to a multiple of
``LANES``, so that a product has no remainder: weights that are zero keep the states of those
added zero. No sum depends on how many windows there are.

In the kernels each loop writes one array, else the compiler would not dare to take many numbers at
a time: it does not know that the arrays lie apart.

Legend: ``L`` steps, ``K`` the same and one before them, ``B`` windows, ``F`` features, ``G`` gates
(r, z, n of the GRU; i, f, g, o of the LSTM), ``P`` panels of ``C`` units, ``Q`` panels of a layer's
inputs, ``X`` is ``F`` filled up. ``4`` stands for the LSTM's gates, or for the GRU's r, z, the
input side of n and its hidden side (``q``). ``T`` are steps whose gradients are added to those of
the weights together, ``N`` rows of all of them. ``M``, ``K``, ``N`` of a product alone: rows,
terms, columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from gridcast.kernels.numba_private import (
    LANES,
    TILE_COLUMNS,
    TILE_ROWS,
    compiled,
    flat,
    narrow_tile_of_row,
    narrow_tile_of_rows,
    rows,
    tile_of_row,
    tile_of_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridcast.config import Cell

Array = NDArray[np.float32]
Ints = NDArray[np.int64]

PRIVATE_SHA256 = "07ed2fa905a4f09b"  # of numba_private.py, its beginning
PANEL = 64
# Windows, step by step, that are summed up in registers for a weight's gradient: while they last
# nothing of it is read or written, and they lie in the first-level cache.
SUMMED = 64

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


@compiled((_2, _2, _ANY_2, _2))
def set_product(sums: Array, before: Array, left: Array, right: Array) -> None:
    """``sums = before + left @ right``; columns of all but ``left`` are filled up."""
    num_rows, num_columns = sums.shape
    end_of_rows = num_rows - num_rows % TILE_ROWS
    end_of_wide = num_columns - num_columns % TILE_COLUMNS
    for column in range(0, end_of_wide, TILE_COLUMNS):
        for row in range(0, end_of_rows, TILE_ROWS):
            tile_of_rows(sums, before, left, right, row, column)
        for row in range(end_of_rows, num_rows):
            tile_of_row(sums, before, left, right, row, column)
    for column in range(end_of_wide, num_columns, LANES):
        for row in range(0, end_of_rows, TILE_ROWS):
            narrow_tile_of_rows(sums, before, left, right, row, column)
        for row in range(end_of_rows, num_rows):
            narrow_tile_of_row(sums, before, left, right, row, column)


@compiled((_2, _ANY_2, _2))
def add_product(sums: Array, left: Array, right: Array) -> None:
    """``sums += left @ right``."""
    set_product(sums, sums, left, right)


# The layers are compiled when they are first called: a process trains one of the two.


@compiled()
def _tanh(value: np.float32) -> np.float32:
    """To 4e-7 of it."""
    x = max(min(value, _MOST), -_MOST)
    s = x * x
    above = (((((_A6 * s + _A5) * s + _A4) * s + _A3) * s + _A2) * s + _A1) * s + _A0
    return x * above / (((_B3 * s + _B2) * s + _B1) * s + _B0)


@compiled((_1,))
def take_tanh(values: Array) -> None:
    """``tanh(values)``, in place."""
    for i in range(len(values)):
        values[i] = _tanh(values[i])


@compiled((_1,))
def take_sigmoid(values: Array) -> None:
    """``1 / (1 + exp(-values))``, in place, to 2e-7."""
    for i in range(len(values)):
        values[i] = _HALF + _HALF * _tanh(_HALF * values[i])


@compiled((_1, _1))
def _add(sums: Array, values: Array) -> None:
    for i in range(len(sums)):
        sums[i] += values[i]


@compiled()
def _fill_gate(
    gate_BC: Array, bias_BC: Array, x_QKBF: Array,
    hidden_gate_BC: Array, hidden_bias_BC: Array, hidden_PKBC: Array,
    step: int, w_ih_GQPFC: Array, w_hh_GPPCC: Array, gate: int, panel: int,
) -> None:  # fmt: skip
    """Fill a panel of a gate from inputs, and from hidden states the one that is named for them.

    Each begins as its bias. They may be one and the same, which is then the second one's bias.
    """
    before_BC = bias_BC
    for number in range(len(x_QKBF)):
        weights_FC = w_ih_GQPFC[gate, number, panel]
        set_product(gate_BC, before_BC, x_QKBF[number, step + 1], weights_FC)
        before_BC = gate_BC
    before_BC = hidden_bias_BC
    for number in range(len(hidden_PKBC)):
        weights_CC = w_hh_GPPCC[gate, number, panel]
        set_product(hidden_gate_BC, before_BC, hidden_PKBC[number, step], weights_CC)
        before_BC = hidden_gate_BC


@compiled()
def gru_forward(
    x_QKBF: Array, w_ih_GQPFC: Array, w_hh_GPPCC: Array, bias_P4BC: Array,
    gates_PL4BC: Array, hidden_PKBC: Array,
) -> None:  # fmt: skip
    """Fill r, z, n and q of each step, and the hidden states but for the first."""
    num_panels, num_steps = gates_PL4BC.shape[:2]
    for step in range(num_steps):
        for panel in range(num_panels):
            gates_4BC = gates_PL4BC[panel, step]
            for gate, hidden_gate in enumerate((0, 1, 3)):
                bias_4BC = gates_4BC if hidden_gate == gate else bias_P4BC[panel]
                _fill_gate(
                    gates_4BC[gate], bias_P4BC[panel, gate], x_QKBF,
                    gates_4BC[hidden_gate], bias_4BC[hidden_gate], hidden_PKBC,
                    step, w_ih_GQPFC, w_hh_GPPCC, gate, panel,
                )  # fmt: skip
            r, z = flat(gates_4BC[0]), flat(gates_4BC[1])
            n, q = flat(gates_4BC[2]), flat(gates_4BC[3])
            before = flat(hidden_PKBC[panel, step])
            hidden = flat(hidden_PKBC[panel, step + 1])
            take_sigmoid(r)
            take_sigmoid(z)
            for i in range(len(n)):
                n[i] = _tanh(n[i] + r[i] * q[i])
            for i in range(len(n)):
                hidden[i] = n[i] + z[i] * (before[i] - n[i])


@compiled()
def _take_through_gates(
    state_BC: Array, given_BC: Array, gates_4BC: Array, before_BC: Array,
    grad_4PTBC: Array, panel: int, place: int,
) -> None:  # fmt: skip
    """Fill a panel and place of ``grad_4PTBC``, from the gradients by a hidden state.

    These are ``state_BC`` and what comes from above, ``given_BC``.

    ``state_BC`` becomes that by the hidden state before, but for what comes through the products.
    """
    state, given, before = flat(state_BC), flat(given_BC), flat(before_BC)
    r, z = flat(gates_4BC[0]), flat(gates_4BC[1])
    n, q = flat(gates_4BC[2]), flat(gates_4BC[3])
    dr, dz = flat(grad_4PTBC[0, panel, place]), flat(grad_4PTBC[1, panel, place])
    dn, dq = flat(grad_4PTBC[2, panel, place]), flat(grad_4PTBC[3, panel, place])
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


@compiled()
def _add_to_bias(grad_bias_P4BC: Array, grad_4PTBC: Array, place: int) -> None:
    for gate in range(4):
        for panel in range(len(grad_bias_P4BC)):
            grad = flat(grad_4PTBC[gate, panel, place])
            _add(flat(grad_bias_P4BC[panel, gate]), grad)


@compiled()
def _add_to_weights(
    grad_w_ih_GQPFC: Array, grad_w_hh_GPPCC: Array, grad_4PTBC: Array, x_QKBF: Array,
    hidden_PKBC: Array, first: int, end: int,
) -> None:  # fmt: skip
    """Add to the first two what the gradients of the steps from ``first`` to ``end`` give."""
    num_gates, num_panels, num_steps = len(grad_w_hh_GPPCC), len(hidden_PKBC), end - first
    for gate in range(num_gates):
        hidden_gate = 3 if gate == num_gates - 1 else gate
        for panel in range(num_panels):
            grad_NC = rows(grad_4PTBC[gate, panel, :num_steps])
            for number in range(len(x_QKBF)):
                x_NF = rows(x_QKBF[number, first + 1 : end + 1])
                add_product(grad_w_ih_GQPFC[gate, number, panel], x_NF.T, grad_NC)
            grad_NC = rows(grad_4PTBC[hidden_gate, panel, :num_steps])
            for number in range(num_panels):
                before_NC = rows(hidden_PKBC[number, first:end])
                add_product(grad_w_hh_GPPCC[gate, number, panel], before_NC.T, grad_NC)


@compiled()
def _add_through_products(
    state_PBC: Array, grad_x_QLBX: Array, grad_4PTBC: Array, place: int, step: int,
    w_ih_GPQCX: Array, w_hh_GPPCC: Array,
) -> None:  # fmt: skip
    """Add to the first two what the gradients by the gates of a step, at their place, give."""
    num_gates, num_panels = len(w_hh_GPPCC), len(state_PBC)
    for gate in range(num_gates):
        hidden_gate = 3 if gate == num_gates - 1 else gate
        for panel in range(num_panels):
            if grad_x_QLBX.shape[1]:
                grad_BC = grad_4PTBC[gate, panel, place]
                for number in range(len(grad_x_QLBX)):
                    weights_CX = w_ih_GPQCX[gate, panel, number]
                    add_product(grad_x_QLBX[number, step], grad_BC, weights_CX)
            grad_BC = grad_4PTBC[hidden_gate, panel, place]
            for number in range(num_panels):
                add_product(state_PBC[number], grad_BC, w_hh_GPPCC[gate, panel, number])


@compiled()
def gru_backward(
    grad_PLBC: Array, x_QKBF: Array, w_ih_GPQCX: Array, w_hh_GPPCC: Array,
    gates_PL4BC: Array, hidden_PKBC: Array,
    grad_x_QLBX: Array, grad_w_ih_GQPFC: Array, grad_w_hh_GPPCC: Array, grad_bias_P4BC: Array,
    state_PBC: Array, grad_4PTBC: Array,
) -> None:  # fmt: skip
    """Add to ``grad_x...``, ``grad_w...`` and ``grad_bias...`` what ``grad_PLBC`` gives.

    That is by the hidden states. Where ``grad_x_QLBX`` has no steps, nobody asks for it. States'
    gradients begin as zeros; of the rest nothing that was in it matters.
    """
    num_panels, num_steps = grad_PLBC.shape[:2]
    steps_per_sum = grad_4PTBC.shape[2]
    for end in range(num_steps, 0, -steps_per_sum):
        first = max(0, end - steps_per_sum)
        for step in range(end - 1, first - 1, -1):
            place = step - first
            for panel in range(num_panels):
                _take_through_gates(
                    state_PBC[panel], grad_PLBC[panel, step], gates_PL4BC[panel, step],
                    hidden_PKBC[panel, step], grad_4PTBC, panel, place,
                )  # fmt: skip
            _add_to_bias(grad_bias_P4BC, grad_4PTBC, place)
            _add_through_products(
                state_PBC, grad_x_QLBX, grad_4PTBC, place, step, w_ih_GPQCX, w_hh_GPPCC
            )
        _add_to_weights(
            grad_w_ih_GQPFC, grad_w_hh_GPPCC, grad_4PTBC, x_QKBF, hidden_PKBC, first, end
        )


@compiled()
def lstm_forward(
    x_QKBF: Array, w_ih_GQPFC: Array, w_hh_GPPCC: Array, bias_P4BC: Array,
    gates_PL4BC: Array, hidden_PKBC: Array, cell_PKBC: Array,
) -> None:  # fmt: skip
    """Fill the gates of each step, and the states but for the first."""
    num_panels, num_steps = gates_PL4BC.shape[:2]
    for step in range(num_steps):
        for panel in range(num_panels):
            gates_4BC = gates_PL4BC[panel, step]
            for gate in range(4):
                _fill_gate(
                    gates_4BC[gate], bias_P4BC[panel, gate], x_QKBF,
                    gates_4BC[gate], gates_4BC[gate], hidden_PKBC,
                    step, w_ih_GQPFC, w_hh_GPPCC, gate, panel,
                )  # fmt: skip
            enter, keep = flat(gates_4BC[0]), flat(gates_4BC[1])
            new, show = flat(gates_4BC[2]), flat(gates_4BC[3])
            before, cell = flat(cell_PKBC[panel, step]), flat(cell_PKBC[panel, step + 1])
            hidden = flat(hidden_PKBC[panel, step + 1])
            take_sigmoid(enter)
            take_sigmoid(keep)
            take_tanh(new)
            take_sigmoid(show)
            for i in range(len(cell)):
                cell[i] = keep[i] * before[i] + enter[i] * new[i]
            for i in range(len(cell)):
                hidden[i] = show[i] * _tanh(cell[i])


@compiled()
def _take_through_cell(
    state_BC: Array, cell_state_BC: Array, given_BC: Array, gates_4BC: Array, before_BC: Array,
    cell_BC: Array, grad_4PTBC: Array, panel: int, place: int,
) -> None:  # fmt: skip
    """Fill a panel and place of ``grad_4PTBC``, from the gradients by a hidden state and a cell's.

    These are ``state_BC`` with what comes from above, ``given_BC``, and ``cell_state_BC``. The two
    states' become those by the states before, but for what comes through the products.
    """
    state, cell_state, given = flat(state_BC), flat(cell_state_BC), flat(given_BC)
    enter, keep = flat(gates_4BC[0]), flat(gates_4BC[1])
    new, show = flat(gates_4BC[2]), flat(gates_4BC[3])
    before, cell = flat(before_BC), flat(cell_BC)
    d_enter, d_keep = flat(grad_4PTBC[0, panel, place]), flat(grad_4PTBC[1, panel, place])
    d_new, d_show = flat(grad_4PTBC[2, panel, place]), flat(grad_4PTBC[3, panel, place])
    for i in range(len(cell)):
        state[i] += given[i]
    for i in range(len(cell)):
        d_show[i] = _tanh(cell[i])
    for i in range(len(cell)):
        cell_state[i] += state[i] * show[i] * (_ONE - d_show[i] * d_show[i])
    for i in range(len(cell)):
        d_show[i] *= state[i] * show[i] * (_ONE - show[i])
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


@compiled()
def lstm_backward(
    grad_PLBC: Array, x_QKBF: Array, w_ih_GPQCX: Array, w_hh_GPPCC: Array,
    gates_PL4BC: Array, hidden_PKBC: Array, cell_PKBC: Array,
    grad_x_QLBX: Array, grad_w_ih_GQPFC: Array, grad_w_hh_GPPCC: Array, grad_bias_P4BC: Array,
    state_PBC: Array, cell_state_PBC: Array, grad_4PTBC: Array,
) -> None:  # fmt: skip
    """As ``gru_backward``."""
    num_panels, num_steps = grad_PLBC.shape[:2]
    steps_per_sum = grad_4PTBC.shape[2]
    for end in range(num_steps, 0, -steps_per_sum):
        first = max(0, end - steps_per_sum)
        for step in range(end - 1, first - 1, -1):
            place = step - first
            for panel in range(num_panels):
                _take_through_cell(
                    state_PBC[panel], cell_state_PBC[panel], grad_PLBC[panel, step],
                    gates_PL4BC[panel, step], cell_PKBC[panel, step], cell_PKBC[panel, step + 1],
                    grad_4PTBC, panel, place,
                )  # fmt: skip
            _add_to_bias(grad_bias_P4BC, grad_4PTBC, place)
            _add_through_products(
                state_PBC, grad_x_QLBX, grad_4PTBC, place, step, w_ih_GPQCX, w_hh_GPPCC
            )
        _add_to_weights(
            grad_w_ih_GQPFC, grad_w_hh_GPPCC, grad_4PTBC, x_QKBF, hidden_PKBC, first, end
        )


class CellKernels(NamedTuple):
    """The equations of a cell: a layer of it over all its steps, there and back."""

    forward: Callable[..., None]
    backward: Callable[..., None]
    num_gates: int
    num_states: int


KERNELS_OF_CELL: Final[dict[Cell, CellKernels]] = {
    "gru": CellKernels(gru_forward, gru_backward, num_gates=3, num_states=1),
    "lstm": CellKernels(lstm_forward, lstm_backward, num_gates=4, num_states=2),
}


@compiled()
def gather(x_TF: Array, starts_B: Ints, x_KBF: Array) -> None:
    """Fill the last but for its first step with the windows that begin at these steps."""
    for step in range(len(x_KBF) - 1):
        for window, start in enumerate(starts_B):
            for feature in range(x_TF.shape[1]):
                x_KBF[step + 1, window, feature] = x_TF[start + step, feature]


@compiled()
def _take_errors(
    y_BX: Array, load_KB: Array, starts_B: Ints, step: int, counts_B: Array, target_T: Array,
    is_train_T: Array, gain: np.float32, is_change: bool, is_l1: bool, slope_BH: Array,
    sum_H: Array,
) -> float:  # fmt: skip
    """The losses of the labels after a step; ``slope_BH`` gets their gradient by ``y_BX``.

    It is added to ``sum_H`` as well.
    """
    total = 0.0
    for window, start in enumerate(starts_B):
        for ahead in range(slope_BH.shape[1]):
            label = start + step + 1 + ahead
            count = is_train_T[label] * counts_B[window]
            error = gain * y_BX[window, ahead] - target_T[label]
            if is_change:
                error += load_KB[step + 1, window]
            total += count * (abs(error) if is_l1 else error * error)
            slope = np.sign(error) if is_l1 else error + error
            slope_BH[window, ahead] = slope * count * gain
            sum_H[ahead] += slope_BH[window, ahead]
    return total


@compiled()
def score(
    hidden_PKBC: Array, load_KB: Array, starts_B: Ints, counts_B: Array, target_T: Array,
    is_train_T: Array, w_PCX: Array, w_PHC: Array, bias_X: Array, warmup: int, gain: np.float32,
    is_change: bool, has_relu: bool, is_l1: bool,
    grad_PLBC: Array, grad_w_PHC: Array, grad_bias_H: Array,
    out_PBC: Array, y_BX: Array, slope_BH: Array,
) -> float:  # fmt: skip
    """The sum of the losses of all labels; adds to what comes after ``grad_PLBC``, and fills that.

    Of the steps of the warm-up, which have no loss, nothing is written.

    The head's outputs, times ``gain``, are a scaled load, or its change from that of ``load_KB``.
    A label counts where ``is_train_T`` is 1, times ``counts_B``. ``w_PCX`` is ``w_PHC`` turned,
    with the horizon ``H`` filled up. What is in the last three does not matter.
    """
    num_panels, num_steps, batch = grad_PLBC.shape[:3]
    total = 0.0
    for step in range(warmup, num_steps):
        for window in range(batch):
            for i in range(len(bias_X)):
                y_BX[window, i] = bias_X[i]
        for panel in range(num_panels):
            out, hidden = flat(out_PBC[panel]), flat(hidden_PKBC[panel, step + 1])
            for i in range(len(out)):
                out[i] = max(hidden[i], np.float32(0)) if has_relu else hidden[i]
            add_product(y_BX, out_PBC[panel], w_PCX[panel])
        total += _take_errors(
            y_BX, load_KB, starts_B, step, counts_B, target_T, is_train_T,
            gain, is_change, is_l1, slope_BH, grad_bias_H,
        )  # fmt: skip
        for panel in range(num_panels):
            grad_BC = grad_PLBC[panel, step]
            out, grad = flat(out_PBC[panel]), flat(grad_BC)
            for i in range(len(grad)):
                grad[i] = 0
            add_product(grad_BC, slope_BH, w_PHC[panel])
            add_product(grad_w_PHC[panel], slope_BH.T, out_PBC[panel])
            if has_relu:
                for i in range(len(grad)):
                    grad[i] = grad[i] if out[i] > 0 else np.float32(0)
    return total


@compiled(in_any_order=True)
def square_sum(values: Array) -> float:
    """The sum of the squares, in 64 bits."""
    total = 0.0
    for i in range(len(values)):
        total += np.float64(values[i]) * np.float64(values[i])
    return total


@compiled()
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
