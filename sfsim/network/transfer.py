"""A message under way: where it goes, what it has cost so far, and the record it leaves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

import simpy

from sfsim.ledger import MessageRecord
from sfsim.network.delivery import Attempt, Ranges
from sfsim.network.flow import Course, Flow
from sfsim.network.link import LinkState
from sfsim.network.message import Inbox
from sfsim.payload import Outgoing

if TYPE_CHECKING:
    from sfsim.network.cell.grants import Grants
    from sfsim.network.cell.radio import CellAccess
    from sfsim.network.declarations import Framing
    from sfsim.network.jitter import Jitter
    from sfsim.network.transport import Transport

LinkT = TypeVar("LinkT", bound=LinkState)


@dataclass(eq=False, repr=False, slots=True)
class Way(Generic[LinkT]):
    """From one party to another: found once, then the same for all messages of the two.

    ``messages`` and ``wire_bytes`` wait here until somebody looks at the counters of the links. ``accesses``
    are the cells that it leads through, and how they grant airtime. Without a ``transport`` all bits of a
    message leave as one flow, and nothing can be lost.

    ``latency_s`` is what every message takes, ``jitter`` draws what comes on top (None: no link of the route has
    a law). A way is ``plain`` when its messages need nothing but a flow and that latency.
    """

    source: str
    destination: str
    links: tuple[LinkT, ...]
    direction: str
    latency_s: float
    lossy: bool
    inbox: Inbox
    course: Course | None = None
    framing: "Framing | None" = None
    transport: "Transport | None" = None
    accesses: "tuple[tuple[Grants, CellAccess], ...]" = ()
    jitter: "Jitter | None" = None
    plain: bool = True
    messages: int = 0
    wire_bytes: int = 0

    def count(self) -> None:
        """Give the links what waits for them."""
        for link in self.links:
            link.messages += self.messages
            link.wire_bytes += self.wire_bytes
        self.messages = self.wire_bytes = 0


class Transfer(Flow, simpy.Event, Generic[LinkT]):
    """State of one message between `send` and delivery; the event of the latter, and the flow of its bits.

    Bytes are wire bytes of one hop. A message that may have to be repeated has one flow per round instead
    (``flow``). ``drawn_s`` is what laws of latency add to the way's. ``others`` are the messages to further
    receivers of the same bits.
    """

    # What most messages never change is not set for each of them.
    _ok = True
    flow: Flow | None = None
    rounds: Iterator[Attempt] = iter(())
    first_s = inf
    sharing_s = 0.0
    packets = retransmissions = 0
    net_bytes = round_bytes = begun_bytes = crossed_bytes = lost_bytes = 0
    missing: Ranges = ()
    tail_s = drawn_s = 0.0
    others: "tuple[Transfer[LinkT], ...]" = ()
    granted = False  # the cells of its route have let it on the air

    def __init__(
        self,
        env: simpy.Environment,
        message_id: int,
        way: Way[LinkT],
        outgoing: Outgoing,
        queued_s: float,
        delivered: Callable[[simpy.Event], None],
    ) -> None:
        # Neither parent's own: this is done once per message, and must be quick.
        self.env = env
        self.callbacks = [delivered]
        self.message_id = message_id
        self.way = way
        self.outgoing = outgoing
        self.queued_s = queued_s

    def __str__(self) -> str:
        return self.label

    @property
    def owner(self) -> object:  # type: ignore[override]
        """Whose flow it is: its own."""
        return self

    @property
    def event(self) -> simpy.Event:
        """What fires when it stands in the destination's inbox."""
        return self

    @property
    def route(self) -> tuple[LinkT, ...]:
        """The links that it crosses."""
        return self.way.links

    @property
    def source(self) -> str:
        """Who sends it."""
        return self.way.source

    @property
    def destination(self) -> str:
        """Whom it is for."""
        return self.way.destination

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
        self.first_s = min(self.first_s, flow.began_s)
        self.sharing_s += flow.lost_s
        self.crossed_bytes += attempt.wire_bytes
        self.lost_bytes += attempt.lost_bytes
        self.net_bytes -= attempt.missing_wire_bytes
        self.missing, self.tail_s = attempt.missing, attempt.tail_s

    def record(self, delivered_s: float) -> MessageRecord:
        """Return the ledger's row; `delivered_s` is infinite for a message that is still under way."""
        first_s, sharing_s = min(self.first_s, self.began_s), self.sharing_s + self.lost_s
        if self.flow is not None:
            first_s = min(first_s, self.flow.began_s)
            sharing_s += self.flow.lost_s
        sent, way = self.outgoing, self.way
        return MessageRecord(
            self.message_id,
            sent.kind,
            way.source,
            way.destination,
            way.direction,
            sent.round,
            sent.epoch,
            sent.minibatch,
            sent.slot,
            sent.codec,
            sent.elements,
            sent.raw_bytes,
            sent.num_bytes,
            sent.label_bytes,
            self.crossed_bytes,
            sent.estimated_bits,
            sent.likelihood_bits,
            sent.payload_crc32,
            self.queued_s,
            first_s,
            delivered_s,
            sharing_s,
            self.packets,
            self.retransmissions,
            self.lost_bytes,
            len(way.links),
            delivered_s < inf,
        )


def _agree_on_attributes() -> None:
    """Let Python know the attributes that most transfers get.

    It stores those of the first few instances compactly, and gives the others a dictionary each, which takes
    600 bytes and half a microsecond, when they get more than these had. The first ones are many, and have not
    been through the network yet.
    """
    first: Transfer[LinkState] = Transfer.__new__(Transfer)
    for name in (
        *("env", "callbacks", "message_id", "way", "outgoing", "queued_s", "net_bytes", "packets"),
        *("begun_bytes", "bits", "course", "done", "order", "slot", "crossed_bytes", "_value"),
        *("final_began_s", "final_lost_s", "first_s", "flow", "rounds", "round_bytes"),
    ):
        object.__setattr__(first, name, None)


_agree_on_attributes()
