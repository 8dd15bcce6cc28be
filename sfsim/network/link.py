"""A link in operation: its declaration, its realised channel, and what it counts."""

from sfsim.ledger import LinkRecord
from sfsim.network.declarations import Link
from sfsim.network.flow import Segment
from sfsim.network.fluid import FluidEngine


class LinkState:
    """One direction of a link in a running network; its randomness is named ``source->destination``.

    ``capacity(time_s)`` answers ``(rate_bps, valid_until_s)``.
    """

    def __init__(self, source: str, destination: str, link: Link, seed: int) -> None:
        self.name = f"{source}->{destination}"
        self.source, self.destination = source, destination
        self.latency_s, self.loss = link.latency_s, link.loss
        self.realisation = link.channel.realise(seed, self.name) if link.channel is not None else None
        self.capacity = self._capacity(link)
        self.wire_bytes = self.messages = self.lost_packets = 0

    def totals(self) -> tuple[float, float]:
        """Return the bits carried, by the engine's integral of rate over time, and the seconds it took."""
        raise NotImplementedError

    def record(self) -> LinkRecord:
        """Return the ledger's row."""
        carried_bits, busy_s = self.totals()
        return LinkRecord(
            source=self.source,
            destination=self.destination,
            carried_bytes=carried_bits / 8,
            wire_bytes=self.wire_bytes,
            busy_s=busy_s,
            messages=self.messages,
            lost_packets=self.lost_packets,
            loss_configured=self.loss is not None,
            channel_queries=self.realisation.queries if self.realisation is not None else 0,
            channel_configured=self.realisation is not None,
        )

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


class NetworkLink(LinkState):
    """A link on the fluid engine."""

    def __init__(self, engine: FluidEngine, source: str, destination: str, link: Link, seed: int) -> None:
        super().__init__(source, destination, link, seed)
        self.fluid = engine.add_link(self.name, self.capacity)

    def totals(self) -> tuple[float, float]:
        return self.fluid.carried_bits, self.fluid.busy_s
