"""Mixture: symbols under normal distributions, or mixtures of them, in integers only.

A symbol v of the tensor's alphabet [low, high] has the mass of its cell [v - 1/2, v + 1/2) under its own
mixture, plus ``2**leak`` of 2**24 whatever the model says; cells at the alphabet's ends reach to infinity.
Two numbers of the header correct a model that is too sure of itself, chosen by the encoder on a sample of the
symbols (`calibrate`): the leak, and `shift`, by how many levels (32 to the octave) all scales are widened.

Arrays: `means` int32[n, K] in 2**-8, `levels` int16[n, K] of `tables`, `weights` int32[n, K] in 2**-16 (ignored
for K = 1).
"""

from typing import Any

import numba
import numpy as np

from sfsim.codec.entropy.rans import PROBABILITY_BITS, TOTAL, pop, push
from sfsim.codec.entropy.tables import (
    INVERSE_BITS,
    INVERSE_SCALES,
    MEAN_BITS,
    NUM_LEVELS,
    PHI_BITS,
    QUANTILES,
    STEP_BITS,
    UPPER_TAIL,
    WEIGHT_BITS,
    X_BITS,
)

_LAST = UPPER_TAIL.size - 2
_ONE = 1 << PHI_BITS
MAX_LEAK = 15
SHIFTS = (0, 16, -8, 32, 48, 64)
_SAMPLE = 2048


_SLOPE = (1 << STEP_BITS) - 1


@numba.njit(cache=True, inline="always")
def _phi(distance: int, inverse: int) -> int:
    """Return 2**30 Phi(distance / scale), `distance` in 2**-8."""
    x = min((abs(distance) * inverse) >> INVERSE_BITS, _LAST << STEP_BITS)
    cell = np.uint64(x >> STEP_BITS)  # unsigned: no question whether it counts from the end
    upper = UPPER_TAIL[cell]
    tail = upper + (((UPPER_TAIL[cell + np.uint64(1)] - upper) * (x & _SLOPE)) >> STEP_BITS)
    return _ONE - tail if distance >= 0 else tail


@numba.njit(cache=True, inline="always")
def _inverse(level: int, shift: int) -> int:
    """Return the inverse of a scale, `shift` levels wider than `level`."""
    return INVERSE_SCALES[np.uint64(min(max(np.int64(level) + shift, 0), NUM_LEVELS - 1))]


@numba.njit(cache=True, inline="always")
def _edge(
    v: int, low: int, high: int, leaked: int, share: int,
    three: bool, m0: int, m1: int, m2: int, i0: int, i1: int, i2: int, w0: int, w1: int, w2: int,
) -> int:  # fmt: skip
    """Return where symbol v starts on the scale of 2**24; v = high + 1 ends it.

    Plain numbers, no arrays: numba would count their references at every call, ten times the work done here.
    """
    place = (2 * v - 1) << (MEAN_BITS - 1)
    below = _phi(place - m0, i0)
    if three:
        below = (
            w0 * below + w1 * _phi(place - m1, i1) + w2 * _phi(place - m2, i2)
        ) >> WEIGHT_BITS
    edge = ((below * share) >> PHI_BITS) + (v - low) * leaked
    if v <= low:
        edge = np.int64(0)
    if v > high:
        edge = np.int64(TOTAL)
    return edge


@numba.njit(cache=True, error_model="numpy")
def encode(
    values: Any, means: Any, levels: Any, weights: Any, low: int, high: int, leak: int, shift: int,
    state: int, words: Any, at: int,
) -> tuple[int, int, float]:  # fmt: skip
    """Push int32 `values`, the last one first; return state, place, and -log2 of their joint probability."""
    leaked = np.int64(1) << leak
    share = TOTAL - leaked * (high - low + 1)
    three, b, c = means.shape[1] == 3, means.shape[1] // 2, means.shape[1] - 1
    bits, product = 0.0, 1.0
    for i in range(values.size - 1, -1, -1):
        v = np.int64(values[i])
        m0, m1, m2 = np.int64(means[i, 0]), np.int64(means[i, b]), np.int64(means[i, c])
        i0, i1, i2 = _inverse(levels[i, 0], shift), _inverse(levels[i, b], shift), _inverse(levels[i, c], shift)
        w0, w1, w2 = np.int64(weights[i, 0]), np.int64(weights[i, b]), np.int64(weights[i, c])
        start = _edge(v, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
        end = _edge(v + 1, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
        state, at = push(state, words, at, start, end - start)
        product *= (end - start) * (1.0 / TOTAL)
        if product < 1e-200:
            bits -= np.log2(product)
            product = 1.0
    return state, at, bits - np.log2(product)


@numba.njit(cache=True, error_model="numpy")
def measure(
    values: Any, means: Any, levels: Any, weights: Any, low: int, high: int, leak: int, shift: int, stride: int
) -> float:
    """Return -log2 of the joint probability of every `stride`-th symbol."""
    leaked = np.int64(1) << leak
    share = TOTAL - leaked * (high - low + 1)
    three, b, c = means.shape[1] == 3, means.shape[1] // 2, means.shape[1] - 1
    bits, product = 0.0, 1.0
    for i in range(0, values.size, stride):
        v = np.int64(values[i])
        m0, m1, m2 = np.int64(means[i, 0]), np.int64(means[i, b]), np.int64(means[i, c])
        i0, i1, i2 = _inverse(levels[i, 0], shift), _inverse(levels[i, b], shift), _inverse(levels[i, c], shift)
        w0, w1, w2 = np.int64(weights[i, 0]), np.int64(weights[i, b]), np.int64(weights[i, c])
        start = _edge(v, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
        end = _edge(v + 1, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
        product *= (end - start) * (1.0 / TOTAL)
        if product < 1e-200:
            bits -= np.log2(product)
            product = 1.0
    return bits - np.log2(product)


def calibrate(    values: np.ndarray, means: np.ndarray, levels: np.ndarray, weights: np.ndarray, low: int, high: int
) -> tuple[int, int, float]:
    """Return the leak and the shift that cost least on a sample, and about how many bits all will take."""
    stride = max(1, values.size // _SAMPLE)
    symbols = high - low + 1
    most = min(MAX_LEAK, (TOTAL // (2 * symbols)).bit_length() - 1)

    def cost(leak: int, shift: int) -> float:
        return float(measure(values, means, levels, weights, low, high, leak, shift, stride))

    leak, shift = min(6, most), 0
    best = cost(leak, shift)
    for trial in SHIFTS[1:]:
        found = cost(leak, trial)
        if found < best:
            best, shift = found, trial
        elif trial > 0 and trial > shift:
            break
    for trial in (min(9, most), min(12, most), min(3, most), 0):
        found = cost(trial, shift)
        if found < best:
            best, leak = found, trial
    return leak, shift, best * stride


@numba.njit(cache=True, error_model="numpy")
def decode(
    values: Any, means: Any, levels: Any, weights: Any, low: int, high: int, leak: int, shift: int,
    state: int, words: Any, at: int,
) -> tuple[int, int]:  # fmt: skip
    """Pop ``values.size`` symbols into `values`, the first one first; return the state and the next word.

    The quantile of the heaviest component is the first guess; from there the search doubles its steps, then
    halves them. The guess decides how long it takes and nothing else.
    """
    leaked = np.int64(1) << leak
    share = TOTAL - leaked * (high - low + 1)
    three, b, c = means.shape[1] == 3, means.shape[1] // 2, means.shape[1] - 1
    for i in range(values.size):
        m0, m1, m2 = np.int64(means[i, 0]), np.int64(means[i, b]), np.int64(means[i, c])
        i0, i1, i2 = _inverse(levels[i, 0], shift), _inverse(levels[i, b], shift), _inverse(levels[i, c], shift)
        w0, w1, w2 = np.int64(weights[i, 0]), np.int64(weights[i, b]), np.int64(weights[i, c])
        slot = state & (TOTAL - 1)
        middle, inverse = m0, i0
        if three:
            if w1 > max(w0, w2):
                middle, inverse = m1, i1
            elif w2 > w0:
                middle, inverse = m2, i2
        away = np.int64(QUANTILES[np.uint64(slot >> (PROBABILITY_BITS - 10))] * (2.0**INVERSE_BITS / inverse))
        v = min(max((middle + away + (1 << (MEAN_BITS - 1))) >> MEAN_BITS, low), high)
        start = _edge(v, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
        end = _edge(v + 1, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
        above, step = v + 1, np.int64(1)
        while slot < start:
            above, end = v, start
            v = max(v - step, low)
            start = _edge(v, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
            step *= 2
        while slot >= end:
            v, start = above, end
            above = min(v + step, high + 1)
            end = _edge(above, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
            step *= 2
        while above - v > 1:
            halfway = (v + above) >> 1
            edge = _edge(halfway, low, high, leaked, share, three, m0, m1, m2, i0, i1, i2, w0, w1, w2)
            if slot < edge:
                above, end = halfway, edge
            else:
                v, start = halfway, edge
        values[i] = v
        state, at = pop(state, words, at, start, end - start)
    return state, at
