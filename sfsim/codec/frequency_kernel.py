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


@numba.njit(cache=True, inline="always")
def _accumulate(matrix: Any, k: Any, first: Any, step: Any, count: Any, source: Any, row: Any) -> None:
    """row = sum over j of matrix entry (k, j) times source row j; with a step, entry (first + step j, k)."""
    columns = row.size
    for c in range(columns):
        row[c] = 0.0
    j = 0
    while j + 4 <= count:
        if step == 0:
            c0, c1, c2, c3 = matrix[k, j], matrix[k, j + 1], matrix[k, j + 2], matrix[k, j + 3]
        else:
            at = first + step * j
            c0, c1 = matrix[at, k], matrix[at + step, k]
            c2, c3 = matrix[at + 2 * step, k], matrix[at + 3 * step, k]
        s0, s1, s2, s3 = source[j], source[j + 1], source[j + 2], source[j + 3]
        for c in range(columns):
            row[c] = row[c] + c0 * s0[c] + c1 * s1[c] + c2 * s2[c] + c3 * s3[c]
        j += 4
    while j < count:
        c0 = matrix[k, j] if step == 0 else matrix[first + step * j, k]
        s0 = source[j]
        for c in range(columns):
            row[c] = row[c] + c0 * s0[c]
        j += 1


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
        even[half, :columns] = plane[half]
    for k in range(n):
        if k % 2 == 0:
            _accumulate(matrix, k, 0, 0, n - half, even, out[k])
        else:
            _accumulate(matrix, k, 0, 0, half, odd, out[k])


@numba.njit(cache=True)
def _inverse(plane: Any, matrix: Any, even: Any, odd: Any, work: Any, out: Any) -> None:
    """Undo `_forward`: coefficients `plane` (n rows) into `out`; `work` holds two rows."""
    n, columns = plane.shape
    for k in range(n):
        target = even[k // 2] if k % 2 == 0 else odd[k // 2]
        source = plane[k]
        for c in range(columns):
            target[c] = source[c]
    symmetric, skew = work[0], work[1]
    for j in range((n + 1) // 2):
        _accumulate(matrix, j, 0, 2, (n + 1) // 2, even, symmetric)
        _accumulate(matrix, j, 1, 2, n // 2, odd, skew)
        top, bottom = out[j], out[n - 1 - j]
        for c in range(columns):
            top[c] = symmetric[c] + skew[c]
        if n - 1 - j != j:
            for c in range(columns):
                bottom[c] = symmetric[c] - skew[c]


@numba.njit(cache=True, nogil=True)
def forward(planes: Any, of_height: Any, of_width: Any, order: Any, out: Any) -> None:
    """Write the coefficients of planes (P, H, W), in `order`, into `out` (P, H * W) float64."""
    count, height, width = planes.shape
    longest = max(height, width)
    even, odd = np.empty((2, longest // 2 + 1, longest))
    even_h, odd_h = even[:, :width], odd[:, :width]
    even_w, odd_w = even[:, :height], odd[:, :height]
    plane, first = np.empty((height, width)), np.empty((height, width))
    turned, second = np.empty((width, height)), np.empty((width, height))
    flat = second.reshape(-1)
    places = np.empty(order.size, np.int64)
    for i in range(order.size):
        places[i] = order[i] % width * height + order[i] // width
    for p in range(count):
        for r in range(height):
            for c in range(width):
                plane[r, c] = planes[p, r, c]
        _forward(plane, of_height, even_h, odd_h, first)
        for c in range(width):
            for r in range(height):
                turned[c, r] = first[r, c]
        _forward(turned, of_width, even_w, odd_w, second)
        target = out[p]
        for i in range(places.size):
            target[i] = flat[places[i]]


@numba.njit(cache=True, nogil=True)
def inverse(coefficients: Any, of_height: Any, of_width: Any, order: Any, limit: Any, out: Any) -> None:
    """Undo `forward`: coefficients (P, H * W) into `out` (P, H, W), nothing beyond `limit`."""
    count, height, width = out.shape
    longest = max(height, width)
    even, odd = np.empty((2, longest // 2 + 1, longest))
    work = np.empty((2, longest))
    even_h, odd_h, work_h = even[:, :width], odd[:, :width], work[:, :width]
    even_w, odd_w, work_w = even[:, :height], odd[:, :height], work[:, :height]
    turned, first = np.empty((width, height)), np.empty((width, height))
    plane, second = np.empty((height, width)), np.empty((height, width))
    flat = turned.reshape(-1)
    for p in range(count):
        source = coefficients[p]
        for i in range(order.size):
            flat[order[i] % width * height + order[i] // width] = source[i]
        _inverse(turned, of_width, even_w, odd_w, work_w, first)
        for r in range(height):
            for c in range(width):
                plane[r, c] = first[c, r]
        _inverse(plane, of_height, even_h, odd_h, work_h, second)
        for r in range(height):
            for c in range(width):
                out[p, r, c] = min(max(second[r, c], -limit), limit)


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


@numba.njit(cache=True, nogil=True)
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
                codes[i] = np.uint8(min(max(np.rint((row[i] / scale - low) * top / span), 0.0), top))
            register, used, at = put_codes(out, register, used, at, codes, count, bits)
    return flush(out, register, used, at)


@numba.njit(cache=True, nogil=True)
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
