"""Frequency kernel: cosine transforms of planes and the packing of their coefficients, compiled.

Sums run in one order, without fused multiply-adds, in one thread: every machine gets the same bytes.
"""

import math
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sfsim.codec.bit_kernel import flush, get_codes, put_codes

LONGEST = 128  # Longer axes are transformed by scipy's fast algorithm.


@lru_cache(maxsize=64)
def half_cosines(n: int) -> NDArray[np.float64]:
    """Return the left half of the orthonormal DCT-II matrix, shape (n, ceil(n / 2)); the right half mirrors it.

    Row k holds ``sqrt(2 / n) * cos(pi * k * (2 j + 1) / (2 n))``, row 0 divided by sqrt(2); column n - 1 - j is
    column j times (-1)**k.
    """
    # math.cos: that of numpy depends on the machine's vector instructions in its last bit.
    table = [
        [
            math.sqrt((2 if k else 1) / n) * math.cos(math.pi * (k * (2 * j + 1) % (4 * n)) / (2 * n))
            for j in range((n + 1) // 2)
        ]
        for k in range(n)
    ]
    if n % 2:
        for k in range(1, n, 2):
            table[k][-1] = 0.0
    matrix = np.array(table)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=64)
def zigzag(height: int, width: int) -> NDArray[np.int64]:
    """Return the flat indices of a plane, anti-diagonal by anti-diagonal.

    Even diagonals run from the bottom left upwards, odd ones from the top right downwards.

    >>> zigzag(3, 4).tolist()
    [0, 1, 4, 8, 5, 2, 3, 6, 9, 10, 7, 11]
    """
    row, column = (axis.ravel() for axis in np.indices((height, width)))
    diagonal = row + column
    order = np.lexsort((np.where(diagonal % 2, row, column), diagonal))
    order.flags.writeable = False
    return order


@numba.njit(cache=True)
def _accumulate(coefficients: Any, source: Any, row: Any) -> None:
    """row = sum over j of coefficient j times row j of `source`, one after another."""
    columns, count = row.size, coefficients.size
    for c in range(columns):
        row[c] = 0.0
    j = 0
    while j + 8 <= count:
        c0, c1, c2, c3 = coefficients[j], coefficients[j + 1], coefficients[j + 2], coefficients[j + 3]
        c4, c5, c6, c7 = coefficients[j + 4], coefficients[j + 5], coefficients[j + 6], coefficients[j + 7]
        s0, s1, s2, s3 = source[j], source[j + 1], source[j + 2], source[j + 3]
        s4, s5, s6, s7 = source[j + 4], source[j + 5], source[j + 6], source[j + 7]
        for c in range(columns):
            half = row[c] + c0 * s0[c] + c1 * s1[c] + c2 * s2[c] + c3 * s3[c]
            row[c] = half + c4 * s4[c] + c5 * s5[c] + c6 * s6[c] + c7 * s7[c]
        j += 8
    while j + 2 <= count:
        c0, c1 = coefficients[j], coefficients[j + 1]
        s0, s1 = source[j], source[j + 1]
        for c in range(columns):
            row[c] = row[c] + c0 * s0[c] + c1 * s1[c]
        j += 2
    if j < count:
        c0, s0 = coefficients[j], source[j]
        for c in range(columns):
            row[c] = row[c] + c0 * s0[c]


@numba.njit(cache=True)
def _forward(plane: Any, matrix: Any, even: Any, odd: Any, out: Any) -> None:
    """Transform the columns of `plane` (n rows) into `out`; `even` and `odd` are work space of n // 2 + 1 rows."""
    n, columns = plane.shape
    half = n // 2
    for j in range(half):
        top, bottom = plane[j], plane[n - 1 - j]
        sums, differences = even[j], odd[j]
        for c in range(columns):
            sums[c] = top[c] + bottom[c]
            differences[c] = top[c] - bottom[c]
    if n % 2:
        even[half] = plane[half]
    for k in range(n):
        if k % 2 == 0:
            _accumulate(matrix[k, : n - half], even, out[k])
        else:
            _accumulate(matrix[k, :half], odd, out[k])


@numba.njit(cache=True)
def _inverse(
    plane: Any, even_columns: Any, odd_columns: Any, even: Any, odd: Any, work: Any, out: Any
) -> None:
    """Undo `_forward`: coefficients `plane` (n rows) into `out`; `work` holds two rows."""
    n, columns = plane.shape
    for k in range(n):
        target = even[k // 2] if k % 2 == 0 else odd[k // 2]
        source = plane[k]
        for c in range(columns):
            target[c] = source[c]
    symmetric, skew = work[0], work[1]
    for j in range((n + 1) // 2):
        _accumulate(even_columns[j], even, symmetric)
        _accumulate(odd_columns[j], odd, skew)
        top, bottom = out[j], out[n - 1 - j]
        for c in range(columns):
            top[c] = symmetric[c] + skew[c]
        if n - 1 - j != j:
            for c in range(columns):
                bottom[c] = symmetric[c] - skew[c]


@numba.njit(cache=True)
def _side_by_side(height: Any, width: Any, count: Any) -> int:
    """Return how many planes to transform at once: rows of 64 to 128 numbers are long enough for a machine."""
    best, least = 1, 1e9
    for together in range(1, min(count, 129) + 1):
        a, b = together * height, together * width
        if together > 1 and max(a, b) > 256:
            break
        # Numbers computed for each of use, with rows filled up to whole vectors, and what a short row costs.
        cost = (-(-a // 16) * 16 + 16) / a + (-(-b // 16) * 16 + 16) / b
        if cost < least:
            best, least = together, cost
    return best


@numba.njit(cache=True, nogil=True)
def forward(planes: Any, of_height: Any, of_width: Any, order: Any, out: Any) -> None:
    """Write the coefficients of planes (P, H, W), in `order`, into `out` (P, H * W) float64."""
    count, height, width = planes.shape
    together = _side_by_side(height, width, count)
    a, b = -(-together * height // 16) * 16, -(-together * width // 16) * 16
    plane, first = np.zeros((height, b)), np.zeros((height, b))
    even_h, odd_h = np.zeros((height // 2 + 1, b)), np.zeros((height // 2 + 1, b))
    turned, second = np.zeros((width, a)), np.zeros((width, a))
    even_w, odd_w = np.zeros((width // 2 + 1, a)), np.zeros((width // 2 + 1, a))
    flat = second.reshape(-1)
    places = np.empty(order.size, np.int64)
    for i in range(order.size):
        places[i] = order[i] % width * a + order[i] // width
    for start in range(0, count, together):
        size = min(together, count - start)
        for q in range(size):
            for r in range(height):
                for c in range(width):
                    plane[r, q * width + c] = planes[start + q, r, c]
        _forward(plane, of_height, even_h, odd_h, first)
        for q in range(size):
            for c in range(width):
                for r in range(height):
                    turned[c, q * height + r] = first[r, q * width + c]
        _forward(turned, of_width, even_w, odd_w, second)
        for q in range(size):
            target, shift = out[start + q], q * height
            for i in range(places.size):
                target[i] = flat[places[i] + shift]


@numba.njit(cache=True)
def _columns(matrix: Any) -> tuple[Any, Any]:
    """Return the columns of the matrix as rows: entries of even k, and of odd k."""
    n = matrix.shape[0]
    even, odd = np.empty(((n + 1) // 2, (n + 1) // 2)), np.empty(((n + 1) // 2, n // 2))
    for j in range((n + 1) // 2):
        for k in range(n):
            if k % 2 == 0:
                even[j, k // 2] = matrix[k, j]
            else:
                odd[j, k // 2] = matrix[k, j]
    return even, odd


@numba.njit(cache=True, nogil=True)
def inverse(coefficients: Any, of_height: Any, of_width: Any, order: Any, limit: Any, out: Any) -> None:
    """Undo `forward`: coefficients (P, H * W) into `out` (P, H, W), nothing beyond `limit`."""
    count, height, width = out.shape
    together = _side_by_side(height, width, count)
    a, b = -(-together * height // 16) * 16, -(-together * width // 16) * 16
    plane, second, work_h = np.zeros((height, b)), np.zeros((height, b)), np.zeros((2, b))
    even_h, odd_h = np.zeros((height // 2 + 1, b)), np.zeros((height // 2 + 1, b))
    turned, first, work_w = np.zeros((width, a)), np.zeros((width, a)), np.zeros((2, a))
    even_w, odd_w = np.zeros((width // 2 + 1, a)), np.zeros((width // 2 + 1, a))
    even_of_h, odd_of_h = _columns(of_height)
    even_of_w, odd_of_w = _columns(of_width)
    flat = turned.reshape(-1)
    places = np.empty(order.size, np.int64)
    for i in range(order.size):
        places[i] = order[i] % width * a + order[i] // width
    for start in range(0, count, together):
        size = min(together, count - start)
        for q in range(size):
            source, shift = coefficients[start + q], q * height
            for i in range(places.size):
                flat[places[i] + shift] = source[i]
        _inverse(turned, even_of_w, odd_of_w, even_w, odd_w, work_w, first)
        for q in range(size):
            for r in range(height):
                for c in range(width):
                    plane[r, q * width + c] = first[c, q * height + r]
        _inverse(plane, even_of_h, odd_of_h, even_h, odd_h, work_h, second)
        for q in range(size):
            for r in range(height):
                for c in range(width):
                    out[start + q, r, c] = min(max(second[r, q * width + c], -limit), limit)


@numba.njit(cache=True, nogil=True)
def cut(s: Any, groups: Any, energy: Any, fewest: Any, most: Any, normalise: Any, cuts: Any) -> None:
    """Fill `cuts` (groups, 3) with m, b_low and b_high of each group of consecutive planes of `s` (P, n)."""
    planes, n = s.shape
    each = planes // groups
    e = np.empty(n)
    for g in range(groups):
        for i in range(n):
            e[i] = s[g * each, i] * s[g * each, i]
        for p in range(g * each + 1, (g + 1) * each):
            for i in range(n):
                e[i] += s[p, i] * s[p, i]
        total = 0.0
        for i in range(n):
            total += e[i]
        cuts[g, 0], cuts[g, 1], cuts[g, 2] = 0, fewest, fewest
        if total == 0:
            continue
        wanted, sofar, m = energy * total, 0.0, 0
        while m < n:
            sofar += e[m]
            m += 1
            if sofar >= wanted:
                break
        low, high = 0.0, 0.0
        for i in range(m):
            low += e[i]
        for i in range(m, n):
            high += e[i]
        low /= m * each
        high = high / ((n - m) * each) if m < n else 0.0
        if normalise:
            mean = total / (n * each)
            low, high = low / mean, high / mean
        of_low, of_high = math.log1p(low), math.log1p(high)
        both = of_low + of_high
        cuts[g, 0] = m
        if both > 0:
            cuts[g, 1] = min(max(np.rint(fewest + (most - fewest) * (of_low / both)), fewest), most)
            if m < n:
                cuts[g, 2] = min(max(np.rint(fewest + (most - fewest) * (of_high / both)), fewest), most)


@numba.njit(cache=True, nogil=True)
def extremes(s: Any, m: Any, out: Any) -> None:
    """Fill `out` (P, 5) with min and max below m, min and max from m on, and the largest magnitude."""
    planes, n = s.shape
    for p in range(planes):
        row = s[p]
        largest = 0.0
        for part in range(2):
            start, end = (0, m[p]) if part == 0 else (m[p], n)
            low, high = np.inf, -np.inf
            for i in range(start, end):
                low = row[i] if row[i] < low else low
                high = row[i] if row[i] > high else high
            out[p, 2 * part], out[p, 2 * part + 1] = low, high
            if end > start:
                largest = max(largest, -low, high)
        out[p, 4] = largest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantise(s: Any, cuts: Any, ranges: Any, scale: Any, out: Any) -> int:
    """Write the codes of all planes into `out`; return its bytes. `ranges` (P, 4) as on the wire, in float64."""
    planes, n = s.shape
    register, used, at = np.uint64(0), 0, 0
    codes = np.empty(n, np.uint8)
    for p in range(planes):
        for part in range(2):
            start, end = (0, cuts[p, 0]) if part == 0 else (cuts[p, 0], n)
            low, high = ranges[p, 2 * part], ranges[p, 2 * part + 1]
            if cuts[p, 0] == 0 or not high > low:
                continue
            bits = cuts[p, 1 + part]
            top = np.float64((1 << bits) - 1)
            span = high - low
            row, count = s[p, start:end], end - start
            for i in range(count):
                codes[i] = np.int32(min(max(np.rint((row[i] / scale - low) * top / span), 0.0), top))
            register, used, at = put_codes(out, register, used, at, codes, count, bits)
    return flush(out, register, used, at)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def dequantise(data: Any, cuts: Any, ranges: Any, scale: Any, s: Any) -> None:
    """Undo `quantise`: fill `s` (P, n) with coefficients."""
    planes, n = s.shape
    register, held, at = np.uint64(0), 0, 0
    codes = np.empty(n, np.uint8)
    for p in range(planes):
        row = s[p]
        if cuts[p, 0] == 0:
            row[:] = 0.0
            continue
        for part in range(2):
            start, end = (0, cuts[p, 0]) if part == 0 else (cuts[p, 0], n)
            low, high = ranges[p, 2 * part], ranges[p, 2 * part + 1]
            if not high > low:
                row[start:end] = low * scale
                continue
            bits = cuts[p, 1 + part]
            top = np.float64((1 << bits) - 1)
            span = high - low
            target, count = row[start:end], end - start
            register, held, at = get_codes(data, register, held, at, codes, count, bits)
            for i in range(count):
                target[i] = (low + codes[i] * span / top) * scale
