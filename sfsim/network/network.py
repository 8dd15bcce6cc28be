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
from sfsim.network.transfer import Transfer

if TYPE_CHECKING:
    import networkx as nx


class Network(MessageNetwork[NetworkLink]):
    """The network on the fluid engine; parameters as `MessageNetwork` says."""

    def __init__(
        self,
        env: simpy.Environment,
        graph: "nx.DiGraph",
        hosts: Mapping[str, str],
        framing: Framing,
        seed: int,
        ledger: Ledger,
        clients: Collection[str] = (),
    ) -> None:
        self.engine = FluidEngine(env)
        super().__init__(env, graph, hosts, framing, seed, ledger, clients)

    def _link(self, source: str, destination: str, link: Link) -> NetworkLink:
        return NetworkLink(self.engine, source, destination, link, self._seed)

    def _begin(self, transfer: Transfer[NetworkLink]) -> None:
        transfer.rounds = attempts(self._framing, len(transfer.outgoing.payload), self._draw(transfer))
        self._send_round(transfer)

    def _settle(self) -> None:
        self.engine.settle()

    def _under_way(self) -> tuple[int, dict[NetworkLink, float]]:
        crossed_bits: dict[NetworkLink, float] = {}
        for transfer in self._in_flight.values():
            if transfer.flow is not None and transfer.flow in self.engine.flows:
                bits = transfer.round_bytes * 8 - transfer.flow.remaining_bits
                for link in transfer.route:
                    crossed_bits[link] = crossed_bits.get(link, 0.0) + bits
        flights = self._in_flight.values()
        return sum(transfer.begun_bytes - transfer.lost_bytes for transfer in flights), crossed_bits

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
        route = [link.fluid for link in transfer.route]
        transfer.flow = self.engine.start(
            attempt.wire_bytes * 8,
            route,
            lambda flow: self._round_sent(transfer, attempt, flow),
            transfer.label,
        )

    def _round_sent(self, transfer: Transfer[NetworkLink], attempt: Attempt, flow: Flow) -> None:
        transfer.end(attempt, flow)
        self._lost_bytes += attempt.lost_bytes
        for link in transfer.route:
            link.wire_bytes += attempt.wire_bytes
        latency_s = sum(link.latency_s for link in transfer.route)
        if attempt.lost_packets:
            self._after(2 * latency_s, lambda: self._send_round(transfer))
        else:
            self._after(latency_s, lambda: self._received(transfer))

    def _received(self, transfer: Transfer[NetworkLink]) -> None:
        self._arrive(transfer)
        self._received_bytes += self._framing.wire_bytes(len(transfer.outgoing.payload))
