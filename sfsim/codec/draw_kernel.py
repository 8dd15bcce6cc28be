"""Draw kernel: the uniform numbers of NumPy's PCG64DXSM, made where they are used instead of passing through memory.

The generator is a linear congruence of 128 bits, one step after another. Four of them side by side, each as far
ahead of the last as a quarter of a block, give the same numbers without waiting for each other.

Source: M. E. O'Neill, "PCG", HMC-CS-2014-0905; the DXSM output as in NumPy's documentation of PCG64DXSM.
"""

import sys
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

_MULTIPLIER = 0xDA942042E4DD58B5
_MASK = (1 << 128) - 1
_BLOCK = 1024  # numbers of 32 bits that stay in the processor's cache
_U64 = np.uint64


@intrinsic  # type: ignore[misc]
def _step(typing: Any, high: Any, low: Any, by: Any, plus: Any) -> Any:
    """Return ``state * by + plus`` modulo 2**128; all four are halves or pairs of uint64."""
    pair = types.UniTuple(types.uint64, 2)
    signature = pair(types.uint64, types.uint64, pair, pair)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        high, low, by, plus = arguments
        wide, half = ir.IntType(128), ir.Constant(ir.IntType(128), 64)

        def join(upper: Any, lower: Any) -> Any:
            return builder.or_(builder.shl(builder.zext(upper, wide), half), builder.zext(lower, wide))

        factor = join(builder.extract_value(by, 0), builder.extract_value(by, 1))
        term = join(builder.extract_value(plus, 0), builder.extract_value(plus, 1))
        found = builder.add(builder.mul(join(high, low), factor), term)
        halves = [
            builder.trunc(builder.lshr(found, half), ir.IntType(64)),
            builder.trunc(found, ir.IntType(64)),
        ]
        return context.make_tuple(builder, pair, halves)

    return signature, generate


@numba.njit(cache=True, nogil=True)
def _draw(states: Any, increment: Any, high: Any, out: Any) -> None:
    """Write the draws of one block; each state makes a quarter of it. `high` is room for as many."""
    one, quarter = (_U64(0), _U64(_MULTIPLIER)), out.size // 4
    (ah, al), (bh, bl), (ch, cl), (dh, dl) = states
    for i in range(quarter):
        high[i], high[i + quarter], high[i + 2 * quarter], high[i + 3 * quarter] = ah, bh, ch, dh
        out[i], out[i + quarter], out[i + 2 * quarter], out[i + 3 * quarter] = al, bl, cl, dl
        ah, al = _step(ah, al, one, increment)
        bh, bl = _step(bh, bl, one, increment)
        ch, cl = _step(ch, cl, one, increment)
        dh, dl = _step(dh, dl, one, increment)
    for i in range(out.size):
        word = high[i]
        word ^= word >> _U64(32)
        word *= _U64(_MULTIPLIER)
        word ^= word >> _U64(48)
        out[i] = word * (out[i] | _U64(1))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def draw_levels(x: Any, norm: Any, side: Any, lanes: Any, out: Any) -> None:
    """Write ``x / norm * side`` rounded up with its own fraction as the chance, plus `side`; all in float32.

    Number i has the lower (i even) or upper half of draw i // 2, of which the highest 24 bits are a number in
    [0, 1) as NumPy draws float32.
    """
    high, draws = np.empty(_BLOCK // 2, np.uint64), np.empty(_BLOCK // 2, np.uint64)
    luck = draws.view(np.uint32)
    states, increment, by, plus = lanes
    for start in range(0, x.size, _BLOCK):
        _draw(states, increment, high, draws)
        (ah, al), (bh, bl), (ch, cl), (dh, dl) = states
        states = (
            _step(ah, al, by, plus),
            _step(bh, bl, by, plus),
            _step(ch, cl, by, plus),
            _step(dh, dl, by, plus),
        )
        values, to = x[start : start + _BLOCK], out[start : start + _BLOCK]
        for i in range(values.size):
            level = values[i] / norm * side
            down = np.floor(level)
            chance = np.float32(np.int32(luck[i] >> np.uint32(8))) * np.float32(2.0**-24)
            to[i] = np.int32(down + np.float32(chance < level - down) + side)


def lanes(source: np.random.BitGenerator) -> tuple[Any, Any, Any, Any] | None:
    """Return the states of the lanes, the increment, and factor and term of a whole block; None of another generator.

    A generator that holds back half a draw is another one, too.
    """
    if not isinstance(source, np.random.PCG64DXSM) or sys.byteorder != "little":
        return None
    now = source.state
    if now["has_uint32"]:
        return None
    state, increment = now["state"]["state"], now["state"]["inc"]
    by, plus = _leap(increment, _BLOCK // 8)
    states = []
    for _ in range(4):
        states.append(_halves(state))
        state = (state * by + plus) & _MASK
    by, plus = _leap(increment, _BLOCK // 2)
    return tuple(states), _halves(increment), _halves(by), _halves(plus)


def _leap(increment: int, steps: int) -> tuple[int, int]:
    """Return factor and term of `steps` steps, a power of two, at once."""
    by, plus = _MULTIPLIER, increment
    for _ in range(steps.bit_length() - 1):
        by, plus = by * by & _MASK, (by + 1) * plus & _MASK
    return by, plus


def _halves(number: int) -> tuple[np.uint64, np.uint64]:
    return _U64(number >> 64), _U64(number & 0xFFFFFFFFFFFFFFFF)


def draw(
    x: NDArray[np.float32], norm: np.float32, side: np.float32, rng: np.random.Generator, out: NDArray[Any]
) -> None:
    """Run `draw_levels` on numbers as ``rng.random(x.size, float32)`` would draw them; `rng` moves on as then."""
    source = rng.bit_generator
    found = lanes(source)
    whole = x.size // 2 * 2 if found else 0
    if found and whole:
        draw_levels(x[:whole], norm, side, found, out[:whole])
        source.advance(whole // 2)  # type: ignore[attr-defined]
    if whole < x.size:
        level = x[whole:] / norm * side
        down = np.floor(level)
        up = rng.random(x.size - whole, dtype=np.float32) < level - down
        out[whole:] = (down + up.astype(np.float32) + side).astype(np.int32)
