"""Factorised: symbols under one distribution per channel, from the weights of Balle's cumulative network.

The network is small (1, 3, 3, 3, 3, 1 wide) and its sigmoid is the distribution function. It is evaluated here
at the cell edges in float64, one IEEE operation after the other in a fixed order with exponentials of our own,
so that the integer table is the same on every machine; there are no quantiles to train and no tables to send.

Source
------
J. Balle et al., "Variational image compression with a scale hyperprior", arXiv:1802.01436, appendix 6.1;
CompressAI's `EntropyBottleneck`, whose parameters these are.
"""

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sfsim.codec.entropy.rans import TOTAL, pop, push

TABLE_BITS = 30
MAX_LEAK = 15
_SMALLEST_RANGE, _LARGEST_RANGE = 16, 2**14
_TAYLOR = np.array([1 / math.factorial(n) for n in range(14, -1, -1)])
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10


@numba.njit(cache=True, inline="always", error_model="numpy")
def _exp(x: Any) -> Any:
    """Return e**x, wrong by 1e-15 of itself at most, and by the same amount everywhere."""
    x = min(max(x, -700.0), 700.0)
    k = np.floor(x * 1.44269504088896338700 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = _TAYLOR[0]
    for n in range(1, _TAYLOR.size):
        series = series * r + _TAYLOR[n]
    return math.ldexp(series, int(k))


@numba.njit(cache=True, inline="always", error_model="numpy")
def _tanh(x: Any) -> Any:
    return 1.0 - 2.0 / (_exp(2.0 * x) + 1.0)


@numba.njit(cache=True, error_model="numpy")
def _softplus(x: Any) -> Any:
    """Return log(1 + e**x) by Newton's iteration on our own exponential."""
    if x > 30.0:
        return x
    u = 1.0 + _exp(x)
    y = max(x, 0.0) + 0.35
    for _ in range(6):
        y = y - 1.0 + u * _exp(-y)
    return y


@numba.njit(cache=True, error_model="numpy")
def prepare(matrices: Any) -> Any:
    """Return the softplus of every number of float64[C, 33], and the tanh of what stands behind."""
    out = np.empty_like(matrices)
    for i in range(matrices.shape[0]):
        for j in range(matrices.shape[1]):
            out[i, j] = _softplus(matrices[i, j])
    return out


@numba.njit(cache=True, error_model="numpy")
def tabulate(matrices: Any, biases: Any, factors: Any, medians: Any, reach: Any) -> Any:
    """Return 2**30 times the distribution function at the lower edges of cells -reach to reach + 1.

    Parameters
    ----------
    matrices : float64[C, 33]
        Softplus already taken: 3x1, three times 3x3, 1x3, each by rows.
    biases : float64[C, 13]
    factors : float64[C, 12]
        Hyperbolic tangent already taken.
    medians : float64[C]
        Middle of cell 0.
    reach : int

    Returns
    -------
    table : int64[C, 2 * reach + 2], never falling
    """
    channels = matrices.shape[0]
    table = np.empty((channels, 2 * reach + 2), np.int64)
    h, g = np.empty(3), np.empty(3)
    for c in range(channels):
        before = np.int64(0)
        for cell in range(2 * reach + 2):
            x = medians[c] + (cell - reach) - 0.5
            for j in range(3):
                a = matrices[c, j] * x + biases[c, j]
                h[j] = a + factors[c, j] * _tanh(a)
            for layer in range(3):
                for j in range(3):
                    at = 3 + 9 * layer + 3 * j
                    a = matrices[c, at] * h[0] + matrices[c, at + 1] * h[1] + matrices[c, at + 2] * h[2]
                    a = a + biases[c, 3 + 3 * layer + j]
                    g[j] = a + factors[c, 3 + 3 * layer + j] * _tanh(a)
                for j in range(3):
                    h[j] = g[j]
            logit = matrices[c, 30] * h[0] + matrices[c, 31] * h[1] + matrices[c, 32] * h[2] + biases[c, 12]
            below = np.int64(np.rint(2.0**TABLE_BITS / (1.0 + _exp(-logit))))
            before = max(before, below)
            table[c, cell] = before
    return table


@numba.njit(cache=True, inline="always")
def _edge(v: Any, low: Any, high: Any, leaked: Any, share: Any, below: Any) -> Any:
    """Return where symbol v starts on the scale of 2**24, given its entry of the table."""
    edge = ((below * share) >> TABLE_BITS) + (v - low) * leaked
    if v <= low:
        edge = np.int64(0)
    if v > high:
        edge = np.int64(TOTAL)
    return edge


@numba.njit(cache=True, error_model="numpy")
def _encode(
    values: Any, table: Any, area: Any, low: Any, high: Any, leak: Any, state: Any, words: Any, at: Any
) -> tuple[Any, Any, Any]:
    """Push int32 values of shape (B, C, area), the last one first; ``words`` of size 0 only measures."""
    channels, reach = table.shape[0], table.shape[1] // 2 - 1
    leaked = np.int64(1) << leak
    share = TOTAL - leaked * (high - low + 1)
    bits, product = 0.0, 1.0
    for i in range(values.size - 1, -1, -1):
        c, v = (i // area) % channels, np.int64(values[i])
        cell = min(max(v, -reach - 1), reach + 1) + reach
        below = table[c, cell] if cell >= 0 else np.int64(0)
        above = table[c, cell + 1] if cell <= 2 * reach else np.int64(1) << TABLE_BITS
        start = _edge(v, low, high, leaked, share, below)
        frequency = _edge(v + 1, low, high, leaked, share, above) - start
        if words.size:
            state, at = push(state, words, at, start, frequency)
        product *= frequency * (1.0 / TOTAL)
        if product < 1e-200:
            bits -= np.log2(product)
            product = 1.0
    return state, at, bits - np.log2(product)


@numba.njit(cache=True, error_model="numpy")
def _decode(
    values: Any, table: Any, area: Any, low: Any, high: Any, leak: Any, state: Any, words: Any, at: Any
) -> tuple[Any, Any]:
    """Pop int32 values of shape (B, C, area), the first one first."""
    channels, reach = table.shape[0], table.shape[1] // 2 - 1
    leaked = np.int64(1) << leak
    share = TOTAL - leaked * (high - low + 1)
    one = np.int64(1) << TABLE_BITS
    for i in range(values.size):
        c = (i // area) % channels
        slot = state & (TOTAL - 1)
        v, above = np.int64(low), np.int64(high + 1)
        start, end = np.int64(0), np.int64(TOTAL)
        while above - v > 1:
            halfway = (v + above) >> 1
            cell = halfway + reach
            below = np.int64(0) if cell < 0 else one
            if 0 <= cell < 2 * reach + 2:
                below = table[c, cell]
            edge = _edge(halfway, low, high, leaked, share, below)
            if slot < edge:
                above, end = halfway, edge
            else:
                v, start = halfway, edge
        values[i] = v
        state, at = pop(state, words, at, start, end - start)
    return state, at


@dataclass(eq=False)
class Factorised:
    """The distributions of C channels, tabulated as far as symbols have been seen to reach.

    Parameters
    ----------
    matrices, biases, factors : float64[C, 33], [C, 13], [C, 12]
        Parameters of the cumulative network as trained (before softplus and tanh), row by row.
    medians : float32[C]
        What symbol 0 stands for.
    """

    matrices: NDArray[np.float64]
    biases: NDArray[np.float64]
    factors: NDArray[np.float64]
    medians: NDArray[np.float32]

    def __post_init__(self) -> None:
        self._weights = (prepare(self.matrices), self.biases, prepare_factors(self.factors))
        self._table = np.empty((len(self.medians), 0), np.int64)

    def _reaching(self, low: int, high: int) -> NDArray[np.int64]:
        """Return a table for an alphabet. What lies beyond the largest table has the leak's mass only."""
        reach = _SMALLEST_RANGE
        while reach < min(max(-low, high), _LARGEST_RANGE):
            reach *= 2
        if self._table.shape[1] < 2 * reach + 2:
            self._table = tabulate(*self._weights, self.medians.astype(np.float64), reach)
        return self._table

    def encode(
        self, values: NDArray[np.int32], low: int, high: int, leak: int, state: int, words: Any, at: int
    ) -> tuple[int, int, float]:
        """Push symbols of shape (B, C, H, W); return state, place and -log2 of their probability."""
        table = self._reaching(low, high)
        area = values[0, 0].size
        return _encode(values.reshape(-1), table, area, low, high, leak, state, words, at)

    def calibrate(self, values: NDArray[np.int32], low: int, high: int) -> int:
        """Return the leak that costs least on one sample of the batch."""
        most = min(MAX_LEAK, (TOTAL // (2 * (high - low + 1))).bit_length() - 1)
        nothing = np.empty(0, np.uint16)
        costs = {
            leak: self.encode(values[:1], low, high, leak, 0, nothing, 0)[2]
            for leak in {min(trial, most) for trial in (0, 7, 12)}
        }
        return min(sorted(costs), key=costs.__getitem__)

    def decode(
        self, shape: tuple[int, ...], low: int, high: int, leak: int, state: int, words: Any, at: int
    ) -> tuple[NDArray[np.int32], int, int]:
        """Pop symbols of a shape (B, C, H, W); return them, the state and the next word."""
        values = np.empty(shape, np.int32)
        area = shape[2] * shape[3]
        state, at = _decode(
            values.reshape(-1), self._reaching(low, high), area, low, high, leak, state, words, at
        )
        return values, state, at


@numba.njit(cache=True, error_model="numpy")
def prepare_factors(factors: Any) -> Any:
    """Return the tanh of float64[C, 12]."""
    out = np.empty_like(factors)
    for i in range(factors.shape[0]):
        for j in range(factors.shape[1]):
            out[i, j] = _tanh(factors[i, j])
    return out
