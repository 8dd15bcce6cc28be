"""A message under way: where it goes, what it has cost so far, and the record it leaves."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import simpy

from sfsim.ledger import MessageRecord
from sfsim.network.delivery import Attempt, Ranges
from sfsim.network.flow import ENDED, Course, Flow
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
Callback = Callable[[Any], None]


@dataclass(slots=True)
class Manner:
    """What many ways have in common: how messages travel on them.

    ``accesses`` are the cells that a way leads through, and how they grant airtime. Without a ``transport`` all
    bits of a message leave as one flow, and nothing can be lost.

    ``latency_s`` is what every message takes, ``jitter`` draws what comes on top (None: no link of the route has
    a law). A way is ``plain`` when its messages need nothing but a flow and that latency; ``sent`` is called
    with one when its last bit has left.
    """

    direction: str
    latency_s: float
    lossy: bool
    inbox: Inbox
    framing: "Framing | None" = None
    transport: "Transport | None" = None
    accesses: "tuple[tuple[Grants, CellAccess], ...]" = ()
    jitter: "Jitter | None" = None
    plain: bool = True
    sent: "Callable[[Any], None] | None" = None


@dataclass(eq=False, repr=False, slots=True)
class Way(Course, Generic[LinkT]):
    """From one party to another: found once, then the same for all messages of the two.

    ``messages`` and ``wire_bytes`` wait here until somebody looks at the counters of the links.
    """

    source: str = ""
    destination: str = ""
    manner: Manner = None  # type: ignore[assignment]  # always given
    messages: int = 0
    wire_bytes: int = 0
    flights: "Transfer[LinkT] | dict[int, Transfer[LinkT]] | None" = (
        None  # what is under way: one, or several
    )

    @property
    def links(self) -> tuple[LinkT, ...]:  # type: ignore[override]  # the engine's own, where there is one
        """All of them, in order; none from a party to another on the same machine."""
        return (self.first, *self.rest) if self.first is not None else ()

    def depart(self, transfer: "Transfer[LinkT]") -> None:
        """Note a message that is under way."""
        flights = self.flights
        if flights is None:
            self.flights = transfer
        elif isinstance(flights, dict):
            flights[transfer.message_id] = transfer
        else:
            self.flights = {flights.message_id: flights, transfer.message_id: transfer}

    def land(self, transfer: "Transfer[LinkT]") -> None:
        """Note that one of several has arrived."""
        del self.flights[transfer.message_id]  # type: ignore[index, union-attr]

    def under_way(self) -> "Iterable[Transfer[LinkT]]":
        """Return the messages that are under way."""
        if self.flights is None:
            return ()
        return self.flights.values() if isinstance(self.flights, dict) else (self.flights,)

    def count(self) -> None:
        """Give the links what waits for them."""
        for link in self.links:
            link.messages += self.messages
            link.wire_bytes += self.wire_bytes
        self.messages = self.wire_bytes = 0


@dataclass(eq=False, slots=True)
class Trip:
    """What a message has been through that did not just leave as one flow on a plain way.

    One that may have to be repeated crosses in ``rounds``, with one ``flow`` each. ``drawn_s`` is what laws of
    latency add to the way's. ``others`` are the messages to further receivers of the same bits.
    """

    flow: Flow | None = None
    rounds: Iterator[Attempt] | None = None
    first_s: float = inf
    sharing_s: float = 0.0
    packets: int = 0
    retransmissions: int = 0
    round_bytes: int = 0
    begun_bytes: int = 0
    crossed_bytes: int = 0
    lost_bytes: int = 0
    missing: Ranges = ()
    tail_s: float = 0.0
    drawn_s: float = 0.0
    others: "tuple[Transfer[Any], ...]" = ()


_PLAIN = Trip()  # of most messages, which are many: never changed


class Transfer(Flow, simpy.Event, Generic[LinkT]):
    """State of one message between `send` and delivery; the event of the latter, and the flow of its bits.

    Bytes are wire bytes of one hop. It is its own list of callbacks, for as a rule there is one: a list, and
    the room that it keeps, would be a third of what a message takes.
    """

    # What most messages never change is not set for each of them.
    _ok = True
    trip = _PLAIN
    net_bytes = 0
    waiting: Callback | list[Callback] | None = None

    def __init__(self, message_id: int, way: Way[LinkT], outgoing: Outgoing, queued_s: float) -> None:
        # Neither parent's own: this is done once per message, and must be quick.
        self.callbacks = self  # type: ignore[assignment]  # None once it was delivered
        self.message_id = message_id
        self.way = way
        self.outgoing = outgoing
        self.queued_s = queued_s

    def append(self, callback: Callback) -> None:
        """Call `callback` when it is delivered."""
        if self.waiting is None:
            self.waiting = callback
        elif isinstance(self.waiting, list):
            self.waiting.append(callback)
        else:
            self.waiting = [self.waiting, callback]

    def remove(self, callback: Callback) -> None:
        """Do not call it after all. Raises ValueError when it was not to be called."""
        waiting = list(self)
        waiting.remove(callback)
        self.waiting = waiting

    def __iter__(self) -> Iterator[Callback]:
        if self.waiting is None:
            return iter(())
        return iter(self.waiting if isinstance(self.waiting, list) else (self.waiting,))

    def call(self) -> None:
        """Call all callbacks; those after one that raises an error are kept for the next time."""
        waiting, self.waiting = self.waiting, None
        if isinstance(waiting, list):
            for place, callback in enumerate(waiting, 1):
                try:
                    callback(self)
                except BaseException:
                    self.waiting = waiting[place:]
                    raise
        elif waiting is not None:
            waiting(self)

    @property
    def env(self) -> simpy.Environment:  # type: ignore[override]
        """Whose clock it is."""
        return self.way.manner.inbox.env

    # As a flow, it is what its way and its bytes say.

    @property
    def course(self) -> Course:  # type: ignore[override]
        """The links that it crosses."""
        return self.way

    @property
    def bits(self) -> float:  # type: ignore[override]
        """What crosses each."""
        return self.net_bytes * 8.0

    @property
    def done(self) -> "Callable[[Any], None]":  # type: ignore[override]
        """Called when the last has left."""
        return self.way.manner.sent  # type: ignore[return-value]  # the fluid engine's network has one

    @property
    def begun_bytes(self) -> int:
        """What was let go so far, repeats included."""
        return self.trip.begun_bytes if self.trip.rounds is not None else self.net_bytes

    def __str__(self) -> str:
        return self.label

    @property
    def owner(self) -> object:  # type: ignore[override]
        """Whose flow it is: its own."""
        return self

    def travel(self) -> Trip:
        """Return `trip` to write in."""
        if self.trip is _PLAIN:
            self.trip = Trip()
        return self.trip

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
        trip = self.trip
        trip.retransmissions += attempt.repeated
        trip.round_bytes = attempt.wire_bytes
        trip.begun_bytes += attempt.wire_bytes

    def end(self, attempt: Attempt, flow: Flow) -> None:
        """Note that the last bit of a round has left."""
        trip = self.trip
        trip.flow = None
        trip.first_s = min(trip.first_s, flow.began_s)
        trip.sharing_s += flow.lost_s
        trip.crossed_bytes += attempt.wire_bytes
        trip.lost_bytes += attempt.lost_bytes
        self.net_bytes -= attempt.missing_wire_bytes
        trip.missing, trip.tail_s = attempt.missing, attempt.tail_s

    def record(self, delivered_s: float) -> MessageRecord:
        """Return the ledger's row; `delivered_s` is infinite for a message that is still under way."""
        trip, sent, way = self.trip, self.outgoing, self.way
        first_s, sharing_s = min(trip.first_s, self.began_s), trip.sharing_s + self.lost_s
        if trip.flow is not None:
            first_s = min(first_s, trip.flow.began_s)
            sharing_s += trip.flow.lost_s
        packets, crossed_bytes = trip.packets, trip.crossed_bytes
        if self.net_bytes and trip.rounds is None:  # as one flow
            packets = way.manner.framing.packets(sent.num_bytes)  # type: ignore[union-attr]
            crossed_bytes = self.net_bytes if self.slot == ENDED else 0
        return MessageRecord(
            self.message_id,
            sent.kind,
            way.source,
            way.destination,
            way.manner.direction,
            sent.round,
            sent.epoch,
            sent.minibatch,
            sent.slot,
            sent.codec,
            sent.elements,
            sent.raw_bytes,
            sent.num_bytes,
            sent.label_bytes,
            crossed_bytes,
            sent.estimated_bits,
            sent.likelihood_bits,
            sent.payload_crc32,
            self.queued_s,
            first_s,
            delivered_s,
            sharing_s,
            packets,
            trip.retransmissions,
            trip.lost_bytes,
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
        *("callbacks", "message_id", "way", "outgoing", "queued_s", "net_bytes", "slot", "waiting"),
        *("_value", "order", "final_began_s", "final_lost_s", "trip"),
    ):
        object.__setattr__(first, name, None)


_agree_on_attributes()
