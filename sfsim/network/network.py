"""The network of a run: parties hand it payloads, and it delivers them in simulated time."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

import simpy

from sfsim.errors import NetworkError, SimulationError, did_you_mean
from sfsim.ledger import Ledger, LinkRecord
from sfsim.network.declarations import Framing, framing
from sfsim.network.delivery import Attempt, Luck
from sfsim.network.flow import Flow
from sfsim.network.fluid import LOW, FluidEngine
from sfsim.network.link import NetworkLink
from sfsim.network.message import Inbox, Message
from sfsim.network.routing import Router
from sfsim.network.transfer import Transfer
from sfsim.network.transport import Fluid, Path, Sending, Transport, Window
from sfsim.payload import Outgoing
from sfsim.seeds import stream

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
    transport : Transport
        How messages travel on routes whose links do not name another; with such a link, its transport and
        that one's own framing hold for the whole route.
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
        transport: Transport | None = None,
    ) -> None:
        for party, node in hosts.items():
            if node not in graph:
                raise _unknown(f"{party!r} stands at unknown node {node!r}", node, graph)
        self._env, self._framing, self._seed, self._ledger = env, framing, seed, ledger
        self._transport = transport or Fluid()
        self._windows: dict[tuple[str, str], Window] = {}
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
        own = next((link.transport for link in route if link.transport is not None), None)
        frames = framing(own.preset) if own else self._framing
        transfer.useful_bytes = frames.wire_bytes(len(outgoing.payload))
        transfer.rounds = (own or self._transport).attempts(self._sending(transfer, route, frames))
        self._next_round(transfer)
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

    def _sending(self, transfer: Transfer, route: Sequence[NetworkLink], framing: Framing) -> Sending:
        pair = (transfer.source, transfer.destination)
        # A message is known by its place among those of the same two parties: no codec changes that.
        index = self._pair_counts[pair] = self._pair_counts.get(pair, -1) + 1
        lossy = [link for link in route if link.loss is not None]
        return Sending(
            num_bytes=len(transfer.outgoing.payload),
            framing=framing,
            rtt_s=lambda: _latency_s(route) + _latency_s(self._way_back(route)),
            path=lambda: self._path(route),
            luck=Luck(self._seed, lossy, f"{pair[0]} -> {pair[1]}", index) if lossy else None,
            now_s=transfer.queued_s,
            parties=pair,
            windows=self._windows,
            rng=lambda name: stream(self._seed, "transport", name, *pair, index),
        )

    def _way_back(self, route: Sequence[NetworkLink]) -> Sequence[NetworkLink]:
        """Return the route of acknowledgements; where no link leads back, as if it was the same."""
        try:
            edges = self._router.route(route[-1].destination, route[0].source)
        except NetworkError:
            return route
        return [self.links[edge] for edge in edges]

    def _path(self, route: Sequence[NetworkLink]) -> Path:
        now, back = float(self._env.now), self._way_back(route)
        return Path(
            min(link.rate_bps(now) for link in route),
            min(link.rate_bps(now) for link in back),
            _latency_s(route),
            _latency_s(back),
        )

    def _next_round(self, transfer: Transfer) -> None:
        attempt = next(transfer.rounds, None)
        if attempt is None:
            self._after(_latency_s(transfer.route) + transfer.tail_s, lambda: self._arrive(transfer))
        elif attempt.pause_s:
            self._after(attempt.pause_s, lambda: self._send_round(transfer, attempt))
        else:
            self._send_round(transfer, attempt)

    def _send_round(self, transfer: Transfer, attempt: Attempt) -> None:
        transfer.begin(attempt)
        self._sent_bytes += attempt.wire_bytes
        transfer.flow = self.engine.start(
            attempt.wire_bytes * 8,
            [link.fluid for link in transfer.route],
            lambda flow: self._round_sent(transfer, attempt, flow),
            transfer.label,
            attempt.cap_bps,
        )

    def _round_sent(self, transfer: Transfer, attempt: Attempt, flow: Flow) -> None:
        transfer.end(attempt, flow)
        self._lost_bytes += attempt.lost_bytes
        for link in transfer.route:
            link.wire_bytes += attempt.wire_bytes
        self._next_round(transfer)

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
                self._received_bytes += transfer.useful_bytes
            self._ledger.messages.append(transfer.record(now, self._clients))
            message = Message(
                message_id=transfer.message_id,
                source=transfer.source,
                destination=transfer.destination,
                outgoing=transfer.outgoing,
                queued_s=transfer.queued_s,
                delivered_s=now,
                missing=transfer.missing,
            )
            self._inboxes[transfer.destination].put(message)
            transfer.event.succeed(message)

    def _after(self, delay_s: float, action: Callable[[], None], priority: int = 1) -> None:
        event = simpy.Event(self._env)
        event._ok, event._value = True, None
        assert event.callbacks is not None
        event.callbacks.append(lambda _: action())
        self._env.schedule(event, priority=priority, delay=delay_s)  # type: ignore[arg-type]


def _latency_s(route: Sequence[NetworkLink]) -> float:
    return sum(link.latency_s for link in route)


def _unknown(text: str, word: str, choices: Iterable[str]) -> NetworkError:
    hint = did_you_mean(word, choices)
    return NetworkError(f"{text}. {hint}" if hint else text)
