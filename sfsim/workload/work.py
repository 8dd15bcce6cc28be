"""Work: one thing a party has to do next, what it costs, and what comes out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sfsim.cost import Cost
from sfsim.payload import Outgoing

Costs = Sequence[tuple[str, Cost]]

# The payload of a gradient that a gate held back, and what the ledger calls its codec.
SKIPPED = b"\0"
SKIPPED_CODEC = "skipped"

MAIN_SERVER = "main server"
FED_SERVER = "fed server"


class Minibatch(NamedTuple):
    """Where in training one minibatch stands; all three count from 1, `minibatch` within its global round."""

    round: int
    epoch: int
    minibatch: int


class WorkKey(NamedTuple):
    """What identifies a work in a recording.

    Operations: client_forward, server_forward, client_tail, client_gradient, server_backward, server_step,
    client_backward, skip,
    model_out, model_in, codec_out, codec_in, aggregate, evaluate.
    """

    party: str
    client: str
    round: int
    epoch: int
    minibatch: int
    operation: str


class Access(NamedTuple):
    """One access to an object that several works share: ``mode`` is ``"read"`` or ``"write"``."""

    shared: str
    mode: str


class Measured(NamedTuple):
    """One metric of the global model, or of one client's share when `client` is not empty."""

    split: str
    codec: str
    metric: str
    value: float
    client: str


class Outcome(Protocol):
    """What is to come of a work that was launched (a future is one)."""

    def result(self) -> Outgoing | None:
        """Wait for it."""


@dataclass(slots=True)
class Work:
    """A computation with its price tag.

    The costs are known from shapes at once. The work itself begins with `start`, which the party calls at the
    moment its device is acquired, so that the order of computations is the simulated order; `collect` waits
    for the outcome and is called when the cost has been spent. Between the two, works of other parties run.
    """

    key: WorkKey
    costs: Costs
    launch: Callable[[], Outcome]
    accesses: tuple[Access, ...] = ()
    _outcome: Outcome | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin; called once."""
        self._outcome = self.launch()

    def collect(self) -> Outgoing | None:
        """Wait for the outcome: what is to be sent, or None. Errors of the work are raised here."""
        if self._outcome is None:
            self.start()
        assert self._outcome is not None
        return self._outcome.result()


class Workload(Protocol):
    """What the parties ask: live (torch and codecs run) or recorded (sizes and costs of an earlier run)."""

    def plan(self, client: str, round: int) -> Sequence[Minibatch]:
        """Minibatches of a client in a global round, in order."""

    def client_forward(self, client: str, at: Minibatch) -> Work:
        """Front end forward, encode; sends smashed data (and labels when they are shared)."""

    def server_forward(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """Decode, server side forward; U-shaped: encode and send smashed data down."""

    def client_tail(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """U-shaped: decode, back end forward, loss, backward; encode and send the gradient up."""

    def client_gradient(self, client: str, at: Minibatch) -> Work:
        """U-shaped behind a gate, after `client_tail` returned nothing: backward and send, or send `SKIPPED`."""

    def skip(self, party: str, client: str, at: Minibatch) -> Work:
        """Forget a minibatch whose gradient was not sent."""

    def server_backward(self, client: str, at: Minibatch, payload: bytes | None) -> Work:
        """Server side backward; encode and send the gradient down."""

    def server_step(self, client: str, at: Minibatch) -> Work:
        """Optimiser step of the server-side model."""

    def client_backward(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """Decode, front end backward, optimiser step of the client-side model."""

    def model_out(self, sender: str, client: str, round: int) -> Work:
        """Encode the client-side model: from the fed server to a client, or from a client."""

    def model_in(self, receiver: str, sender: str, client: str, round: int, payload: bytes) -> Work:
        """Decode a client-side model and take it over (a client) or keep it for averaging (the fed server)."""

    def aggregate(self, party: str, clients: Sequence[str], round: int) -> Work:
        """Average client-side models (fed server) or server-side models (main server)."""

    def codecs_due(self, receiver: str, turn: int, owner: str | None = None) -> Sequence[str]:
        """Codec slots whose new weights a receiver is to get for a turn; of one owner's, client or server."""

    def codecs_returning(self, round: int) -> Sequence[str]:
        """Codec slots whose weights clients hand back to the fed server at the end of a round."""

    def codecs_swapped(self, client: str, at: Minibatch, owner: str) -> Sequence[str]:
        """Codec slots of an owner whose weights travel to the receiver when a minibatch is done."""

    def codec_out(self, sender: str, receiver: str, client: str, at: Minibatch, slot: str) -> Work:
        """Encode the weights of a learned codec for a receiver, who is or serves `client`."""

    def codec_in(
        self, receiver: str, sender: str, client: str, at: Minibatch, turn: int, slot: str, payload: bytes
    ) -> Work:
        """Decode the weights of a learned codec and take them over."""

    def keep(self, half: str, round: int, client: str = "") -> None:
        """Keep one half of the global model as it is now (SL: on that client), for `evaluate`."""

    def evaluate(self, round: int) -> list[Measured]:
        """Measure the global model of a round of which both halves were kept."""
