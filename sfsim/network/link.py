"""A link in operation: its declaration, its realised channel, and what it counts."""

from sfsim.network.declarations import Link
from sfsim.network.flow import Segment
from sfsim.network.fluid import FluidEngine


class NetworkLink:
    """One direction of a link in a running network; its randomness is named ``source->destination``."""

    def __init__(self, engine: FluidEngine, source: str, destination: str, link: Link, seed: int) -> None:
        self.name = name = f"{source}->{destination}"
        self.source, self.destination = source, destination
        self.latency_s, self.loss, self.transport = link.latency_s, link.loss, link.transport
        self.realisation = link.channel.realise(seed, name) if link.channel is not None else None
        self.fluid = engine.add_link(name, self._capacity(link))
        self.wire_bytes = self.messages = self.lost_packets = 0

    @property
    def channel_queries(self) -> int:
        """How often the channel was asked for its rate."""
        return self.realisation.queries if self.realisation is not None else 0

    def rate_bps(self, now_s: float) -> float:
        """Return the capacity at `now_s`, or after an outage the next one above zero (infinite: never)."""
        rate_bps, until_s = self.fluid.segment(now_s)
        while rate_bps <= 0 and until_s < float("inf"):
            rate_bps, until_s = self.fluid.segment(until_s)
        return rate_bps if rate_bps > 0 else float("inf")

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
