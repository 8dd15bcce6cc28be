"""Bit kernel: numbers of changing widths written and read one after another, compiled; see `sfsim.codec.bits`.

`put` and `get` keep their place in three numbers that the caller hands on: a register, how many bits of it are
in use, and the byte where the next ones go. Nothing here is imported before a codec that needs it runs.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sfsim.codec.bits import num_bytes
from sfsim.codec.frame import Buffer
from sfsim.errors import CodecError


@numba.njit(cache=True, inline="always")
def put(out: Any, register: Any, used: Any, at: Any, value: Any, bits: Any) -> tuple[Any, Any, Any]:
    """Append the low `bits` (at most 33) bits of `value`; return the new place. Fewer than 32 bits wait in it."""
    register = (register << np.uint64(bits)) | np.uint64(value)
    used += bits
    if used >= 32:
        used -= 32
        word = register >> np.uint64(used)
        out[at] = (word >> np.uint64(24)) & np.uint64(255)
        out[at + 1] = (word >> np.uint64(16)) & np.uint64(255)
        out[at + 2] = (word >> np.uint64(8)) & np.uint64(255)
        out[at + 3] = word & np.uint64(255)
        at += 4
    return register, used, at


@numba.njit(cache=True)
def flush(out: Any, register: Any, used: Any, at: Any) -> int:
    """Write the bits that wait, the last byte filled with zeros; return the number of bytes."""
    while used > 0:
        shift = used - 8
        out[at] = (
            (register >> np.uint64(shift)) if shift >= 0 else (register << np.uint64(-shift))
        ) & np.uint64(255)
        used -= 8
        at += 1
    return at


@numba.njit(cache=True, inline="always")
def get(data: Any, register: Any, held: Any, at: Any, bits: Any) -> tuple[Any, Any, Any, Any]:
    """Take the next `bits` (at most 33) bits; return them and the new place. Bytes beyond the end read as 0."""
    while held < bits:
        byte = data[at] if at < data.size else np.uint8(0)
        register = (register << np.uint64(8)) | np.uint64(byte)
        held += 8
        at += 1
    held -= bits
    value = (register >> np.uint64(held)) & ((np.uint64(1) << np.uint64(bits)) - np.uint64(1))
    return value, register, held, at


@numba.njit(cache=True, nogil=True)
def _put_eights(
    out: Any, register: Any, used: Any, at: Any, codes: Any, count: Any, b: Any
) -> tuple[Any, Any, Any, Any]:
    """Append eights of codes, `b` bytes each, as long as they fit; return how many codes, and the new place."""
    while used >= 8:
        used -= 8
        out[at] = (register >> np.uint64(used)) & np.uint64(255)
        at += 1
    i, place, left = np.uint64(0), np.uint64(at), np.uint64(64 - used) - np.uint64(8) * b
    one, eight, four_b = np.uint64(1), np.uint64(8), np.uint64(4) * b
    waiting = (one << np.uint64(used)) - one
    while i + eight <= np.uint64(count) and place + eight <= np.uint64(out.size):
        word = np.uint64(0)
        for _ in range(8):
            word = (word << b) | np.uint64(codes[i])
            i += one
        register = (((register & waiting) << four_b) << four_b) | word
        word = register << left
        for j in range(8):  # what is beyond `b` bytes is written again
            out[place + np.uint64(j)] = (word >> np.uint64(56 - 8 * j)) & np.uint64(255)
        place += b
    return np.int64(i), register, np.int64(used), np.int64(place)


@numba.njit(cache=True, inline="always")
def put_codes(
    out: Any, register: Any, used: Any, at: Any, codes: Any, count: Any, bits: Any
) -> tuple[Any, Any, Any]:
    """Append `count` codes of 1 to 8 bits each."""
    b = np.uint64(bits)
    i = 0
    if bits < 8 or used % 8 == 0:  # eight of them, and what waits of a byte, fit into 64 bits
        i, register, used, at = _put_eights(out, register, used, at, codes, count, b)
    while i + 4 <= count:
        four = np.uint64(codes[i])
        four = (four << b) | np.uint64(codes[i + 1])
        four = (four << b) | np.uint64(codes[i + 2])
        four = (four << b) | np.uint64(codes[i + 3])
        register, used, at = put(out, register, used, at, four, 4 * bits)
        i += 4
    while i < count:
        register, used, at = put(out, register, used, at, codes[i], bits)
        i += 1
    return register, used, at


@numba.njit(cache=True, inline="always")
def get_codes(
    data: Any, register: Any, held: Any, at: Any, codes: Any, count: Any, bits: Any
) -> tuple[Any, Any, Any]:
    """Take `count` codes of 1 to 8 bits each."""
    b, mask = np.uint64(bits), (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    i = 0
    while i + 4 <= count:
        four, register, held, at = get(data, register, held, at, 4 * bits)
        codes[i] = (four >> (np.uint64(3) * b)) & mask
        codes[i + 1] = (four >> (np.uint64(2) * b)) & mask
        codes[i + 2] = (four >> b) & mask
        codes[i + 3] = four & mask
        i += 4
    while i < count:
        code, register, held, at = get(data, register, held, at, bits)
        codes[i] = code
        i += 1
    return register, held, at


@numba.njit(cache=True, nogil=True)
def _pack(values: Any, bits: Any, out: Any) -> None:
    register, used, at = np.uint64(0), 0, 0
    for i in range(values.size):
        register, used, at = put(out, register, used, at, values[i], bits[i % bits.size])
    flush(out, register, used, at)


@numba.njit(cache=True, nogil=True)
def _unpack(data: Any, bits: Any, values: Any) -> None:
    register, held, at = np.uint64(0), 0, 0
    for i in range(values.size):
        value, register, held, at = get(data, register, held, at, bits[i % bits.size])
        values[i] = np.int64(value)


def pack_fields(values: NDArray[Any], bits: NDArray[Any] | list[int]) -> bytes:
    """Pack whole numbers of widths `bits` (0 to 33, repeated when there are more numbers), without alignment.

    Examples
    --------
    >>> pack_fields(np.array([5, 1, 2, 0]), [3, 1]).hex()
    'b4'
    """
    widths = np.asarray(bits, np.int64)
    total = _total(values.size, widths)
    out = np.zeros(num_bytes(total, 1) + 4, np.uint8)
    _pack(np.asarray(values, np.int64).ravel(), widths, out)
    return out[: num_bytes(total, 1)].tobytes()


def unpack_fields(data: Buffer, count: int, bits: NDArray[Any] | list[int], what: str) -> NDArray[np.int64]:
    """Undo `pack_fields`; raise CodecError unless `data` is exactly as long as `count` numbers are."""
    widths = np.asarray(bits, np.int64)
    expected = num_bytes(_total(count, widths), 1)
    if len(data) != expected:
        raise CodecError(f"{what}: found {len(data)} bytes, expected {expected}")
    values = np.zeros(count, np.int64)
    if count:
        _unpack(np.frombuffer(data, np.uint8), widths, values)
    return values


def _total(count: int, widths: NDArray[np.int64]) -> int:
    if count == 0:
        return 0
    whole, rest = divmod(count, widths.size)
    return int(whole * widths.sum() + widths[:rest].sum())
