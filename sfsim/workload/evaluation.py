"""The global model, measured: on validation and test split, codecs on and off, outside simulated time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from sfsim.learning.averaging import is_batch_norm_statistic
from sfsim.learning.cut import Parts
from sfsim.learning.metrics import evaluate
from sfsim.workload.replica import Replica, State, load
from sfsim.workload.work import Measured

if TYPE_CHECKING:
    from sfsim.learning.dataset import Examples
    from sfsim.workload.models import Models
    from sfsim.workload.setting import Setting


class Evaluations:
    """Keeps the halves of each round's global model and measures them.

    With ``batch_norm = "local"`` there is one global model per client (the common weights with the client's
    own statistics); the figure reported is their mean, weighted by samples.
    """

    def __init__(self, setting: Setting, models: Models) -> None:
        self._setting, self._models = setting, models
        self._named = copy.deepcopy(setting.named)
        for part in self._named.values():
            part.eval()
        self._parts = Parts(**self._named)
        self._halves: dict[tuple[int, str], dict[str, State]] = {}

    def keep(self, half: str, round: int, client: str = "") -> None:
        """Keep one half of the global model, as it is now; per client where statistics are local."""
        setting, models = self._setting, self._models
        replicas = setting.clients if half == "client-side" else setting.servers
        if client:
            common = replicas[client].state()
        elif setting.one_server_model and half == "server-side":
            common = next(iter(replicas.values())).state()
        else:
            common = models.client_side if half == "client-side" else models.server_side
        if models.local_statistics:
            self._halves[round, half] = {
                name: common | _statistics(replica) for name, replica in replicas.items()
            }
        else:
            self._halves[round, half] = {"": common}

    def evaluate(self, round: int) -> list[Measured]:
        """Measure a round's global model, and forget it."""
        setting, wanted = self._setting, self._setting.scenario.evaluation
        client_side = self._halves.pop((round, "client-side"))
        server_side = self._halves.pop((round, "server-side"))
        rows = [self._train_loss(round)]
        sums: dict[tuple[str, str, str, str], float] = {}
        total = sum(len(setting.shards[name]) for name in client_side if name)
        for variant in client_side:
            load(self._named, client_side[variant] | server_side[variant])
            share = len(setting.shards[variant]) / total if variant else 1.0
            for row in self._measure(wanted.codec_off, wanted.per_client):
                key = (row.split, row.codec, row.metric, row.client)
                sums[key] = sums.get(key, 0.0) + share * row.value
        rows += [
            Measured(split, codec, metric, value, who) for (split, codec, metric, who), value in sums.items()
        ]
        return rows

    def snapshot(self) -> dict[Any, Any]:
        """See `sfsim.workload.saving`."""
        return self._halves

    def restore(self, saved: dict[Any, Any]) -> None:
        """See `sfsim.workload.saving`."""
        self._halves = saved

    def _measure(self, codec_off: bool, per_client: bool) -> list[Measured]:
        data = self._setting.dataset
        tasks: list[tuple[str, str, str, Examples]] = [
            (split, codec, "", examples)
            for split, examples in (("validation", data.validation), ("test", data.test))
            if len(examples)
            for codec in (("on", "off") if codec_off else ("on",))
        ]
        if per_client:
            tasks += [("train", "on", name, data.train[rows]) for name, rows in self._setting.shards.items()]
        submit = self._setting.executor.submit
        futures = [(task, submit(self._task(task[3], task[1] == "on"), ())) for task in tasks]
        return [
            Measured(split, codec, metric, value, client)
            for (split, codec, client, _), future in futures
            for metric, value in future.result().items()
        ]

    def _task(self, examples: Examples, codec_on: bool) -> Callable[[], dict[str, float]]:
        slots, scenario = self._setting.slots, self._setting.scenario

        def transmit(tensor: torch.Tensor, slot: str) -> torch.Tensor:
            return slots[slot].transmit(tensor)

        return lambda: evaluate(
            self._parts,
            examples,
            scenario.evaluation.batch_size,
            transmit if codec_on else None,
            scenario.loss,
        )

    def _train_loss(self, round: int) -> Measured:
        losses = [
            pair
            for key in sorted(self._setting.losses)
            if key[0] <= round
            for pair in self._setting.losses.pop(key)
        ]
        total = sum(batch for _, batch in losses)
        mean = sum(loss * batch for loss, batch in losses) / total if total else float("nan")
        return Measured("train", "on", "loss", mean, "")


def _statistics(replica: Replica) -> State:
    return {name: value for name, value in replica.state().items() if is_batch_norm_statistic(name)}
