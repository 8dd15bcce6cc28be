"""Channel kernel: entropies of channels, their grouping, and the packing of their codes, compiled.

A tensor is (samples, channels, places); everything runs in one order in one thread.
"""

from typing import Any

import numba
import numpy as np

from sfsim.codec.bit_kernel import flush, get_codes, put_codes


@numba.njit(cache=True, nogil=True, error_model="numpy")
def histogram(x: Any, low: Any, high: Any, bins: Any, counts: Any) -> None:
    """Count the values of each channel in equal bins from `low` to `high`, into `counts` (channels, bins)."""
    samples, channels, places = x.shape
    width = np.float64(bins)
    span = high - low
    where = np.empty(places, np.int32)
    # Equal values follow each other (zeros after a ReLU): two tables, so that no count waits for the last one.
    tables = np.zeros((2, bins), np.int64)
    for c in range(channels):
        tables[:] = 0
        for a in range(samples):
            row = x[a, c]
            for i in range(places):
                where[i] = np.int32((np.float64(row[i]) - low) * width / span)
            for i in range(places):
                tables[i & 1, min(where[i], bins - 1)] += 1
        for b in range(bins):
            counts[c, b] = tables[0, b] + tables[1, b]


@numba.njit(cache=True, nogil=True)
def runs(values: Any, weights: Any, most: Any, group: Any) -> None:
    """Partition ascending `values` into `most` runs of least within-run sum of squares; fill `group`.

    Dynamic programming over where the last run starts; of equal partitions the earliest start.
    """
    n = values.size
    total, first, second = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    for i in range(n):
        total[i + 1] = total[i] + weights[i]
        first[i + 1] = first[i] + weights[i] * values[i]
        second[i + 1] = second[i] + weights[i] * values[i] * values[i]
    best, start = np.full((most + 1, n + 1), np.inf), np.zeros((most + 1, n + 1), np.int64)
    best[0, 0] = 0.0
    for k in range(1, most + 1):
        for end in range(k, n + 1):
            for begin in range(k - 1, end):
                s = first[end] - first[begin]
                within = second[end] - second[begin] - s * s / (total[end] - total[begin])
                cost = best[k - 1, begin] + max(within, 0.0)
                if cost < best[k, end]:
                    best[k, end], start[k, end] = cost, begin
    end = n
    for k in range(most, 0, -1):
        begin = start[k, end]
        group[begin:end] = k - 1
        end = begin


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantise(x: Any, order: Any, bits: Any, low: Any, high: Any, out: Any) -> int:
    """Write the codes of the channels in `order`; widths and end points are each channel's. Return the bytes."""
    samples, _, places = x.shape
    register, used, at = np.uint64(0), 0, 0
    codes = np.empty(places, np.uint8)
    for c in order:
        top, start, span = np.float64((1 << bits[c]) - 1), low[c], high[c] - low[c]
        if not span > 0:
            continue
        for a in range(samples):
            row = x[a, c]
            for i in range(places):
                codes[i] = np.int32(np.rint((np.float64(row[i]) - start) * top / span))
            register, used, at = put_codes(out, register, used, at, codes, places, bits[c])
    return flush(out, register, used, at)


@numba.njit(cache=True, nogil=True)
def dequantise(data: Any, order: Any, bits: Any, constant: Any, tables: Any, x: Any) -> None:
    """Undo `quantise`: fill `x` from `tables` (channels, 256), the value of each code of each channel."""
    samples, _, places = x.shape
    register, held, at = np.uint64(0), 0, 0
    codes = np.empty(places, np.uint8)
    for c in order:
        table = tables[c]
        for a in range(samples):
            row = x[a, c]
            if constant[c]:
                row[:] = table[0]
                continue
            register, held, at = get_codes(data, register, held, at, codes, places, bits[c])
            for i in range(places):
                row[i] = table[codes[i]]
