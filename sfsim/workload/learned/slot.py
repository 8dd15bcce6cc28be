"""A codec slot whose codec is learned: wire codecs that both ends hold, and trainees that learn beside them.

The owner of a slot is who sends through it: the client for ``smashed_up`` and ``gradient_up``, the main server for
the other two. It sends with the wire codec and trains its trainee on the same tensor; `updates` brings the
trainee's weights to the wire. Simulated parties share this process, so a receiver may take the sender's
reconstruction for what it decodes: only of the payload that the sender made, only with the same weights, and with
the decoder run and compared for a declared share of messages.
"""

from __future__ import annotations

import copy
import math
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch

from sfsim.codec.learned import Learned
from sfsim.cost import Cost
from sfsim.errors import CodecError, NotFinite, SimulationError
from sfsim.seeds import integer, stream
from sfsim.workload.coding import Arrival, Slot
from sfsim.workload.learned import networks, stored
from sfsim.workload.learned.networks import root_mean_square
from sfsim.workload.learned.prices import memory, price, step_price
from sfsim.workload.learned.replica import CodecReplica, Rehearsal, decoder_side, load_weights
from sfsim.workload.learned.wire import Reconstructed, WireCodec, freeze

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfsim.scenario import CodecTraining
    from sfsim.workload.learned.prices import What
    from sfsim.workload.prices import Shape
    from sfsim.workload.replica import State
    from sfsim.workload.work import Minibatch


class LearnedSlot(Slot):
    """See the module.

    Parameters
    ----------
    name, codec, seed, exact
        As of `Slot`.
    training : CodecTraining
    tensor_shape : tuple of int
        Channels, height and width of the tensors, or channels and length.
    pixels : int
        Pixels of one input image.
    clients : sequence of str
    one_replica : bool
        Whether one trainee serves all clients (a slot of the main server where it has one model).
    device : torch.device
        Where trainees live.

    Attributes
    ----------
    replicas : dict of str to CodecReplica
        The owner's trainee for each client.
    senders, receivers : dict of str to WireCodec
        What the two ends hold for each client.
    last_round : int or None
        The last global round in which the codec learns; None: it goes on.
    """

    codec: Learned

    def __init__(
        self,
        name: str,
        codec: Learned,
        seed: int,
        training: CodecTraining,
        tensor_shape: tuple[int, ...],
        pixels: int,
        clients: Sequence[str],
        one_replica: bool,
        device: torch.device,
        exact: bool = False,
    ) -> None:
        super().__init__(name, codec, seed, exact)
        self.owned_by_client = name.endswith("_up")
        self._training = training
        self.tensor_shape = tensor_shape
        channels, *sides = tensor_shape
        self._first = networks.build(codec, channels, sides, integer(seed, "learned codec", name))
        if codec.weights is not None:
            stored.load(codec.weights, self._first)

        def replica(client: str) -> CodecReplica:
            noise = integer(seed, "learned codec", name, "noise", client)
            return CodecReplica(self._first, training, noise, pixels, device)

        self._one_replica = one_replica and not self.owned_by_client
        shared = replica("") if self._one_replica else None
        self.replicas = {client: shared or replica(client) for client in clients}
        self._wires: WeakValueDictionary[tuple[int, bytes], WireCodec] = WeakValueDictionary()
        wire = self.wire(self.replicas[clients[0]].state(), 1)
        self.senders, self.receivers = dict.fromkeys(clients, wire), dict.fromkeys(clients, wire)
        self.last_round = training.freeze_after_round if training.trains else 0
        self.bits: dict[str, list[float]] = {client: [] for client in clients}
        # Sums per round and client: error as sent, the trainee's, tensors.
        self.gaps: dict[tuple[int, str], list[float]] = {}
        self.verified = 0  # messages that were decoded and found equal
        self._shared = dict.fromkeys(clients, 0)
        self._sent: dict[str, tuple[Reconstructed, str]] = {}  # and the fingerprint it was made with
        self._epochs = dict.fromkeys(clients, (0, 0))  # round and epoch of what was decoded last
        self._served = ""  # one replica: the client that it sent to last

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`; a wire codec is saved as the weights and the version it was made of."""
        replicas = dict.fromkeys(self.replicas.values())
        wires = list(dict.fromkeys([*self.senders.values(), *self.receivers.values()]))
        return {
            "saturated": self.saturated,
            "replicas": [replica.snapshot() for replica in replicas],
            "wires": [(wire.version, wire.state()) for wire in wires],
            "senders": {client: wires.index(wire) for client, wire in self.senders.items()},
            "receivers": {client: wires.index(wire) for client, wire in self.receivers.items()},
            "last_round": self.last_round,
            "bits": self.bits,
            "gaps": self.gaps,
            "shared": self._shared,
            "epochs": self._epochs,
            "verified": self.verified,
            "served": self._served,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        replicas = dict.fromkeys(self.replicas.values())
        for replica, state in zip(replicas, saved["replicas"], strict=True):
            replica.restore(state)
        wires = [self.wire(state, version) for version, state in saved["wires"]]
        self.senders = {client: wires[index] for client, index in saved["senders"].items()}
        self.receivers = {client: wires[index] for client, index in saved["receivers"].items()}
        self.saturated, self.last_round, self.bits = saved["saturated"], saved["last_round"], saved["bits"]
        self.gaps = saved["gaps"]
        self._shared, self._epochs, self.verified = saved["shared"], saved["epochs"], saved["verified"]
        self._served = saved["served"]

    # The wire.

    def wire(self, state: State, version: int) -> WireCodec:
        """Return the wire codec of some weights at a version; of a receiver's weights, one that can decode.

        Equal weights give the same object: a sender's, where it has been made, knows how to encode too.
        """
        weights = {name: weight.cpu() for name, weight in state.items()}
        keys = [
            (version, _digest({name: weights[name] for name in names}))
            for names in (sorted(weights), sorted(filter(decoder_side, weights)))
        ]
        known = self._wires.get(keys[0])
        if known is None:
            trainee = copy.deepcopy(self._first)
            load_weights(trainee, self.first_state | state)
            known = freeze(trainee, version)
            for key in keys:
                self._wires[key] = known
        return known

    def mean_bits(self) -> float:
        """Bits of an example's payload, in the mean since the last call."""
        sizes = [bits for of_client in self.bits.values() for bits in of_client]
        self.bits = {client: [] for client in self.bits}
        return sum(sizes) / len(sizes) if sizes else 0.0

    @property
    def first_state(self) -> State:
        """The weights at the beginning of the run, in host memory."""
        return {name: weight.detach().cpu() for name, weight in self._first.named_parameters()}

    def in_use(self) -> list[str]:
        """Clients whose wire codecs belong to the present model: of the last round, or of one replica the last."""
        if self._served:
            return [self._served]
        last = max(round for round, _ in self._epochs.values())
        return [client for client, (round, _) in self._epochs.items() if round == last]

    def _encode(self, tensor: torch.Tensor, client: str, at: Minibatch) -> Reconstructed:
        replica = self.replicas[client]
        if self._one_replica:
            self._served = client
        if self._training.update == "ideal" and self._shared[client] != replica.changes:
            # Free of charge and at once, both ends hold the trainee's weights.
            wire = self.wire(replica.state(), self.senders[client].version + 1)
            self.senders[client] = self.receivers[client] = wire
            self._shared[client] = replica.changes
        sent = self.senders[client].encode(tensor)
        self._sent[client] = sent, self.senders[client].fingerprint
        self.bits[client].append(8.0 * len(sent.payload) / tensor.shape[0])
        return sent

    def _decode(self, payload: bytes, client: str, at: Minibatch) -> torch.Tensor:
        epoch, wire = (at.round, at.epoch), self.receivers[client]
        is_first, self._epochs[client] = self._epochs[client] != epoch, epoch
        sent, fingerprint = self._sent.pop(client, (None, ""))
        if sent is None or sent.payload != payload or fingerprint != wire.fingerprint:
            return wire.decode(payload)
        draw = stream(self._seed, "verify", self.name, client, *at).random()
        if not is_first and draw >= self._training.verify:
            return sent.reconstruction
        decoded = wire.decode(payload)
        if not torch.equal(decoded, sent.reconstruction):
            raise SimulationError(
                f"{self.name} of {client}: the receiver decoded another tensor than the sender rebuilt"
            )
        self.verified += 1
        return decoded

    def transmit(self, tensor: torch.Tensor) -> Arrival:
        """Refuse: evaluation goes through `Passage`, with the weights of the global model."""
        raise CodecError("a learned codec is evaluated with the weights of the global model")

    def state(self, client: str) -> State:
        return self.replicas[client].state()

    def preview(self, tensor: torch.Tensor, client: str) -> torch.Tensor:
        """Return what a receiver would get of this client's tensor now; NaN for what cannot be sent."""
        try:
            return self.senders[client].encode(tensor).reconstruction.to(tensor.device)
        except NotFinite:
            return torch.full_like(tensor, torch.nan)

    # Learning.

    def learns(self, round: int) -> bool:
        """Whether the codec is trained in a round."""
        return self.last_round is None or round <= self.last_round

    def _has_use(self, round: int) -> bool:
        """Whether the run of a trainee is more than a read-out: it learns, or the task's gradient passes it."""
        passes = self.name.startswith("smashed") and self._training.model_loss != "bypass"
        return self.learns(round) or passes

    def rehearse(self, tensor: torch.Tensor, client: str, at: Minibatch) -> Rehearsal:
        rehearsal = self.replicas[client].rehearse(tensor, self.learns(at.round))
        # How far what is sent is behind what was learnt: the same tensor by both, in the measure of the loss.
        sent, _ = self._sent[client]
        scale = root_mean_square(tensor).item() if self.codec.normalise else 1.0
        error = (sent.reconstruction.to(tensor.device) - tensor.detach()).square().mean().item()
        wire_mse = error / scale**2 if scale else 0.0
        gaps = self.gaps.setdefault((at.round, client), [0.0, 0.0, 0.0])
        for place, value in enumerate((wire_mse, rehearsal.output.mse.item(), 1.0)):
            gaps[place] += value
        return rehearsal

    def take_gaps(self, round: int) -> tuple[float, float]:
        """Mean squared error of all tensors up to a round and since the last call: as sent, and the trainee's."""
        # Clients write side by side, and may be in the next round already.
        taken = [self.gaps.pop(key) for key in sorted(self.gaps) if key[0] <= round]
        wire, trainee, count = (sum(values) for values in zip(*taken, strict=True)) if taken else (0, 0, 0)
        return (wire / count, trainee / count) if count else (math.nan, math.nan)

    def learn(
        self, rehearsal: Rehearsal | None, gradient: torch.Tensor | None, client: str, at: Minibatch
    ) -> torch.Tensor | None:
        assert rehearsal is not None
        if not self._has_use(at.round):
            return gradient
        return self.replicas[client].learn(rehearsal, gradient, self.learns(at.round))

    # Costs.

    def encode_cost(self, shape: Shape) -> Cost:
        return self._price("encode", shape)

    def decode_cost(self, shape: Shape, payload: bytes) -> Cost:
        return self._price("decode", shape) + Cost(bytes_touched=2 * len(payload))

    def rehearse_costs(self, shape: Shape, at: Minibatch) -> list[tuple[str, Cost]]:
        return [("codec training", self._price("rehearse", shape))] if self._has_use(at.round) else []

    def learn_costs(self, shape: Shape, at: Minibatch) -> list[tuple[str, Cost]]:
        if not self._has_use(at.round):
            return []
        if not self.learns(at.round):
            return [("codec training", self._price("pass back", shape))]
        step = step_price(self._first, self._training.optimiser)
        return [("codec training", self._price("learn", shape) + step)]

    def memory_bytes(self, batch: int) -> tuple[int, int]:
        shape = (batch, *self.tensor_shape)
        wire = memory(self._first, None, shape)
        learns = self._training.trains
        return wire + (memory(self._first, self._training.optimiser, shape) if learns else 0), wire

    def _price(self, what: What, shape: Shape) -> Cost:
        return price(what, self._first, next(iter(self.senders.values())), shape)


def _digest(state: State) -> bytes:
    digest = blake2b(digest_size=16)
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.digest()
