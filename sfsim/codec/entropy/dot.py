"""Dot: products of int16 matrices with int32 sums, exact in any order and on every machine.

The one loop in which the time of an entropy model goes. It is written in the words of the compiler beneath
numba: plain products and sums of vectors of 32 lanes in the order (multiply, add neighbours, add up), in which
x86 finds its ``vpmaddwd``/``vpdpwssd`` (measured: 100 GMAC/s on one core, where the same loop in Python words
gives 35 and float32 BLAS 48) and other machines find their own. There is no fast path to disagree with:
32-bit sums of integers are the same in any order, as long as they do not overflow, which `layer.quantise`
guarantees from the weights.
"""

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32
"""Columns come in multiples of this, filled up with zeros."""

TILE = 4
"""Rows of both matrices come in multiples of this."""


@intrinsic  # type: ignore[misc]
def _tile(typing: Any, a: Any, b: Any, columns: Any) -> Any:
    """Return the 16 sums of products between 4 rows at address `a` and 4 rows at address `b`."""
    result = types.UniTuple(types.int32, TILE * TILE)
    signature = result(types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        a, b, columns = arguments
        i64, i32 = ir.IntType(64), ir.IntType(32)
        narrow = ir.VectorType(ir.IntType(16), LANES)
        wide, half = ir.VectorType(i32, LANES), ir.VectorType(i32, LANES // 2)
        even = ir.Constant(half, list(range(0, LANES, 2)))
        odd = ir.Constant(half, list(range(1, LANES, 2)))
        undefined = ir.Constant(wide, ir.Undefined)
        before = builder.block
        loop, after = builder.append_basic_block("dot"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        column = builder.phi(i64)
        column.add_incoming(ir.Constant(i64, 0), before)
        sums = [builder.phi(half) for _ in range(TILE * TILE)]

        def row(base: Any, number: int) -> Any:
            place = builder.add(builder.mul(columns, ir.Constant(i64, number)), column)
            address = builder.add(base, builder.mul(place, ir.Constant(i64, 2)))
            values = builder.load(builder.inttoptr(address, narrow.as_pointer()))
            values.align = 2
            return builder.sext(values, wide)

        left = [row(a, number) for number in range(TILE)]
        right = [row(b, number) for number in range(TILE)]
        added = []
        for number, total in enumerate(sums):
            product = builder.mul(left[number // TILE], right[number % TILE])
            pairs = builder.add(
                builder.shuffle_vector(product, undefined, even),
                builder.shuffle_vector(product, undefined, odd),
            )
            added.append(builder.add(total, pairs))
        following = builder.add(column, ir.Constant(i64, LANES))
        column.add_incoming(following, loop)
        for total, new in zip(sums, added, strict=True):
            total.add_incoming(ir.Constant(half, None), before)
            total.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, columns), loop, after)
        builder.position_at_end(after)
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(i32, [half]), f"llvm.vector.reduce.add.v{LANES // 2}i32"
        )
        return context.make_tuple(builder, result, [builder.call(reduce, [total]) for total in added])

    return signature, generate


@numba.njit(cache=True)
def matmul(a: Any, rows: Any, b: Any, out: Any) -> None:
    """Write ``a @ b.T`` of the first `rows` rows of `a`, filled up to a multiple of `TILE`, into `out`.

    Parameters
    ----------
    a : int16[>= rows filled up, K], C-contiguous, K a positive multiple of `LANES`
    rows : int
    b : int16[n, K], C-contiguous, n a multiple of `TILE`
    out : int32[>= rows filled up, n]
    """
    columns = a.shape[1]
    for j in range(0, b.shape[0], TILE):
        right = b.ctypes.data + 2 * j * columns
        for i in range(0, rows, TILE):
            sums = _tile(a.ctypes.data + 2 * i * columns, right, columns)
            for p in range(TILE):
                for q in range(TILE):
                    out[i + p, j + q] = sums[TILE * p + q]


def filled(number: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `number` and positive.

    >>> filled(213, 32), filled(0, 4)
    (224, 4)
    """
    return max(multiple, -(-number // multiple) * multiple)
