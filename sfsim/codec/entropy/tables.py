"""Tables: the normal distribution and the exponential in integers, the same on every machine.

Nothing here depends on weights, so nothing is ever sent or refreshed. The exponentials come from `decimal`,
which rounds correctly everywhere; all else is integers or single IEEE operations.
"""

from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

MEAN_BITS = 8
"""Means are multiples of 2**-8."""

SCALE_BITS = 10
"""Scales (standard deviations) arrive as multiples of 2**-10."""

LOGIT_BITS = 6
"""Logits of mixture weights are multiples of 2**-6."""

PHI_BITS = 30
"""The normal distribution function is a multiple of 2**-30."""

WEIGHT_BITS = 16
"""Mixture weights are multiples of 2**-16 and add up to 1."""

STEPS_PER_OCTAVE = 32
_LOWEST_OCTAVE = 6  # scales below 2**(6 - 10) = 0.0625 do not occur
_OCTAVES = 14
NUM_LEVELS = STEPS_PER_OCTAVE * _OCTAVES
"""Scales are told apart by 32 levels per octave, from 0.0625 to 1024."""

SMALLEST_SCALE = 113
"""0.11, CompressAI's lower bound of a scale, in multiples of 2**-10."""
LARGEST_SCALE = 2 ** (_LOWEST_OCTAVE + _OCTAVES) - 1

X_BITS = 16
"""Standardised values are multiples of 2**-16 before they meet the table."""
STEP_BITS = 9
"""The table has an entry every 2**9 of them: 128 per standard deviation, linear in between."""
_LAST = 8 * 2 ** (X_BITS - STEP_BITS)
INVERSE_BITS = 20
_CONTEXT = Context(prec=24)


def _exp(numerator: int, denominator: int) -> float:
    """Return exp(numerator / denominator), correctly rounded."""
    return float(_CONTEXT.exp(_CONTEXT.divide(Decimal(numerator), Decimal(denominator))))


def _upper_tail() -> NDArray[np.int64]:
    """Return 2**30 (1 - Phi(i / 128)) for i = 0 to 8 * 128, and one 0 more.

    Trapezoids with the end correction of Euler and Maclaurin: wrong by 1e-11 at most, the unit is 1e-9.
    """
    per_unit = _LAST // 8
    density = np.array([_exp(-i * i, 2 * per_unit**2) for i in range(_LAST + 1)]) / 2.5066282746310002
    slope = -np.arange(_LAST + 1) / per_unit * density
    step = 1 / per_unit
    cells = step / 2 * (density[:-1] + density[1:]) - step**2 / 12 * (slope[1:] - slope[:-1])
    tail = np.zeros(_LAST + 2)
    for i in range(_LAST - 1, -1, -1):  # one by one: numpy's sums are free to choose their order
        tail[i] = tail[i + 1] + cells[i]
    return np.rint(tail * 2.0**PHI_BITS).astype(np.int64)


def _inverse_scales() -> NDArray[np.int64]:
    """Return 2**(20 + 8) / scale for the middle of each level."""
    inverses = []
    for octave in range(_LOWEST_OCTAVE, _LOWEST_OCTAVE + _OCTAVES):
        for step in range(STEPS_PER_OCTAVE):
            numerator = 2 ** (INVERSE_BITS + X_BITS - MEAN_BITS + SCALE_BITS + 6 - octave)
            middle = 2 * STEPS_PER_OCTAVE + 2 * step + 1  # in 2**(octave - 6) of 2**-10
            inverses.append((2 * numerator + middle) // (2 * middle))
    return np.array(inverses)


def _quantiles() -> NDArray[np.int64]:
    """Return the standardised value (of 2**-16) below which (i + 1/2) / 1024 of the mass lies: a first guess."""
    upper = np.searchsorted(-UPPER_TAIL[:-1], -(np.arange(512) + 0.5) * 2.0**PHI_BITS / 1024)
    below = -(upper.astype(np.int64) << STEP_BITS)
    return np.concatenate((below, -below[::-1]))


UPPER_TAIL = _upper_tail()
INVERSE_SCALES = _inverse_scales()
QUANTILES = _quantiles()
EXPONENTIALS = np.array(
    [round(_exp(-i, 2**LOGIT_BITS) * 2**WEIGHT_BITS) for i in range(12 * 2**LOGIT_BITS)], np.int64
)
"""2**16 exp(-i / 64)."""
