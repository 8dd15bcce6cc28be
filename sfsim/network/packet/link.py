"""A link that serves one packet after another."""

from collections.abc import Callable
from math import inf, ulp

from sfsim.errors import NetworkError
from sfsim.network.declarations import Link
from sfsim.network.link import LinkState
from sfsim.network.packet.agenda import Agenda
from sfsim.network.packet.packet import Packet, lagging
from sfsim.network.packet.queues import Drr, Fifo


class PacketLink(LinkState):
    """Store and forward: a packet is queued when it has come whole, and leaves bit by bit at the link's rate.

    Times are those of the packets: the clock lags (see `Agenda`).

    Parameters
    ----------
    queue : Fifo or Drr
        Who is next.
    agenda : Agenda
        What happens when.
    forward, drop : callable
        Take a packet that stands at the end of this link, and one that this link lost.
    """

    sharing_s = 0.0

    def __init__(
        self,
        source: str,
        destination: str,
        link: Link,
        seed: int,
        queue: Fifo | Drr,
        agenda: Agenda[Packet],
        forward: Callable[[Packet], None],
        drop: Callable[[Packet], None],
    ) -> None:
        super().__init__(source, destination, link, seed)
        self._queue, self._agenda, self._forward, self._drop = queue, agenda, forward, drop
        self._serving: Packet | None = None
        self._pieces: list[tuple[float, float, float]] = []  # of the packet in service: from, until, bit/s
        self._rate_bps, self._until_s = 0.0, -inf
        self._bits = self._busy_s = 0.0
        self._part = (0.0, 0.0)
        self.peak_bps = 0.0
        self.flying_bytes = 0

    def totals(self) -> tuple[float, float]:
        return self._bits + self._part[0], self._busy_s + self._part[1]

    def settle(self, now_s: float) -> None:
        """Count what has left of the packet in service."""
        gone = [
            (min(until_s, now_s) - from_s, bps) for from_s, until_s, bps in self._pieces if from_s < now_s
        ]
        self._part = (sum(seconds * bps for seconds, bps in gone), sum(seconds for seconds, _ in gone))

    def under_way(self, now_s: float) -> tuple[int, float]:
        """Return the bytes that wait, are served or fly, and the bits of the packet in service that left."""
        waiting = sum(packet.num_bytes for packet in self._queue) + self.flying_bytes
        if self._serving is None:
            return waiting, 0.0
        to_go = sum(
            (until_s - max(from_s, now_s)) * bps for from_s, until_s, bps in self._pieces if until_s > now_s
        )
        return waiting + self._serving.num_bytes, self._serving.num_bytes * 8 - to_go

    def look(self, now_s: float) -> float:
        """Return the highest rate seen so far, in bit/s, that of this instant included."""
        if now_s >= self._until_s:
            self._ask(now_s)
        return self.peak_bps

    def take(self, packet: Packet) -> None:
        """Let a packet wait for its turn."""
        self._queue.push(packet)
        if self._serving is None:
            self._serve(packet.ready_s)

    def _serve(self, free_s: float) -> None:
        packet = self._queue.pop()
        self._serving = packet
        if packet is None:
            return
        start_s = max(free_s, packet.ready_s)
        end_s = self._transmit(start_s, packet)
        sender, hop = packet.sender, packet.hop
        alone_s, lag_s = packet.alone_s, packet.lag_s
        if sender.alone_free_s[hop] > alone_s:  # alone, it would have waited for those before it
            alone_s, lag_s = sender.alone_free_s[hop], sender.free_lag_s[hop]
        # The same instant must stay the same: adding the difference would round.
        packet.alone_s = end_s if alone_s == start_s else alone_s + (end_s - start_s)
        packet.ready_s = end_s
        packet.lag_s = lagging(lag_s, len(sender.route), hop, end_s - packet.alone_s)
        sender.alone_free_s[hop], sender.free_lag_s[hop] = packet.alone_s, packet.lag_s
        if hop == 0:
            sender.trip.first_s = min(sender.trip.first_s, self._pieces[0][0])
        self._agenda.at(end_s, self._sent, packet)

    def _transmit(self, start_s: float, packet: Packet) -> float:
        """Integrate the rate from `start_s` on; return when the last bit leaves."""
        left, time_s = packet.num_bytes * 8.0, start_s
        self._pieces.clear()
        while True:
            if time_s >= self._until_s:
                self._ask(time_s)
            rate_bps, until_s = self._rate_bps, self._until_s
            if rate_bps > 0:
                end_s = time_s + left / rate_bps
                if end_s <= until_s:
                    self._pieces.append((time_s, end_s, rate_bps))
                    return end_s
                self._pieces.append((time_s, until_s, rate_bps))
                left -= (until_s - time_s) * rate_bps
            elif until_s == inf:
                raise NetworkError(
                    f"link {self.name!r} is down for ever from {time_s:g} s on; "
                    f"{packet.sender.transfer.label} waits for it"
                )
            time_s = until_s

    def _ask(self, time_s: float) -> None:
        self._rate_bps, self._until_s = self.capacity(time_s)
        self.peak_bps = max(self.peak_bps, self._rate_bps)

    def _sent(self, packet: Packet) -> None:
        for from_s, until_s, bps in self._pieces:
            self._bits += (until_s - from_s) * bps
            self.rounded_bits += ulp(until_s) * bps
            self._busy_s += until_s - from_s
        self._pieces.clear()
        self.wire_bytes += packet.num_bytes
        if packet.hop == 0:
            packet.sender.trip.crossed_bytes += packet.num_bytes
        end_s = packet.ready_s
        if packet.lost_at == packet.hop:
            self.lost_packets += 1
            self._drop(packet)
        else:
            self.flying_bytes += packet.num_bytes
            latency_s = packet.sender.latencies_s[packet.hop]
            packet.ready_s += latency_s
            packet.alone_s += latency_s
            self._agenda.at(packet.ready_s, self._landed, packet)
        self._serve(end_s)

    def _landed(self, packet: Packet) -> None:
        self.flying_bytes -= packet.num_bytes
        packet.hop += 1
        self._forward(packet)
