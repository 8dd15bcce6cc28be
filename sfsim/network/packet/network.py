"""The network of a run, packet by packet: slow, and near to what really happens on wires."""

from collections.abc import Collection, Mapping
from math import ceil
from typing import Literal

import simpy

from sfsim.ledger import Ledger
from sfsim.network.base import Graph, MessageNetwork
from sfsim.network.declarations import Framing, Link
from sfsim.network.packet.agenda import Agenda
from sfsim.network.packet.link import PacketLink
from sfsim.network.packet.packet import Arq, Packet, Sender, Udp
from sfsim.network.packet.queues import Drr, Fifo
from sfsim.network.transfer import Transfer


class PacketNetwork(MessageNetwork[PacketLink]):
    """Moves every packet of every message over every hop, with a queue before each link.

    Parameters
    ----------
    env, graph, hosts, framing, seed, ledger, clients
        As in `MessageNetwork`.
    transport : {"arq", "udp"}
        ``"arq"`` sends what is lost again, with a window per message; ``"udp"`` sends all packets at once and
        delivers what arrived, with zeros where something is missing.
    discipline : {"drr", "fifo"}
        The queue before each link: deficit round robin over messages, which shares as the fluid engine does,
        or first come first served.
    window : int, optional
        Packets of a message that may be under way unacknowledged (``"arq"`` only). Default: what its route
        holds at the highest rates that its links have had, a packet for each hop, and one.

    Left out: limited buffers, segments and acknowledgements of TCP, cells.
    """

    def __init__(
        self,
        env: simpy.Environment,
        graph: Graph,
        hosts: Mapping[str, str],
        framing: Framing,
        seed: int,
        ledger: Ledger,
        clients: Collection[str] = (),
        *,
        transport: Literal["arq", "udp"] = "arq",
        discipline: Literal["drr", "fifo"] = "drr",
        window: int | None = None,
    ) -> None:
        self._transport, self._discipline, self._fixed_window = transport, discipline, window
        self._agenda: Agenda[Packet] = Agenda(env)
        super().__init__(env, graph, hosts, framing, seed, ledger, clients)

    def _link(self, source: str, destination: str, link: Link) -> PacketLink:
        frame_bytes = self._framing.payload_bytes + self._framing.overhead_bytes
        queue = Fifo() if self._discipline == "fifo" else Drr(frame_bytes)
        return PacketLink(
            source, destination, link, self._seed, queue, self._agenda, self._forward, self._drop
        )

    def _begin(self, transfer: Transfer[PacketLink]) -> None:
        kind = Udp if self._transport == "udp" else Arq
        luck = self._luck(transfer)
        sender = kind(transfer, self._framing, luck, self._agenda, self._emit, self._done, self._window)
        if sender.num_packets:
            sender.start(float(self._env.now))
        else:
            self._after(sender.latency_s, lambda: self._arrive(transfer))

    def _settle(self) -> None:
        for link in self.links.values():
            link.settle(float(self._env.now))

    def _under_way(self) -> tuple[int, dict[PacketLink, float]]:
        found = {link: link.under_way(float(self._env.now)) for link in self.links.values()}
        crossed_bits = {link: bits for link, (_, bits) in found.items()}
        return sum(num_bytes for num_bytes, _ in found.values()), crossed_bits

    def _window(self, sender: Sender, now_s: float) -> int:
        if self._fixed_window is not None:
            return self._fixed_window
        frame_bits = 8 * (self._framing.payload_bytes + self._framing.overhead_bytes)
        # One packet in service at each hop, what flies there and back, and one that waits at the bottleneck.
        # More would run ahead of its fair share; less would let the bottleneck idle.
        slowest_bps = min(link.look(now_s) for link in sender.route)
        return len(sender.route) + 1 + ceil(2 * sender.latency_s * slowest_bps / frame_bits)

    def _emit(self, packet: Packet) -> None:
        self._sent_bytes += packet.num_bytes
        packet.sender.route[0].take(packet)

    def _forward(self, packet: Packet) -> None:
        route = packet.sender.route
        if packet.hop < len(route):
            route[packet.hop].take(packet)
            return
        self._received_bytes += packet.num_bytes
        packet.sender.arrived(packet)

    def _drop(self, packet: Packet) -> None:
        self._lost_bytes += packet.num_bytes
        packet.sender.trip.lost_bytes += packet.num_bytes
        packet.sender.lost(packet)

    def _done(self, sender: Sender, packet: Packet) -> None:
        lost_s = sender.trip.sharing_s = max(0.0, packet.ready_s - packet.alone_s)
        known_s = sum(packet.lag_s)
        if known_s > 0:  # the same, but for the rounding of times of arrival
            for link, lag_s in zip(sender.route, packet.lag_s, strict=True):
                link.sharing_s += lag_s * (lost_s / known_s)
        self._after(max(0.0, packet.ready_s - self._env.now), lambda: self._arrive(sender.transfer))
