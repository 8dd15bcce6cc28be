"""Realisations made of blocks of equal length, each with one rate, drawn many at a time."""

from collections.abc import Callable
from math import inf

import numpy as np

from sfsim.channel.realisation import Realisation
from sfsim.intervals import interval_at

CHUNK = 1024  # blocks drawn together; part of what a seed means, so never change it
_DEAD_AFTER_BLOCKS = 1 << 20  # this many blocks in outage: the link is called down for ever
_KEPT = 4


class BlockRealisation(Realisation):
    """Block k holds from ``k * block_s`` to ``(k + 1) * block_s``; neighbours of equal rate are one piece."""

    def __init__(self, block_s: float) -> None:
        super().__init__()
        self.block_s = block_s
        self._rates: dict[int, np.ndarray] = {}

    def rates_bps(self, chunk: int) -> np.ndarray:
        """Return the rates in bit/s of blocks ``chunk * CHUNK`` to ``(chunk + 1) * CHUNK - 1``."""
        return kept(self._rates, chunk, self._draw)

    def _draw(self, chunk: int) -> np.ndarray:
        raise NotImplementedError

    def block(self, time_s: float) -> int:
        """Return the number of the block that holds at `time_s`."""
        return interval_at(time_s, self.block_s)

    def _segment(self, time_s: float) -> tuple[float, float]:
        block = self.block(time_s)
        rates = self.rates_bps(block // CHUNK)
        within = block % CHUNK
        rate_bps = rates[within]
        if rate_bps == 0:
            return 0.0, self._outage_end(block) * self.block_s
        last = within + 1
        while last < CHUNK and rates[last] == rate_bps:
            last += 1
        return float(rate_bps), (block + last - within) * self.block_s

    def _blocks(self, time_s: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        first = self.block(time_s)
        chunks = range(first // CHUNK, (first + count - 1) // CHUNK + 1)
        start = first - chunks[0] * CHUNK
        found = [self.rates_bps(chunk) for chunk in chunks]
        rates = (found[0] if len(found) == 1 else np.concatenate(found))[start : start + count]
        changes = np.ones(rates.size, bool)
        np.not_equal(rates[1:], rates[:-1], out=changes[:-1])
        if changes.all():
            return np.arange(first + 1, first + rates.size + 1) * self.block_s, rates
        return (first + np.flatnonzero(changes) + 1) * self.block_s, rates[changes]

    def _outage_end(self, block: int) -> float:
        """Return the first block after `block` whose rate is not 0, or infinity."""
        first = block
        while block - first < _DEAD_AFTER_BLOCKS:
            alive = np.flatnonzero(self.rates_bps(block // CHUNK)[block % CHUNK :])
            if len(alive):
                return block + int(alive[0])
            block = (block // CHUNK + 1) * CHUNK
        return inf


def kept(store: dict[int, np.ndarray], chunk: int, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return what `draw` made of `chunk`, remembering the last few."""
    if chunk not in store:
        if len(store) >= _KEPT:
            del store[next(iter(store))]
        store[chunk] = draw(chunk)
    return store[chunk]
