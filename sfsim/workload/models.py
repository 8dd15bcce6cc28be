"""The works that move and average models: model_out, model_in, aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sfsim.cost import Cost
from sfsim.learning.averaging import fedavg, is_batch_norm_statistic
from sfsim.learning.costing import averaging_cost
from sfsim.payload import Outgoing
from sfsim.seeds import stream
from sfsim.workload.exchange import ModelSlot
from sfsim.workload.replica import State, load
from sfsim.workload.work import FED_SERVER, Access, Minibatch, Work

if TYPE_CHECKING:
    import numpy as np

    from sfsim.workload.learned.updates import CodecUpdates
    from sfsim.workload.selection import BestEpochs
    from sfsim.workload.setting import Setting

GLOBAL = "client model"


class Models:
    """Client-side models on their way, and both halves of the global model.

    Attributes
    ----------
    client_side : dict of str to Tensor
        The global client-side model, held by the fed server.
    server_side : dict of str to Tensor
        The global server-side model, as of the last `aggregate` of the main server.
    """

    def __init__(self, setting: Setting, epochs: BestEpochs, codecs: CodecUpdates | None) -> None:
        self._setting, self._epochs, self._codecs = setting, epochs, codecs
        scenario = setting.scenario
        self.local_statistics = scenario.batch_norm == "local"
        any_client = next(iter(setting.clients.values()))
        self.client_side: State = self._travelling(any_client.state())
        self.server_side: State = next(iter(setting.servers.values())).state()
        self._down = ModelSlot(scenario.codecs.client_model_down, self.client_side)
        self._up = ModelSlot(scenario.codecs.client_model_up, self.client_side)
        # What each client got last, as it was decoded: the reference of differences at both ends.
        self._held: dict[str, State] = {}
        self._returned: dict[str, State] = {}
        self._broadcast: tuple[int, Outgoing] | None = None
        self._broadcast_round = 0

    def model_out(self, sender: str, client: str, round: int) -> Work:
        """Encode a client-side model: the global one for `client`, or `client`'s own for whoever is next."""
        at = Minibatch(round, 0, 0)
        if sender == FED_SERVER:
            return self._from_fed_server(client, at)
        slot = self._up

        def run() -> Outgoing:
            reference = self._held.get(client) if self._setting.scenario.protocol != "sl" else None
            return slot.encode(
                self._travelling(self._epochs.client_side(client, round)),
                reference,
                round,
                self._rng("up", client, round),
                client,
            )

        costs = [("encode", slot.encode_cost())]
        return self._setting.work(client, client, at, "model_out", costs, run, [client])

    def _from_fed_server(self, client: str, at: Minibatch) -> Work:
        # Whole weights are the same bytes for every client: encoded once per round, and paid once.
        shared = self._setting.scenario.codecs.client_model_down.of == "weights"
        again = shared and self._broadcast_round == at.round
        self._broadcast_round = at.round

        def run() -> Outgoing:
            if shared and self._broadcast and self._broadcast[0] == at.round:
                return self._broadcast[1]
            rng = self._rng("down", "" if shared else client, at.round)
            owner = "" if shared else client
            outgoing = self._down.encode(self.client_side, self._held.get(client), at.round, rng, owner)
            self._broadcast = (at.round, outgoing)
            return outgoing

        costs = [("encode", Cost() if again else self._down.encode_cost())]
        access = (Access(GLOBAL, "read"),)
        return self._setting.work(FED_SERVER, client, at, "model_out", costs, run, [], access)

    def model_in(self, receiver: str, sender: str, client: str, round: int, payload: bytes) -> Work:
        """Decode a client-side model: a client trains on with it, the fed server keeps it for averaging."""
        at = Minibatch(round, 0, 0)
        at_client = receiver != FED_SERVER
        slot = self._down if sender == FED_SERVER else self._up

        def take_over() -> None:
            replica = self._setting.clients[client]
            state = slot.decode(payload, self._held.get(client))
            self._held[client] = state
            load(replica.parts, state)
            if self._setting.scenario.optimiser_state == "reset":
                replica.reset_optimiser()

        def keep() -> None:
            self._returned[client] = slot.decode(payload, self._held.get(client))

        costs = [("decode", slot.decode_cost(payload))]
        run = take_over if at_client else keep
        return self._setting.work(receiver, client, at, "model_in", costs, run, [client])

    def aggregate(self, party: str, clients: Sequence[str], round: int) -> Work:
        """FedAvg of the client-side models that returned, or of the copies of the server-side model."""
        at = Minibatch(round, 0, 0)
        setting = self._setting
        if party == FED_SERVER:
            cost = averaging_cost(self._up.numel, len(clients)) + self._codec_cost(
                "client", len(clients), round
            )
            access: tuple[Access, ...] = (Access(GLOBAL, "write"),)
            if self._codecs:
                access += tuple(Access(f"codec {name}", "write") for name in self._codecs.slots)

            def average_clients() -> None:
                self.client_side = self._fedavg(clients, [self._returned.pop(name) for name in clients])
                if self._codecs:
                    self._codecs.average("client", clients, round)

            touched = list(setting.clients)
            return setting.work(
                party, "", at, "aggregate", [("aggregate", cost)], average_clients, touched, access
            )
        numel = sum(value.numel() for value in self.server_side.values())
        cost = averaging_cost(numel, len(clients)) + self._codec_cost("server", len(clients), round)
        accesses = tuple(Access(setting.server_name(name), "write") for name in setting.servers)

        def average_servers() -> None:
            states = [self._epochs.server_side(name, round) for name in clients]
            self.server_side = self.server_side | self._fedavg(clients, states)
            for replica in setting.servers.values():
                load(replica.parts, self._travelling(self.server_side))
                if setting.scenario.optimiser_state == "reset":
                    replica.reset_optimiser()
            if self._codecs:
                self._codecs.average("server", clients, round)

        return setting.work(party, "", at, "aggregate", [("aggregate", cost)], average_servers, [], accesses)

    def _codec_cost(self, owner: str, num_models: int, round: int) -> Cost:
        return self._codecs.average_cost(owner, num_models, round) if self._codecs else Cost()

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`."""
        return {
            "client_side": self.client_side,
            "server_side": self.server_side,
            "held": self._held,
            "returned": self._returned,
            "broadcast": self._broadcast and (self._broadcast[0], tuple(self._broadcast[1])),
            "broadcast_round": self._broadcast_round,
            "memories": (self._up.snapshot(), self._down.snapshot()),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        self.client_side, self.server_side = saved["client_side"], saved["server_side"]
        self._held, self._returned = saved["held"], saved["returned"]
        broadcast = saved["broadcast"]
        self._broadcast = broadcast and (broadcast[0], Outgoing(*broadcast[1]))
        self._broadcast_round = saved["broadcast_round"]
        for slot, memories in zip((self._up, self._down), saved["memories"], strict=True):
            slot.restore(memories)

    def _fedavg(self, names: Sequence[str], states: list[State]) -> State:
        weights = [float(len(self._setting.shards[name])) for name in names]
        return fedavg(states, weights, self._setting.scenario.batch_norm)

    def _travelling(self, state: State) -> State:
        """The part of a state that is exchanged: all of it, or all but BatchNorm's local statistics."""
        if not self.local_statistics:
            return state
        return {name: value for name, value in state.items() if not is_batch_norm_statistic(name)}

    def _rng(self, direction: str, client: str, round: int) -> np.random.Generator:
        return stream(
            self._setting.scenario.seeds.training, "codec", "client model", direction, client, round
        )
