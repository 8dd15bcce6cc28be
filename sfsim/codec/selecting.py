"""Selecting: which entries are the largest, and how their positions are written."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfsim.codec import bits as packing
from sfsim.codec.frame import Buffer
from sfsim.errors import CodecError

_MANY = 1 << 16  # elements from which a sample pays
_SAMPLE = 1 << 15
_MAGNITUDE = np.uint32(0x7FFFFFFF)  # of a float32: all but the sign


def count_kept(fraction: float, numel: int) -> int:
    """Return ``floor(fraction * numel)``, at least 1 of a tensor that is not empty.

    >>> count_kept(1 - 0.9, 10)  # 0.9999999999999998 in floats
    1
    """
    return min(numel, max(1, math.floor(fraction * numel + 1e-6)))


def largest(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the indices of the `k` largest magnitudes, ascending; of equal ones the lowest index wins.

    Parameters
    ----------
    values : ndarray of float32, shape (n,), contiguous, none NaN
    """
    n = values.size
    if k in (0, n):
        return np.arange(k)
    # Floats that are not negative are ordered like their bits, and integers are selected faster.
    bits = values.view(np.uint32)
    near = _candidates(bits, k)
    order = (bits if near is None else bits[near]) & _MAGNITUDE
    threshold = np.partition(order, order.size - k)[order.size - k]
    keep = order > threshold
    tied = np.flatnonzero(order == threshold)
    keep[tied[: k - np.count_nonzero(keep)]] = True
    found = np.flatnonzero(keep)
    return found if near is None else near[found]


def _candidates(bits: NDArray[np.uint32], k: int) -> NDArray[np.int64] | None:
    """Return indices, ascending, that surely hold the `k` largest of many, and few others; None where it cannot.

    They are at least a pivot that a sample puts a little below the k-th largest; if they are fewer than k, the sample
    has misled.
    """
    n = bits.size
    if n < _MANY or k > n // 8:
        return None
    from sfsim.codec import kernels

    sample = bits[:: n // _SAMPLE] & _MAGNITUDE
    expected = sample.size * k / n
    rank = max(0, sample.size - 1 - int(expected + 4 * math.sqrt(expected) + 4))
    out = np.empty(n + 1, np.int64)
    count = kernels.at_least(bits, np.partition(sample, rank)[rank], out)
    return out[:count] if count >= k else None


def index_bits(numel: int) -> int:
    """Return the bits of one index into `numel` elements, ``ceil(log2(numel))``."""
    return (numel - 1).bit_length() if numel else 0


def pack_bitmask(indices: NDArray[np.int64], numel: int) -> bytes:
    """Write one bit per element, 1 = kept."""
    mask = np.zeros(numel, np.uint8)
    mask[indices] = 1
    return packing.pack(mask, 1)


def unpack_bitmask(data: Buffer, k: int, numel: int) -> NDArray[np.int64]:
    """Read `k` ascending indices from a bitmask over `numel` elements."""
    indices = np.flatnonzero(packing.unpack(data, numel, 1, "bitmask"))
    if indices.size != k:
        raise CodecError(f"bitmask: found {indices.size} positions, expected {k}")
    return indices


def pack_indices(indices: NDArray[np.int64], numel: int) -> bytes:
    """Write each index in ``ceil(log2(numel))`` bits."""
    return packing.pack(indices.astype(np.uint32), index_bits(numel))


def unpack_indices(data: Buffer, k: int, numel: int) -> NDArray[np.int64]:
    """Read `k` indices below `numel`."""
    indices = packing.unpack(data, k, index_bits(numel), "index list").astype(np.int64)
    if k and int(indices.max()) >= numel:
        raise CodecError(f"index list: found {indices.max()}, expected numbers below {numel}")
    return indices


def read_values(data: Buffer, k: int) -> NDArray[Any]:
    """Read `k` finite float32."""
    if len(data) != 4 * k:
        raise CodecError(f"values: found {len(data)} bytes, expected {4 * k}")
    values = np.frombuffer(data, "<f4")
    if not np.isfinite(values).all():
        raise CodecError("values: expected finite numbers")
    return values
