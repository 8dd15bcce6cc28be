"""Mixture: symbols under normal distributions, or mixtures of them, in integers only.

A symbol v of the tensor's alphabet [low, high] has the mass of its cell [v - 1/2, v + 1/2) under its own
mixture, plus ``2**leak`` of 2**24 whatever the model says; cells at the alphabet's ends reach to infinity.
Two numbers of the header correct a model that is too sure of itself, chosen by the encoder on a sample of the
symbols (`calibrate`): the leak, and `shift`, by how many levels (32 to the octave) all scales are widened.

Arrays: `means` int32[K, n] in 2**-8, `levels` int16[K, n] of `tables`, `weights` int32[K, n] in 2**-16 (ignored for
K = 1), K = 1 or 3; n may be larger than there are symbols.
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
)

_LAST = UPPER_TAIL.size - 2
_ONE = 1 << PHI_BITS
MAX_LEAK = 15
SMALLEST_SHIFT, LARGEST_SHIFT, SHIFT_STEP = -32, 96, 8
_SAMPLE = 4096
_SCATTER = 2_654_435_761


_SLOPE = (1 << STEP_BITS) - 1


@numba.njit(cache=True, inline="always")
def _phi(distance: Any, inverse: Any) -> Any:
    """Return 2**30 Phi(distance / scale), `distance` in 2**-8."""
    x = min((abs(distance) * inverse) >> INVERSE_BITS, _LAST << STEP_BITS)
    cell = np.uint64(x >> STEP_BITS)  # unsigned: no question whether it counts from the end
    upper = UPPER_TAIL[cell]
    tail = upper + (((UPPER_TAIL[cell + np.uint64(1)] - upper) * (x & _SLOPE)) >> STEP_BITS)
    return _ONE - tail if distance >= 0 else tail


@numba.njit(cache=True, inline="always")
def _inverse(level: Any, shift: Any) -> Any:
    """Return the inverse of a scale, `shift` levels wider than `level`."""
    return INVERSE_SCALES[np.uint64(min(max(np.int64(level) + shift, 0), NUM_LEVELS - 1))]


@numba.njit(cache=True, inline="always")
def _edge(
    v: Any, low: Any, high: Any, leaked: Any, share: Any,
    three: Any, m0: Any, m1: Any, m2: Any, i0: Any, i1: Any, i2: Any, w0: Any, w1: Any, w2: Any,
) -> Any:  # fmt: skip
    """Return where symbol v starts on the scale of 2**24; v = high + 1 ends it.

    Plain numbers, no arrays: numba would count their references at every call, ten times the work done here.
    """
    place = (2 * v - 1) << (MEAN_BITS - 1)
    below = _phi(place - m0, i0)
    if three:
        below = (w0 * below + w1 * _phi(place - m1, i1) + w2 * _phi(place - m2, i2)) >> WEIGHT_BITS
    edge = ((below * share) >> PHI_BITS) + (v - low) * leaked
    if v <= low:
        edge = np.int64(0)
    if v > high:
        edge = np.int64(TOTAL)
    return edge


@numba.njit(cache=True, error_model="numpy")
def _cells(
    values: Any, means: Any, levels: Any, weights: Any, low: Any, high: Any, leaked: Any, shift: Any,
    starts: Any, frequencies: Any,
) -> None:  # fmt: skip
    """Find start and frequency of all symbols: a loop without branches, many symbols at a time."""
    share = TOTAL - leaked * (high - low + 1)
    three, b, c = means.shape[0] == 3, means.shape[0] // 2, means.shape[0] - 1
    mean0, mean1, mean2 = means[0], means[b], means[c]
    level0, level1, level2 = levels[0], levels[b], levels[c]
    weight0, weight1, weight2 = weights[0], weights[b], weights[c]
    if three:
        for i in range(values.size):
            v = np.int64(values[i])
            m0, m1, m2 = np.int64(mean0[i]), np.int64(mean1[i]), np.int64(mean2[i])
            i0, i1, i2 = _inverse(level0[i], shift), _inverse(level1[i], shift), _inverse(level2[i], shift)
            w0, w1, w2 = np.int64(weight0[i]), np.int64(weight1[i]), np.int64(weight2[i])
            start = _edge(v, low, high, leaked, share, True, m0, m1, m2, i0, i1, i2, w0, w1, w2)
            starts[i] = start
            end = _edge(v + 1, low, high, leaked, share, True, m0, m1, m2, i0, i1, i2, w0, w1, w2)
            frequencies[i] = end - start
    else:
        for i in range(values.size):
            v, m, inverse = np.int64(values[i]), np.int64(mean0[i]), _inverse(level0[i], shift)
            start = _edge(v, low, high, leaked, share, False, m, 0, 0, inverse, 0, 0, 0, 0, 0)
            starts[i] = start
            end = _edge(v + 1, low, high, leaked, share, False, m, 0, 0, inverse, 0, 0, 0, 0, 0)
            frequencies[i] = end - start


@numba.njit(cache=True, error_model="numpy")
def _information(frequencies: Any) -> Any:
    """Return -log2 of the product of frequencies of 2**24."""
    bits, product = 0.0, 1.0
    for i in range(frequencies.size):
        product *= frequencies[i] * (1.0 / TOTAL)
        if product < 1e-200:
            bits -= np.log2(product)
            product = 1.0
    return bits - np.log2(product)


@numba.njit(cache=True, error_model="numpy")
def encode(
    values: Any, means: Any, levels: Any, weights: Any, low: Any, high: Any, leak: Any, shift: Any,
    state: Any, words: Any, at: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Push int32 `values`, the last one first; return state, place, and -log2 of their joint probability."""
    starts, frequencies = np.empty(values.size, np.int32), np.empty(values.size, np.int32)
    _cells(values, means, levels, weights, low, high, np.int64(1) << leak, shift, starts, frequencies)
    for i in range(values.size - 1, -1, -1):
        state, at = push(state, words, at, np.int64(starts[i]), np.int64(frequencies[i]))
    return state, at, _information(frequencies)


@numba.njit(cache=True, error_model="numpy")
def measure(
    values: Any, means: Any, levels: Any, weights: Any, low: Any, high: Any, leak: Any, shift: Any
) -> Any:
    """Return -log2 of the joint probability of symbols, without coding them."""
    starts, frequencies = np.empty(values.size, np.int32), np.empty(values.size, np.int32)
    _cells(values, means, levels, weights, low, high, np.int64(1) << leak, shift, starts, frequencies)
    return _information(frequencies)


def calibrate(
    values: np.ndarray, means: np.ndarray, levels: np.ndarray, weights: np.ndarray, low: int, high: int
) -> tuple[int, int]:
    """Return the leak and the shift that cost least on a sample of the symbols."""
    # Multiples of a large prime, as far as the tensor goes: a constant stride would see the same channels only.
    chosen = np.arange(min(values.size, _SAMPLE)) * _SCATTER % max(values.size, 1)
    sample = [np.ascontiguousarray(array[..., chosen]) for array in (values, means, levels)]
    sample.append(np.ascontiguousarray(weights[:, chosen]) if len(means) > 1 else weights[:, :1])
    most = min(MAX_LEAK, (TOTAL // (2 * (high - low + 1))).bit_length() - 1)

    def cost(leak: int, shift: int) -> float:
        return float(measure(*sample, low, high, leak, shift))

    leak, shift = min(6, most), 0
    best = cost(leak, shift)
    for direction in (SHIFT_STEP, -SHIFT_STEP):
        while SMALLEST_SHIFT <= shift + direction <= LARGEST_SHIFT:
            found = cost(leak, shift + direction)
            if found >= best:
                break
            best, shift = found, shift + direction
    for trial in (min(9, most), min(12, most), min(3, most), 0):
        found = cost(trial, shift)
        if found < best:
            best, leak = found, trial
    return leak, shift


@numba.njit(cache=True, inline="always")
def _component(
    mass: Any, m0: Any, m1: Any, m2: Any, i0: Any, i1: Any, i2: Any, w0: Any, w1: Any, w2: Any
) -> tuple[Any, Any, Any]:
    """Return mean, inverse scale and quantile (of 1024) where the mixture has `mass` of 2**16 below it.

    As if components that lie apart did not overlap; where they do, any of them is a fair guess.
    """
    if m1 < m0:
        m0, i0, w0, m1, i1, w1 = m1, i1, w1, m0, i0, w0
    if m2 < m1:
        m1, i1, w1, m2, i2, w2 = m2, i2, w2, m1, i1, w1
    if m1 < m0:
        m0, i0, w0, m1, i1, w1 = m1, i1, w1, m0, i0, w0
    if mass >= w0 + w1:
        mass, m0, i0, w0 = mass - w0 - w1, m2, i2, w2
    elif mass >= w0:
        mass, m0, i0, w0 = mass - w0, m1, i1, w1
    return m0, i0, min(np.int64(1023.0 * mass / max(w0, 1)), 1023)


@numba.njit(cache=True, error_model="numpy")
def decode(
    values: Any, means: Any, levels: Any, weights: Any, low: Any, high: Any, leak: Any, shift: Any,
    state: Any, words: Any, at: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """Pop ``values.size`` symbols into `values`, the first one first; return the state and the next word.

    A quantile of one component is the first guess; from there the search doubles its steps, then halves them. The
    guess decides how long it takes and nothing else.
    """
    leaked = np.int64(1) << leak
    share = TOTAL - leaked * (high - low + 1)
    three, b, c = means.shape[0] == 3, means.shape[0] // 2, means.shape[0] - 1
    for i in range(values.size):
        m0, m1, m2 = np.int64(means[0, i]), np.int64(means[b, i]), np.int64(means[c, i])
        i0, i1, i2 = (
            _inverse(levels[0, i], shift),
            _inverse(levels[b, i], shift),
            _inverse(levels[c, i], shift),
        )
        w0, w1, w2 = np.int64(weights[0, i]), np.int64(weights[b, i]), np.int64(weights[c, i])
        slot = state & (TOTAL - 1)
        middle, inverse, quantile = m0, i0, slot >> (PROBABILITY_BITS - 10)
        if three:
            middle, inverse, quantile = _component(
                slot >> (PROBABILITY_BITS - WEIGHT_BITS), m0, m1, m2, i0, i1, i2, w0, w1, w2
            )
        away = np.int64(QUANTILES[np.uint64(quantile)] * (2.0**INVERSE_BITS / inverse))
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
