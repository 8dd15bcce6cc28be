"""Intervals of equal length on the axis of time: interval k begins at ``k * length_s``, a product of floats."""


def interval_at(time_s: float, length_s: float) -> int:
    """Return the largest k with ``k * length_s <= time_s``.

    The quotient alone may be on the wrong side of a boundary (0.5 // 0.1 is 4.0): who waits for the next multiple
    of it can wait for this very instant, for ever. The products decide, so ``(k + 1) * length_s`` is later than
    `time_s`, always.

    >>> interval_at(0.5, 0.1), interval_at(0.3, 0.1)
    (5, 2)
    """
    number = int(time_s / length_s)
    while number * length_s > time_s:
        number -= 1
    while (number + 1) * length_s <= time_s:
        number += 1
    return number
