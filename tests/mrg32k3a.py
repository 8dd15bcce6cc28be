"""The generator MRG32k3a (L'Ecuyer 1999), to draw the very losses that the reference flows met.

ns-3 seeds all six words alike, jumps ahead by (stream) 2^127 steps and (run) 2^76 steps, and loses a packet
when the next uniform number is below the loss probability.
"""

import numpy as np

M1, M2 = 4294967087, 4294944443
A1 = ((0, 1, 0), (0, 0, 1), (-810728, 1403580, 0))
A2 = ((0, 1, 0), (0, 0, 1), (-1370589, 0, 527612))


def _times(a, b, modulus):
    return tuple(
        tuple(
            sum(x * y for x, y in zip(row, column, strict=True)) % modulus for column in zip(*b, strict=True)
        )
        for row in a
    )


def _power(a, exponent, modulus):
    result = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    while exponent:
        if exponent & 1:
            result = _times(result, a, modulus)
        a = _times(a, a, modulus)
        exponent >>= 1
    return result


def uniforms(seed: int, run: int, count: int) -> np.ndarray:
    """Return the first `count` numbers of stream 0: float64, shape (count,)."""
    column = tuple((seed,) for _ in range(3))
    (x0,), (x1,), (x2,) = _times(_power(A1, run << 76, M1), column, M1)
    (y0,), (y1,), (y2,) = _times(_power(A2, run << 76, M2), column, M2)
    found = np.empty(count)
    for i in range(count):
        x0, x1, x2 = x1, x2, (1403580 * x1 - 810728 * x0) % M1
        y0, y1, y2 = y1, y2, (527612 * y2 - 1370589 * y0) % M2
        difference = x2 - y2 if x2 > y2 else x2 - y2 + M1
        found[i] = difference / (M1 + 1)
    return found
