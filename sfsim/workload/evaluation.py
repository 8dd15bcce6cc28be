"""The global model, measured: on validation and test split, codecs on and off, outside simulated time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from sfsim.learning.averaging import is_batch_norm_statistic
from sfsim.learning.cut import Parts
from sfsim.learning.metrics import evaluate, predict
from sfsim.workload.coding import to_array
from sfsim.workload.replica import Replica, State, load
from sfsim.workload.work import Measured

if TYPE_CHECKING:
    import numpy as np

    from sfsim.learning.dataset import Examples
    from sfsim.workload.coding import Slot
    from sfsim.workload.learned.passage import Passage
    from sfsim.workload.learned.updates import CodecUpdates
    from sfsim.workload.models import Models
    from sfsim.workload.setting import Setting


# What a tensor at each cut is called in SplitFedZip's tables: bits per pixel of the input image.
_BPP = {"smashed_up": "bpp_s1", "smashed_down": "bpp_s2"}
_NMSE = {"smashed_up": "nmse_s1", "smashed_down": "nmse_s2"}


class Evaluations:
    """Keeps the halves of each round's global model and measures them.

    With ``batch_norm = "local"`` there is one global model per client (the common weights with the client's
    own statistics); the figure reported is their mean, weighted by samples.
    """

    def __init__(self, setting: Setting, models: Models, codecs: CodecUpdates | None) -> None:
        self._setting, self._models, self._codecs = setting, models, codecs
        self._named = copy.deepcopy(setting.named)
        self._train_mode = "train-mode-evaluation" in setting.scenario.codec_training.as_published
        for part in self._named.values():
            part.train(self._train_mode)
        self._parts = Parts(**self._named)
        # No half is kept before both of the round before were measured, or were not to be.
        self._halves: dict[str, dict[str, State]] = {}
        self._codec_states: dict[str, State] = {}
        self.predictions: dict[str, np.ndarray] = {}

    def keep(self, half: str, client: str = "") -> None:
        """Keep one half of the global model, as it is now; per client where statistics are local."""
        setting, models = self._setting, self._models
        if self._codecs:
            owner = "client" if half == "client-side" else "server"
            for name in self._codecs.slots:
                if self._codecs.owner(name) == owner and name in _BPP:
                    self._codec_states[name] = self._codecs.on_the_wire(name, client)
        replicas = setting.clients if half == "client-side" else setting.servers
        if client:
            common = replicas[client].state()
        elif setting.one_server_model and half == "server-side":
            common = next(iter(replicas.values())).state()
        else:
            common = models.client_side if half == "client-side" else models.server_side
        if models.local_statistics:
            self._halves[half] = {name: common | _statistics(replica) for name, replica in replicas.items()}
        else:
            self._halves[half] = {"": common}

    def evaluate(self, round: int) -> list[Measured]:
        """Measure a round's global model, and forget it."""
        setting, wanted = self._setting, self._setting.scenario.evaluation
        client_side = self._halves.pop("client-side")
        server_side = self._halves.pop("server-side")
        rows = [self._train_loss(round), *self._gaps(round)]
        sums: dict[tuple[str, str, str, str], float] = {}
        passages = self._passages()
        total = sum(len(setting.shards[name]) for name in client_side if name)
        for variant in client_side:
            load(self._named, client_side[variant] | server_side[variant])
            share = len(setting.shards[variant]) / total if variant else 1.0
            for row in self._measure(wanted.codec_off, wanted.per_client, passages):
                key = (row.split, row.codec, row.metric, row.client)
                sums[key] = sums.get(key, 0.0) + share * row.value
        self._keep_predictions(wanted.keep_predictions, passages)
        rows += [
            Measured(split, codec, metric, value, who) for (split, codec, metric, who), value in sums.items()
        ]
        return rows

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`."""
        return {"halves": self._halves, "codecs": self._codec_states, "predictions": self._predicted()}

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        self._halves, self._codec_states = saved["halves"], saved["codecs"]
        self.predictions = {name: tensor.numpy() for name, tensor in saved["predictions"].items()}

    def _predicted(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in self.predictions.items()}

    def _passages(self) -> dict[str, Slot | Passage]:
        """What smashed data go through: codecs, learned ones with the weights of the global model."""
        passages: dict[str, Slot | Passage] = {}
        for name, slot in self._setting.slots.items():
            if name not in _BPP:
                continue
            if self._codecs is None or name not in self._codecs.slots:
                passages[name] = slot
                continue
            from sfsim.workload.learned.passage import Passage

            state = self._codec_states.pop(name)
            passages[name] = Passage(self._codecs.slots[name], state, self._train_mode)
        return passages

    def _measure(
        self, codec_off: bool, per_client: bool, passages: dict[str, Slot | Passage]
    ) -> list[Measured]:
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
        futures = [
            (task, submit(self._task(task[3], passages if task[1] == "on" else None), ())) for task in tasks
        ]
        return [
            Measured(split, codec, metric, value, client)
            for (split, codec, client, _), future in futures
            for metric, value in future.result().items()
        ]

    def _task(
        self, examples: Examples, passages: dict[str, Slot | Passage] | None
    ) -> Callable[[], dict[str, float]]:
        scenario, pixels = self._setting.scenario, self._setting.pixels * len(examples)

        def measure() -> dict[str, float]:
            bpp: dict[str, float] = {}
            error: dict[str, float] = {}
            energy: dict[str, float] = {}

            def transmit(tensor: torch.Tensor, slot: str) -> torch.Tensor:
                assert passages is not None
                arrival = passages[slot].transmit(tensor)
                for key, bits in (
                    (_BPP[slot], arrival.bits),
                    (f"published_{_BPP[slot]}", arrival.published_bits),
                ):
                    bpp[key] = bpp.get(key, 0.0) + bits / pixels
                for sums, values in ((error, arrival.tensor - tensor), (energy, tensor)):
                    sums[slot] = sums.get(slot, 0.0) + values.double().square().sum().item()
                return arrival.tensor

            found = evaluate(
                self._parts,
                examples,
                scenario.evaluation.batch_size,
                transmit if passages is not None else None,
                scenario.loss,
                eval_mode=not self._train_mode,
            )
            nmse = {_NMSE[slot]: _over(error[slot], energy[slot]) for slot in error}
            return found | bpp | nmse

        return measure

    def _keep_predictions(self, count: int, passages: dict[str, Slot | Passage]) -> None:
        """Keep what the model makes of the first test examples (local statistics: the last client's model)."""
        examples = self._setting.dataset.test[:count]
        if len(examples):
            inputs, _ = examples.batch(slice(None), self._setting.device)
            crossed: dict[str, np.ndarray] = {}

            def transmit(tensor: torch.Tensor, slot: str) -> torch.Tensor:
                crossed[slot] = to_array(tensor)
                return passages[slot].transmit(tensor).tensor

            predicted = predict(self._parts, inputs, transmit, self._setting.scenario.loss)
            self.predictions = {
                "inputs": examples.stored_inputs.numpy(),
                "targets": examples.stored_targets.numpy(),
                "predictions": to_array(predicted.to(torch.uint8)),
            } | (crossed if self._setting.scenario.evaluation.keep_smashed_data else {})

    def _gaps(self, round: int) -> list[Measured]:
        """Per learned codec, how far the versions on the wire are behind the trainees, in squared error."""
        return [
            Measured("train", "on", f"{name}_{whose}_mse", value, "")
            for name, slot in (self._codecs.slots.items() if self._codecs else ())
            for whose, value in zip(("wire", "trainee"), slot.take_gaps(round), strict=True)
        ]

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


def _over(error: float, energy: float) -> float:
    return error / energy if energy else math.inf if error else 0.0


def _statistics(replica: Replica) -> State:
    return {name: value for name, value in replica.state().items() if is_batch_norm_statistic(name)}
