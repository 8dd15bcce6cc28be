"""The network of a run: parties hand it payloads, and it delivers them in simulated time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import simpy

from sfsim.errors import NetworkError
from sfsim.ledger import Ledger
from sfsim.network.base import Graph, MessageNetwork, edges_of
from sfsim.network.cells import FluidCell
from sfsim.network.declarations import Framing, Link, framing
from sfsim.network.delivery import Attempt, Luck
from sfsim.network.flow import Flow
from sfsim.network.fluid import FluidEngine
from sfsim.network.link import NetworkLink
from sfsim.network.transfer import Manner, Transfer, Way
from sfsim.network.transport import Fluid, Transport
from sfsim.network.transport.base import Path, Sending, Window
from sfsim.network.usage import Usage
from sfsim.payload import Outgoing
from sfsim.seeds import stream

if TYPE_CHECKING:
    from sfsim.network.cell import AnyCell
    from sfsim.network.cell.in_use import CellInUse
    from sfsim.network.cell.radio import CellAccess


class Network(MessageNetwork[NetworkLink]):
    """The network on the fluid engine; parameters as `MessageNetwork` says, and some more.

    Parameters
    ----------
    transport : Transport
        How messages travel on routes whose links do not name another; with such a link, its transport and
        that one's own framing hold for the whole route.
    store_and_forward : bool
        Every hop but the slowest waits for a whole frame (or the message, when it is shorter) before it
        passes it on: a message takes ``sum of min(frame, message) / rate`` over those hops longer.
    cells : mapping of str to Cell, optional
        The radio cells that edges name in their attribute ``cell`` (`sfsim.network.cell.radio.CellAccess`).
    usage_every_s : float, optional
        Write down what each link carried in every interval of that length.
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
        transport: Transport | None = None,
        store_and_forward: bool = False,
        cells: "Mapping[str, AnyCell] | None" = None,
        usage_every_s: float | None = None,
    ) -> None:
        self._transport = transport or Fluid()
        self._accesses: dict[tuple[str, str], CellAccess] = {
            (source, destination): access
            for source, destination, _, access in edges_of(graph)
            if access is not None
        }
        self._multicasts: dict[tuple[str, tuple[str, ...]], list[Way[NetworkLink]]] = {}
        self._windows: dict[tuple[str, str], Window] = {}
        self.engine = FluidEngine(env, timed=ledger is not None)
        self._store_and_forward = store_and_forward
        self.engine.done_together = self._sent_together
        self._cells = self._make_cells(cells, seed) if cells else {}
        super().__init__(env, graph, hosts, framing, seed, ledger, clients)
        self._frame_bytes = framing.payload_bytes + framing.overhead_bytes
        self._usage = Usage(self, usage_every_s) if usage_every_s is not None and ledger is not None else None

    def _make_cells(self, cells: "Mapping[str, AnyCell]", seed: int) -> "dict[str, CellInUse]":
        from sfsim.network.cell.in_use import CellInUse  # compiles with numba: not before a cell runs

        return {name: CellInUse(self.engine, name, cell, seed) for name, cell in cells.items()}

    def _link(self, source: str, destination: str, link: Link) -> NetworkLink:
        access = self._accesses.get((source, destination))
        cell = None if access is None else self._cells[access.cell].fluid(access.down)
        return NetworkLink(self.engine, source, destination, link, self._seed, cell, access)

    def _find_way(self, source: str, destination: str) -> Way[NetworkLink]:
        way = super()._find_way(source, destination)
        if way.first is not None and way.row < 0:
            self.engine.enrol(way)
        return way

    def _settle_manner(self, manner: Manner, links: Sequence[NetworkLink]) -> None:
        own = next((t for link in links if (t := link.declared.transport) is not None), None)
        manner.framing = framing(own.preset) if own else self._framing
        transport = own or self._transport
        manner.transport = None if isinstance(transport, Fluid) and not manner.lossy else transport
        if self._accesses:
            manner.accesses = tuple(
                (self._cells[access.cell].grants, access)
                for link in links
                if (access := self._accesses.get((link.source, link.destination))) is not None
            )
        manner.sent = self._sent
        manner.plain = not (manner.accesses or manner.jitter or self._store_and_forward)

    def send_to_all(
        self, source: str, destinations: Sequence[str], outgoing: Outgoing
    ) -> Sequence[simpy.Event]:
        """Send one payload to several parties; one event for each, as of `send`.

        Those in a cell that multicasts (`model_delivery`) are served by one transmission, as far as their routes
        differ in the last link only and nothing has to be acknowledged: no loss, and the fluid transport.
        """
        groups: dict[object, list[str]] = {}
        for destination in destinations:
            way = self._find_way(source, destination)
            groups.setdefault(self._shared_part(way), []).append(destination)
        events: dict[str, simpy.Event] = {}
        for members in groups.values():
            if len(members) == 1:
                events[members[0]] = self.send(source, members[0], outgoing)
            else:
                events |= zip(members, self._multicast(source, tuple(members), outgoing), strict=True)
        return [events[destination] for destination in destinations]

    def _shared_part(self, way: Way[NetworkLink]) -> object:
        """Return what ways have in common that one transmission can serve; the way itself if none can."""
        cells = [access.cell for _, access in way.manner.accesses]
        last = self._accesses.get((way.links[-1].source, way.links[-1].destination)) if way.links else None
        if len(cells) != 1 or last is None or not self._cells[last.cell].multicast or way.manner.transport:
            return id(way)
        return last.cell, way.links[:-1], way.links[-1].source, way.manner.framing

    def _multicast(
        self, source: str, members: tuple[str, ...], outgoing: Outgoing
    ) -> Sequence[Transfer[NetworkLink]]:
        ways = self._multicasts.get((source, members))
        if ways is None:
            ways = self._multicasts[source, members] = self._find_ways(source, members)
        number, now = self._num_sent, self._env.now
        self._num_sent += len(ways)
        transfers = [Transfer(number + place, way, outgoing, now) for place, way in enumerate(ways)]
        for transfer in transfers:
            transfer.way.depart(transfer)
        first = transfers[0]
        first.travel().others = tuple(transfers[1:])
        first.way.messages += 1
        self._begin(first)
        return transfers

    def _find_ways(self, source: str, members: tuple[str, ...]) -> list[Way[NetworkLink]]:
        """Return a way to each member, all over one link for the air; the first one's asks for all grants."""
        from sfsim.network.cell.multicast import MulticastLink  # compiles with numba, as cells do

        own = [self._find_way(source, member) for member in members]
        accesses = tuple(entry for way in own for entry in way.manner.accesses)
        last, cell, number = [way.links[-1] for way in own], accesses[0][1].cell, 1
        edge = (last[0].source, f"{cell} multicast")
        while edge in self.links:
            number += 1
            edge = (edge[0], f"{cell} multicast {number}")
        medium = self._cells[cell].fluid(down=True)
        link = MulticastLink(self.engine, *edge, last, [access for _, access in accesses], medium)
        self.links.add(edge, link)
        route = (*own[0].links[:-1], link)
        ways: list[Way[NetworkLink]] = [
            Way(
                route[0],
                route[1:],
                source=way.source,
                destination=way.destination,
                manner=replace(way.manner, accesses=accesses),
            )
            for way in own
        ]
        self.engine.enrol(ways[0])
        return ways

    def _all_ways(self) -> Iterator[Way[NetworkLink]]:
        yield from super()._all_ways()
        for ways in self._multicasts.values():
            yield from ways

    def _begin(self, transfer: Transfer[NetworkLink], granted: bool = False) -> None:
        outgoing, way = transfer.outgoing, transfer.way
        manner = way.manner
        if not (manner.plain or granted):
            self._prepare(transfer)
            return
        if self._usage is not None:
            self._usage.watch()
        framing = manner.framing
        assert framing is not None
        num_bytes = outgoing.size or len(outgoing.payload)
        packets = -(-num_bytes // framing.payload_bytes)
        wire_bytes = transfer.net_bytes = num_bytes + packets * framing.overhead_bytes
        if manner.transport is not None:
            sending = self._sending(transfer, num_bytes, framing)
            trip = transfer.travel()
            trip.packets, trip.rounds = packets, manner.transport.attempts(sending)
            self._next_round(transfer)
            return
        self._sent_bytes += wire_bytes
        if wire_bytes:
            self.engine.launch(transfer)
        else:
            transfer.final_began_s = self._env.now
            self._left(way)
            self._arrive(transfer, manner.latency_s + transfer.trip.drawn_s)
            self._arrive_elsewhere(transfer)

    def _prepare(self, transfer: Transfer[NetworkLink]) -> None:
        """Draw the message's latency, and ask the cells of the route for airtime.

        The message counts as handed over, and waits for the grant.
        """
        now, accesses = self._env.now, transfer.way.manner.accesses
        for each in (transfer, *transfer.trip.others):
            if each.way.manner.jitter is not None:
                each.travel().drawn_s = sum(each.way.manner.jitter.draw_s())
        waits_s = [grants.wait_s(access.client, now, access.down) for grants, access in accesses]
        wait_s = max(waits_s, default=0.0)
        for grants, access in accesses:
            grants.begin(access.client, access.down)
        if wait_s:
            self._after(wait_s, lambda: self._begin(transfer, granted=True))
        else:
            self._begin(transfer, granted=True)

    def _left(self, way: Way[NetworkLink]) -> None:
        """Tell the cells of a route that a message has left the air."""
        for grants, access in way.manner.accesses:
            grants.end(access.client, self._env.now, access.down)

    def _sent(self, transfer: Transfer[NetworkLink]) -> None:
        """The last bit of a message has left that nobody can lose."""
        self._arrive(transfer, self._note_sent(transfer))

    def _note_sent(self, transfer: Transfer[NetworkLink]) -> float:
        """Note that the last bit has left; return when it arrives, from now."""
        way = transfer.way
        way.wire_bytes += transfer.net_bytes
        latency_s = way.manner.latency_s
        if not way.manner.plain:
            self._left(way)
            latency_s += transfer.trip.drawn_s
            if self._store_and_forward:
                latency_s += self._stored_s(transfer)
            if transfer.trip.others:
                self._arrive_elsewhere(transfer)
        return latency_s

    def _sent_together(self, flows: list[Flow]) -> None:
        """Several flows have ended at one instant; messages that arrive at one instant share an event."""
        groups: dict[float, list[Transfer[NetworkLink]]] = {}
        for flow in flows:
            if not isinstance(flow, Transfer):  # a round of one
                flow.done(flow)
                continue
            transfer: Transfer[NetworkLink] = flow
            way = transfer.way
            manner = way.manner
            if manner.plain:
                way.wire_bytes += transfer.net_bytes
                latency_s = manner.latency_s
            else:
                latency_s = self._note_sent(transfer)
            group = groups.get(latency_s)
            if group is None:
                groups[latency_s] = [transfer]
            else:
                group.append(transfer)
        for latency_s, transfers in groups.items():
            self._arrive_together(transfers, latency_s)

    def _arrive_elsewhere(self, first: Transfer[NetworkLink]) -> None:
        """Deliver to the further receivers of bits that have left."""
        others = first.trip.others
        stored_s = self._stored_s(first) if others and self._store_and_forward else 0.0
        for transfer in others:
            trip = transfer.travel()
            trip.first_s, trip.sharing_s = first.began_s, first.lost_s
            self._arrive(transfer, transfer.way.manner.latency_s + trip.drawn_s + stored_s)

    def _hold(self) -> None:
        self.engine.held = True

    def _let_go(self) -> None:
        self.engine.let_go()

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
        return self._num_delivered < self._num_sent

    def _settle(self) -> None:
        self.engine.settle()

    def _under_way(self) -> tuple[int, dict[NetworkLink, float]]:
        crossed_bits: dict[NetworkLink, float] = {}
        flights = self._under_way_now()
        for transfer in flights:
            flow = transfer if transfer.trip.flow is None else transfer.trip.flow
            if flow.active:
                bits = flow.bits - flow.remaining_bits
                for link in transfer.route:
                    crossed_bits[link] = crossed_bits.get(link, 0.0) + bits
        return sum(transfer.begun_bytes - transfer.trip.lost_bytes for transfer in flights), crossed_bits

    def _stored_s(self, transfer: Transfer[NetworkLink]) -> float:
        """Return how long the hops hold a frame back, at the rates that they have as it passes."""
        rates = sorted(link.capacity(self._env.now)[0] for link in transfer.route)
        bits = 8 * min(self._frame_bytes, transfer.net_bytes)
        return sum(bits / rate_bps for rate_bps in rates[1:] if rate_bps > 0)

    def _sending(self, transfer: Transfer[NetworkLink], num_bytes: int, framing: Framing) -> Sending:
        """Return the message as its transport sees it."""
        way = transfer.way
        pair = (way.source, way.destination)
        # A message is known by its place among those of the same two parties: no codec changes that.
        index = self._pair_counts[pair] = self._pair_counts.get(pair, -1) + 1
        lossy = [link for link in way.links if link.loss is not None]
        return Sending(
            num_bytes=num_bytes,
            framing=framing,
            rtt_s=lambda: (
                way.manner.latency_s
                + transfer.trip.drawn_s
                + sum(link.latency_s for link in self._way_back(way))
            ),
            path=lambda: self._path(transfer),
            luck=Luck(self._seed, lossy, f"{pair[0]} -> {pair[1]}", index) if lossy else None,
            now_s=transfer.queued_s,
            parties=pair,
            windows=self._windows,
            rng=lambda name: stream(self._seed, "transport", name, *pair, index),
        )

    def _way_back(self, way: Way[NetworkLink]) -> Sequence[NetworkLink]:
        """Return the route of acknowledgements; where no link leads back, as if it was the same."""
        try:
            return self._router.route(way.links[-1].destination, way.links[0].source)
        except NetworkError:
            return way.links

    def _path(self, transfer: Transfer[NetworkLink]) -> Path:
        way = transfer.way
        now, back = self._env.now, self._way_back(way)
        return Path(
            _alone_bps(way.links, now),
            _alone_bps(back, now),
            way.manner.latency_s + transfer.trip.drawn_s,
            sum(link.latency_s for link in back),
        )

    def _next_round(self, transfer: Transfer[NetworkLink]) -> None:
        trip = transfer.trip
        assert trip.rounds is not None
        attempt = next(trip.rounds, None)
        if attempt is None:
            self._left(transfer.way)
            self._arrive(transfer, transfer.way.manner.latency_s + trip.drawn_s + trip.tail_s)
        elif attempt.pause_s:
            self._after(attempt.pause_s, lambda: self._send_round(transfer, attempt))
        else:
            self._send_round(transfer, attempt)

    def _send_round(self, transfer: Transfer[NetworkLink], attempt: Attempt) -> None:
        transfer.begin(attempt)
        self._sent_bytes += attempt.wire_bytes
        transfer.trip.flow = self.engine.start(
            attempt.wire_bytes * 8,
            transfer.way,
            lambda flow: self._round_sent(transfer, attempt, flow),
            transfer,
            attempt.cap_bps,
        )

    def _round_sent(self, transfer: Transfer[NetworkLink], attempt: Attempt, flow: Flow) -> None:
        transfer.end(attempt, flow)
        self._lost_bytes += attempt.lost_bytes
        transfer.way.wire_bytes += attempt.wire_bytes
        self._next_round(transfer)


def _alone_bps(links: Sequence[NetworkLink], now: float) -> float:
    """Return what a message alone on a route gets: a medium that it crosses twice serves both crossings."""
    inside: dict[FluidCell, list[NetworkLink]] = {}
    for link in links:
        if link.cell is not None:
            inside.setdefault(link.cell, []).append(link)
    rates = [link.offered_bps(now) for link in links]
    return min([*rates, *(cell.alone_bps(own, now) for cell, own in inside.items() if len(own) > 1)])
