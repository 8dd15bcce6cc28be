"""Feature quantiser: columns with two-stage end points or as their mean, within a budget of bits (SplitFC's FWQ).

Every choice of the format is in `Plan`, which both ends build from what travels.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfsim.codec import bits as packing
from sfsim.codec.frame import Buffer
from sfsim.errors import CodecError

GRID = 200  # levels of the end points
SIDE_BITS = 160  # five float32: e0, e1, m0, m1, c
_CANDIDATES = 16
_LARGEST = 0x7F7FFFFF  # the bits of the largest float32


@dataclass(slots=True)
class Plan:
    """What is sent of columns (B, n), but for the codes of entries and means.

    Parameters
    ----------
    two_stage : ndarray of bool, shape (n,)
    side : ndarray of float32, shape (5,)
        Ends of the grid, ends of the means, and the number that the levels follow from.
    low, high : ndarray of int64, shape (M,)
        End points of the two-stage columns on the grid.
    rows : int
        B.
    """

    two_stage: NDArray[np.bool_]
    side: NDArray[np.float32]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    rows: int

    @property
    def starts(self) -> NDArray[np.float64]:
        """Lower end of each two-stage column."""
        return float(self.side[0]) + self.low * self.step

    @property
    def step(self) -> float:
        """Distance of the grid's points."""
        return (float(self.side[1]) - float(self.side[0])) / (GRID - 1)

    @property
    def widths(self) -> NDArray[np.float64]:
        """Width of each two-stage column."""
        return (self.high - self.low) * self.step

    @property
    def mean_width(self) -> float:
        """What the levels of the means follow from."""
        return (float(self.side[3]) - float(self.side[2])) * float(np.sqrt(2.0 * self.rows))

    def levels(self) -> tuple[NDArray[np.int64], int]:
        """Return the levels of each two-stage column and of the means."""
        from sfsim.codec import feature_kernel as kernel

        widths = np.append(self.widths, self.mean_width)
        found = np.ones(widths.size, np.int64)
        kernel.levels(float(self.side[4]), widths, found)
        return found[:-1], int(found[-1])

    def values(self, codes: NDArray[Any], mean_codes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the decoded columns (n, B) from codes (M, B) and codes of means."""
        levels, mean_levels = self.levels()
        out = np.empty((self.two_stage.size, self.rows))
        steps = self.widths / np.maximum(levels - 1, 1)
        entries = self.starts[:, None] + codes * steps[:, None]
        entries[levels == 1] = (self.starts + self.widths / 2)[levels == 1, None]
        m0, m1 = float(self.side[2]), float(self.side[3])
        middle = (m0 + m1) / 2
        means = (
            m0 + mean_codes * ((m1 - m0) / (mean_levels - 1)) if mean_levels > 1 else 0 * mean_codes + middle
        )
        out[self.two_stage] = entries
        out[~self.two_stage] = means[:, None]
        return out

    def sizes(self) -> tuple[int, int, int]:
        """Return the bits of end points, means and entries."""
        from sfsim.codec import feature_kernel as kernel

        levels, mean_levels = self.levels()
        table = _size_table(self.rows)
        means = self.two_stage.size - self.low.size
        return (
            kernel.digit_bits(GRID, 2 * self.low.size),
            kernel.digit_bits(mean_levels, means),
            int(table[levels].sum()),
        )


@lru_cache(maxsize=8)
def _size_table(rows: int) -> NDArray[np.int64]:
    """Return the bits of a column of `rows` entries for each number of levels."""
    from sfsim.codec import feature_kernel as kernel

    table = np.empty(kernel.MOST_LEVELS + 1, np.int64)
    kernel.size_table(rows, table)
    return table


def plan(columns: NDArray[np.float32], budget: int) -> tuple[Plan, NDArray[Any], NDArray[Any]] | None:
    """Choose what is sent of columns (n, B) within `budget` bits; None where nothing fits.

    Returns
    -------
    Plan, codes of entries (M, B), codes of means (n - M,)
    """
    number = columns.shape[0]
    with np.errstate(over="ignore"):
        ranges = columns.max(axis=1) - columns.min(axis=1)
    order = np.argsort(-ranges, kind="stable")
    best: tuple[Plan, NDArray[Any], NDArray[Any]] | None = None
    least = np.inf
    for most in np.unique(np.rint(number * np.arange(_CANDIDATES + 1) / _CANDIDATES).astype(int)):
        two_stage = np.zeros(number, bool)
        two_stage[order[:most]] = True
        found = _within(columns, two_stage, budget)
        if found is None:
            continue
        error = float(np.square(found[0].values(found[1], found[2]) - columns).sum())
        if error < least:
            best, least = found, error
    return best


def smallest_bits(number: int) -> int:
    """Return the bits without which nothing can be sent of `number` columns: all as one mean."""
    return number + SIDE_BITS


def _within(
    columns: NDArray[np.float32], two_stage: NDArray[np.bool_], budget: int
) -> tuple[Plan, NDArray[Any], NDArray[Any]] | None:
    """Return plan and codes for a choice of two-stage columns; None where it does not fit."""
    from sfsim.codec import feature_kernel as kernel

    rows, number = columns.shape[1], int(two_stage.sum())
    entries, others = columns[two_stage].astype(np.float64), columns[~two_stage].astype(np.float64)
    side = np.zeros(5, np.float32)
    if number:
        side[:2] = entries.min(), entries.max()
    means = others.mean(axis=1)
    if means.size:
        side[2:4] = means.min(), means.max()
    made = Plan(two_stage, side, np.zeros(number, np.int64), np.zeros(number, np.int64), rows)
    if made.step > 0:
        start = float(side[0])
        made.low = np.clip(np.floor((entries.min(axis=1) - start) / made.step), 0, GRID - 1).astype(np.int64)
        made.high = np.clip(np.ceil((entries.max(axis=1) - start) / made.step), 0, GRID - 1).astype(np.int64)
    left = budget - two_stage.size - SIDE_BITS - kernel.digit_bits(GRID, 2 * number)
    table = _size_table(rows)
    widths, mean_width = made.widths, made.mean_width

    def fits(pattern: int) -> bool:
        c = float(np.uint32(pattern).view(np.float32))
        return bool(kernel.total_bits(c, widths, table, mean_width, means.size, left) <= left)

    if not fits(0):
        return None
    low, high = 0, _LARGEST
    if fits(high):
        low = high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    side[4] = np.uint32(low).view(np.float32)
    levels, mean_levels = made.levels()
    codes = _codes(entries, made.starts[:, None], widths[:, None], levels[:, None])
    mean_codes = _codes(
        means, np.float64(side[2]), np.float64(side[3]) - np.float64(side[2]), np.int64(mean_levels)
    )
    return made, codes, mean_codes


def _codes(values: NDArray[Any], start: Any, width: Any, levels: Any) -> NDArray[np.int64]:
    """Return the nearest of `levels` levels from `start` over `width`."""
    scaled = (values - start) * (levels - 1) / np.where(width > 0, width, 1.0)
    return np.clip(np.rint(scaled), 0, levels - 1).astype(np.int64)


def pack(made: Plan, codes: NDArray[Any], mean_codes: NDArray[Any]) -> tuple[list[bytes], int]:
    """Return the parts behind the keep vector, and their bits: side, end points, means, entries."""
    levels, mean_levels = made.levels()
    sizes = made.sizes()
    ends = np.concatenate((made.low, made.high))[None]
    parts = [
        made.side.astype("<f4").tobytes(),
        _pack_digits(ends, np.array([GRID]), sizes[0]),
        _pack_digits(mean_codes[None], np.array([mean_levels]), sizes[1]),
        _pack_digits(codes, levels, sizes[2]),
    ]
    return parts, SIDE_BITS + sum(sizes)


def unpack(
    parts: list[Buffer], two_stage: NDArray[np.bool_], rows: int
) -> tuple[Plan, NDArray[np.int64], NDArray[np.int64]]:
    """Undo `pack`; raise CodecError for parts that it did not make, before anything large is made."""
    if len(parts[0]) != SIDE_BITS // 8:
        raise CodecError(f"ranges: found {len(parts[0])} bytes, expected {SIDE_BITS // 8}")
    side = np.frombuffer(parts[0], "<f4").astype(np.float32)
    if not (np.isfinite(side).all() and side[0] <= side[1] and side[2] <= side[3] and side[4] >= 0):
        raise CodecError(
            "ranges: expected finite numbers, the smaller first, and a level number of at least 0"
        )
    number = int(two_stage.sum())
    from sfsim.codec import feature_kernel as kernel

    ends = _unpack_digits(
        parts[1], np.array([GRID]), (1, 2 * number), kernel.digit_bits(GRID, 2 * number), "end points"
    ).reshape(2, number)
    if (ends[0] > ends[1]).any():
        raise CodecError("end points: expected the smaller first")
    made = Plan(two_stage, side, ends[0], ends[1], rows)
    levels, mean_levels = made.levels()
    _, mean_bits, entry_bits = made.sizes()
    mean_codes = _unpack_digits(
        parts[2], np.array([mean_levels]), (1, two_stage.size - number), mean_bits, "means"
    )
    codes = _unpack_digits(parts[3], levels, (number, rows), entry_bits, "entries")
    return made, codes, mean_codes[0]


def _pack_digits(digits: NDArray[Any], bases: NDArray[np.int64], num_bits: int) -> bytes:
    from sfsim.codec import feature_kernel as kernel

    out = np.zeros(packing.num_bytes(num_bits, 1) + 4, np.uint8)
    if digits.size:
        kernel.pack_digits(np.ascontiguousarray(digits, np.int64), bases, out)
    return out[: packing.num_bytes(num_bits, 1)].tobytes()


def _unpack_digits(
    data: Buffer, bases: NDArray[np.int64], shape: tuple[int, int], num_bits: int, what: str
) -> NDArray[np.int64]:
    from sfsim.codec import feature_kernel as kernel

    if len(data) != packing.num_bytes(num_bits, 1):
        raise CodecError(f"{what}: found {len(data)} bytes, expected {packing.num_bytes(num_bits, 1)}")
    digits = np.zeros(shape, np.int64)
    if digits.size and not kernel.unpack_digits(np.frombuffer(data, np.uint8), bases, digits):
        raise CodecError(f"{what}: found a number that its digits cannot make")
    return digits
