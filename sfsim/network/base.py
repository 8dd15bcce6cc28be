"""What every network has, however its engine moves bytes: parties, inboxes, routes, records, conservation."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heappush
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
import simpy
from simpy.core import StopSimulation

from sfsim.errors import NetworkError, SimulationError, did_you_mean
from sfsim.ledger import Ledger
from sfsim.network.declarations import Framing, Link
from sfsim.network.jitter import Jitter
from sfsim.network.link import LinkState
from sfsim.network.message import Inbox, Message
from sfsim.network.routing import Links, Router
from sfsim.network.transfer import Manner, Transfer, Way
from sfsim.payload import Outgoing

if TYPE_CHECKING:
    import networkx as nx

Edge = tuple[str, str, Link] | tuple[str, str, Link, Any]
Graph: TypeAlias = "nx.DiGraph | Sequence[Edge]"
LinkT = TypeVar("LinkT", bound=LinkState)
ARRIVES = np.iinfo(np.int64).max  # the hop at which a packet is lost that no link loses
Luck = Callable[[int, int], np.ndarray]
# A message arrives after all ordinary events of its instant (priority 1), and those of one instant in send
# order: message n has the priority 1 + n * NEXT, exactly.
NEXT = 2.0**-40
_new = tuple.__new__


class MessageNetwork(Generic[LinkT]):
    """Delivers messages between parties over a graph of links.

    An engine derives from it and says how: `_link`, `_begin`, `_settle` and `_under_way`.

    Parameters
    ----------
    env : simpy.Environment
        The clock.
    graph : networkx.DiGraph, or sequence of edges
        Nodes by name; each edge carries a `Link` in its attribute ``link`` (see `sfsim.network.topology`). Or the
        edges ``(source, destination, link)`` themselves, with a fourth entry for the attribute ``cell`` where
        there is one: a hundred thousand of them take a tenth of the memory of such a graph.
    hosts : mapping of str to str
        The node that each party stands at.
    framing : Framing
        Headers that every packet pays for.
    seed : int
        The seed of fades and losses.
    ledger : Ledger, optional
        Takes one MessageRecord per message and, at `finish`, one LinkRecord per link. None: nothing is
        written down.
    clients : collection of str
        Which parties are clients: decides the direction "up", "down", "peer" or "core" of a record.
    """

    def __init__(
        self,
        env: simpy.Environment,
        graph: Graph,
        hosts: Mapping[str, str],
        framing: Framing,
        seed: int,
        ledger: Ledger | None,
        clients: Collection[str] = (),
    ) -> None:
        self._env, self._framing, self._seed, self._ledger = env, framing, seed, ledger
        self._hosts, self._clients = dict(hosts), frozenset(clients)
        self.links: Links[LinkT] = Links(
            self._link(source, destination, link) for source, destination, link, _ in edges_of(graph)
        )
        if not isinstance(graph, Sequence):
            self.links.add_nodes(graph)
        for party, node in hosts.items():
            if not self.links.knows(node):
                nodes = (
                    graph if not isinstance(graph, Sequence) else {end for edge in graph for end in edge[:2]}
                )
                raise _unknown(f"{party!r} stands at unknown node {node!r}", node, nodes)
        self._router = Router(self.links)
        self._inboxes: dict[str, Inbox] = {}  # made when somebody asks or sends
        self._landing: list[Callable[[Arrival], None]] = [self._land]  # bound once, not once per message
        self._num_sent = 0
        # By source; most have one only, the servers one to each client.
        self._ways: dict[str, Way[LinkT] | dict[str, Way[LinkT]]] = {}
        self._manners: dict[tuple[object, ...], Manner] = {}
        self._pair_counts: dict[tuple[str, str], int] = {}
        self._rests: dict[tuple[LinkT, ...], tuple[LinkT, ...]] = {}  # of routes, which share them
        self._num_delivered = 0
        self._sent_bytes = self._received_bytes = self._lost_bytes = 0

    def inbox(self, party: str) -> Inbox:
        """Return where messages to `party` arrive."""
        self._check_party(party)
        inbox = self._inboxes.get(party)
        if inbox is None:
            inbox = self._inboxes[party] = Inbox(self._env)
        return inbox

    def send(self, source: str, destination: str, outgoing: Outgoing) -> simpy.Event:
        """Start to send; the event fires with the `Message` once it stands in the destination's inbox.

        Raises NetworkError for an unknown party, or when no route leads to it.
        """
        ways = self._ways.get(source)
        way = ways.get(destination) if isinstance(ways, dict) else ways
        if way is None or way.destination != destination:
            way = self._find_way(source, destination)
        number = self._num_sent
        self._num_sent = number + 1
        transfer = Transfer(number, way, outgoing, self._env._now)
        if way.flights is None:  # as `depart`, which costs a call
            way.flights = transfer
        else:
            way.depart(transfer)
        if way.first is not None:
            way.messages += 1
            self._begin(transfer)
        else:  # both parties share a machine
            transfer.final_began_s = transfer.queued_s
            self._arrive(transfer)
        return transfer

    def send_to_all(
        self, source: str, destinations: Sequence[str], outgoing: Outgoing
    ) -> Sequence[simpy.Event]:
        """Send one payload to several parties; one event for each, as of `send`."""
        return [self.send(source, destination, outgoing) for destination in destinations]

    def undelivered(self) -> list[Outgoing]:
        """What was sent and nobody has received yet: under way, or in an inbox."""
        waiting = [message.outgoing for inbox in self._inboxes.values() for message in inbox]
        return [transfer.outgoing for transfer in self._under_way_now()] + waiting

    def finish(self) -> None:
        """Write the records of links, and of messages that were still under way."""
        self._settle()
        self._count()
        if self._ledger is None:
            return
        for transfer in self._under_way_now():
            self._ledger.messages.append(transfer.record(inf))
        self._ledger.links.extend(link.record() for link in self.links.values())

    def check_conservation(self) -> None:
        """Raise SimulationError unless no byte appeared or vanished.

        Bytes handed to links = received + lost + under way; and for each link the engine's own integral of
        rate over time = wire bytes that crossed it + what has crossed of those still crossing, to 1e-9
        relative and what the clock cannot tell apart.
        """
        self._settle()
        self._count()
        under_way, crossed_bits = self._under_way()
        found = self._received_bytes + self._lost_bytes + under_way
        if self._sent_bytes != found:
            raise SimulationError(f"bytes sent {self._sent_bytes} != received + lost + under way {found}")
        for link in self.links.values():
            bits = link.wire_bytes * 8.0 + crossed_bits.get(link, 0.0)
            carried_bits, _ = link.totals()
            if abs(carried_bits - bits) > 1e-9 * max(bits, 8.0) + link.rounded_bits:
                raise SimulationError(
                    f"link {link.name!r} carried {carried_bits / 8!r} bytes by its rates, "
                    f"but messages of {bits / 8!r} bytes crossed it"
                )

    def _link(self, source: str, destination: str, link: Link) -> LinkT:
        """Put one link into operation."""
        raise NotImplementedError

    def _begin(self, transfer: Transfer[LinkT]) -> None:
        """Start a message that has at least one hop to go; `_arrive` says that it is there."""
        raise NotImplementedError

    def _hold(self) -> None:
        """Several messages arrive now, and those who wait for them may send; `_let_go` follows."""

    def _let_go(self) -> None:
        """All have arrived."""

    def _settle(self) -> None:
        """Bring all counters up to now."""
        raise NotImplementedError

    def _under_way(self) -> tuple[int, dict[LinkT, float]]:
        """Return the bytes on their way, and for each link the bits of them that have just crossed it."""
        raise NotImplementedError

    def _count(self) -> None:
        for way in self._all_ways():
            way.count()

    def _all_ways(self) -> Iterator[Way[LinkT]]:
        for ways in self._ways.values():
            yield from ways.values() if isinstance(ways, dict) else (ways,)

    def _under_way_now(self) -> list[Transfer[LinkT]]:
        """Return all messages under way, in send order."""
        found = [transfer for way in self._all_ways() for transfer in way.under_way()]
        return sorted(found, key=lambda transfer: transfer.message_id)

    def _find_way(self, source: str, destination: str) -> Way[LinkT]:
        known = self._ways.get(source)
        if known is not None:  # to another destination
            if not isinstance(known, dict):
                known = self._ways[source] = {known.destination: known}
            if destination in known:
                return known[destination]
        self._check_party(source)
        self._check_party(destination)
        links = self._router.route(self._hosts[source], self._hosts[destination])
        manner = Manner(
            direction=_direction(source in self._clients, destination in self._clients),
            latency_s=sum(link.declared.latency_s for link in links),
            lossy=any(link.loss is not None for link in links),
            inbox=self.inbox(destination),
        )
        if any(link.declared.latency is not None for link in links):
            manner.jitter = Jitter(links, self._seed, source, destination)
        self._settle_manner(manner, links)
        if not (manner.jitter or manner.accesses):
            manner = self._manners.setdefault(_key(manner), manner)
        rest = self._rests.setdefault(links[1:], links[1:])
        way: Way[LinkT] = Way(
            links[0] if links else None, rest, source=source, destination=destination, manner=manner
        )
        if known is None:
            self._ways[source] = way
        else:
            known[destination] = way
        return way

    def _settle_manner(self, manner: Manner, links: Sequence[LinkT]) -> None:
        """Decide what the engine has to say about how messages travel over links."""

    def _check_party(self, party: str) -> None:
        if party not in self._hosts:
            raise _unknown(f"there is no party {party!r} in the network", party, self._hosts)

    def _luck(self, transfer: Transfer[LinkT]) -> Luck | None:
        """Return what decides ``(attempt, packets) -> the hop that loses each packet``, shape (packets,).

        The first link of the route that loses a packet counts; `ARRIVES` where none does. None: no link of
        the route ever loses one.
        """
        if not transfer.way.manner.lossy:
            return None
        lossy = [(hop, link) for hop, link in enumerate(transfer.route) if link.loss is not None]
        # A message is known by its place among those of the same two parties: no codec changes that.
        pair = (transfer.source, transfer.destination)
        index = self._pair_counts[pair] = self._pair_counts.get(pair, -1) + 1

        def lost_at(attempt: int, packets: int) -> np.ndarray:
            hops = np.full(packets, ARRIVES)
            for hop, link in reversed(lossy):
                name = f"{link.name}: {transfer.source} -> {transfer.destination}"
                assert link.loss is not None
                hops[link.loss.lost(self._seed, name, index, attempt, packets)] = hop
            return hops

        return lost_at

    def _arrive(self, transfer: Transfer[LinkT], delay_s: float = 0.0) -> None:
        """Deliver after a delay; what arrives at one instant is handed over in send order."""
        self._arrive_together([transfer], delay_s)

    def _arrive_together(self, transfers: list[Transfer[LinkT]], delay_s: float) -> None:
        """Deliver several, in send order, after one delay: as `_arrive` for each of them, with one event."""
        self._schedule(Arrival(self._landing, transfers), 1 + transfers[0].message_id * NEXT, delay_s)

    def _schedule(self, arrival: "Arrival", priority: Any, delay_s: float = 0.0) -> None:
        env = self._env
        heappush(env._queue, (env._now + delay_s, priority, next(env._eid), arrival))  # type: ignore[misc]

    def _land(self, arrival: "Arrival") -> None:
        """Process the events of transfers that arrive together, one after the other, as SimPy would.

        Who waits for a message may send the next one, before rates are computed.
        """
        transfers, place = arrival.transfers, arrival.place
        self._hold()
        now, queue = self._env._now, self._env._queue
        while True:
            transfer = transfers[place]
            if transfer.callbacks is not None:
                self._deliver(transfer)
            try:
                transfer.call()
            except StopSimulation:  # `run` ends here; what is left is done first when it goes on
                self._schedule(Arrival(self._landing, transfers, place), -1)
                self._let_go()
                raise
            place += 1
            if place == len(transfers):
                self._let_go()
                return
            priority = 1 + transfers[place].message_id * NEXT
            if queue and queue[0][0] == now and queue[0][1] < priority:  # something else comes in between
                self._schedule(Arrival(self._landing, transfers, place), priority)
                self._let_go()
                return

    def _deliver(self, transfer: Transfer[LinkT]) -> None:
        """Hand a message over, before whoever waits for the delivery is told."""
        transfer.callbacks = None  # type: ignore[assignment]
        way = transfer.way
        if way.flights is transfer:
            way.flights = None
        else:
            way.land(transfer)
        self._num_delivered += 1
        self._received_bytes += transfer.net_bytes
        now = self._env._now
        if self._ledger is not None:
            self._ledger.messages.append(transfer.record(now))
        missing = transfer.trip.missing
        # As Message(...), in a third of the time.
        transfer._value = message = _new(
            Message,
            (
                transfer.message_id,
                way.source,
                way.destination,
                _received(transfer) if missing else transfer.outgoing,
                transfer.queued_s,
                now,
                missing,
            ),
        )
        inbox = way.manner.inbox
        if inbox.open:
            inbox.put(message)

    def _after(self, delay_s: float, action: Callable[[], None], priority: int = 1) -> None:
        event = simpy.Event(self._env)
        event._ok, event._value = True, None
        assert event.callbacks is not None
        event.callbacks.append(lambda _: action())
        self._env.schedule(event, priority=priority, delay=delay_s)  # type: ignore[arg-type]


class Arrival:
    """Transfers that arrive at one instant, from a place in the list on: an event, as far as SimPy looks."""

    __slots__ = ("callbacks", "place", "transfers")
    _ok = True

    def __init__(
        self, callbacks: list[Callable[["Arrival"], None]], transfers: list[Transfer[Any]], place: int = 0
    ) -> None:
        self.callbacks, self.transfers, self.place = callbacks, transfers, place


def _received(transfer: Transfer[LinkT]) -> Outgoing:
    """Return what the receiver gets: zeros stand where bytes are missing."""
    if not transfer.outgoing.payload:  # its content is not known
        return transfer.outgoing
    payload = bytearray(transfer.outgoing.payload)
    for start, end in transfer.trip.missing:
        payload[start:end] = bytes(end - start)
    return transfer.outgoing._replace(payload=bytes(payload))


def _key(manner: Manner) -> tuple[object, ...]:
    """Return what decides whether two manners without state are the same."""
    told = (manner.direction, manner.latency_s, manner.lossy, id(manner.inbox), manner.plain)
    return (*told, manner.framing, manner.transport)


def edges_of(graph: Graph) -> Iterator[tuple[str, str, Link, Any]]:
    """Return the edges of a graph, each with its link and how it stands in a cell."""
    if isinstance(graph, Sequence):
        for edge in graph:
            yield edge if len(edge) == 4 else (*edge, None)
    else:
        for source, destination, data in graph.edges(data=True):
            yield source, destination, data["link"], data.get("cell")


def _direction(from_client: bool, to_client: bool) -> str:
    if from_client:
        return "peer" if to_client else "up"
    return "down" if to_client else "core"


def _unknown(text: str, word: str, choices: Iterable[str]) -> NetworkError:
    hint = did_you_mean(word, choices)
    return NetworkError(f"{text}. {hint}" if hint else text)
