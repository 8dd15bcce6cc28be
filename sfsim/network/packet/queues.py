"""Who is next on a link: first come first served, or each flow in its turn."""

from collections import deque
from collections.abc import Iterator
from itertools import chain

from sfsim.network.packet.packet import Packet, Sender


class Fifo:
    """First come, first served: who sends more gets more."""

    def __init__(self) -> None:
        self._packets: deque[Packet] = deque()

    def __iter__(self) -> Iterator[Packet]:
        return iter(self._packets)

    def push(self, packet: Packet) -> None:
        """Let a packet wait."""
        self._packets.append(packet)

    def pop(self) -> Packet | None:
        """Take the next packet; None when nobody waits."""
        return self._packets.popleft() if self._packets else None


class Drr:
    """Deficit round robin: each message in its turn may send `quantum_bytes`, and keeps what it did not use.

    Backlogged messages get equal bytes, whatever the sizes of their packets: max-min fair sharing, one
    packet at a time.

    Source: Shreedhar and Varghese, Efficient fair queuing using deficit round-robin, IEEE/ACM Transactions
    on Networking 4(3), 1996.
    """

    def __init__(self, quantum_bytes: int) -> None:
        self._quantum_bytes = quantum_bytes
        self._waiting: dict[Sender, deque[Packet]] = {}
        self._turns: deque[Sender] = deque()
        self._deficits: dict[Sender, int] = {}
        self._new_turn = True

    def __iter__(self) -> Iterator[Packet]:
        return chain.from_iterable(self._waiting.values())

    def push(self, packet: Packet) -> None:
        """Let a packet wait; a flow of which nothing waited gets the last turn of the round."""
        sender = packet.sender
        if sender in self._waiting:
            self._waiting[sender].append(packet)
            return
        self._waiting[sender] = deque((packet,))
        self._turns.append(sender)
        self._deficits[sender] = 0

    def pop(self) -> Packet | None:
        """Take the next packet; None when nobody waits."""
        if not self._turns:
            return None
        while True:
            sender = self._turns[0]
            if self._new_turn:
                self._deficits[sender] += self._quantum_bytes
                self._new_turn = False
            waiting = self._waiting[sender]
            if waiting[0].num_bytes <= self._deficits[sender]:
                break
            self._turns.rotate(-1)
            self._new_turn = True
        packet = waiting.popleft()
        self._deficits[sender] -= packet.num_bytes
        if not waiting:
            self._turns.popleft()
            self._new_turn = True
            del self._waiting[sender], self._deficits[sender]
        return packet
