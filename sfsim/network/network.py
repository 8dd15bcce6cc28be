"""The network of a run: parties hand it payloads, and it delivers them in simulated time."""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING

import numpy as np
import simpy

from sfsim.errors import NetworkError, SimulationError, did_you_mean
from sfsim.ledger import Ledger, LinkRecord
from sfsim.network.declarations import Framing
from sfsim.network.delivery import Attempt, attempts
from sfsim.network.flow import Flow
from sfsim.network.fluid import LOW, FluidEngine
from sfsim.network.link import NetworkLink
from sfsim.network.message import Inbox, Message
from sfsim.network.routing import Router
from sfsim.network.transfer import Transfer
from sfsim.payload import Outgoing

if TYPE_CHECKING:
    import networkx as nx


class Network:
    """Delivers messages between parties over a graph of links.

    Parameters
    ----------
    env : simpy.Environment
        The clock.
    graph : networkx.DiGraph
        Nodes by name; each edge carries a `Link` in its attribute ``link`` (see `sfsim.network.topology`).
    hosts : mapping of str to str
        The node that each party stands at.
    framing : Framing
        Headers that every packet pays for.
    seed : int
        The seed of fades and losses.
    ledger : Ledger
        Takes one MessageRecord per message and, at `finish`, one LinkRecord per link.
    clients : collection of str
        Which parties are clients: decides the direction "up", "down", "peer" or "core" of a record.
    """

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
        for party, node in hosts.items():
            if node not in graph:
                raise _unknown(f"{party!r} stands at unknown node {node!r}", node, graph)
        self._env, self._framing, self._seed, self._ledger = env, framing, seed, ledger
        self._hosts, self._clients = dict(hosts), frozenset(clients)
        self._router = Router(graph)
        self.engine = FluidEngine(env)
        self.links = {
            (source, destination): NetworkLink(self.engine, source, destination, data["link"], seed)
            for source, destination, data in graph.edges(data=True)
        }
        self._inboxes = {party: Inbox(env) for party in hosts}
        self._num_sent = 0
        self._pair_counts: dict[tuple[str, str], int] = {}
        self._in_flight: dict[int, Transfer] = {}
        self._arrived: list[Transfer] = []
        self._sent_bytes = self._received_bytes = self._lost_bytes = 0

    def inbox(self, party: str) -> Inbox:
        """Return where messages to `party` arrive."""
        self._check_party(party)
        return self._inboxes[party]

    def send(self, source: str, destination: str, outgoing: Outgoing) -> simpy.Event:
        """Start to send; the event fires with the `Message` once it stands in the destination's inbox.

        Raises NetworkError for an unknown party, or when no route leads to it.
        """
        self._check_party(source)
        self._check_party(destination)
        edges = self._router.route(self._hosts[source], self._hosts[destination])
        route = tuple(self.links[edge] for edge in edges)
        transfer = Transfer(
            message_id=self._num_sent,
            source=source,
            destination=destination,
            outgoing=outgoing,
            route=route,
            queued_s=float(self._env.now),
            event=self._env.event(),
        )
        self._num_sent += 1
        self._in_flight[transfer.message_id] = transfer
        if not route:  # both parties share a machine
            transfer.first_s = float(self._env.now)
            self._after(0.0, lambda: self._arrive(transfer))
            return transfer.event
        for link in route:
            link.messages += 1
        transfer.rounds = attempts(self._framing, len(outgoing.payload), self._draw(transfer))
        self._send_round(transfer)
        return transfer.event

    def finish(self) -> None:
        """Write the records of links, and of messages that were still under way."""
        self.engine.settle()
        for transfer in self._in_flight.values():
            self._ledger.messages.append(transfer.record(inf, self._clients))
        for link in self.links.values():
            self._ledger.links.append(
                LinkRecord(
                    source=link.source,
                    destination=link.destination,
                    carried_bytes=link.fluid.carried_bits / 8,
                    wire_bytes=link.wire_bytes,
                    busy_s=link.fluid.busy_s,
                    messages=link.messages,
                    lost_packets=link.lost_packets,
                    loss_configured=link.loss is not None,
                    channel_queries=link.channel_queries,
                    channel_configured=link.realisation is not None,
                )
            )

    def check_conservation(self) -> None:
        """Raise SimulationError unless no byte appeared or vanished.

        Bytes handed to links = received + lost + under way; and for each link the engine's own integral of
        rate over time = wire bytes of the rounds that crossed it + what has crossed of those still crossing,
        to 1e-9 relative.
        """
        self.engine.settle()
        under_way = sum(transfer.begun_bytes - transfer.lost_bytes for transfer in self._in_flight.values())
        found = self._received_bytes + self._lost_bytes + under_way
        if self._sent_bytes != found:
            raise SimulationError(f"bytes sent {self._sent_bytes} != received + lost + under way {found}")
        expected = {link.fluid: link.wire_bytes * 8.0 for link in self.links.values()}
        for transfer in self._in_flight.values():
            if transfer.flow is not None and transfer.flow in self.engine.flows:
                for link in transfer.route:
                    expected[link.fluid] += transfer.round_bytes * 8 - transfer.flow.remaining_bits
        for fluid, bits in expected.items():
            if abs(fluid.carried_bits - bits) > 1e-9 * max(bits, 8.0):
                raise SimulationError(
                    f"link {fluid.name!r} carried {fluid.carried_bits / 8!r} bytes by its rates, "
                    f"but messages of {bits / 8!r} bytes crossed it"
                )

    def _check_party(self, party: str) -> None:
        if party not in self._hosts:
            raise _unknown(f"there is no party {party!r} in the network", party, self._hosts)

    def _draw(self, transfer: Transfer) -> Callable[[int, int], np.ndarray] | None:
        """Return which packets of an attempt the route loses; each counts at the first link that loses it."""
        lossy = [link for link in transfer.route if link.loss is not None]
        if not lossy:
            return None
        # A message is known by its place among those of the same two parties: no codec changes that.
        pair = (transfer.source, transfer.destination)
        index = self._pair_counts[pair] = self._pair_counts.get(pair, -1) + 1

        def draw(attempt: int, packets: int) -> np.ndarray:
            lost = np.zeros(packets, dtype=bool)
            for link in lossy:
                name = f"{link.fluid.name}: {transfer.source} -> {transfer.destination}"
                assert link.loss is not None
                here = link.loss.lost(self._seed, name, index, attempt, packets) & ~lost
                link.lost_packets += int(here.sum())
                lost |= here
            return lost

        return draw

    def _send_round(self, transfer: Transfer) -> None:
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

    def _round_sent(self, transfer: Transfer, attempt: Attempt, flow: Flow) -> None:
        transfer.end(attempt, flow)
        self._lost_bytes += attempt.lost_bytes
        for link in transfer.route:
            link.wire_bytes += attempt.wire_bytes
        latency_s = sum(link.latency_s for link in transfer.route)
        if attempt.lost_packets:
            self._after(2 * latency_s, lambda: self._send_round(transfer))
        else:
            self._after(latency_s, lambda: self._arrive(transfer))

    def _arrive(self, transfer: Transfer) -> None:
        if not self._arrived:
            self._after(0.0, self._hand_over, LOW)
        self._arrived.append(transfer)

    def _hand_over(self) -> None:
        """Deliver what arrived at this instant, in send order."""
        arrived, self._arrived = self._arrived, []
        now = float(self._env.now)
        for transfer in sorted(arrived, key=lambda transfer: transfer.message_id):
            del self._in_flight[transfer.message_id]
            if transfer.route:
                self._received_bytes += self._framing.wire_bytes(len(transfer.outgoing.payload))
            self._ledger.messages.append(transfer.record(now, self._clients))
            message = Message(
                message_id=transfer.message_id,
                source=transfer.source,
                destination=transfer.destination,
                outgoing=transfer.outgoing,
                queued_s=transfer.queued_s,
                delivered_s=now,
            )
            self._inboxes[transfer.destination].put(message)
            transfer.event.succeed(message)

    def _after(self, delay_s: float, action: Callable[[], None], priority: int = 1) -> None:
        event = simpy.Event(self._env)
        event._ok, event._value = True, None
        assert event.callbacks is not None
        event.callbacks.append(lambda _: action())
        self._env.schedule(event, priority=priority, delay=delay_s)  # type: ignore[arg-type]


def _unknown(text: str, word: str, choices: Iterable[str]) -> NetworkError:
    hint = did_you_mean(word, choices)
    return NetworkError(f"{text}. {hint}" if hint else text)
