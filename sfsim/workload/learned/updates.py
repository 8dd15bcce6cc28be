"""Codec updates: how new weights of learned codecs get from their owners to everybody who needs them.

Weights are averaged like the model they belong to: those of slots that clients own by the fed server, those of the
main server's slots by the main server itself. The owner needs a codec whole, a receiver its decoder and entropy
model. With SplitFed, at the beginning of a global round

    fed server    -> client        whole codecs of ``smashed_up`` and ``gradient_up``
    fed server    -> main server   their decoders
    main server   -> client        decoders of ``smashed_down`` and ``gradient_down``

and at its end each client returns the whole codecs it owns. In SL a client hands them to the next client, and their
decoders to the main server. Within a round, ``update = "epoch"`` and ``"minibatches"`` send decoders from owner to
receiver. `turn` counts what an update can fall behind: global rounds, or in SL the visits of clients.

A payload is the slot's number (1 byte), the version (4) and the weights as `sfsim.workload.exchange` writes them.
With a lossy update codec both ends go on with what the receiver decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.cost import Cost
from sfsim.errors import CodecError
from sfsim.learning.averaging import fedavg
from sfsim.learning.costing import averaging_cost
from sfsim.payload import Outgoing
from sfsim.workload.exchange import ModelSlot
from sfsim.workload.learned import stored
from sfsim.workload.learned.replica import decoder_side
from sfsim.workload.learned.slot import LearnedSlot
from sfsim.workload.replica import State
from sfsim.workload.work import FED_SERVER, MAIN_SERVER, Access, Minibatch, Work

if TYPE_CHECKING:
    from sfsim.workload.learned.replica import CodecReplica
    from sfsim.workload.selection import BestEpochs
    from sfsim.workload.setting import Setting

_HEAD = struct.Struct("<BI")
_NUMBERS = {"smashed_up": 1, "smashed_down": 2, "gradient_up": 3, "gradient_down": 4}


class CodecUpdates:
    """See the module; without learned codecs, nothing is ever due."""

    def __init__(self, setting: Setting, epochs: BestEpochs) -> None:
        self._setting, self._epochs = setting, epochs
        scenario = setting.scenario
        self._training, self._sl = scenario.codec_training, scenario.protocol == "sl"
        self._differences = scenario.codec_training.update_codec.of == "delta"  # never in SL
        self.slots = {name: slot for name, slot in setting.slots.items() if isinstance(slot, LearnedSlot)}
        self._whole: dict[str, ModelSlot] = {}
        self._decoder: dict[str, ModelSlot] = {}
        # The average that the fed server hands out: as averaged, and as receivers decode it.
        self._averaged: dict[str, State] = {}
        self.common: dict[str, State] = {}
        self._versions: dict[str, int] = {}
        self._before: dict[str, State | None] = {}
        for name, slot in self.slots.items():
            first = slot.first_state
            spec = self._training.update_codec
            self._whole[name] = ModelSlot(spec, first, f"codec {name}")
            self._decoder[name] = ModelSlot(spec, _decoder(first), f"codec {name}")
            self._averaged[name] = self.common[name] = first
            self._versions[name], self._before[name] = 1, None
        # What each receiver decoded last, where differences refer to it, and since which turn it holds it.
        self._reference: dict[tuple[str, str, str], State] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._returned: dict[tuple[str, str], tuple[int, State]] = {}
        self._mean_bits: dict[str, float] = {}
        self._last = next(iter(setting.shards))  # the client whose model was kept last
        # SplitFedV2: the server's codecs as its last round left them. That is what a client is sent, however late it
        # joins, and not what the visits of others have made of them in the meantime.
        one_model = setting.one_server_model and not self._sl
        owned = [name for name in self.slots if one_model and self.owner(name) == "server"]
        self._at_start: dict[str, State] = {name: self.common[name] for name in owned}

    def save(self, folder: Path) -> None:
        """Write the codecs of the last global model, for ``weights = "FILE"`` elsewhere."""
        scenario, data = self._setting.scenario, self._setting.dataset
        about = {"scenario": scenario.name, "seed": str(scenario.seeds.training), "data": data.fingerprint}
        folder.mkdir()
        for name, slot in self.slots.items():
            state = self.learnt(name)
            stored.save(folder / f"{name}.safetensors", slot.codec, slot.tensor_shape, state, about)

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`."""
        return {
            "averaged": self._averaged,
            "common": self.common,
            "versions": self._versions,
            "before": self._before,
            "reference": self._reference,
            "held": self._held,
            "returned": self._returned,
            "mean_bits": self._mean_bits,
            "last": self._last,
            "at_start": self._at_start,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        self._averaged, self.common = saved["averaged"], saved["common"]
        self._versions, self._before = saved["versions"], saved["before"]
        self._reference, self._held = saved["reference"], saved["held"]
        self._returned, self._mean_bits = saved["returned"], saved["mean_bits"]
        self._last, self._at_start = saved["last"], saved["at_start"]

    # Who gets what, known to both ends.

    def due(self, receiver: str, turn: int, owner: str | None = None) -> list[str]:
        """Slots whose update a receiver is to get for a turn; of one owner's, ``"client"`` or ``"server"``."""
        if self._training.update == "ideal":
            return []
        return [
            name
            for name, slot in self.slots.items()
            if owner in (None, "client" if slot.owned_by_client else "server")
            and (receiver != MAIN_SERVER or slot.owned_by_client)
            and self._held.get((name, receiver), 0) < self._newest(name, turn)
        ]

    def returning(self, round: int) -> list[str]:
        """Slots whose whole codecs clients hand back at the end of a round."""
        return [
            name for name, slot in self.slots.items() if slot.owned_by_client and self._learns(name, round)
        ]

    def swapped(self, client: str, at: Minibatch, owner: str) -> list[str]:
        """Slots whose decoders travel from owner to receiver when a minibatch is done, within a round."""
        plan = self._setting.batches(client, at.round)
        if at.minibatch == len(plan):
            return []
        every = self._training.update_every_minibatches
        now = plan[at.minibatch][0].epoch > at.epoch if every is None else at.minibatch % every == 0
        if self._training.update not in ("epoch", "minibatches") or not now:
            return []
        return [name for name in self.slots if self.owner(name) == owner and self._learns(name, at.round)]

    def owner(self, name: str) -> str:
        """``"client"`` or ``"server"``."""
        return "client" if self.slots[name].owned_by_client else "server"

    def _newest(self, name: str, turn: int) -> int:
        last = self.slots[name].last_round
        if last is None:
            return turn
        scenario = self._setting.scenario
        visits = scenario.clients_per_round if self._sl else 1
        return min(turn, last * visits + 1)

    def _learns(self, name: str, round: int) -> bool:
        return self._training.update != "ideal" and self.slots[name].learns(round)

    # The works.

    def codec_out(self, sender: str, receiver: str, client: str, at: Minibatch, name: str) -> Work:
        """Encode a codec's weights for a receiver, who is or serves `client`."""
        setting, slot = self._setting, self.slots[name]
        whole = slot.owned_by_client and receiver != MAIN_SERVER
        coder = (self._whole if whole else self._decoder)[name]

        def run() -> Outgoing:
            if sender == FED_SERVER:
                version, state, reference = self._from_common(name, receiver, whole)
            else:
                returns = receiver == FED_SERVER
                state = self._owned(name, client, at, returns)
                # The fed server knows what it gave the client.
                holder = client if returns else receiver
                reference = self._reference.get((name, holder, client))
                version = slot.senders[client].version + 1
            travelling = state if whole else _decoder(state)
            outgoing = coder.encode(travelling, reference, at.round, None)
            if sender != FED_SERVER and receiver != FED_SERVER and not (self._sl and whole):
                # From now on the owner sends with what the receiver will have decoded.
                decoded = coder.decode(outgoing.payload, reference)
                slot.senders[client] = slot.wire(state | decoded, version)
            elif self._sl and whole:
                version = slot.senders[client].version
            payload = _HEAD.pack(_NUMBERS[name], version) + outgoing.payload
            return outgoing._replace(
                kind="codec update",
                payload=payload,
                slot=name,
                codec=slot.codec.name,
                epoch=at.epoch,
                minibatch=at.minibatch,
            )

        costs = [("encode", coder.encode_cost())]
        touches = [client] if sender not in (MAIN_SERVER, FED_SERVER) else []
        access: tuple[Access, ...] = ()
        if sender == MAIN_SERVER:
            access = (Access(setting.server_name(client), "read"),)
        elif sender == FED_SERVER:
            access = (Access(f"codec {name}", "read"),)
        return setting.work(sender, client, at, "codec_out", costs, run, touches, access)

    def _owned(self, name: str, client: str, at: Minibatch, returns: bool) -> State:
        """The weights that an owner sends: to the fed server (`returns`), or to who decodes with them."""
        if returns:
            return self._epochs.codec_side(name, client, at.round)
        if at.minibatch == 0 and name in self._at_start:
            return self._at_start[name]
        return self.slots[name].replicas[client].state()

    def codec_in(
        self, receiver: str, sender: str, client: str, at: Minibatch, turn: int, name: str, payload: bytes
    ) -> Work:
        """Decode a codec's weights: for the wire, for training (its owner), or for averaging (the fed server)."""
        setting, slot = self._setting, self.slots[name]
        whole = slot.owned_by_client and receiver != MAIN_SERVER
        coder = (self._whole if whole else self._decoder)[name]
        from_common = sender == FED_SERVER
        clients = list(slot.receivers) if from_common or self._sl else [client]

        def run() -> None:
            number, version = _HEAD.unpack_from(payload) if len(payload) >= _HEAD.size else (0, 0)
            if number != _NUMBERS[name]:
                raise CodecError(f"a codec update of slot number {number} arrived for {name}")
            body = payload[_HEAD.size :]
            if receiver == FED_SERVER:
                reference = self._reference.get((name, client, client))
                self._returned[name, client] = version, coder.decode(body, reference)
                return
            key = (name, receiver, "" if from_common and receiver == MAIN_SERVER else client)
            state = coder.decode(body, self._reference.get(key))
            if self._differences:
                self._reference[key] = state
            self._held[name, receiver] = max(turn, self._held.get((name, receiver), 0))
            if whole:
                self._take_over(slot.replicas[client], state)
                slot.senders[client] = slot.wire(state, version)
                return
            wire = slot.wire(state, version)
            for served in clients if receiver == MAIN_SERVER else [client]:
                slot.receivers[served] = wire
                if receiver == MAIN_SERVER and self._differences:
                    self._reference[name, MAIN_SERVER, served] = state

        costs = [("decode", coder.decode_cost(payload))]
        if receiver == MAIN_SERVER:
            names = list(dict.fromkeys(setting.server_name(served) for served in clients))
            access = tuple(Access(served, "write") for served in names)
            return setting.work(receiver, client, at, "codec_in", costs, run, [], access)
        return setting.work(receiver, client, at, "codec_in", costs, run, [client])

    def average_cost(self, owner: str, num_models: int, round: int) -> Cost:
        """What averaging the codecs of an owner costs."""
        total = Cost()
        for name in self.slots:
            if self.owner(name) == owner and self._averages(name, round):
                total += averaging_cost(self._whole[name].numel, num_models)
        return total

    def average(self, owner: str, clients: Sequence[str], round: int) -> None:
        """FedAvg of the codecs of clients, or of the main server's, at the end of a round."""
        for name, slot in self.slots.items():
            if self.owner(name) != owner:
                continue
            if not self._averages(name, round):
                continue
            if owner == "client" and self._training.update != "ideal":
                found = [self._returned.pop((name, client)) for client in clients]
                state = self._fedavg(clients, [state for _, state in found])
                self._hand_out(name, state, max(version for version, _ in found) + 1, round)
                continue
            state = self._fedavg(
                clients, [self._epochs.codec_side(name, client, round) for client in clients]
            )
            self.common[name] = state
            for replica in slot.replicas.values():
                self._take_over(replica, state)

    def settle(self, owner: str, round: int, client: str = "") -> None:
        """At the end of a round (SL: on that client): note how large payloads were; freeze what has settled."""
        self._last = client or self._last
        limit = self._training.freeze_when_settled
        for name, slot in self.slots.items():
            if self.owner(name) != owner:
                continue
            if name in self._at_start:
                self._at_start[name] = slot.replicas[self._last].state()
            mean, before = slot.mean_bits(), self._mean_bits.get(name)
            self._mean_bits[name] = mean
            if (
                limit is not None
                and before
                and slot.last_round is None
                and abs(mean - before) <= limit * before
            ):
                slot.last_round = round

    def on_the_wire(self, name: str, client: str) -> State:
        """The weights that a round's model was trained with and is measured with (SL: with that client).

        Those that senders hold, averaged over the round's clients where they differ (of one server model: those
        that it used last); the trainees are ahead of them.
        """
        slot = self.slots[name]
        clients = [client] if client else slot.in_use()
        wires = [slot.senders[client] for client in clients]
        if len(set(wires)) == 1:
            return wires[0].state()
        return self._fedavg(clients, [wire.state() for wire in wires])

    def learnt(self, name: str) -> State:
        """The weights that the next round begins with: averaged, or of the one server model."""
        slot = self.slots[name]
        if self._sl or (not slot.owned_by_client and self._setting.one_server_model):
            return slot.replicas[self._last].state()
        return self.common[name]

    def _take_over(self, replica: CodecReplica, state: State) -> None:
        replica.load(state)
        if self._setting.scenario.optimiser_state == "reset":
            replica.reset_optimiser()

    def _averages(self, name: str, round: int) -> bool:
        slot = self.slots[name]
        return slot.learns(round) and (slot.owned_by_client or not self._setting.one_server_model)

    def _hand_out(self, name: str, state: State, version: int, round: int) -> None:
        """Keep an average for the receivers, as averaged and as they will decode it."""
        coder, before = self._whole[name], self.common[name]
        self._averaged[name], self._versions[name], self._before[name] = state, version, before
        lossy = not self._training.update_codec.codec.lossless
        self.common[name] = (
            coder.decode(coder.encode(state, before, round, None).payload, before) if lossy else state
        )

    def _from_common(self, name: str, receiver: str, whole: bool) -> tuple[int, State, State | None]:
        """The average, and the reference that its receiver has for it: the average before, or none."""
        version, before = self._versions[name], self._before[name]
        held = self._reference.get((name, receiver, "" if receiver == MAIN_SERVER else receiver))
        if not self._differences:
            return version, self._averaged[name], None
        if before is not None and held is not None:
            known = before if whole else _decoder(before)
            if all(bool((held[key] == value).all()) for key, value in known.items()):
                return version, self._averaged[name], held
        return version, self.common[name], None  # travels whole, as the others will have decoded it

    def _fedavg(self, names: Sequence[str], states: list[State]) -> State:
        weights = [float(len(self._setting.shards[name])) for name in names]
        return fedavg(states, weights, "average")


def _decoder(state: State) -> State:
    return {name: weight for name, weight in state.items() if decoder_side(name)}
