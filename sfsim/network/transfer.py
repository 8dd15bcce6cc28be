"""A message under way: where it goes, what it has cost so far, and the record it leaves."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from math import inf
from zlib import crc32

import simpy

from sfsim.ledger import MessageRecord
from sfsim.network.delivery import Attempt, Ranges
from sfsim.network.flow import Flow
from sfsim.network.link import NetworkLink
from sfsim.payload import Outgoing


@dataclass(eq=False, slots=True, kw_only=True)
class Transfer:
    """State of one message between `send` and its delivery; bytes are wire bytes of one hop.

    `useful_bytes` are the frames that the payload needs, less those that are given up.
    """

    message_id: int
    source: str
    destination: str
    outgoing: Outgoing
    route: tuple[NetworkLink, ...]
    queued_s: float
    event: simpy.Event
    useful_bytes: int = 0
    rounds: Iterator[Attempt] = field(default_factory=lambda: iter(()))
    flow: Flow | None = None
    round_bytes: int = 0
    first_s: float = inf
    sharing_s: float = 0.0
    packets: int = 0
    retransmissions: int = 0
    begun_bytes: int = 0
    crossed_bytes: int = 0
    lost_bytes: int = 0
    missing: Ranges = ()
    tail_s: float = 0.0

    @property
    def label(self) -> str:
        """How an error calls this message."""
        return (
            f"message {self.message_id} ({self.outgoing.kind!r} from {self.source!r} to {self.destination!r})"
        )

    def begin(self, attempt: Attempt) -> None:
        """Note that a round begins."""
        self.retransmissions += attempt.repeated
        self.packets += attempt.packets
        self.round_bytes = attempt.wire_bytes
        self.begun_bytes += attempt.wire_bytes

    def end(self, attempt: Attempt, flow: Flow) -> None:
        """Note that the last bit of a round has left."""
        self.flow = None
        self.first_s = min(self.first_s, flow.first_s)
        self.sharing_s += flow.sharing_s
        self.crossed_bytes += attempt.wire_bytes
        self.lost_bytes += attempt.lost_bytes
        self.useful_bytes -= attempt.missing_wire_bytes
        self.missing, self.tail_s = attempt.missing, attempt.tail_s

    def record(self, delivered_s: float, clients: Collection[str]) -> MessageRecord:
        """Return the ledger's row; `delivered_s` is infinite for a message that is still under way."""
        if self.flow is not None:
            self.first_s = min(self.first_s, self.flow.first_s)
        sent = self.outgoing
        return MessageRecord(
            message_id=self.message_id,
            kind=sent.kind,
            source=self.source,
            destination=self.destination,
            direction=_direction(self.source in clients, self.destination in clients),
            round=sent.round,
            epoch=sent.epoch,
            minibatch=sent.minibatch,
            codec=sent.codec,
            elements=sent.elements,
            raw_bytes=sent.raw_bytes,
            payload_bytes=len(sent.payload),
            label_bytes=sent.label_bytes,
            wire_bytes=self.crossed_bytes,
            estimated_bits=sent.estimated_bits,
            payload_crc32=crc32(sent.payload),
            queued_s=self.queued_s,
            first_byte_s=self.first_s,
            delivered_s=delivered_s,
            sharing_s=self.sharing_s + (self.flow.sharing_s if self.flow is not None else 0.0),
            packets=self.packets,
            retransmissions=self.retransmissions,
            lost_bytes=self.lost_bytes,
            hops=len(self.route),
            delivered=delivered_s < inf,
        )


def _direction(from_client: bool, to_client: bool) -> str:
    if from_client:
        return "peer" if to_client else "up"
    return "down" if to_client else "core"
