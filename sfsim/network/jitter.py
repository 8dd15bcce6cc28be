"""What laws of latency add to the messages of two parties."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfsim.network.link import LinkState


class Jitter:
    """Draws for one message of two parties after the other.

    A message is known by its place among those of the same two parties: no codec changes that.
    """

    def __init__(self, links: "Sequence[LinkState]", seed: int, source: str, destination: str) -> None:
        whose = (source, destination)
        laws = [(link.declared.latency, link.name) for link in links]
        self._laws = [law.realise(seed, name, whose) if law is not None else None for law, name in laws]
        self._drawn = 0

    def draw_s(self) -> list[float]:
        """Return what the laws add to each hop's latency for the next message, in s; 0 without a law."""
        index, self._drawn = self._drawn, self._drawn + 1
        return [law.at(index) if law is not None else 0.0 for law in self._laws]
