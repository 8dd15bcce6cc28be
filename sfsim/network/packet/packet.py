"""Packets, and the senders that cut a message into them: with acknowledgements, or without."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sfsim.network.base import ARRIVES, Luck
from sfsim.network.declarations import Framing
from sfsim.network.packet.agenda import Agenda
from sfsim.network.transfer import Transfer

if TYPE_CHECKING:
    from sfsim.network.packet.link import PacketLink


Lags = tuple[float, ...]


@dataclass(eq=False, slots=True)
class Packet:
    """One attempt to bring one packet of a message over; it stands at hop number `hop` since `ready_s`.

    ``alone_s`` is when it would have stood there if its message had the network for itself, and ``lag_s`` says
    for each hop how much of the difference arose there (empty: none); ``lost_at`` is the hop that loses it
    (`ARRIVES`: none does).
    """

    sender: "Sender"
    index: int
    attempt: int
    num_bytes: int
    lost_at: int
    ready_s: float
    alone_s: float
    lag_s: "Lags" = ()
    hop: int = 0


class Sender:
    """Sends the packets of one message over its route.

    Parameters
    ----------
    transfer : Transfer
        The message.
    framing : Framing
        How it is cut.
    luck : callable, optional
        Which packets of an attempt are lost, and where (`MessageNetwork._luck`).
    agenda : Agenda
        What happens when.
    emit, done : callable
        ``emit(packet)`` puts a packet on the first link, ``done(sender, packet)`` says that the fate of this
        packet was the last one open.
    window : callable
        ``window(sender, time_s)`` is how many packets may be under way unacknowledged, if the transport has
        acknowledgements.
    """

    def __init__(
        self,
        transfer: "Transfer[PacketLink]",
        framing: Framing,
        luck: Luck | None,
        agenda: "Agenda[Packet]",
        emit: Callable[[Packet], None],
        done: Callable[["Sender", Packet], None],
        window: Callable[["Sender", float], int],
    ) -> None:
        self.transfer, self.trip, self.route = transfer, transfer.travel(), transfer.route
        way, jitter = transfer.way, transfer.way.manner.jitter
        drawn_s = jitter.draw_s() if jitter is not None else [0.0] * len(way.links)
        self.latencies_s = [
            link.declared.latency_s + drawn for link, drawn in zip(way.links, drawn_s, strict=True)
        ]
        self.latency_s = sum(self.latencies_s)
        hops = len(transfer.route)
        self.alone_free_s = [0.0] * hops  # when each link would be done with the packets before
        self.free_lag_s: list[Lags] = [()] * hops  # where the last of those had lost its time
        self._framing, self._agenda, self._emit, self._done = framing, agenda, emit, done
        self._window = window
        self._luck = _fates(luck) if luck is not None else None
        self._lost: list[dict[int, int]] = []
        self._num_bytes = transfer.outgoing.num_bytes
        self.num_packets = framing.packets(self._num_bytes)
        self.open = self.trip.packets = self.num_packets  # open: packets whose fate is not known yet

    def start(self, now_s: float) -> None:
        """Send what may be sent at once."""
        raise NotImplementedError

    def arrived(self, packet: Packet) -> None:
        """Take note that `packet` reached the destination at its ``ready_s``."""
        raise NotImplementedError

    def lost(self, packet: Packet) -> None:
        """Take note that link number ``packet.hop`` lost `packet` at its ``ready_s``."""
        raise NotImplementedError

    def _send(self, index: int, attempt: int, now_s: float, alone_s: float, lag_s: Lags = ()) -> None:
        framing = self._framing
        payload = min(framing.payload_bytes, self._num_bytes - index * framing.payload_bytes)
        self.trip.retransmissions += attempt > 1
        size = payload + framing.overhead_bytes
        self._emit(Packet(self, index, attempt, size, self._lost_at(index, attempt), now_s, alone_s, lag_s))

    def _lost_at(self, index: int, attempt: int) -> int:
        if self._luck is None:
            return ARRIVES
        while len(self._lost) < attempt:
            again = list(self._lost[-1]) if self._lost else list(range(self.num_packets))
            self._lost.append(self._luck(len(self._lost) + 1, again))
        return self._lost[attempt - 1].get(index, ARRIVES)


class Udp(Sender):
    """Datagrams: all at once, none of them twice; over when the last one has arrived or is lost."""

    def start(self, now_s: float) -> None:
        self._gone: list[int] = []
        for index in range(self.num_packets):
            self._send(index, 1, now_s, now_s)

    def arrived(self, packet: Packet) -> None:
        self._settle(packet)

    def lost(self, packet: Packet) -> None:
        self._gone.append(packet.index)
        self._settle(packet)

    def _settle(self, packet: Packet) -> None:
        self.open -= 1
        if not self.open:
            self.trip.missing = tuple(self._ranges())
            self._done(self, packet)

    def _ranges(self) -> Iterator[tuple[int, int]]:
        size = self._framing.payload_bytes
        gone = np.sort(np.array(self._gone, dtype=np.int64))
        for run in np.split(gone, np.flatnonzero(np.diff(gone) > 1) + 1) if len(gone) else ():
            yield int(run[0]) * size, min((int(run[-1]) + 1) * size, self._num_bytes)


class Arq(Sender):
    """Selective repeat with an acknowledgement per packet, and a window of packets not yet acknowledged.

    Acknowledgements take the latencies of the route and no capacity; none is lost. A lost packet is known
    when its acknowledgement would have come had the links behind been idle, and it is sent before new ones.

    Left out: retry limits, acknowledgements that queue or are lost, growing windows.
    """

    def start(self, now_s: float) -> None:
        self._next = self._under_way = 0
        self._again: deque[tuple[int, int]] = deque()
        self._send_more(now_s, now_s)

    def arrived(self, packet: Packet) -> None:
        self.open -= 1
        if not self.open:
            self._done(self, packet)
        elif self._next < self.num_packets:  # later acknowledgements make nobody move
            self._hear_later(packet, self.latency_s)

    def lost(self, packet: Packet) -> None:
        ahead_s = sum(self.latencies_s[packet.hop :])
        self._hear_later(packet, ahead_s + self.latency_s)

    def _hear_later(self, packet: Packet, delay_s: float) -> None:
        packet.ready_s += delay_s
        packet.alone_s += delay_s
        self._agenda.at(packet.ready_s, self._hear, packet)

    def _hear(self, packet: Packet) -> None:
        self._under_way -= 1
        if packet.lost_at < ARRIVES:
            self._again.append((packet.index, packet.attempt + 1))
        self._send_more(packet.ready_s, packet.alone_s, packet.lag_s)

    def _send_more(self, now_s: float, alone_s: float, lag_s: Lags = ()) -> None:
        window = self._window(self, now_s)
        while self._under_way < window:
            if self._again:
                index, attempt = self._again.popleft()
            elif self._next < self.num_packets:
                index, attempt = self._next, 1
                self._next += 1
            else:
                return
            self._under_way += 1
            self._send(index, attempt, now_s, alone_s, lag_s)


def lagging(before_s: Lags, hops: int, hop: int, total_s: float) -> Lags:
    """Return where a lag of `total_s` arose, when it was `before_s` before it came to `hop` of `hops`.

    What is new arose there; what a wait for its own kind has made up for is taken from all alike.

    >>> lagging((), 2, 0, 3.0), lagging((3.0, 0.0), 2, 1, 4.0), lagging((3.0, 1.0), 2, 1, 2.0)
    ((3.0, 0.0), (3.0, 1.0), (1.5, 0.5))
    """
    if total_s <= 0:
        return ()
    lags = list(before_s) if before_s else [0.0] * hops
    known_s = sum(lags)
    if total_s < known_s:
        return tuple(lag_s * (total_s / known_s) for lag_s in lags)
    lags[hop] += total_s - known_s
    return tuple(lags)


def _fates(luck: Luck) -> Callable[[int, list[int]], dict[int, int]]:
    """Return which of the packets of an attempt are lost: packet -> hop.

    The packets of an attempt are those that the attempt before lost, in order: as in the fluid engine's
    repair rounds, so that both lose the same ones.
    """

    def lost(attempt: int, packets: list[int]) -> dict[int, int]:
        hops = luck(attempt, len(packets))
        return {packet: int(hop) for packet, hop in zip(packets, hops, strict=True) if hop < ARRIVES}

    return lost
