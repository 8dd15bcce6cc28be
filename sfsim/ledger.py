"""The ledger: what a run writes down while it runs, append-only, in simulated order.

Every record is a row whose fields are the columns of a parquet file (`sfsim.results`).
Times are simulated seconds since the start of the run; sizes are bytes.
"""

from dataclasses import dataclass, field


# Rows are never changed; those of which there are many are not frozen only because that makes writing one nine times
# as slow (2 us).
@dataclass(slots=True)
class MessageRecord:
    """One message that crossed (or was lost by) the network.

    ``direction`` is ``"up"`` (from a client), ``"down"`` (to a client), ``"peer"`` (client to client) or
    ``"core"`` (between servers). ``queued_s`` is when it was handed to the network, ``first_byte_s`` when its
    first byte began to be served, ``delivered_s`` when its last byte arrived. ``sharing_s`` is the link
    queueing: seconds lost because other messages, its parties' own too, shared the route. ``slot`` is the codec
    slot of smashed data, gradients and codec updates; ``likelihood_bits`` what published code of learned codecs
    reports instead of bytes.
    """

    message_id: int
    kind: str
    source: str
    destination: str
    direction: str
    round: int
    epoch: int
    minibatch: int
    slot: str
    codec: str
    elements: int
    raw_bytes: int
    payload_bytes: int
    label_bytes: int
    wire_bytes: int
    estimated_bits: float
    likelihood_bits: float
    payload_crc32: int
    queued_s: float
    first_byte_s: float
    delivered_s: float
    sharing_s: float
    packets: int
    retransmissions: int
    lost_bytes: int
    hops: int
    delivered: bool


@dataclass(slots=True)
class ComputationRecord:
    """One phase of a computation, or of a wait, on one party's device.

    ``client`` is the client it was done for (the party itself on clients, empty for none). Waiting phases are
    ``"device queueing"``, ``"barrier"``, ``"turn"`` (smashed data that arrived wait until the server takes them
    up) and ``"hold"`` (a server model held between forward and backward).
    """

    party: str
    client: str
    phase: str
    operation: str
    round: int
    epoch: int
    minibatch: int
    flops: float
    bytes_touched: float
    serial_symbols: float
    launches: float
    start_s: float
    end_s: float
    joules: float


@dataclass(slots=True)
class AccessRecord:
    """One access to an object that several works share (a server model, a client model, a codec version).

    ``client`` is the client for which the work was done, empty for none.
    """

    order: int
    time_s: float
    shared: str
    mode: str
    party: str
    client: str
    operation: str
    round: int
    epoch: int
    minibatch: int


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One measured metric: of the global model, or of one client's share (`client` not empty).

    ``split`` is ``"train"``, ``"validation"`` or ``"test"``; ``codec`` is ``"on"`` or ``"off"``.
    """

    round: int
    time_s: float
    split: str
    codec: str
    metric: str
    value: float
    client: str


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """What one link did over the run; ``carried_bytes`` is the engine's own integral of rate over time.

    ``sharing_s`` are the seconds that messages lost because this link, shared with other messages, held them back:
    the queueing of this link, summed over messages.
    """

    source: str
    destination: str
    carried_bytes: float
    wire_bytes: int
    busy_s: float
    messages: int
    lost_packets: int
    loss_configured: bool
    channel_queries: int
    channel_configured: bool = False
    sharing_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LinkUsageRecord:
    """What one link did between two instants; links that carried nothing in between have no row.

    ``capacity_bps`` is the capacity at the end of the interval, ``utilisation`` what was carried relative to
    that capacity over the whole of it.
    """

    source: str
    destination: str
    start_s: float
    end_s: float
    carried_bytes: float
    busy_s: float
    sharing_s: float
    capacity_bps: float
    utilisation: float


@dataclass(slots=True)
class Ledger:
    """All records of a run, each list in the order in which things ended in simulated time."""

    messages: list[MessageRecord] = field(default_factory=list)
    computations: list[ComputationRecord] = field(default_factory=list)
    accesses: list[AccessRecord] = field(default_factory=list)
    evaluations: list[EvaluationRecord] = field(default_factory=list)
    links: list[LinkRecord] = field(default_factory=list)
    link_usage: list[LinkUsageRecord] = field(default_factory=list)
