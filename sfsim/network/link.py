"""A link in operation: its declaration, its realised channel, and what it counts."""

from sfsim.network.declarations import Link
from sfsim.network.flow import Segment
from sfsim.network.fluid import FluidEngine


class NetworkLink:
    """One direction of a link in a running network; its randomness is named ``source->destination``."""

    def __init__(self, engine: FluidEngine, source: str, destination: str, link: Link, seed: int) -> None:
        name = f"{source}->{destination}"
        self.source, self.destination = source, destination
        self.latency_s, self.loss = link.latency_s, link.loss
        self.realisation = link.channel.realise(seed, name) if link.channel is not None else None
        self.fluid = engine.add_link(name, self._capacity(link))
        self.wire_bytes = self.messages = self.lost_packets = 0

    @property
    def channel_queries(self) -> int:
        """How often the channel was asked for its rate."""
        return self.realisation.queries if self.realisation is not None else 0

    def _capacity(self, link: Link) -> Segment:
        cap_bps = float("inf") if link.rate_bps is None else link.rate_bps
        realisation = self.realisation
        if realisation is None:
            fixed = (cap_bps * link.efficiency, float("inf"))
            return lambda time_s: fixed

        def segment(time_s: float) -> tuple[float, float]:
            rate_bps, until_s = realisation.segment(time_s)
            return min(rate_bps, cap_bps) * link.efficiency, until_s

        return segment
