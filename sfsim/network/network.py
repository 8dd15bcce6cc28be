"""The network of a run: parties hand it payloads, and it delivers them in simulated time."""

from collections.abc import Callable, Collection, Mapping
from heapq import heappush
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from sfsim.ledger import Ledger
from sfsim.network.base import ARRIVES, NEXT, MessageNetwork
from sfsim.network.cells import FluidCell, Policy
from sfsim.network.declarations import Framing, Link
from sfsim.network.delivery import Attempt, attempts
from sfsim.network.flow import Flow
from sfsim.network.fluid import FluidEngine
from sfsim.network.link import NetworkLink
from sfsim.network.transfer import Transfer, Way
from sfsim.network.usage import Usage

if TYPE_CHECKING:
    import networkx as nx


class Network(MessageNetwork[NetworkLink]):
    """The network on the fluid engine; parameters as `MessageNetwork` says, and some more.

    Parameters
    ----------
    store_and_forward : bool
        Every hop but the slowest waits for a whole frame (or the message, when it is shorter) before it
        passes it on: a message takes ``sum of min(frame, message) / rate`` over those hops longer.
    usage_every_s : float, optional
        Write down what each link carried in every interval of that length.
    cells : mapping, optional
        The access policy of each radio cell and direction, by ``(cell, down)``; one object for both
        directions is one medium for both. Edges with an attribute ``cell`` (`CellAccess`) lead through one.
    members : callable, optional
        Makes what the policies want to know of their members, from arrays ``down``, ``phy_bps``, ``snr`` and
        ``snr_limit``.
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
        usage_every_s: float | None = None,
        cells: "Mapping[tuple[str, bool], Policy] | None" = None,
        members: Callable[..., Any] | None = None,
    ) -> None:
        self.engine = FluidEngine(env, timed=ledger is not None)
        self._store_and_forward = store_and_forward
        # Bound once, not once per message.
        self._on_sent, self._on_hold, self._on_let_go = self._sent, self._hold, self._let_go
        self._sent_together: dict[float, list[Transfer[NetworkLink]]] = {}
        self.engine.after_many = self._arrive_all
        super().__init__(env, graph, hosts, framing, seed, ledger, clients)
        self._frame_bytes = framing.payload_bytes + framing.overhead_bytes
        self._usage = Usage(self, usage_every_s) if usage_every_s is not None and ledger is not None else None
        self._join_cells(graph, cells or {}, members)

    def _link(self, source: str, destination: str, link: Link) -> NetworkLink:
        return NetworkLink(self.engine, source, destination, link, self._seed)

    def _find_way(self, source: str, destination: str) -> Way[NetworkLink]:
        way = super()._find_way(source, destination)
        if way.links:
            way.course = self.engine.course([link.fluid for link in way.links])
        return way

    def _join_cells(
        self,
        graph: "nx.DiGraph",
        policies: "Mapping[tuple[str, bool], Policy]",
        members: Callable[..., Any] | None,
    ) -> None:
        media: dict[int, FluidCell] = {}
        for source, destination, access in graph.edges(data="cell"):
            if access is None:
                continue
            policy = policies[access.cell, access.down]
            if id(policy) not in media:
                media[id(policy)] = self.engine.add_cell(access.cell, policy, members)
            traits = {name: getattr(access, name) for name in ("down", "phy_bps", "snr", "snr_limit")}
            media[id(policy)].add(self.links[source, destination].fluid, **traits)

    def _begin(self, transfer: Transfer[NetworkLink]) -> None:
        framing, outgoing, way = self._framing, transfer.outgoing, transfer.way
        num_bytes = len(outgoing.payload) or outgoing.size
        packets = -(-num_bytes // framing.payload_bytes)
        wire_bytes = transfer.net_bytes = num_bytes + packets * framing.overhead_bytes
        if way.lossy:
            if self._usage is not None:
                self._usage.watch()
            transfer.rounds = attempts(framing, num_bytes, self._draw(transfer))
            self._send_round(transfer)
            return
        if self._usage is not None:
            self._usage.watch()
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
            # As `_arrive`; and who waits for the message may send the next one, before rates are computed.
            callbacks = transfer.callbacks
            callbacks.insert(0, self._on_hold)
            callbacks.append(self._on_let_go)
            env = self._env
            priority: Any = 1 + transfer.message_id * NEXT
            heappush(env._queue, (env._now + latency_s, priority, next(env._eid), transfer))

    def _hold(self, event: object = None) -> None:
        self.engine.held = True

    def _let_go(self, event: object = None) -> None:
        self.engine.let_go()

    def _arrive_all(self) -> None:
        """Deliver what has left at one instant."""
        for latency_s, transfers in self._sent_together.items():
            self._arrive_together(transfers, latency_s)
        self._sent_together = {}

    def finish(self) -> None:
        """Write the records of links, and of messages that were still under way."""
        if self._usage is not None:
            self._usage.note()
        super().finish()

    @property
    def env(self) -> simpy.Environment:
        """The clock."""
        return self._env

    @property
    def ledger(self) -> Ledger:
        """What is written down; only where there is one."""
        assert self._ledger is not None
        return self._ledger

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._in_flight)

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
