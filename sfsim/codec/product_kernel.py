"""Product kernel: Lloyd's rounds over short vectors, compiled; in one order, whatever the threads.

Vectors lie as columns, (length, number), so that many of them meet a centre at once. What is compared is the square
of a centre less twice its product with the vector, in float32; where the two nearest are closer to each other than
its error, distances in float64. So the result is that of float64.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_BLOCK = 512
_PRODUCTS = 1 << 18  # at a time
_LONG = 16  # elements of a vector from which products of matrices pay


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True, inline="always")
def _settle(
    columns: Any,
    start: Any,
    least: Any,
    second: Any,
    best: Any,
    norms: Any,
    largest: Any,
    centres: Any,
    nearest: Any,
) -> Any:
    """Write the nearest centres of a block, those that float32 cannot tell by float64; return how many changed."""
    # Sums of `length` products, and the rounding of centres: by the norms of both (Cauchy and Schwarz).
    bound = np.float32((columns.shape[0] + 10) * 2.0**-22 * largest)
    twice, most = np.float32(2) * bound, bound * np.float32(largest) + np.float32(1e-36)
    size = best.size
    near, mine = np.zeros((size + 7) // 8 * 8, np.uint8), nearest[start : start + size]
    changed = np.int64(0)
    of_columns = norms[start : start + size]
    for i in range(size):
        near[i] = not second[i] - least[i] > twice * of_columns[i] + most
    eights = near.view(np.uint64)  # few are: eight are passed over by one comparison
    for eight in range(eights.size):
        if eights[eight]:
            for i in range(8 * eight, 8 * eight + 8):
                if near[i]:
                    best[i] = _exact(columns, start + i, centres)
    for i in range(size):
        changed += np.int64(mine[i] != best[i])
        mine[i] = best[i]
    return changed


@numba.njit(cache=True, nogil=True, inline="always")
def _take(scores: Any, index: Any, least: Any, second: Any, best: Any) -> None:
    """Keep the two least scores of each column, and whose the least is."""
    for i in range(scores.size):
        score = scores[i]
        worse = least[i] if score < least[i] else score
        second[i] = worse if worse < second[i] else second[i]
        best[i] = index if score < least[i] else best[i]
        least[i] = score if score < least[i] else least[i]


@numba.njit(cache=True, nogil=True, inline="always")
def _take_fours(
    columns: Any,
    start: Any,
    end: Any,
    factors: Any,
    squares: Any,
    which: Any,
    least: Any,
    second: Any,
    best: Any,
) -> None:
    """Keep the two least scores of columns of four, and whose the least is; a multiple of four centres."""
    x0, x1 = columns[0, start:end], columns[1, start:end]
    x2, x3 = columns[2, start:end], columns[3, start:end]
    for centre in range(0, which.size, 4):  # a column is read once for all four
        sa, sb, sc, sd = squares[centre], squares[centre + 1], squares[centre + 2], squares[centre + 3]
        na, nb, nc, nd = which[centre], which[centre + 1], which[centre + 2], which[centre + 3]
        row = factors[centre]
        a0, a1, a2, a3 = row[0], row[1], row[2], row[3]
        row = factors[centre + 1]
        b0, b1, b2, b3 = row[0], row[1], row[2], row[3]
        row = factors[centre + 2]
        c0, c1, c2, c3 = row[0], row[1], row[2], row[3]
        row = factors[centre + 3]
        d0, d1, d2, d3 = row[0], row[1], row[2], row[3]
        for i in range(best.size):
            a = sa + x0[i] * a0 + x1[i] * a1 + x2[i] * a2 + x3[i] * a3
            b = sb + x0[i] * b0 + x1[i] * b1 + x2[i] * b2 + x3[i] * b3
            c = sc + x0[i] * c0 + x1[i] * c1 + x2[i] * c2 + x3[i] * c3
            d = sd + x0[i] * d0 + x1[i] * d1 + x2[i] * d2 + x3[i] * d3
            less, more = (b, a) if b < a else (a, b)
            whose = nb if b < a else na
            lesser, other = (d, c) if d < c else (c, d)
            more = other if other < more else more
            whose = (nd if d < c else nc) if lesser < less else whose
            less, between = (lesser, less) if lesser < less else (less, lesser)
            more = between if between < more else more
            before = least[i]
            worse = before if less < before else less
            more = worse if worse < more else more
            second[i] = more if more < second[i] else second[i]
            best[i] = whose if less < before else best[i]
            least[i] = less if less < before else before


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _assign_short(
    columns: Any, factors: Any, squares: Any, which: Any, norms: Any, largest: Any, centres: Any, nearest: Any
) -> int:
    """Assign short columns; `which` are the numbers of the centres whose factors and squares are given."""
    length, number = columns.shape
    lowest, following = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    found, room, changed = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.float32), 0
    for start in range(0, number, _BLOCK):
        end = min(start + _BLOCK, number)
        size = end - start
        least, second, best, scores = lowest[:size], following[:size], found[:size], room[:size]
        least[:], second[:], best[:] = np.inf, np.inf, 0
        if length == 4:
            _take_fours(columns, start, end, factors, squares, which, least, second, best)
        for centre in range(0 if length == 4 else which.size):
            scores[:] = squares[centre]
            for j in range(length):
                x, f = columns[j, start:end], factors[centre, j]
                for i in range(size):
                    scores[i] += x[i] * f
            _take(scores, which[centre], least, second, best)
        changed += _settle(columns, start, least, second, best, norms, largest, centres, nearest)
    return changed


@numba.njit(cache=True, nogil=True)
def _assign_products(
    columns: Any,
    start: Any,
    products: Any,
    squares: Any,
    norms: Any,
    largest: Any,
    centres: Any,
    repeated: Any,
    nearest: Any,
) -> int:
    number = products.shape[1]
    least, second = np.full(number, np.inf, np.float32), np.full(number, np.inf, np.float32)
    best, scores = np.zeros(number, np.int32), np.empty(number, np.float32)
    for centre in range(products.shape[0]):
        if not repeated[centre]:
            row, square = products[centre], squares[centre]
            for i in range(number):
                scores[i] = row[i] + square
            _take(scores, np.int32(centre), least, second, best)
    return _settle(columns, start, least, second, best, norms, largest, centres, nearest)


def assign(
    columns: NDArray[np.float32],
    norms: NDArray[np.float32],
    centres: NDArray[np.float64],
    repeated: NDArray[np.bool_],
    nearest: NDArray[np.int32],
) -> int:
    """Assign each column to its nearest centre; return how many changed.

    Parameters
    ----------
    columns : ndarray of float32, shape (length, number), contiguous
    norms : ndarray of float32, shape (number,)
        Of the columns.
    centres : ndarray of float64, shape (L, length)
    repeated : ndarray of bool, shape (L,)
        Which centres equal an earlier one: no column is ever theirs.
    nearest : ndarray of int32, shape (number,)
        Read and written.
    """
    length, number = columns.shape
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 is decided in float64
        of_centres = (centres**2).sum(axis=1)
        squares, factors = of_centres.astype(np.float32), (-2 * centres).astype(np.float32)
        largest = float(np.sqrt(of_centres.max()))
        if not largest * (largest + 2 * float(norms.max())) < 1e38:
            largest = np.inf
        if length < _LONG:
            which = np.flatnonzero(~repeated).astype(np.int32)
            which = np.concatenate((which, np.full(-which.size % 4, which[0])))
            factors, squares = factors[which], squares[which]
            squares[np.count_nonzero(~repeated) :] = np.inf  # fill up fours; never the nearest
            return int(_assign_short(columns, factors, squares, which, norms, largest, centres, nearest))
        changed, block = 0, max(1, _PRODUCTS // len(centres))
        for start in range(0, number, block):
            products = factors @ columns[:, start : start + block]
            changed += _assign_products(
                columns, start, products, squares, norms, largest, centres, repeated, nearest
            )
        return changed


@numba.njit(cache=True, nogil=True)
def average(columns: Any, nearest: Any, centres: Any) -> None:
    """Move each centre that has columns to their mean, summed in their order; the others stay."""
    length, number = columns.shape
    sums, counts = np.zeros(centres.shape), np.zeros(centres.shape[0], np.int64)
    j = 0
    while j + 4 <= length:
        x0, x1, x2, x3 = columns[j], columns[j + 1], columns[j + 2], columns[j + 3]
        for i in range(number):
            row = sums[nearest[i]]
            a, b, c, d = row[j] + x0[i], row[j + 1] + x1[i], row[j + 2] + x2[i], row[j + 3] + x3[i]
            row[j], row[j + 1], row[j + 2], row[j + 3] = a, b, c, d
            counts[nearest[i]] += 1
        j += 4
    while j < length:
        x0 = columns[j]
        for i in range(number):
            sums[nearest[i], j] += x0[i]
            counts[nearest[i]] += 1
        j += 1
    counts //= max(1, length // 4 + length % 4)
    for centre in range(centres.shape[0]):
        if counts[centre]:
            for k in range(length):
                centres[centre, k] = sums[centre, k] / counts[centre]


@numba.njit(cache=True, nogil=True)
def residual(values: Any, book: Any, index: Any, out: Any) -> None:
    """Write values (sample, group, piece, length) less their centres, at most the largest float32."""
    samples, groups, each, length = values.shape
    limit = np.float32(np.finfo(np.float32).max)
    for a in range(samples):
        for g in range(groups):
            for e in range(each):
                row, centre, to = values[a, g, e], book[g, index[g, a * each + e]], out[a, g, e]
                for j in range(length):
                    to[j] = min(max(row[j] - centre[j], -limit), limit)


@numba.njit(cache=True, nogil=True)
def members(buckets: Any, wanted: Any, out: Any) -> None:
    """Write which values are in a wanted bucket, ascending; `out` has one place to spare."""
    count = 0
    for i in range(buckets.size):
        out[count] = i
        count += int(wanted[buckets[i]])


@numba.njit(cache=True, nogil=True)
def sort_into_buckets(values: Any, low: Any, scale: Any, buckets: Any, counts: Any) -> None:
    """Write the bucket ``(value - low) * scale`` of each value, and count them."""
    for i in range(values.size):
        bucket = np.int32((values[i] - low) * scale)
        buckets[i] = bucket
        counts[bucket] += 1
