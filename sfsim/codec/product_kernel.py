"""Product kernel: Lloyd's rounds over short vectors, compiled; in one order, in one thread.

Vectors lie as columns, (length, number), so that many of them meet a centre at once. Distances are compared in
float32 first; where the two nearest centres are closer to each other than its error, in float64. So the result
is that of float64.
"""

from typing import Any

import numba
import numpy as np

_BLOCK = 512


@numba.njit(cache=True, inline="always")
def _exact(columns: Any, i: Any, centres: Any) -> Any:
    """Return the centre nearest to column i in float64; of equally near ones the lowest."""
    best, least = 0, np.inf
    for centre in range(centres.shape[0]):
        distance = 0.0
        for j in range(columns.shape[0]):
            difference = np.float64(columns[j, i]) - centres[centre, j]
            distance += difference * difference
        if distance < least:
            best, least = centre, distance
    return best


@numba.njit(cache=True, inline="always")
def _error(distance: Any, size: Any, length: Any) -> Any:
    """Return twice what float32 may be wrong by in the difference of two distances up to `distance`.

    Of columns of magnitudes up to `size`: by the sums' rounding, by that of centres against differences, by its
    square, and by what float32 cannot tell from 0.
    """
    of_root = 2.0**-21 * size * np.sqrt(length * distance)
    return 2.0**-22 * (length + 8) * distance + of_root + 2.0**-42 * length * size * size + 1e-36


@numba.njit(cache=True, nogil=True)
def assign(columns: Any, centres: Any, repeated: Any, largest: Any, nearest: Any) -> int:
    """Assign each column to its nearest centre; return how many changed.

    Parameters
    ----------
    columns : ndarray of float32, shape (length, number)
    centres : ndarray of float64, shape (L, length)
    repeated : ndarray of bool, shape (L,)
        Which centres equal an earlier one: no column is ever theirs.
    largest : float
        Largest magnitude in `columns`; centres are not beyond it.
    nearest : ndarray of int32, shape (number,)
        Read and written.
    """
    length, number = columns.shape
    rounded = centres.astype(np.float32)
    changed = 0
    least, second = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    best, distance = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.float32)
    for start in range(0, number, _BLOCK):
        size = min(_BLOCK, number - start)
        least[:], second[:], best[:] = np.inf, np.inf, 0
        for centre in range(rounded.shape[0]):
            if repeated[centre]:
                continue
            index = np.int32(centre)
            j = 0
            if length >= 2:
                x0, x1 = columns[0, start : start + size], columns[1, start : start + size]
                c0, c1 = rounded[centre, 0], rounded[centre, 1]
                if length == 2:
                    for i in range(size):
                        d0, d1 = x0[i] - c0, x1[i] - c1
                        d = d0 * d0 + d1 * d1
                        worse = least[i] if d < least[i] else d
                        second[i] = worse if worse < second[i] else second[i]
                        best[i] = index if d < least[i] else best[i]
                        least[i] = d if d < least[i] else least[i]
                    continue
                if length == 4:
                    x2, x3 = columns[2, start : start + size], columns[3, start : start + size]
                    c2, c3 = rounded[centre, 2], rounded[centre, 3]
                    for i in range(size):
                        d0, d1, d2, d3 = x0[i] - c0, x1[i] - c1, x2[i] - c2, x3[i] - c3
                        d = d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3
                        worse = least[i] if d < least[i] else d
                        second[i] = worse if worse < second[i] else second[i]
                        best[i] = index if d < least[i] else best[i]
                        least[i] = d if d < least[i] else least[i]
                    continue
                for i in range(size):
                    d0, d1 = x0[i] - c0, x1[i] - c1
                    distance[i] = d0 * d0 + d1 * d1
                j = 2
                while j + 3 < length:
                    x0, x1 = columns[j, start : start + size], columns[j + 1, start : start + size]
                    x2, x3 = columns[j + 2, start : start + size], columns[j + 3, start : start + size]
                    c0, c1, c2, c3 = (
                        rounded[centre, j],
                        rounded[centre, j + 1],
                        rounded[centre, j + 2],
                        rounded[centre, j + 3],
                    )
                    for i in range(size):
                        d0, d1, d2, d3 = x0[i] - c0, x1[i] - c1, x2[i] - c2, x3[i] - c3
                        distance[i] += d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3
                    j += 4
            else:
                for i in range(size):
                    distance[i] = np.float32(0)
            while j < length:
                x0, c0 = columns[j, start : start + size], rounded[centre, j]
                for i in range(size):
                    d0 = x0[i] - c0
                    distance[i] += d0 * d0
                j += 1
            for i in range(size):
                d = distance[i]
                worse = least[i] if d < least[i] else d
                second[i] = worse if worse < second[i] else second[i]
                best[i] = index if d < least[i] else best[i]
                least[i] = d if d < least[i] else least[i]
        for i in range(size):
            gap, other = np.float64(second[i]) - np.float64(least[i]), np.float64(second[i])
            if not gap > _error(other, largest, length):
                size_here: Any = 0.0  # a closer bound, for a column of small numbers
                for j in range(length):
                    size_here = max(size_here, abs(np.float64(columns[j, start + i])))
                if not gap > _error(other, size_here, length):
                    best[i] = _exact(columns, start + i, centres)
            changed += nearest[start + i] != best[i]
            nearest[start + i] = best[i]
    return changed


@numba.njit(cache=True, nogil=True)
def average(columns: Any, nearest: Any, centres: Any) -> None:
    """Move each centre that has columns to their mean, summed in their order; the others stay."""
    length, number = columns.shape
    sums, counts = np.zeros(centres.shape), np.zeros(centres.shape[0], np.int64)
    for i in range(number):
        counts[nearest[i]] += 1
    j = 0
    while j + 4 <= length:
        x0, x1, x2, x3 = columns[j], columns[j + 1], columns[j + 2], columns[j + 3]
        for i in range(number):
            row = sums[nearest[i]]
            row[j] += x0[i]
            row[j + 1] += x1[i]
            row[j + 2] += x2[i]
            row[j + 3] += x3[i]
        j += 4
    while j < length:
        x0 = columns[j]
        for i in range(number):
            sums[nearest[i], j] += x0[i]
        j += 1
    for centre in range(centres.shape[0]):
        if counts[centre]:
            for k in range(length):
                centres[centre, k] = sums[centre, k] / counts[centre]
