"""A GRU or LSTM layer over all its steps, each way one loop, compiled for the CPU at hand.

On small matrices the time goes into what lies between operations, and libraries for matrices are
made for large ones. So a step is one piece of code here, its products included. ``numba`` compiles
it when it is first called, and keeps the result for later processes. A GPU needs none of it, so
this module is imported where it is used. All kernels stand in one file: of what it kept, numba
asks only whether that file has changed.

Units lie in panels of ``PANEL`` at most, each panel's numbers together: rows that are longer than
that would put one another out of the first-level cache. They are filled up to a multiple of
``LANES``, so that a product has no remainder: weights that are zero keep the states of those
added zero. No sum depends on how many windows there are.

In bf16 a product takes words: two numbers of 16 bits each, terms of the same sum, which one
instruction multiplies and adds up in 32 bits (AVX512-BF16). Weights come as words
(``pair_weights``); what they are multiplied with becomes words where that is done. All else is as
in 32 bits. The kernels go by the type of the weights: where these are numbers, arrays of words
have no rows.

Legend: ``L`` steps, ``K`` the same and one before them, ``B`` windows, ``F`` features, ``G`` gates
(r, z, n of the GRU; i, f, g, o of the LSTM), ``P`` panels of ``C`` units, ``Q`` panels of a layer's
inputs, ``X`` is ``F`` filled up. ``4`` stands for the LSTM's gates, or for the GRU's r, z, the
input side of n and its hidden side (``q``). ``T`` are steps whose gradients are added to those of
the weights together, ``N`` rows of all of them. Words are named by the dimensions of their numbers,
though they are half as many.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[np.float32]
Words = NDArray[np.uint32]
Operand = Array | Words  # of a product
Ints = NDArray[np.int64]

LANES = 16  # a register of AVX-512; where they are shorter the compiler takes several
PANEL = 64
# Windows, step by step, that are summed up in registers for a weight's gradient: while they last
# nothing of it is read or written, and they lie in the first-level cache.
SUMMED = 64
_FEATURES = binding.get_host_cpu_features()
# A tile of sums that stays in registers, of which AVX-512 has 32 long ones.
_ROWS, _VECTORS = 4, 4 if _FEATURES.get("avx512f") else 1
# Whether the processor multiplies words, and gains by it: AMD's from Zen 4 on do it at the rate of
# numbers, Intel's Sapphire Rapids takes several times as long. numba must compile for this one.
HAS_WORDS = (
    bool(_FEATURES.get("avx512bf16"))
    and binding.get_host_cpu_name().startswith("znver")
    and config.CPU_NAME is config.CPU_FEATURES is None
)
_MULTIPLY_WORDS = "llvm.x86.avx512bf16.dpbf16ps.512"

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
_ANY_WORDS, _WORDS = types.uint32[:, :], types.Array(types.uint32, 2, "C")


def _compiled(
    *kinds: tuple[Any, ...], in_any_order: bool = False
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Compile for these kinds of arrays at once; where none are named, when it is first called.

    What an earlier process kept beside this file or in the cache is taken. A product and a sum may
    become one instruction, and sums may be added up ``in_any_order`` (the same one each time),
    nothing else: what is not a number stays so. No memory is asked for (``_nrt``): whose it is
    would be counted for each part of an array, which took a fifth of a small step.
    """
    flags = {"contract", "reassoc"} if in_any_order else {"contract"}

    def compiled(function: Callable[..., T]) -> Callable[..., T]:
        signatures = [[types.void(*each) for each in kinds]] if kinds else []
        options: dict[str, Any] = {
            "nogil": True, "error_model": "numpy", "fastmath": flags, "_nrt": False,
        }  # fmt: skip
        try:
            kernel: Callable[..., T] = njit(*signatures, cache=True, **options)(function)
        except RuntimeError:  # no folder for a cache can be written: compiled in each process
            kernel = njit(*signatures, **options)(function)
        return kernel

    return compiled


_INTEGER = ir.IntType(32)
_NUMBERS_IR, _WORDS_IR = (ir.VectorType(each, LANES) for each in (ir.FloatType(), _INTEGER))


def _multiplied_and_added(builder: Any, total: Any, left: Any, right: Any) -> Any:
    """``total + left * right``, lane by lane; of words both numbers."""
    if right.type == _WORDS_IR:
        kind = ir.FunctionType(_NUMBERS_IR, [_NUMBERS_IR, _WORDS_IR, _WORDS_IR])
        function = cgutils.get_or_insert_function(builder.module, kind, _MULTIPLY_WORDS)
        return builder.call(function, [total, left, right])
    product = builder.fmul(left, right, flags=("contract",))
    return builder.fadd(total, product, flags=("contract",))


def _tile(num_rows: int, num_vectors: int) -> Callable[..., None]:
    """What makes ``before + left @ right`` the tile of ``sums`` that begins at a row and a column.

    numba has no type for a vector, so it is written in what LLVM reads: columns of ``left`` times
    rows of ``right`` are summed up in registers, and ``before`` is added at the end (one by one the
    terms would lose digits in a sum over many steps). Both are numbers or both words.
    """
    zeros, all_first = ir.Constant(_NUMBERS_IR, [0.0] * LANES), ir.Constant(_WORDS_IR, [0] * LANES)
    rows, columns = range(num_rows), range(0, num_vectors * LANES, LANES)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, row, column = signature.args[:4], arguments[4], arguments[5]
        operand = _WORDS_IR if kinds[2].dtype == types.uint32 else _NUMBERS_IR
        nothing = ir.Constant(operand, ir.Undefined)
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

        def vectors(number: int, i: Any, kind: Any) -> list[Any]:
            places = [place(number, i, after(column, offset)) for offset in columns]
            return [builder.bitcast(each, kind.as_pointer()) for each in places]

        sums = [cgutils.alloca_once_value(builder, zeros) for _ in rows for _ in columns]
        depth = builder.extract_value(arrays[3].shape, 0)
        with cgutils.for_range(builder, depth) as loop:
            rights = [builder.load(each, align=4) for each in vectors(3, loop.index, operand)]
            for i in rows:
                left = builder.load(place(2, after(row, i), loop.index))
                left = builder.insert_element(nothing, left, ir.Constant(_INTEGER, 0))
                left = builder.shuffle_vector(left, nothing, all_first)
                for right, total in zip(rights, sums[i * num_vectors :], strict=False):
                    new = _multiplied_and_added(builder, builder.load(total), left, right)
                    builder.store(new, total)
        targets, befores = (
            [each for i in rows for each in vectors(number, after(row, i), _NUMBERS_IR)]
            for number in (0, 1)
        )
        for total, target, before in zip(sums, targets, befores, strict=True):
            whole = builder.fadd(builder.load(before, align=4), builder.load(total))
            builder.store(whole, target, align=4)
        return context.get_dummy_value()

    def fill_tile(
        _: Any, sums: Any, before: Any, left: Any, right: Any, row: Any, column: Any
    ) -> Any:
        return types.void(sums, before, left, right, row, column), build

    tile: Callable[..., None] = intrinsic(fill_tile)
    return tile


_tile_of_rows, _tile_of_row = _tile(_ROWS, _VECTORS), _tile(1, _VECTORS)
_narrow_of_rows, _narrow_of_row = _tile(_ROWS, 1), _tile(1, 1)


@_compiled((_2, _2, _ANY_2, _2), *[(_2, _2, _ANY_WORDS, _WORDS)] * HAS_WORDS)
def set_product(sums: Array, before: Array, left: Operand, right: Operand) -> None:
    """``sums = before + left @ right``; columns of all but ``left`` are filled up."""
    num_rows, num_columns = sums.shape
    end_of_rows = num_rows - num_rows % _ROWS
    end_of_wide = num_columns - num_columns % (_VECTORS * LANES)
    for column in range(0, end_of_wide, _VECTORS * LANES):
        for row in range(0, end_of_rows, _ROWS):
            _tile_of_rows(sums, before, left, right, row, column)
        for row in range(end_of_rows, num_rows):
            _tile_of_row(sums, before, left, right, row, column)
    for column in range(end_of_wide, num_columns, LANES):
        for row in range(0, end_of_rows, _ROWS):
            _narrow_of_rows(sums, before, left, right, row, column)
        for row in range(end_of_rows, num_rows):
            _narrow_of_row(sums, before, left, right, row, column)


@_compiled((_2, _ANY_2, _2), *[(_2, _ANY_WORDS, _WORDS)] * HAS_WORDS)
def add_product(sums: Array, left: Operand, right: Operand) -> None:
    """``sums += left @ right``."""
    set_product(sums, sums, left, right)


def _view(num_dimensions: int) -> Callable[..., Any]:
    """What sees a contiguous array's first dimensions as one; ``reshape`` would ask whether it may.

    Its last ``num_dimensions - 1`` stay as they are.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context.make_array(signature.args[0])(context, builder, arguments[0])
        sizes, strides = (
            cgutils.unpack_tuple(builder, each) for each in (given.shape, given.strides)
        )
        first = len(sizes) - num_dimensions + 1
        shape = [reduce(builder.mul, sizes[:first]), *sizes[first:]]
        view = context.make_array(signature.return_type)(context, builder)
        populate_array(
            view, data=given.data, shape=cgutils.pack_array(builder, shape),
            strides=cgutils.pack_array(builder, strides[first - 1 :]),
            itemsize=given.itemsize, meminfo=None, parent=None,
        )  # fmt: skip
        return view._getvalue()

    def see(_: Any, array: Any) -> Any:
        return types.Array(array.dtype, num_dimensions, "C")(array), build

    seen: Callable[..., Any] = intrinsic(see)
    return seen


_flat, _rows = _view(1), _view(2)


def _give_word(_: Any, low: Any, high: Any) -> Any:
    """Two numbers rounded to 16 bits, the nearest one, of two the even one."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        def rounded(number: Any) -> Any:
            bits = builder.bitcast(number, _INTEGER)
            is_odd = builder.and_(builder.lshr(bits, _INTEGER(16)), _INTEGER(1))
            return builder.add(bits, builder.add(is_odd, _INTEGER(0x7FFF)))

        low, high = map(rounded, arguments)
        high = builder.and_(high, _INTEGER(0xFFFF0000))
        return builder.or_(builder.lshr(low, _INTEGER(16)), high)

    return types.uint32(low, high), build


def _give_operand(_: Any, weights: Any, numbers: Any, words: Any) -> Any:
    """What a product with these weights, or for them, takes: the numbers or their words."""
    has_words = weights.dtype == types.uint32
    chosen = words if has_words else numbers

    def build(_: Any, __: Any, ___: Any, arguments: Any) -> Any:
        return arguments[1 + has_words]

    return chosen(weights, numbers, words), build


_word: Callable[..., np.uint32] = intrinsic(_give_word)
_of: Callable[..., Any] = intrinsic(_give_operand)


@_compiled((_2, _WORDS))
def pair_in_rows(values_BC: Array, words_BC: Words) -> None:
    """Each two numbers of a row become a word: what weights are multiplied with."""
    values, words = _flat(values_BC), _flat(words_BC)
    for i in range(len(words)):
        words[i] = _word(values[2 * i], values[2 * i + 1])


@_compiled((_2, _WORDS))
def pair_rows(values_NC: Array, words_NC: Words) -> None:
    """A row and one of the second half become words, for sums over rows; an odd one has 0."""
    values, words = _flat(values_NC), _flat(words_NC)
    later = values[len(words) : 2 * len(words)]
    for i in range(len(later)):
        words[i] = _word(values[i], later[i])
    for i in range(len(later), len(words)):
        words[i] = _word(values[i], np.float32(0))


@_compiled((_2, _WORDS))
def pair_weights(weights_CX: Array, words_CX: Words) -> None:
    """Each two rows become one of words: what ``pair_in_rows`` goes with."""
    for row in range(len(words_CX)):
        low, high, words = weights_CX[2 * row], weights_CX[2 * row + 1], words_CX[row]
        for i in range(len(words)):
            words[i] = _word(low[i], high[i])


# The layers are compiled when they are first called: a process trains one of the two.
#
# In the kernels each loop writes one array, else the compiler would not dare to take many numbers
# at a time: it does not know that the arrays lie apart.


@_compiled()
def _tanh(value: np.float32) -> np.float32:
    """To 4e-7 of it."""
    x = max(min(value, _MOST), -_MOST)
    s = x * x
    above = (((((_A6 * s + _A5) * s + _A4) * s + _A3) * s + _A2) * s + _A1) * s + _A0
    return x * above / (((_B3 * s + _B2) * s + _B1) * s + _B0)


@_compiled((_1,))
def take_tanh(values: Array) -> None:
    """``tanh(values)``, in place."""
    for i in range(len(values)):
        values[i] = _tanh(values[i])


@_compiled((_1,))
def take_sigmoid(values: Array) -> None:
    """``1 / (1 + exp(-values))``, in place, to 2e-7."""
    for i in range(len(values)):
        values[i] = _HALF + _HALF * _tanh(_HALF * values[i])


@_compiled((_1, _1))
def _add(sums: Array, values: Array) -> None:
    for i in range(len(sums)):
        sums[i] += values[i]


@_compiled()
def _fill_gate(
    gate_BC: Array, bias_BC: Array, x_QKBF: Array, x_words_QBF: Words,
    hidden_gate_BC: Array, hidden_bias_BC: Array, hidden_PKBC: Array, hidden_words_PBC: Words,
    step: int, w_ih_GQPFC: Operand, w_hh_GPPCC: Operand, gate: int, panel: int,
) -> None:  # fmt: skip
    """Fill a panel of a gate from inputs, and from hidden states the one that is named for them.

    Each begins as its bias. They may be one and the same, which is then the second one's bias.
    """
    before_BC = bias_BC
    for number in range(len(x_QKBF)):
        weights_FC = w_ih_GQPFC[gate, number, panel]
        x_BF = _of(weights_FC, x_QKBF[number, step + 1], x_words_QBF[number])
        set_product(gate_BC, before_BC, x_BF, weights_FC)
        before_BC = gate_BC
    before_BC = hidden_bias_BC
    for number in range(len(hidden_PKBC)):
        weights_CC = w_hh_GPPCC[gate, number, panel]
        state_BC = _of(weights_CC, hidden_PKBC[number, step], hidden_words_PBC[number])
        set_product(hidden_gate_BC, before_BC, state_BC, weights_CC)
        before_BC = hidden_gate_BC


@_compiled()
def gru_forward(
    x_QKBF: Array, w_ih_GQPFC: Operand, w_hh_GPPCC: Operand, bias_P4BC: Array,
    gates_PL4BC: Array, hidden_PKBC: Array, x_words_QBF: Words, hidden_words_PBC: Words,
) -> None:  # fmt: skip
    """Fill r, z, n and q of each step, and the hidden states but for the first."""
    num_panels, num_steps = gates_PL4BC.shape[:2]
    for step in range(num_steps):
        for number in range(len(x_QKBF)):
            pair_in_rows(x_QKBF[number, step + 1], x_words_QBF[number])
        for panel in range(num_panels):
            pair_in_rows(hidden_PKBC[panel, step], hidden_words_PBC[panel])
        for panel in range(num_panels):
            gates_4BC = gates_PL4BC[panel, step]
            for gate, hidden_gate in enumerate((0, 1, 3)):
                bias_4BC = gates_4BC if hidden_gate == gate else bias_P4BC[panel]
                _fill_gate(
                    gates_4BC[gate], bias_P4BC[panel, gate], x_QKBF, x_words_QBF,
                    gates_4BC[hidden_gate], bias_4BC[hidden_gate], hidden_PKBC, hidden_words_PBC,
                    step, w_ih_GQPFC, w_hh_GPPCC, gate, panel,
                )  # fmt: skip
            r, z = _flat(gates_4BC[0]), _flat(gates_4BC[1])
            n, q = _flat(gates_4BC[2]), _flat(gates_4BC[3])
            before = _flat(hidden_PKBC[panel, step])
            hidden = _flat(hidden_PKBC[panel, step + 1])
            take_sigmoid(r)
            take_sigmoid(z)
            for i in range(len(n)):
                n[i] = _tanh(n[i] + r[i] * q[i])
            for i in range(len(n)):
                hidden[i] = n[i] + z[i] * (before[i] - n[i])


@_compiled()
def _take_through_gates(
    state_BC: Array, given_BC: Array, gates_4BC: Array, before_BC: Array,
    grad_4PTBC: Array, panel: int, place: int,
) -> None:  # fmt: skip
    """Fill a panel and place of ``grad_4PTBC``, from the gradients by a hidden state.

    These are ``state_BC`` and what comes from above, ``given_BC``.

    ``state_BC`` becomes that by the hidden state before, but for what comes through the products.
    """
    state, given, before = _flat(state_BC), _flat(given_BC), _flat(before_BC)
    r, z = _flat(gates_4BC[0]), _flat(gates_4BC[1])
    n, q = _flat(gates_4BC[2]), _flat(gates_4BC[3])
    dr, dz = _flat(grad_4PTBC[0, panel, place]), _flat(grad_4PTBC[1, panel, place])
    dn, dq = _flat(grad_4PTBC[2, panel, place]), _flat(grad_4PTBC[3, panel, place])
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
def _add_to_bias(grad_bias_P4BC: Array, grad_4PTBC: Array, place: int) -> None:
    for gate in range(4):
        for panel in range(len(grad_bias_P4BC)):
            grad = _flat(grad_4PTBC[gate, panel, place])
            _add(_flat(grad_bias_P4BC[panel, gate]), grad)


@_compiled()
def _add_to_weights(
    grad_w_ih_GQPFC: Array, grad_w_hh_GPPCC: Array, grad_4PTBC: Array, x_QKBF: Array,
    hidden_PKBC: Array, first: int, end: int, weights: Operand,
    x_words_QNF: Words, hidden_words_PNC: Words, grad_words_NC: Words,
) -> None:  # fmt: skip
    """Add to the first two what the gradients of the steps from ``first`` to ``end`` give.

    ``weights`` are there for their type alone.
    """
    num_gates, num_panels, num_steps = len(grad_w_hh_GPPCC), len(hidden_PKBC), end - first
    num_words = min(len(grad_words_NC), (num_steps * x_QKBF.shape[2] + 1) // 2)
    for number in range(len(x_QKBF)):
        x_NF = _rows(x_QKBF[number, first + 1 : end + 1])
        pair_rows(x_NF, x_words_QNF[number, :num_words])
    for panel in range(num_panels):
        before_NC = _rows(hidden_PKBC[panel, first:end])
        pair_rows(before_NC, hidden_words_PNC[panel, :num_words])
    for gate in range(num_gates):
        hidden_gate = 3 if gate == num_gates - 1 else gate
        for panel in range(num_panels):
            grad_NC = _rows(grad_4PTBC[gate, panel, :num_steps])
            pair_rows(grad_NC, grad_words_NC[:num_words])
            right_NC = _of(weights, grad_NC, grad_words_NC[:num_words])
            for number in range(len(x_QKBF)):
                x_NF = _rows(x_QKBF[number, first + 1 : end + 1])
                left_NF = _of(weights, x_NF, x_words_QNF[number, :num_words])
                add_product(grad_w_ih_GQPFC[gate, number, panel], left_NF.T, right_NC)
            if hidden_gate != gate:
                grad_NC = _rows(grad_4PTBC[hidden_gate, panel, :num_steps])
                pair_rows(grad_NC, grad_words_NC[:num_words])
                right_NC = _of(weights, grad_NC, grad_words_NC[:num_words])
            for number in range(num_panels):
                before_NC = _rows(hidden_PKBC[number, first:end])
                left_NC = _of(weights, before_NC, hidden_words_PNC[number, :num_words])
                add_product(grad_w_hh_GPPCC[gate, number, panel], left_NC.T, right_NC)


@_compiled()
def _add_through_products(
    state_PBC: Array, grad_x_QLBX: Array, grad_4PTBC: Array, words_BC: Words, place: int,
    step: int, w_ih_GPQCX: Operand, w_hh_GPPCC: Operand,
) -> None:  # fmt: skip
    """Add to the first two what the gradients by the gates of a step, at their place, give."""
    num_gates, num_panels = len(w_hh_GPPCC), len(state_PBC)
    for gate in range(num_gates):
        hidden_gate = 3 if gate == num_gates - 1 else gate
        for panel in range(num_panels):
            grad_BC = grad_4PTBC[gate, panel, place]
            if grad_x_QLBX.shape[1]:
                pair_in_rows(grad_BC, words_BC)
                left_BC = _of(w_ih_GPQCX, grad_BC, words_BC)
                for number in range(len(grad_x_QLBX)):
                    weights_CX = w_ih_GPQCX[gate, panel, number]
                    add_product(grad_x_QLBX[number, step], left_BC, weights_CX)
            grad_BC = grad_4PTBC[hidden_gate, panel, place]
            if hidden_gate != gate or not grad_x_QLBX.shape[1]:
                pair_in_rows(grad_BC, words_BC)
            left_BC = _of(w_hh_GPPCC, grad_BC, words_BC)
            for number in range(num_panels):
                add_product(state_PBC[number], left_BC, w_hh_GPPCC[gate, panel, number])


@_compiled()
def gru_backward(
    grad_PLBC: Array, x_QKBF: Array, w_ih_GPQCX: Operand, w_hh_GPPCC: Operand,
    gates_PL4BC: Array, hidden_PKBC: Array,
    grad_x_QLBX: Array, grad_w_ih_GQPFC: Array, grad_w_hh_GPPCC: Array, grad_bias_P4BC: Array,
    state_PBC: Array, grad_4PTBC: Array,
    words_BC: Words, x_words_QNF: Words, hidden_words_PNC: Words, grad_words_NC: Words,
) -> None:  # fmt: skip
    """Add to ``grad_x...``, ``grad_w...`` and ``grad_bias...`` what ``grad_PLBC`` gives.

    That is by the hidden states. Where ``grad_x_QLBX`` has no steps, nobody asks for it. States'
    gradients begin as zeros; of the rest nothing that was in it matters.
    """
    num_panels, num_steps = grad_PLBC.shape[:2]
    num_together = grad_4PTBC.shape[2]
    for end in range(num_steps, 0, -num_together):
        first = max(0, end - num_together)
        for step in range(end - 1, first - 1, -1):
            place = step - first
            for panel in range(num_panels):
                _take_through_gates(
                    state_PBC[panel], grad_PLBC[panel, step], gates_PL4BC[panel, step],
                    hidden_PKBC[panel, step], grad_4PTBC, panel, place,
                )  # fmt: skip
            _add_to_bias(grad_bias_P4BC, grad_4PTBC, place)
            _add_through_products(
                state_PBC, grad_x_QLBX, grad_4PTBC, words_BC, place, step, w_ih_GPQCX, w_hh_GPPCC
            )
        _add_to_weights(
            grad_w_ih_GQPFC, grad_w_hh_GPPCC, grad_4PTBC, x_QKBF, hidden_PKBC, first, end,
            w_hh_GPPCC, x_words_QNF, hidden_words_PNC, grad_words_NC,
        )  # fmt: skip


@_compiled()
def lstm_forward(
    x_QKBF: Array, w_ih_GQPFC: Operand, w_hh_GPPCC: Operand, bias_P4BC: Array,
    gates_PL4BC: Array, hidden_PKBC: Array, cell_PKBC: Array, x_words_QBF: Words,
    hidden_words_PBC: Words,
) -> None:  # fmt: skip
    """Fill the gates of each step, and the states but for the first."""
    num_panels, num_steps = gates_PL4BC.shape[:2]
    for step in range(num_steps):
        for number in range(len(x_QKBF)):
            pair_in_rows(x_QKBF[number, step + 1], x_words_QBF[number])
        for panel in range(num_panels):
            pair_in_rows(hidden_PKBC[panel, step], hidden_words_PBC[panel])
        for panel in range(num_panels):
            gates_4BC = gates_PL4BC[panel, step]
            for gate in range(4):
                _fill_gate(
                    gates_4BC[gate], bias_P4BC[panel, gate], x_QKBF, x_words_QBF,
                    gates_4BC[gate], gates_4BC[gate], hidden_PKBC, hidden_words_PBC,
                    step, w_ih_GQPFC, w_hh_GPPCC, gate, panel,
                )  # fmt: skip
            enter, keep = _flat(gates_4BC[0]), _flat(gates_4BC[1])
            new, show = _flat(gates_4BC[2]), _flat(gates_4BC[3])
            before, cell = _flat(cell_PKBC[panel, step]), _flat(cell_PKBC[panel, step + 1])
            hidden = _flat(hidden_PKBC[panel, step + 1])
            take_sigmoid(enter)
            take_sigmoid(keep)
            take_tanh(new)
            take_sigmoid(show)
            for i in range(len(cell)):
                cell[i] = keep[i] * before[i] + enter[i] * new[i]
            for i in range(len(cell)):
                hidden[i] = show[i] * _tanh(cell[i])


@_compiled()
def _take_through_cell(
    state_BC: Array, cell_state_BC: Array, given_BC: Array, gates_4BC: Array, before_BC: Array,
    cell_BC: Array, grad_4PTBC: Array, panel: int, place: int,
) -> None:  # fmt: skip
    """Fill a panel and place of ``grad_4PTBC``, from the gradients by a hidden state and a cell's.

    These are ``state_BC`` with what comes from above, ``given_BC``, and ``cell_state_BC``. The two
    states' become those by the states before, but for what comes through the products.
    """
    state, cell_state, given = _flat(state_BC), _flat(cell_state_BC), _flat(given_BC)
    enter, keep = _flat(gates_4BC[0]), _flat(gates_4BC[1])
    new, show = _flat(gates_4BC[2]), _flat(gates_4BC[3])
    before, cell = _flat(before_BC), _flat(cell_BC)
    d_enter, d_keep = _flat(grad_4PTBC[0, panel, place]), _flat(grad_4PTBC[1, panel, place])
    d_new, d_show = _flat(grad_4PTBC[2, panel, place]), _flat(grad_4PTBC[3, panel, place])
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


@_compiled()
def lstm_backward(
    grad_PLBC: Array, x_QKBF: Array, w_ih_GPQCX: Operand, w_hh_GPPCC: Operand,
    gates_PL4BC: Array, hidden_PKBC: Array, cell_PKBC: Array,
    grad_x_QLBX: Array, grad_w_ih_GQPFC: Array, grad_w_hh_GPPCC: Array, grad_bias_P4BC: Array,
    state_PBC: Array, cell_state_PBC: Array, grad_4PTBC: Array,
    words_BC: Words, x_words_QNF: Words, hidden_words_PNC: Words, grad_words_NC: Words,
) -> None:  # fmt: skip
    """As ``gru_backward``."""
    num_panels, num_steps = grad_PLBC.shape[:2]
    num_together = grad_4PTBC.shape[2]
    for end in range(num_steps, 0, -num_together):
        first = max(0, end - num_together)
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
                state_PBC, grad_x_QLBX, grad_4PTBC, words_BC, place, step, w_ih_GPQCX, w_hh_GPPCC
            )
        _add_to_weights(
            grad_w_ih_GQPFC, grad_w_hh_GPPCC, grad_4PTBC, x_QKBF, hidden_PKBC, first, end,
            w_hh_GPPCC, x_words_QNF, hidden_words_PNC, grad_words_NC,
        )  # fmt: skip


@_compiled()
def gather(x_TF: Array, starts_B: Ints, x_KBF: Array) -> None:
    """Fill the last but for its first step with the windows that begin at these steps.

    It may have more features than there are: zeros.
    """
    for step in range(len(x_KBF) - 1):
        for window, start in enumerate(starts_B):
            for feature in range(x_TF.shape[1]):
                x_KBF[step + 1, window, feature] = x_TF[start + step, feature]
            for feature in range(x_TF.shape[1], x_KBF.shape[2]):
                x_KBF[step + 1, window, feature] = 0


@_compiled()
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


@_compiled()
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
            out, hidden = _flat(out_PBC[panel]), _flat(hidden_PKBC[panel, step + 1])
            for i in range(len(out)):
                out[i] = max(hidden[i], np.float32(0)) if has_relu else hidden[i]
            add_product(y_BX, out_PBC[panel], w_PCX[panel])
        total += _take_errors(
            y_BX, load_KB, starts_B, step, counts_B, target_T, is_train_T,
            gain, is_change, is_l1, slope_BH, grad_bias_H,
        )  # fmt: skip
        for panel in range(num_panels):
            grad_BC = grad_PLBC[panel, step]
            out, grad = _flat(out_PBC[panel]), _flat(grad_BC)
            for i in range(len(grad)):
                grad[i] = 0
            add_product(grad_BC, slope_BH, w_PHC[panel])
            add_product(grad_w_PHC[panel], slope_BH.T, out_PBC[panel])
            if has_relu:
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
