"""A workload that learns nothing: costs and sizes of a finished run, from the rows of its ledger.

It implements `workload.work.Workload` for a protocol whose learning does not depend on when things happen: what a
party has to do next, what that costs and how many bytes come out are those of the run that was recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sfsim.cost import Cost
from sfsim.errors import ResultsError
from sfsim.payload import Outgoing
from sfsim.workload.work import FED_SERVER, MAIN_SERVER, SKIPPED, Access, Measured, Minibatch, Work, WorkKey

if TYPE_CHECKING:
    from sfsim.scenario import ModelCodec

SLOTS = (
    "smashed_up",
    "smashed_down",
    "gradient_up",
    "gradient_down",
)  # in the order in which parties send them
FLOAT_BYTES = 4
_FREE: list[tuple[str, Cost]] = []
_WAITS = {"device queueing", "turn", "barrier", "hold"}


class _Done:
    """An outcome that is there already."""

    def __init__(self, outgoing: Outgoing | None) -> None:
        self._outgoing = outgoing

    def result(self) -> Outgoing | None:
        return self._outgoing


class RecordedWorkload:
    """See the module.

    Parameters
    ----------
    computations, messages, evaluations, accesses : iterable of rows
        With the columns of the ledger as attributes.
    update_codec, model_down : ModelCodec
        What weights of learned codecs, and models from the fed server, travelled with. Several such works stand under
        one key of the ledger, and which of them came first, or paid for all, is the network's doing: their costs
        follow from their sizes.
    """

    def __init__(
        self,
        computations: Iterable[Any],
        messages: Iterable[Any],
        evaluations: Iterable[Any],
        accesses: Iterable[Any],
        update_codec: ModelCodec,
        model_down: ModelCodec,
    ) -> None:
        self._update_codec, self._model_down = update_codec, model_down
        self._broadcast_round = 0
        self._costs: dict[WorkKey, list[tuple[str, Cost]]] = defaultdict(list)
        self._plans: dict[tuple[str, int], dict[int, Minibatch]] = defaultdict(dict)
        for row in computations:
            if row.operation == "wait" or row.phase in _WAITS:
                continue
            at = Minibatch(row.round, row.epoch, row.minibatch)
            cost = Cost(row.flops, row.bytes_touched, row.serial_symbols, row.launches)
            self._costs[WorkKey(row.party, row.client, *at, row.operation)].append((row.phase, cost))
            if row.operation == "client_forward":
                self._plans[row.client, row.round][row.minibatch] = at
        # What a work touches, once each: several codecs may travel under one key, and the work knows which it is.
        self._accesses: dict[WorkKey, dict[Access, None]] = defaultdict(dict)
        for row in accesses:
            key = WorkKey(row.party, row.client, row.round, row.epoch, row.minibatch, row.operation)
            self._accesses[_for_all(key)][Access(row.shared, row.mode)] = None
        # By kind (of codec updates: slot), sender, receiver (None: whoever it was) and place in training.
        self._sent: dict[tuple[str, str, str | None, Minibatch], Outgoing] = {}
        self._updates: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._returning: dict[int, list[str]] = defaultdict(list)
        for row in messages:
            at = Minibatch(row.round, row.epoch, row.minibatch)
            name, outgoing = row.slot if row.kind == "codec update" else row.kind, _outgoing(row)
            for receiver in (row.destination, None):
                self._sent.setdefault((name, row.source, receiver, at), outgoing)
            if row.kind == "codec update" and at.minibatch == 0:
                known = (
                    self._returning[at.round]
                    if row.destination == FED_SERVER
                    else self._updates[row.destination, at.round]
                )
                if row.slot not in known:
                    known.append(row.slot)
        for slots in (*self._returning.values(), *self._updates.values()):
            slots.sort(key=SLOTS.index)  # messages stand in the order of delivery, parties send in this one
        self._measured: dict[int, list[Measured]] = defaultdict(list)
        for row in evaluations:
            self._measured[row.round].append(
                Measured(row.split, row.codec, row.metric, row.value, row.client)
            )

    def rewind(self) -> None:
        """Begin again, for another world."""
        self._broadcast_round = 0

    def plan(self, client: str, round: int) -> Sequence[Minibatch]:
        """Minibatches of a client in a global round, in order."""
        plan = self._plans[client, round]
        return [plan[number] for number in sorted(plan)]

    def client_forward(self, client: str, at: Minibatch) -> Work:
        """Front end forward, encode."""
        return self._work(client, client, at, "client_forward", "smashed data", client, MAIN_SERVER)

    def server_forward(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """Decode, server side forward; U-shaped: encode."""
        return self._work(MAIN_SERVER, client, at, "server_forward", "smashed data", MAIN_SERVER, client)

    def client_tail(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """U-shaped: decode, back end forward, loss; without a gate backward and encode."""
        gated = WorkKey(client, client, *at, "client_gradient") in self._costs or self._skipped(client, at)
        kind = None if gated else "gradient"
        return self._work(client, client, at, "client_tail", kind, client, MAIN_SERVER)

    def client_gradient(self, client: str, at: Minibatch) -> Work:
        """U-shaped behind a gate: backward and encode, or the word that there is no gradient."""
        return self._work(client, client, at, "client_gradient", "gradient", client, MAIN_SERVER)

    def skip(self, party: str, client: str, at: Minibatch) -> Work:
        """Forget a minibatch whose gradient was not sent."""
        return self._work(party, client, at, "skip")

    def server_backward(self, client: str, at: Minibatch, payload: bytes | None) -> Work:
        """Server side backward; encode the gradient."""
        return self._work(MAIN_SERVER, client, at, "server_backward", "gradient", MAIN_SERVER, client)

    def server_step(self, client: str, at: Minibatch) -> Work:
        """Optimiser step of the server-side model."""
        return self._work(MAIN_SERVER, client, at, "server_step")

    def client_backward(self, client: str, at: Minibatch, payload: bytes) -> Work:
        """Decode, front end backward, optimiser step."""
        return self._work(client, client, at, "client_backward")

    def model_out(self, sender: str, client: str, round: int) -> Work:
        """Encode the client-side model."""
        at = Minibatch(round, 0, 0)
        if sender != FED_SERVER:
            return self._work(sender, client, at, "model_out", "client model", sender, None)
        outgoing = self._message("client model", sender, client, at)
        # Whole weights are encoded once per round, and paid by who asks first.
        again = self._model_down.of == "weights" and self._broadcast_round == round
        self._broadcast_round = round
        cost = Cost() if again else self._model_down.codec.encode_cost(outgoing.elements, FLOAT_BYTES)
        key = WorkKey(sender, client, *at, "model_out")
        return self._known(key, [("encode", cost)], outgoing)

    def model_in(self, receiver: str, sender: str, client: str, round: int, payload: bytes) -> Work:
        """Decode a client-side model."""
        return self._work(receiver, client, Minibatch(round, 0, 0), "model_in")

    def codecs_due(self, receiver: str, turn: int, owner: str | None = None) -> Sequence[str]:
        """Codec slots whose weights a receiver got in a round."""
        wanted = {None: ("_up", "_down"), "client": ("_up",), "server": ("_down",)}[owner]
        return [slot for slot in self._updates[receiver, turn] if slot.endswith(wanted)]

    def codecs_returning(self, round: int) -> Sequence[str]:
        """Codec slots whose weights clients handed back in a round."""
        return self._returning[round]

    def codecs_swapped(self, client: str, at: Minibatch, owner: str) -> Sequence[str]:
        """Codec slots of an owner whose weights travelled when a minibatch was done."""
        ends = (client, MAIN_SERVER) if owner == "client" else (MAIN_SERVER, client)
        slots = ("smashed_up", "gradient_up") if owner == "client" else ("smashed_down", "gradient_down")
        return [slot for slot in slots if (slot, *ends, at) in self._sent]

    def codec_out(self, sender: str, receiver: str, client: str, at: Minibatch, slot: str) -> Work:
        """Encode the weights of a learned codec."""
        outgoing = self._message(slot, sender, receiver, at)
        cost = self._update_codec.codec.encode_cost(outgoing.elements, FLOAT_BYTES)
        return self._known(WorkKey(sender, client, *at, "codec_out"), [("encode", cost)], outgoing, slot)

    def codec_in(
        self, receiver: str, sender: str, client: str, at: Minibatch, turn: int, slot: str, payload: bytes
    ) -> Work:
        """Decode the weights of a learned codec."""
        sent = self._message(slot, sender, receiver, at)
        cost = self._update_codec.codec.decode_cost(sent.elements, sent.size)
        return self._known(WorkKey(receiver, client, *at, "codec_in"), [("decode", cost)], None)

    def aggregate(self, party: str, clients: Sequence[str], round: int) -> Work:
        """Average models."""
        return self._work(party, "", Minibatch(round, 0, 0), "aggregate")

    def keep(self, half: str, round: int, client: str = "") -> None:
        """Nothing is kept: it was measured."""

    def evaluate(self, round: int) -> list[Measured]:
        """What was measured of the global model of a round."""
        return self._measured[round]

    def _skipped(self, client: str, at: Minibatch) -> bool:
        sent = self._sent.get(("gradient", client, MAIN_SERVER, at))
        return sent is not None and sent.payload == SKIPPED

    def _message(self, name: str, source: str, destination: str, at: Minibatch) -> Outgoing:
        sent = self._sent.get((name, source, destination, at))
        if sent is None:
            raise ResultsError(
                f"the recorded run holds no {name} from {source} to {destination} in round {at.round}"
            )
        return sent

    def _work(
        self,
        party: str,
        client: str,
        at: Minibatch,
        operation: str,
        kind: str | None = None,
        source: str = "",
        destination: str | None = "",
    ) -> Work:
        key = WorkKey(party, client, *at, operation)
        costs = self._costs.get(key, _FREE)
        if not costs and operation not in ("skip", "client_gradient"):
            where = f"{operation} of {party}, round {at.round}, minibatch {at.minibatch}"
            raise ResultsError(f"the recorded run holds no {where}")
        outgoing = self._sent.get((kind, source, destination, at)) if kind else None
        return self._known(key, costs, outgoing)

    def _known(
        self, key: WorkKey, costs: list[tuple[str, Cost]], outgoing: Outgoing | None, slot: str = ""
    ) -> Work:
        """Return a work; of codecs, it touches that of its `slot`."""
        accesses = tuple(self._accesses.get(_for_all(key), ()))
        if slot:
            others = {f"codec {name}" for name in SLOTS if name != slot}
            accesses = tuple(access for access in accesses if access.shared not in others)
        return Work(key, costs, lambda: _Done(outgoing), accesses)


def _for_all(key: WorkKey) -> WorkKey:
    """Name no client for the global model on its way out: a multicast was encoded for one, and went to all."""
    is_global = key.party == FED_SERVER and key.operation == "model_out"
    return key._replace(client="") if is_global else key


def _outgoing(row: Any) -> Outgoing:
    """What a party handed to the network, without its content."""
    is_skipped = row.codec == "skipped"
    return Outgoing(
        kind=row.kind,
        payload=SKIPPED if is_skipped else b"",
        raw_bytes=row.raw_bytes,
        elements=row.elements,
        codec=row.codec,
        estimated_bits=row.estimated_bits,
        label_bytes=row.label_bytes,
        round=row.round,
        epoch=row.epoch,
        minibatch=row.minibatch,
        size=0 if is_skipped else row.payload_bytes,
        slot=row.slot,
        likelihood_bits=row.likelihood_bits,
        crc32=row.payload_crc32,
    )
