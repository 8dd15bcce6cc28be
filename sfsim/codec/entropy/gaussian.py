"""Gaussian: from the integer outputs of a parameter network to means, scale levels and mixture weights.

Outputs of one pixel stand in the order of CompressAI: scales of all channels, then means; with a mixture of K,
K scales per channel (component outermost), then K means, then K logits.
"""

from typing import Any

import numba
import numpy as np

from sfsim.codec.entropy.tables import (
    EXPONENTIALS,
    LARGEST_SCALE,
    LOGIT_BITS,
    MEAN_BITS,
    SCALE_BITS,
    SMALLEST_SCALE,
    STEPS_PER_OCTAVE,
    WEIGHT_BITS,
)

_STEP_BITS = STEPS_PER_OCTAVE.bit_length() - 1


def output_bits(channels: int, components: int, has_means: bool = True) -> np.ndarray:
    """Return in which power of two each output of the last layer is wanted (see `layer.quantise`)."""
    groups = [SCALE_BITS] * components
    if has_means:
        groups += [MEAN_BITS] * components
    if components > 1:
        groups += [LOGIT_BITS] * components
    return np.repeat(np.array(groups, np.int64), channels)


@numba.njit(cache=True, inline="always")
def _level(scale: Any) -> Any:
    """Return the level of a scale in 2**-10: octave, and 32 equal steps in it."""
    scale = min(max(scale, SMALLEST_SCALE), LARGEST_SCALE)
    octave = np.int64(6)
    while scale >> (octave + 1):
        octave += 1
    return ((octave - 6) << _STEP_BITS) + ((scale >> (octave - _STEP_BITS)) & (STEPS_PER_OCTAVE - 1))


@numba.njit(cache=True)
def split(outputs: Any, count: Any, channels: Any, first: Any, means: Any, levels: Any, weights: Any) -> None:
    """Write the parameters of the symbols of `count` pixels, channel by channel, from symbol `first` on.

    Parameters
    ----------
    outputs : int32[>= count, >= outputs of a pixel]
        Multiples of 2**-`output_bits`.
    means, levels, weights : int32[K, n], int16[K, n], int32[K, n]
        Filled here; means stay what they are where there are none.
    """
    components = means.shape[0]
    has_means = outputs.shape[1] >= 2 * channels * components
    for p in range(count):
        row = outputs[p]
        begin = first + p * channels
        for k in range(components):
            for c in range(channels):
                levels[k, begin + c] = _level(np.int64(row[k * channels + c]))
            if has_means:
                for c in range(channels):
                    means[k, begin + c] = row[(components + k) * channels + c]
        if components == 1:
            continue
        for c in range(channels):
            i = begin + c
            highest = row[2 * components * channels + c]
            for k in range(1, components):
                highest = max(highest, row[(2 * components + k) * channels + c])
            total = np.int64(0)
            for k in range(components):
                below = highest - row[(2 * components + k) * channels + c]
                share = EXPONENTIALS[below] if below < EXPONENTIALS.size else np.int64(0)
                weights[k, i] = share
                total += share
            rest, heaviest = np.int64(1 << WEIGHT_BITS), 0
            for k in range(components):
                weights[k, i] = (np.int64(weights[k, i]) << WEIGHT_BITS) // total
                rest -= weights[k, i]
                if weights[k, i] > weights[heaviest, i]:
                    heaviest = k
            weights[heaviest, i] += rest
