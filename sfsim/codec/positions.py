"""Positions: ascending indices written as a list, a bitmask or coded gaps, whichever takes the fewest bits.

Two bits say which: 0, each index in ceil(log2 d) bits; 1, one bit for each of d elements; 2, five bits r and then
each gap to the last index but one as a Rice code: the gap without its r low bits in ones and a zero, and these bits.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sfsim.codec.bit_kernel import flush, get, pack_fields, put
from sfsim.codec.bits import num_bytes
from sfsim.codec.frame import Buffer
from sfsim.codec.selecting import index_bits
from sfsim.errors import CodecError

_LIST, _MASK, _GAPS = 0, 1, 2


@numba.njit(cache=True, nogil=True)
def _write(gaps: Any, low_bits: Any, out: Any) -> int:
    register, used, at = np.uint64(0), 0, 0
    register, used, at = put(out, register, used, at, _GAPS << 5 | low_bits, 7)
    for i in range(gaps.size):
        ones = gaps[i] >> low_bits
        while ones >= 31:
            register, used, at = put(out, register, used, at, (1 << 31) - 1, 31)
            ones -= 31
        register, used, at = put(out, register, used, at, ((1 << ones) - 1) << 1, ones + 1)
        register, used, at = put(out, register, used, at, gaps[i] & ((1 << low_bits) - 1), low_bits)
    return flush(out, register, used, at)


@numba.njit(cache=True, nogil=True)
def _read(data: Any, indices: Any, numel: Any) -> int:
    """Fill `indices`; return how many bits were read, or -1 for an index that is not below `numel`."""
    register, held, at = np.uint64(0), 0, 0
    head, register, held, at = get(data, register, held, at, 7)
    low_bits, last = np.int64(head) & 31, np.int64(-1)
    for i in range(indices.size):
        high = 0
        while True:
            one, register, held, at = get(data, register, held, at, 1)
            if one == 0:
                break
            high += 1
            if high << low_bits > numel:
                return -1
        low, register, held, at = get(data, register, held, at, low_bits)
        last += 1 + (high << low_bits) + np.int64(low)
        if last >= numel:
            return -1
        indices[i] = last
    return 8 * at - held


def pack_shortest(indices: NDArray[np.int64], numel: int) -> tuple[bytes, int]:
    """Return the shortest form of ascending indices below `numel`, and its bits; of equal ones the first above."""
    gaps = np.diff(indices, prepend=-1) - 1
    rice = [5 + int((gaps >> r).sum()) + indices.size * (1 + r) for r in range(index_bits(numel) + 1)]
    sizes = [indices.size * index_bits(numel), numel, min(rice)]
    which = sizes.index(min(sizes))
    if which == _LIST:
        bits = np.repeat([2, index_bits(numel)], [1, indices.size])
        return pack_fields(np.concatenate(([_LIST], indices)), bits), 2 + sizes[0]
    if which == _MASK:
        mask = np.zeros(numel + 2, np.uint8)
        mask[1] = 1
        mask[indices + 2] = 1
        return np.packbits(mask).tobytes(), 2 + numel
    out = np.zeros(num_bytes(2 + sizes[_GAPS], 1) + 8, np.uint8)
    end = _write(gaps, rice.index(min(rice)), out)
    return out[:end].tobytes(), 2 + sizes[_GAPS]


def unpack_shortest(data: Buffer, k: int, numel: int) -> tuple[NDArray[np.int64], int]:
    """Undo `pack_shortest` for `k` indices; return them and the bits.

    Raises
    ------
    CodecError
        For anything that it did not make; nothing larger than `numel` bits or `k` numbers is made before.
    """
    which = data[0] >> 6 if len(data) else _LIST
    raw = np.frombuffer(data, np.uint8)
    if which == _GAPS:
        indices = np.zeros(k, np.int64)
        bits = _read(raw, indices, numel)
        if bits < 0 or num_bytes(bits, 1) != len(data):
            raise CodecError(f"gaps: found other than {k} positions below {numel} in {len(data)} bytes")
        return indices, bits
    bits = 2 + (k * index_bits(numel) if which == _LIST else numel)
    if which > _GAPS or len(data) != num_bytes(bits, 1):
        raise CodecError(f"positions: found {len(data)} bytes, expected {num_bytes(bits, 1)}")
    flags = np.unpackbits(raw, count=bits)[2:]
    if which == _MASK:
        indices = np.flatnonzero(flags)
    else:
        weights = 1 << np.arange(index_bits(numel))[::-1]
        indices = flags.reshape(k, -1).astype(np.int64) @ weights if k else np.zeros(0, np.int64)
    if indices.size != k or (np.diff(indices) <= 0).any() or (k and int(indices[-1]) >= numel):
        raise CodecError(f"positions: expected {k} ascending numbers below {numel}")
    return indices, bits
