"""What the compiled loops take of numba's inner parts, all in one place.

numba promises none of it: the option ``_nrt``, ``_getvalue`` of an array that is built, and what
``numba.core`` and ``numba.np`` give to those who write LLVM's code. So ``pyproject.toml`` caps
numba's version, ``tests/kernels/test_numba_private.py`` fails where a part has changed, and a
training that finds it changed is PyTorch's, with a warning (``engine.py``).

Why they stay (docs/adr/0024): without ``_nrt`` numba counts whose memory it is for each part of an
array that a loop takes, a tenth of a small step; and no product of small matrices that a library
has is half as fast as the tile below.

numba does not see this file when it asks whether what it kept is still good: after a change here,
``PRIVATE_SHA256`` in ``cpu_kernels.py`` has to be changed too, and a test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

T = TypeVar("T")

LANES = 16  # a register of AVX-512; where they are shorter the compiler takes several
# A tile of sums that stays in registers, of which AVX-512 has 32 long ones.
TILE_ROWS = 4
_VECTORS = 4 if binding.get_host_cpu_features().get("avx512f") else 1
TILE_COLUMNS = _VECTORS * LANES

_INTEGER = ir.IntType(32)
_NUMBERS, _INTEGERS = (ir.VectorType(each, LANES) for each in (ir.FloatType(), _INTEGER))


def compiled(
    *kinds: tuple[Any, ...], in_any_order: bool = False
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Compile for these kinds of arrays at once; where none are named, when it is first called.

    What an earlier process kept beside this file or in the cache is taken. A product and a sum may
    become one instruction, and sums may be added up ``in_any_order`` (the same one each time),
    nothing else: what is not a number stays so. No memory is asked for (``_nrt``): whose it is
    would be counted for each part of an array, which takes a tenth of a small step.
    """
    flags = {"contract", "reassoc"} if in_any_order else {"contract"}

    def compile_now(function: Callable[..., T]) -> Callable[..., T]:
        signatures = [[types.void(*each) for each in kinds]] if kinds else []
        options: dict[str, Any] = {
            "nogil": True, "error_model": "numpy", "fastmath": flags, "_nrt": False,
        }  # fmt: skip
        try:
            kernel: Callable[..., T] = njit(*signatures, cache=True, **options)(function)
        except RuntimeError:  # no folder for a cache can be written: compiled in each process
            kernel = njit(*signatures, **options)(function)
        return kernel

    return compile_now


def _tile(num_rows: int, num_vectors: int) -> Callable[..., None]:
    """What makes ``before + left @ right`` the tile of ``sums`` that begins at a row and a column.

    numba has no type for a vector, so it is written in what LLVM reads: columns of ``left`` times
    rows of ``right`` are summed up in registers, and ``before`` is added at the end (one by one the
    terms would lose digits in a sum over many steps).
    """
    zeros, all_first = ir.Constant(_NUMBERS, [0.0] * LANES), ir.Constant(_INTEGERS, [0] * LANES)
    nothing = ir.Constant(_NUMBERS, ir.Undefined)
    rows, columns = range(num_rows), range(0, num_vectors * LANES, LANES)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, row, column = signature.args[:4], arguments[4], arguments[5]
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
            return [builder.bitcast(each, _NUMBERS.as_pointer()) for each in places]

        sums = [cgutils.alloca_once_value(builder, zeros) for _ in rows for _ in columns]
        depth = builder.extract_value(arrays[3].shape, 0)
        with cgutils.for_range(builder, depth) as loop:
            rights = [builder.load(each, align=4) for each in vectors(3, loop.index)]
            for i in rows:
                left = builder.load(place(2, after(row, i), loop.index))
                left = builder.insert_element(nothing, left, ir.Constant(_INTEGER, 0))
                left = builder.shuffle_vector(left, nothing, all_first)
                for right, total in zip(rights, sums[i * num_vectors :], strict=False):
                    product = builder.fmul(left, right, flags=("contract",))
                    new = builder.fadd(builder.load(total), product, flags=("contract",))
                    builder.store(new, total)
        targets, befores = (
            [each for i in rows for each in vectors(number, after(row, i))] for number in (0, 1)
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


tile_of_rows, tile_of_row = _tile(TILE_ROWS, _VECTORS), _tile(1, _VECTORS)
narrow_tile_of_rows, narrow_tile_of_row = _tile(TILE_ROWS, 1), _tile(1, 1)


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


flat, rows = _view(1), _view(2)
