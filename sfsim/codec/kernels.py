"""Kernels of the plain codecs: one pass over a tensor each, compiled, without temporaries of its size.

Every kernel computes what the formula in its codec says, in the same order of operations, so that payloads are the
same on every machine and with any number of threads. Arrays are contiguous; results go into an array that the caller
gives. Nothing here is imported before a codec that needs it runs: compiling takes a moment, once per machine.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

kernel = njit(cache=True, nogil=True, error_model="numpy")

_ONE, _U8, _U64 = np.uint32(1), np.uint8, np.uint64
_SIZE, _INFINITE = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)  # of float32: all but the sign; infinity
_BLOCK = 4096  # elements that stay in the processor's first cache between two passes
_QUIET = np.uint32(0x40)  # of bfloat16: keeps a NaN whose payload stood only in the lower half a NaN


def _converts(kind: tuple[str, str, str]) -> bool:
    """Whether the processor that is compiled for converts float16 itself."""
    return "+f16c" in kind[2] or kind[0].startswith("aarch64")


HALVES = _converts(cpu_target.target_context.codegen().magic_tuple())


@intrinsic  # type: ignore[misc]
def _narrow(typing: Any, value: Any) -> Any:
    """Return the bits of a float32 as float16, to nearest even."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic  # type: ignore[misc]
def _widen(typing: Any, code: Any) -> Any:
    """Return the float32 of the bits of a float16."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@kernel
def largest_magnitude(bits: Any) -> Any:
    """Return the bits of the largest magnitude of float32 (uint32), at least infinity's if one is not finite."""
    largest = np.uint32(0)
    for i in range(bits.size):
        largest = max(largest, bits[i] & _SIZE)
    return largest


@kernel
def extremes(bits: Any) -> Any:
    """Return the bits of the least and the largest of float32 (int32); NaN are beyond the infinities."""
    size = np.int32(0x7FFFFFFF)
    low, high = size, ~size
    for i in range(bits.size):
        key = bits[i] ^ ((bits[i] >> np.int32(31)) & size)  # in the order of the numbers
        low, high = min(low, key), max(high, key)
    return low ^ ((low >> np.int32(31)) & size), high ^ ((high >> np.int32(31)) & size)


@kernel
def to_half(values: Any, bits: Any, out: Any) -> Any:
    """Round float32 (`values`, and as uint32 `bits`) to float16 (uint16), to nearest even; saturate what is finite.

    Returns how many saturated. NaN keep the upper bits of their payload, as in NumPy.
    """
    largest = np.uint32(0)
    for i in range(bits.size if HALVES else 0):
        largest = max(largest, bits[i] & _SIZE)
        out[i] = _narrow(values[i])
    for i in range(0 if HALVES else bits.size):
        size = bits[i] & _SIZE
        largest = max(largest, size)
        small = size < np.uint32(0x38800000)  # below 2**-14: whole numbers of 2**-24
        tiny = np.uint32(np.int32(np.rint(np.float32(2.0**24) * abs(values[i] if small else np.float32(0)))))
        odd = (size >> np.uint32(13)) & _ONE
        normal = (size + np.uint32(0xFFF) + odd - np.uint32(0x38000000)) >> np.uint32(13)
        half = tiny if small else normal
        out[i] = np.uint16(half | ((bits[i] >> np.uint32(16)) & np.uint32(0x8000)))
    saturated = np.uint32(0)
    if largest < np.uint32(0x477FF000):  # nothing rounds beyond the largest float16
        return saturated
    for i in range(bits.size):
        size = bits[i] & _SIZE
        if size >= np.uint32(0x477FF000):
            half = np.uint32(0x7BFF)
            if size >= _INFINITE:
                half = np.uint32(0x7C00) | ((size & np.uint32(0x7FFFFF)) >> np.uint32(13))
                half |= np.uint32((half == np.uint32(0x7C00)) & (size > _INFINITE))
            else:
                saturated += _ONE
            out[i] = np.uint16(half | ((bits[i] >> np.uint32(16)) & np.uint32(0x8000)))
    return saturated


@kernel
def from_half(codes: Any, bits: Any, out: Any) -> None:
    """Widen float16 (uint16) to float32 (`out`, and as uint32 `bits`), exactly."""
    if HALVES:
        largest = np.uint16(0)
        for i in range(codes.size):
            largest = max(largest, codes[i] & np.uint16(0x7FFF))
            out[i] = _widen(codes[i])
        for i in range(codes.size if largest > np.uint16(0x7C00) else 0):
            if codes[i] & np.uint16(0x7FFF) > np.uint16(
                0x7C00
            ):  # a NaN keeps its bits; the processor marks it quiet
                wide = (np.uint32(codes[i]) & np.uint32(0x7FFF)) << np.uint32(13)
                sign = (np.uint32(codes[i]) & np.uint32(0x8000)) << np.uint32(16)
                bits[i] = wide | sign | _INFINITE
        return
    for start in range(0, codes.size, _BLOCK):
        some, words, to = (
            codes[start : start + _BLOCK],
            bits[start : start + _BLOCK],
            out[start : start + _BLOCK],
        )
        for i in range(some.size):
            size = np.uint32(some[i]) & np.uint32(0x7FFF)
            wide = (size << np.uint32(13)) + np.uint32(0x38000000)
            wide = wide + np.uint32(0x38000000) if size >= np.uint32(0x7C00) else wide
            words[i] = wide | ((np.uint32(some[i]) & np.uint32(0x8000)) << np.uint32(16))
        for i in range(some.size):  # the smallest ones are whole numbers of 2**-24
            size16 = some[i] & np.uint16(0x7FFF)
            tiny = np.float32(np.int32(size16)) * np.float32(2.0**-24)
            tiny = -tiny if some[i] & np.uint16(0x8000) else tiny
            to[i] = tiny if size16 < np.uint16(0x400) else to[i]


@kernel
def to_bfloat16(bits: Any, out: Any) -> Any:
    """Round float32 (uint32) to its upper half (uint16), to nearest even; saturate what is finite; count that."""
    largest = np.uint32(0)
    for i in range(bits.size):
        largest = max(largest, bits[i] & _SIZE)
        out[i] = np.uint16(
            (bits[i] + np.uint32(0x7FFF) + ((bits[i] >> np.uint32(16)) & _ONE)) >> np.uint32(16)
        )
    saturated = np.uint32(0)
    if largest < np.uint32(0x7F7F8000):  # nothing rounds beyond the largest bfloat16
        return saturated
    for i in range(bits.size):
        size = bits[i] & _SIZE
        if size >= np.uint32(0x7F7F8000):
            half = size >> np.uint32(16)
            if size < _INFINITE:
                half = np.uint32(0x7F7F)
                saturated += _ONE
            elif size > _INFINITE:
                half |= _QUIET
            out[i] = np.uint16(half | ((bits[i] >> np.uint32(16)) & np.uint32(0x8000)))
    return saturated


@kernel
def from_bfloat16(codes: Any, bits: Any) -> None:
    """Widen bfloat16 (uint16) to float32 (uint32), exactly."""
    for i in range(codes.size):
        bits[i] = np.uint32(codes[i]) << np.uint32(16)


@kernel
def quantise(x: Any, low: Any, scale: Any, out: Any) -> None:
    """Write ``rint((x - low) * scale)`` in float64; arrays of (outer, channel, inner), end points by channel."""
    for outer in range(x.shape[0]):
        for channel in range(x.shape[1]):
            row, to, least, step = x[outer, channel], out[outer, channel], low[channel], scale[channel]
            for i in range(row.size):
                to[i] = np.int32(np.rint((np.float64(row[i]) - least) * step))


@kernel
def dequantise(codes: Any, low: Any, step: Any, out: Any) -> None:
    """Write ``codes * step + low`` in float64, rounded to the type of `out`; the inverse of `quantise`."""
    for outer in range(codes.shape[0]):
        for channel in range(codes.shape[1]):
            row, to, least, wide = codes[outer, channel], out[outer, channel], low[channel], step[channel]
            for i in range(row.size):
                to[i] = np.float64(row[i]) * wide + least


@kernel
def round_levels(x: Any, norm: Any, side: Any, out: Any) -> None:
    """Write ``rint(x / norm * side) + side``, all in float32."""
    for i in range(x.size):
        out[i] = np.int32(np.rint(x[i] / norm * side) + side)


@kernel
def undo_levels(codes: Any, norm: Any, side: Any, out: Any) -> None:
    """Write ``(code - side) / side * norm``, all in float32."""
    for i in range(codes.size):
        out[i] = (np.float32(codes[i]) - side) / side * norm


@kernel
def mask_codes(x: Any, full: Any, threshold: Any, floor: Any, out: Any) -> None:
    """Write ``|x| * full / threshold`` in float64, rounded (or floored) and at most ``full - 1``."""
    if floor:
        for i in range(x.size):
            # 1.4 * 3 / 2.1 is 2, and 1.9999999999999996 in float64
            out[i] = np.int32(min(np.floor(np.float64(abs(x[i])) * full / threshold + 1e-6), full - 1.0))
    else:
        for i in range(x.size):
            out[i] = np.int32(min(np.rint(np.float64(abs(x[i])) * full / threshold), full - 1.0))


@kernel
def look_up(codes: Any, table: Any, out: Any) -> None:
    """Write ``table[code]``."""
    for i in range(codes.size):
        out[i] = table[codes[i]]


@kernel
def mask_steps(full: Any, threshold: Any, floor: Any, out: Any) -> None:
    """Write the bits of the smallest float32 that `mask_codes` gives 1, 2, ... ``full - 1``."""
    bits = np.empty(1, np.uint32)
    value, code = bits.view(np.float32), np.empty(1, np.uint32)
    for step in range(out.size):
        least, most = (
            np.uint32(0),
            _INFINITE - _ONE,
        )  # the first is too small, the last is not, or nothing is large enough
        while most - least > _ONE:
            bits[0] = least + (most - least) // np.uint32(2)
            mask_codes(value, full, threshold, floor, code)
            if code[0] > step:
                most = bits[0]
            else:
                least = bits[0]
        out[step] = most


@kernel
def mask_by_steps(bits: Any, steps: Any, out: Any) -> None:
    """Write what `mask_codes` would, for float32 (uint32), by comparisons with what `mask_steps` found."""
    for start in range(0, bits.size, _BLOCK):
        some, to = bits[start : start + _BLOCK], out[start : start + _BLOCK]
        for i in range(some.size):
            to[i] = _U8((some[i] & _SIZE) >= steps[0])
        for step in steps[1:]:
            for i in range(some.size):
                to[i] += _U8((some[i] & _SIZE) >= step)


@kernel
def pack_signs(bits: Any, codes: Any, full: Any, table: Any, out: Any) -> Any:
    """Pack the signs of float32 (uint32), 1 = negative, for every code but 0 and `full`.

    Returns how many, and whether any is 1. Four at a time: `table` tells of four marks (low half) and four signs
    (high half) how many signs there are (high half), and which (low half).
    """
    marks, fours = np.zeros(_BLOCK, np.uint8), np.empty(_BLOCK // 4, np.uint8)
    register, held, at, negative = _U64(0), _U64(0), 0, _U64(0)
    for start in range(0, bits.size, _BLOCK):
        some, mine = bits[start : start + _BLOCK], codes[start : start + _BLOCK]
        for i in range(some.size):
            inner = _U8((mine[i] != 0) & (mine[i] != full))
            marks[i] = inner | _U8((some[i] >> np.uint32(31)) << np.uint32(4))
        for i in range(some.size, _BLOCK):
            marks[i] = 0
        for i in range(fours.size):
            pair = marks[4 * i] | (marks[4 * i + 1] << _U8(1))
            fours[i] = pair | (marks[4 * i + 2] << _U8(2)) | (marks[4 * i + 3] << _U8(3))
        for i in range(fours.size):
            entry = _U64(table[fours[i]])
            width, signs = entry >> _U64(4), entry & _U64(15)
            register = (register << width) | signs
            held += width
            negative |= signs
            if held >= _U64(32):
                held -= _U64(32)
                word = register >> held
                out[at], out[at + 1] = (word >> _U64(24)) & _U64(255), (word >> _U64(16)) & _U64(255)
                out[at + 2], out[at + 3] = (word >> _U64(8)) & _U64(255), word & _U64(255)
                at += 4
    count = 8 * at + np.int64(held)
    while held > _U64(0):
        byte = register >> (held - _U64(8)) if held >= _U64(8) else register << (_U64(8) - held)
        out[at] = byte & _U64(255)
        at += 1
        held -= min(held, _U64(8))
    return count, negative > _U64(0)


@kernel
def negate(codes: Any, full: Any, signs: Any, bits: Any) -> None:
    """Negate float32 (as uint32 `bits`) by what `pack_signs` packed, a byte each and one to spare."""
    at = 0
    for i in range(codes.size):
        inner = _U8((codes[i] != 0) & (codes[i] != full))
        bits[i] ^= np.uint32(inner & signs[at]) << np.uint32(31)
        at += int(inner)


@kernel
def at_least(bits: Any, pivot: Any, out: Any) -> int:
    """Write where float32 (as uint32) are at least `pivot` in magnitude, ascending; return how many."""
    count = 0
    flags = np.zeros(_BLOCK, np.uint8)
    eights = flags.view(np.uint64)  # few are: eight are passed over by one comparison
    for start in range(0, bits.size, _BLOCK):
        some = bits[start : start + _BLOCK]
        for i in range(some.size):
            flags[i] = _U8((some[i] & _SIZE) >= pivot)
        flags[some.size :] = 0
        for eight in range(eights.size):
            if eights[eight]:
                for i in range(8 * eight, 8 * eight + 8):
                    out[count] = start + i
                    count += int(flags[i])
    return count


@kernel
def pack_halves(codes: Any, out: Any) -> None:
    """Pack pairs of 4-bit numbers."""
    for i in range(out.size):
        out[i] = (codes[2 * i] << _U8(4)) | codes[2 * i + 1]


@kernel
def unpack_halves(data: Any, out: Any) -> None:
    """Unpack pairs of 4-bit numbers."""
    for i in range(data.size):
        out[2 * i] = data[i] >> _U8(4)
        out[2 * i + 1] = data[i] & _U8(15)


@kernel
def pack_quarters(codes: Any, out: Any) -> None:
    """Pack 2-bit numbers, four a byte."""
    for i in range(out.size):
        high = (codes[4 * i] << _U8(6)) | (codes[4 * i + 1] << _U8(4))
        out[i] = high | (codes[4 * i + 2] << _U8(2)) | codes[4 * i + 3]


@kernel
def unpack_quarters(data: Any, out: Any) -> None:
    """Unpack 2-bit numbers, four a byte."""
    for i in range(data.size):
        out[4 * i] = data[i] >> _U8(6)
        out[4 * i + 1] = (data[i] >> _U8(4)) & _U8(3)
        out[4 * i + 2] = (data[i] >> _U8(2)) & _U8(3)
        out[4 * i + 3] = data[i] & _U8(3)


@kernel
def pack_any(codes: Any, bits: Any, out: Any) -> None:
    """Pack numbers of any width up to 32 bits."""
    register, used, at = _U64(0), _U64(0), 0
    for i in range(codes.size):
        register = (register << bits) | _U64(codes[i])
        used += bits
        while used >= _U64(8):
            used -= _U64(8)
            out[at] = (register >> used) & _U64(255)
            at += 1
    if used > _U64(0):
        out[at] = (register << (_U64(8) - used)) & _U64(255)


@kernel
def unpack_any(data: Any, bits: Any, out: Any) -> None:
    """Unpack numbers of any width up to 32 bits."""
    register, held, at = _U64(0), _U64(0), 0
    mask = (_U64(1) << bits) - _U64(1)
    for i in range(out.size):
        while held < bits:
            register = (register << _U64(8)) | _U64(data[at])
            held += _U64(8)
            at += 1
        held -= bits
        out[i] = (register >> held) & mask
