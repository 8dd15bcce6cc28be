"""Feature kernel: levels from one number, and digits of any base in blocks of at most 32 bits, compiled.

Levels come from products only, in one order, so that both ends of a link, on any machine, find the same.
"""

from typing import Any

import numba
import numpy as np

from sfsim.codec.bit_kernel import flush, get, put

MOST_LEVELS = 65536


@numba.njit(cache=True, inline="always")
def _levels(c: Any, w: Any) -> int:
    """Return the largest whole Q up to 65,536 with (Q - 1)**3 <= (c w**2) Q, by that test alone."""
    u = c * (w * w)
    low, high = 1, MOST_LEVELS + 1
    while high - low > 1:
        middle = (low + high) // 2
        k = np.float64(middle - 1)
        if k * k * k <= u * np.float64(middle):
            low = middle
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def levels(c: Any, widths: Any, out: Any) -> None:
    """Fill `out` with the levels of each width."""
    for i in range(widths.size):
        out[i] = _levels(c, widths[i])


@numba.njit(cache=True, inline="always")
def _block(base: Any) -> tuple[Any, Any]:
    """Return how many digits of `base` (2 or more) fit into 32 bits, and their largest number plus one."""
    g, power = 1, base
    while power * base <= 4294967296:
        power *= base
        g += 1
    return g, power


@numba.njit(cache=True, inline="always")
def _length(number: Any) -> int:
    bits = 0
    while number:
        number >>= 1
        bits += 1
    return bits


@numba.njit(cache=True)
def digit_bits(base: Any, count: Any) -> int:
    """Return the bits of `count` digits below `base`."""
    if base <= 1 or count == 0:
        return 0
    g, power = _block(base)
    whole, rest = count // g, count % g
    left = 1
    for _ in range(rest):
        left *= base
    return whole * _length(power - 1) + _length(left - 1)


@numba.njit(cache=True, nogil=True)
def size_table(count: Any, out: Any) -> None:
    """Fill ``out[Q]`` with the bits of `count` digits below Q, for Q from 0 to 65,536."""
    for base in range(out.size):
        out[base] = digit_bits(base, count)


@numba.njit(cache=True, nogil=True)
def total_bits(c: Any, widths: Any, sizes: Any, mean_width: Any, means: Any, most: Any) -> int:
    """Return the bits of all entries and means at `c`, or some number beyond `most`."""
    total = digit_bits(_levels(c, mean_width), means)
    for i in range(widths.size):
        total += sizes[_levels(c, widths[i])]
        if total > most:
            break
    return total


@numba.njit(cache=True, nogil=True)
def pack_digits(digits: Any, bases: Any, out: Any) -> int:
    """Write rows of digits (rows, count) in the base of each row; return the bytes."""
    register, used, at = np.uint64(0), 0, 0
    rows, count = digits.shape
    for row in range(rows):
        base = bases[row]
        if base <= 1:
            continue
        g, power = _block(base)
        bits = _length(power - 1)
        start = 0
        while start < count:
            end = min(start + g, count)
            if end - start < g:
                power = 1
                for _ in range(end - start):
                    power *= base
                bits = _length(power - 1)
            number = 0
            for i in range(start, end):
                number = number * base + digits[row, i]
            register, used, at = put(out, register, used, at, number, bits)
            start = end
    return flush(out, register, used, at)


@numba.njit(cache=True, nogil=True)
def unpack_digits(data: Any, bases: Any, digits: Any) -> bool:
    """Undo `pack_digits`; return whether every block was a number that its digits can make."""
    register, held, at = np.uint64(0), 0, 0
    rows, count = digits.shape
    for row in range(rows):
        base = bases[row]
        if base <= 1:
            digits[row] = 0
            continue
        g, power = _block(base)
        bits = _length(power - 1)
        start = 0
        while start < count:
            end = min(start + g, count)
            if end - start < g:
                power = 1
                for _ in range(end - start):
                    power *= base
                bits = _length(power - 1)
            taken, register, held, at = get(data, register, held, at, bits)
            number = np.int64(taken)
            if number >= power:
                return False
            for i in range(end - 1, start - 1, -1):
                digits[row, i] = number % base
                number //= base
            start = end
    return True
