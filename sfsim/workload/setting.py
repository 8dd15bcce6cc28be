"""The setting of a live workload: data, replicas, codec slots, prices and threads, built once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfsim.codec import AnyCodec, Learned
from sfsim.errors import CodecError, ConfigError
from sfsim.learning.augmenting import Augmentation
from sfsim.learning.cut import split
from sfsim.learning.models import build
from sfsim.learning.partition import minibatches
from sfsim.seeds import integer, stream
from sfsim.workload.coding import Slot
from sfsim.workload.executor import OrderedExecutor
from sfsim.workload.prices import Prices
from sfsim.workload.replica import Replica, State
from sfsim.workload.saving import Saved
from sfsim.workload.work import Access, Costs, Minibatch, Work, WorkKey

if TYPE_CHECKING:
    from sfsim.learning.dataset import Dataset
    from sfsim.payload import Outgoing
    from sfsim.scenario import Scenario

# Which smashed data a gradient comes back for.
_FORWARD = {"gradient_down": "smashed_up", "gradient_up": "smashed_down"}


@dataclass
class Setting:
    """Everything that the works of a run share.

    Parameters
    ----------
    scenario : Scenario
    dataset : Dataset
    shards : dict of str to array of int64
        Rows of the training split that each client holds.
    one_server_model : bool
        One server-side model for all clients, or one copy for each.
    jobs : int
        Threads.
    device : torch.device
        Where tensors live.
    is_trained : bool
        Whether anything will be trained; otherwise all clients share one replica, for whoever only looks.
    """

    scenario: Scenario
    dataset: Dataset
    shards: dict[str, np.ndarray]
    one_server_model: bool
    jobs: int
    device: torch.device
    is_trained: bool = True
    clients: dict[str, Replica] = field(init=False)
    servers: dict[str, Replica] = field(init=False)
    losses: dict[tuple[int, str], list[tuple[float, int]]] = field(init=False, default_factory=dict)
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        scenario, seed = self.scenario, self.scenario.seeds.training
        chain = build(
            scenario.model,
            self.dataset.in_channels,
            self.dataset.num_classes,
            integer(seed, "initial weights"),
        ).to(self.device)
        parts = split(chain, scenario.cut_layers)
        self.named = {"front_end": parts.front_end, "server_side": parts.server_side}
        if parts.back_end is not None:
            self.named["back_end"] = parts.back_end
        self.u_shaped = parts.back_end is not None
        self.prices = Prices(self.named, tuple(self.dataset.train.stored_inputs.shape[1:]), scenario.loss)
        client_parts = {name: part for name, part in self.named.items() if name != "server_side"}
        server_parts = {"server_side": parts.server_side}
        names = list(self.shards)
        if self.is_trained:
            self.clients = {name: Replica(copy.deepcopy(client_parts), scenario.optimiser) for name in names}
        else:
            self.clients = dict.fromkeys(names, Replica(client_parts, scenario.optimiser))
        server_optimiser = scenario.server_optimiser or scenario.optimiser
        if self.one_server_model or not self.is_trained:
            shared = Replica(copy.deepcopy(server_parts), server_optimiser)
            self.servers = dict.fromkeys(names, shared)
        else:
            self.servers = {name: Replica(copy.deepcopy(server_parts), server_optimiser) for name in names}
        self.notes = list(self.dataset.notes)
        self.slots = {
            name: self._slot(name, codec)
            for name in ("smashed_up", "smashed_down", "gradient_up", "gradient_down")
            if (codec := getattr(scenario.codecs, name)) is not None
        }
        self.label_codec = scenario.codecs.labels
        declared = scenario.augmentation if self.is_trained else None
        self._augmentation = None
        if declared:
            height, width = self.dataset.train.stored_inputs.shape[-2:]
            self._augmentation = Augmentation(declared, (height, width))
        self.executor = OrderedExecutor(self.jobs, lambda: torch.set_num_threads(1))
        self._plans: dict[str, tuple[int, list[tuple[Minibatch, np.ndarray]]]] = {}

    def _slot(self, name: str, codec: AnyCodec) -> Slot:
        seed = self.scenario.seeds.training
        as_published = self.scenario.codec_training.as_published
        exact = "exact-gradients" in as_published and name.startswith("gradient")
        part = "front_end" if name in ("smashed_up", "gradient_down") else "server_side"
        if not isinstance(codec, Learned):
            self._check_shapes(name, codec, part)
            return Slot(name, codec, seed, exact)
        # Two seconds of imports, for those who use it.
        from sfsim.workload.learned.slot import LearnedSlot

        try:
            return LearnedSlot(
                name,
                codec,
                seed,
                self.scenario.codec_training,
                self.prices.shape_after(part, 1)[1:],
                self.pixels,
                list(self.shards),
                self.one_server_model,
                self.device,
                exact,
            )
        except ConfigError as error:
            place = f"[codecs] {name}, {error.place}"
            raise ConfigError(place, error.found, error.expected, error.hint) from None

    def _check_shapes(self, name: str, codec: AnyCodec, part: str) -> None:
        """Refuse a codec that cannot encode what will come to it, before anything is trained."""
        smashed = getattr(self.scenario.codecs, _FORWARD.get(name, name))
        if name in _FORWARD and smashed.gradient_place != "input":
            return  # what comes back has another shape
        batch, sizes = self.scenario.batch_size, [len(rows) for rows in self.shards.values()]
        training = {min(batch, size) for size in sizes}
        training |= {rest for size in sizes if (rest := size % batch) > 1}  # a smaller last minibatch
        single = any(size % batch == 1 < batch for size in sizes)
        whole = self.scenario.evaluation.batch_size
        seen = [len(self.dataset.validation), len(self.dataset.test)]
        seen += sizes if self.scenario.evaluation.per_client else []
        evaluation = {part for size in seen for part in (min(whole, size), size % whole)} - {0}
        if name in _FORWARD:
            evaluation = set()
        for examples, trains in [(n, True) for n in sorted(training)] + [
            (n, False) for n in sorted(evaluation)
        ]:
            shape = self.prices.shape_after(part, examples)
            try:
                codec.check_shape(shape, trains)
                if single:
                    codec.check_single(shape := self.prices.shape_after(part, 1))
            except CodecError as error:
                expected = f"one that can encode a minibatch of shape {shape}: {error}"
                raise ConfigError(f"[codecs] {name}", codec.name, expected) from None

        if remark := codec.remark(self.prices.shape_after(part, min(training))):
            self.notes.append(f"[codecs] {name}, {codec.name}: {remark}")

    @property
    def pixels(self) -> int:
        """Pixels of one input image; samples of a series' channel."""
        return prod(self.dataset.train.stored_inputs.shape[2:])

    def codec_states(self, client: str) -> dict[str, State]:
        """The present weights of the learned codecs that a client's minibatches go through, by slot."""
        return {name: state for name, slot in self.slots.items() if (state := slot.state(client)) is not None}

    def server_name(self, client: str) -> str:
        """Name of the server-side model that serves a client, in the log of accesses."""
        return "server model" if self.one_server_model else f"server model of {client}"

    def batches(self, client: str, round: int) -> Sequence[tuple[Minibatch, np.ndarray]]:
        """Minibatches of a client in a round, each with the rows of the training split it takes."""
        # Only the present round of a client is asked for, so older ones are forgotten. Works ask in their threads.
        drawn, plan = self._plans.get(client, (0, []))
        if drawn != round:
            plan = list(self._draw(client, round))
            self._plans[client] = (round, plan)
        return plan

    def _draw(self, client: str, round: int) -> Sequence[tuple[Minibatch, np.ndarray]]:
        scenario, seed = self.scenario, self.scenario.seeds.data
        plan: list[tuple[Minibatch, np.ndarray]] = []
        epoch = 0
        wanted = scenario.local_steps
        while (len(plan) < wanted) if wanted else (epoch < (scenario.local_epochs or 1)):
            epoch += 1
            rng = stream(seed, "minibatches", client, round, epoch)
            for rows in minibatches(self.shards[client], scenario.batch_size, rng):
                plan.append((Minibatch(round, epoch, len(plan) + 1), rows))
        return plan[:wanted]

    def rows(self, client: str, at: Minibatch) -> np.ndarray:
        """Rows of the training split of one minibatch."""
        return self.batches(client, at.round)[at.minibatch - 1][1]

    def training_batch(self, client: str, at: Minibatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of one minibatch, augmented where the scenario says so; see `Examples.batch`.

        What happens to an example depends on its client, round, epoch and row alone.
        """
        rows, augmentation = self.rows(client, at), self._augmentation
        if augmentation is None:
            return self.dataset.train.batch(rows, self.device)
        seed = self.scenario.seeds.data
        drawn = [integer(seed, "augmentation", client, at.round, at.epoch, int(row)) for row in rows]
        return self.dataset.train.batch(rows, self.device, lambda x, y: augmentation(x, y, drawn))

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`."""
        return {
            "clients": {name: replica.snapshot() for name, replica in self.clients.items()},
            "servers": {name: replica.snapshot() for name, replica in self._distinct_servers().items()},
            "slots": {name: slot.snapshot() for name, slot in self.slots.items()},
            "losses": self.losses,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        parts: tuple[tuple[str, Mapping[str, Saved]], ...] = (
            ("clients", self.clients),
            ("servers", self._distinct_servers()),
            ("slots", self.slots),
        )
        for kind, members in parts:
            for name, member in members.items():
                member.restore(saved[kind][name])
        self.losses = saved["losses"]

    def _distinct_servers(self) -> dict[str, Replica]:
        first = next(iter(self.servers))
        return {first: self.servers[first]} if self.one_server_model else self.servers

    def work(
        self,
        party: str,
        client: str,
        at: Minibatch,
        operation: str,
        costs: Costs,
        run: Callable[[], Outgoing | None],
        touches: Sequence[str],
        accesses: tuple[Access, ...] = (),
    ) -> Work:
        """Make a work; it runs behind earlier works that touch or access the same objects."""
        names = (*touches, *(access.shared for access in accesses))
        return Work(
            key=WorkKey(party, client, at.round, at.epoch, at.minibatch, operation),
            costs=costs,
            launch=lambda: self.executor.submit(run, names),
            accesses=accesses,
        )
