"""A link in operation: its declaration, its realised channel, and what it counts."""

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from sfsim.ledger import LinkRecord
from sfsim.network.declarations import Link
from sfsim.network.flow import FluidLink

if TYPE_CHECKING:
    from sfsim.channel import Realisation
    from sfsim.channel.loss import Loss
    from sfsim.network.cell.radio import CellAccess
    from sfsim.network.cells import FluidCell
    from sfsim.network.fluid import FluidEngine

_NONE: tuple[str, ...] = ()
_AHEAD = 1024  # pieces of a channel that are fetched at once


class LinkState:
    """One direction of a link in a running network; its randomness is named ``source->destination``.

    ``latency_s`` is the mean over messages, what its law of latency adds included.
    ``capacity(time_s)`` answers ``(rate_bps, valid_until_s)``.
    """

    __slots__ = _NONE  # so that network links, which are many, can have those of the engine's links too

    source: str
    destination: str
    declared: Link
    latency_s: float
    realisation: "Realisation | None"
    background: "Realisation | None"
    wire_bytes: int
    messages: int
    lost_packets: int
    rounded_bits: float = 0.0  # the integral of rate over time may be wrong by so many, for the clock rounds

    def __init__(self, source: str, destination: str, link: Link, seed: int) -> None:
        self.source, self.destination, self.declared = source, destination, link
        self.latency_s = link.mean_latency_s(seed, self.name)
        self.realisation = link.channel.realise(seed, self.name) if link.channel is not None else None
        self.background = None
        if link.background is not None:
            self.background = link.background.realise(seed, f"{self.name} background")
        self.wire_bytes = self.messages = self.lost_packets = 0

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What errors call it, and its random streams."""
        return f"{self.source}->{self.destination}"

    @property
    def loss(self) -> "Loss | None":
        """Its loss law."""
        return self.declared.loss

    @property
    def sharing_s(self) -> float:
        """Seconds that messages have lost because this link, shared, held them back."""
        raise NotImplementedError

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
            sharing_s=self.sharing_s,
        )

    def capacity(self, time_s: float) -> tuple[float, float]:
        """Return the rate at a time, and until when it holds."""
        link = self.declared
        rate_bps, until_s = (inf, inf) if self.realisation is None else self.realisation.segment(time_s)
        if link.rate_bps is not None and link.rate_bps < rate_bps:
            rate_bps = link.rate_bps
        if link.efficiency != 1:
            rate_bps *= link.efficiency
        if self.background is not None:
            taken_bps, changes_s = self.background.segment(time_s)
            rate_bps, until_s = max(0.0, rate_bps - taken_bps), min(until_s, changes_s)
        return rate_bps, until_s

    def offered_bps(self, time_s: float) -> float:
        """Return the rate at a time, or after an outage the next one above zero (infinite: never)."""
        rate_bps, until_s = self.capacity(time_s)
        while rate_bps <= 0 and until_s < inf:
            rate_bps, until_s = self.capacity(until_s)
        return rate_bps if rate_bps > 0 else inf

    def ahead(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return many pieces at once: their ends in s, and their rates, shape (n,) each."""
        link = self.declared
        if self.realisation is None or self.background is not None:
            rate_bps, until_s = self.capacity(time_s)
            return np.array([until_s]), np.array([rate_bps])
        ends_s, rates_bps = self.realisation.blocks(time_s, _AHEAD)
        if link.rate_bps is not None:
            rates_bps = np.minimum(rates_bps, link.rate_bps)
        return ends_s, rates_bps * link.efficiency


class NetworkLink(LinkState, FluidLink):
    """A link on the fluid engine."""

    __slots__ = (
        "background",
        "declared",
        "destination",
        "latency_s",
        "lost_packets",
        "messages",
        "realisation",
        "source",
        "wire_bytes",
    )

    def __init__(
        self,
        engine: "FluidEngine",
        source: str,
        destination: str,
        link: Link,
        seed: int,
        cell: "FluidCell | None" = None,
        access: "CellAccess | None" = None,
    ) -> None:
        LinkState.__init__(self, source, destination, link, seed)
        FluidLink.__init__(self, engine)
        if cell is not None and access is not None:
            cell.add(self, **access.traits)

    sharing_s = FluidLink.sharing_s

    def totals(self) -> tuple[float, float]:
        return self.carried_bits, self.busy_s
