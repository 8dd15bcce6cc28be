"""The network of a run: parties hand it payloads, and it delivers them in simulated time."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import simpy

from sfsim.ledger import Ledger
from sfsim.network.base import ARRIVES, MessageNetwork
from sfsim.network.declarations import Framing, Link
from sfsim.network.delivery import Attempt, attempts
from sfsim.network.flow import Flow
from sfsim.network.fluid import FluidEngine
from sfsim.network.link import NetworkLink
from sfsim.network.transfer import Transfer, Way

if TYPE_CHECKING:
    import networkx as nx


class Network(MessageNetwork[NetworkLink]):
    """The network on the fluid engine; parameters as `MessageNetwork` says, and one more.

    Parameters
    ----------
    store_and_forward : bool
        Every hop but the slowest waits for a whole frame (or the message, when it is shorter) before it
        passes it on: a message takes ``sum of min(frame, message) / rate`` over those hops longer.
    """

    def __init__(
        self,
        env: simpy.Environment,
        graph: "nx.DiGraph",
        hosts: Mapping[str, str],
        framing: Framing,
        seed: int,
        ledger: Ledger | None,
        clients: Collection[str] = (),
        store_and_forward: bool = False,
    ) -> None:
        self.engine = FluidEngine(env, timed=ledger is not None)
        self._store_and_forward = store_and_forward
        self._on_sent = self._sent  # bound once, not once per message
        self._sent_together: dict[float, list[Transfer[NetworkLink]]] = {}
        self.engine.after_many = self._arrive_all
        super().__init__(env, graph, hosts, framing, seed, ledger, clients)
        self._frame_bytes = framing.payload_bytes + framing.overhead_bytes

    def _link(self, source: str, destination: str, link: Link) -> NetworkLink:
        return NetworkLink(self.engine, source, destination, link, self._seed)

    def _find_way(self, source: str, destination: str) -> Way[NetworkLink]:
        way = super()._find_way(source, destination)
        if way.links:
            way.course = self.engine.course([link.fluid for link in way.links])
        return way

    def _begin(self, transfer: Transfer[NetworkLink]) -> None:
        framing, outgoing, way = self._framing, transfer.outgoing, transfer.way
        num_bytes = len(outgoing.payload) or outgoing.size
        packets = -(-num_bytes // framing.payload_bytes)
        wire_bytes = transfer.net_bytes = num_bytes + packets * framing.overhead_bytes
        if way.lossy:
            transfer.rounds = attempts(framing, num_bytes, self._draw(transfer))
            self._send_round(transfer)
            return
        self._sent_bytes += wire_bytes
        transfer.packets = packets
        transfer.begun_bytes = wire_bytes
        if wire_bytes:
            transfer.bits = wire_bytes * 8.0
            transfer.course = way.course  # type: ignore[assignment]
            transfer.done = self._on_sent
            self.engine.launch(transfer)
        else:
            transfer.first_s = transfer.queued_s
            self._arrive(transfer, way.latency_s)

    def _sent(self, transfer: Transfer[NetworkLink]) -> None:
        """The last bit of a message has left that nobody can lose."""
        way = transfer.way
        way.wire_bytes += transfer.begun_bytes
        transfer.crossed_bytes = transfer.begun_bytes
        latency_s = way.latency_s
        if self._store_and_forward:
            latency_s += self._stored_s(transfer)
        if self.engine.many:
            together = self._sent_together.get(latency_s)
            if together is None:
                self._sent_together[latency_s] = [transfer]
            else:
                together.append(transfer)
        else:
            self._arrive(transfer, latency_s)

    def _arrive_all(self) -> None:
        """Deliver what has left at one instant."""
        for latency_s, transfers in self._sent_together.items():
            self._arrive_together(transfers, latency_s)
        self._sent_together = {}

    def _settle(self) -> None:
        self.engine.settle()

    def _under_way(self) -> tuple[int, dict[NetworkLink, float]]:
        crossed_bits: dict[NetworkLink, float] = {}
        for transfer in self._in_flight.values():
            flow = transfer if transfer.flow is None else transfer.flow
            if flow.active:
                bits = flow.bits - flow.remaining_bits
                for link in transfer.route:
                    crossed_bits[link] = crossed_bits.get(link, 0.0) + bits
        flights = self._in_flight.values()
        return sum(transfer.begun_bytes - transfer.lost_bytes for transfer in flights), crossed_bits

    def _stored_s(self, transfer: Transfer[NetworkLink]) -> float:
        """Return how long the hops hold a frame back, at the rates that they have as it passes."""
        rates = sorted(link.capacity(self._env.now)[0] for link in transfer.route)
        bits = 8 * min(self._frame_bytes, transfer.net_bytes)
        return sum(bits / rate_bps for rate_bps in rates[1:] if rate_bps > 0)

    def _draw(self, transfer: Transfer[NetworkLink]) -> Callable[[int, int], np.ndarray] | None:
        """Return which packets of an attempt the route loses; each counts at the first link that loses it."""
        lost_at = self._luck(transfer)
        if lost_at is None:
            return None

        def draw(attempt: int, packets: int) -> np.ndarray:
            hops = lost_at(attempt, packets)
            for hop, link in enumerate(transfer.route):
                link.lost_packets += int((hops == hop).sum())
            return np.asarray(hops < ARRIVES)

        return draw

    def _send_round(self, transfer: Transfer[NetworkLink]) -> None:
        attempt = next(transfer.rounds)
        transfer.begin(attempt)
        self._sent_bytes += attempt.wire_bytes
        assert transfer.way.course is not None
        transfer.flow = self.engine.start(
            attempt.wire_bytes * 8,
            transfer.way.course,
            lambda flow: self._round_sent(transfer, attempt, flow),
            transfer,
        )

    def _round_sent(self, transfer: Transfer[NetworkLink], attempt: Attempt, flow: Flow) -> None:
        transfer.end(attempt, flow)
        self._lost_bytes += attempt.lost_bytes
        way = transfer.way
        way.wire_bytes += attempt.wire_bytes
        if attempt.lost_packets:
            self._after(2 * way.latency_s, lambda: self._send_round(transfer))
        else:
            self._arrive(transfer, way.latency_s)
