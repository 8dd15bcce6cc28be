"""Sequences that grow as far as somebody asks: entry k depends on the seed and k, not on who asked."""

from collections.abc import Callable

import numpy as np

_CHUNK = 256  # entries drawn together; part of what a seed means, so never change it


class Growing:
    """A cumulative sum of drawn durations or lengths: 0 first, then always increasing.

    Parameters
    ----------
    draw : callable
        ``draw(chunk, count)`` returns `count` entries above 0, the same for the same `chunk`.
    """

    def __init__(self, draw: Callable[[int, int], np.ndarray]) -> None:
        self._draw, self.sums, self._chunks = draw, np.zeros(1), 0

    def reach(self, value: float) -> np.ndarray:
        """Return the sums so far, the last of them above `value`."""
        while self.sums[-1] <= value:
            grown = [self.sums]
            for _ in range(max(1, self._chunks)):  # twice as far each time: no quadratic copying
                grown.append(grown[-1][-1] + np.cumsum(self._draw(self._chunks, _CHUNK)))
                self._chunks += 1
            self.sums = np.concatenate(grown)
        return self.sums


class CorrelatedGauss:
    """A standard normal value for every place along a way, ``exp(-d / correlation_m)`` alike over distance d.

    The way is cut into tenths of the correlation distance; each has one value, and is a step of a first-order
    autoregression, which has exactly this correlation.

    Source: Gudmundson, "Correlation model for shadow fading in mobile radio systems", Electronics Letters
    27(23), 1991.

    Parameters
    ----------
    correlation_m : float
        Distance after which the correlation is 1 / e.
    draw : callable
        ``draw(chunk)`` returns the random generator of that chunk.
    """

    def __init__(self, correlation_m: float, draw: Callable[[int], np.random.Generator]) -> None:
        self._step_m, self._draw = correlation_m / 10, draw
        self._values, self._chunks = np.empty(0), 0

    def at(self, travelled_m: np.ndarray) -> np.ndarray:
        """Return the values after `travelled_m` metres of way."""
        cells = np.asarray(travelled_m / self._step_m).astype(np.int64)
        last = int(cells.max(initial=0))
        while len(self._values) <= last:
            self._grow()
        return self._values[cells]

    def _grow(self) -> None:
        from scipy.signal import lfilter

        fresh = self._draw(self._chunks).standard_normal(_CHUNK)
        rho = np.exp(-0.1)
        innovation = np.sqrt(1 - rho**2) * fresh
        if self._chunks == 0:
            innovation[0], before = fresh[0], 0.0
        else:
            before = float(self._values[-1])
        values, _ = lfilter([1.0], [1.0, -rho], innovation, zi=[rho * before])
        self._values, self._chunks = np.append(self._values, values), self._chunks + 1
