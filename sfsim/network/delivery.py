"""What a transport asks the network to carry, and the luck that its packets meet.

A transport turns a message into attempts, one after another. An attempt is a pause, then so many wire bytes
as one flow that shares the links of the route and is never faster than its cap, then, for the last one, a
tail. Alone on a route of rate R and latency L a message of K attempts takes

    T = sum_k (pause_k + 8 W_k / min(R, cap_k)) + L + tail_K

Everything that crosses is in the W_k, repeats included, so that link counters match exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import numpy as np

from sfsim.channel.loss import Loss

Ranges = tuple[tuple[int, int], ...]


@dataclass(slots=True)  # not frozen, for speed: one is made per message
class Attempt:
    """What crosses the route in one go, and what becomes of it.

    Parameters
    ----------
    packets, wire_bytes : int
        Frames, and their bytes with headers.
    lost_packets : int
        Frames that never arrived.
    lost_bytes : int
        Bytes that crossed and were of no use: of lost frames, and of those that arrived twice.
    repeated : int
        How many of the frames had been sent before.
    pause_s : float
        Time before the first bit may leave.
    cap_bps : float
        What the transport itself lets through at most, on the wire.
    tail_s : float
        Time after the last bit has left, beyond the latency of the route; counts in the last attempt only.
    missing : tuple of (int, int)
        Sorted byte ranges of the payload that will never arrive.
    missing_wire_bytes : int
        The frames that held them, with headers.
    """

    packets: int
    wire_bytes: int
    lost_packets: int = 0
    lost_bytes: int = 0
    repeated: int = 0
    pause_s: float = 0.0
    cap_bps: float = inf
    tail_s: float = 0.0
    missing: Ranges = ()
    missing_wire_bytes: int = 0


class Lossy(Protocol):
    """A link as `Luck` sees it."""

    lost_packets: int

    @property
    def name(self) -> str:
        """What its streams are called."""

    @property
    def loss(self) -> Loss | None:
        """Its loss law."""


@dataclass(slots=True)
class Luck:
    """Which packets of a message the lossy links of its route lose; each counts at the first that loses it.

    The luck of the i-th packet of an attempt depends on the seed, the link, the two parties, the message's
    place among theirs, the attempt and i: no codec changes it, and a longer message meets what a shorter one
    met.
    """

    seed: int
    links: Sequence[Lossy]  # those with a loss law
    parties: str
    index: int
    _drawn: list[np.ndarray] = field(default_factory=list)

    def __call__(self, attempt: int, packets: int) -> np.ndarray:
        """Return which of `packets` packets are lost (bool, shape (packets,)), and count them."""
        lost = self.ahead(attempt, packets)
        self.count(packets)
        return lost

    def ahead(self, attempt: int, packets: int) -> np.ndarray:
        """Return the same without counting, for a transport that does not know yet how many it will send."""
        lost = np.zeros(packets, dtype=bool)
        self._drawn = []
        for link in self.links:
            assert link.loss is not None
            name = f"{link.name}: {self.parties}"
            here = link.loss.lost(self.seed, name, self.index, attempt, packets) & ~lost
            self._drawn.append(here)
            lost |= here
        return lost

    @property
    def memory(self) -> int:
        """Packet times after which all laws of loss have forgotten their state."""
        return max((link.loss.memory for link in self.links if link.loss is not None), default=0)

    def count(self, packets: int | np.ndarray) -> None:
        """Count the losses among packets of what `ahead` returned last: the first so many, or those marked."""
        met = slice(packets) if isinstance(packets, int) else np.flatnonzero(packets)
        for link, here in zip(self.links, self._drawn, strict=True):
            link.lost_packets += int(here[met].sum())
