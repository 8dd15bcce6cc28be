"""The live workload: real PyTorch split training with real codecs (implements `workload.work.Workload`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sfsim.workload.evaluation import Evaluations
from sfsim.workload.models import Models
from sfsim.workload.saving import Saved
from sfsim.workload.selection import BestEpochs
from sfsim.workload.setting import Setting
from sfsim.workload.training import Training
from sfsim.workload.work import Measured, Minibatch


class LiveWorkload:
    """What the parties of a live run ask; the work is in `Training`, `Models` and `Evaluations`."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        epochs = BestEpochs(setting)
        training, models = Training(setting, epochs), Models(setting, epochs)
        self._evaluations = Evaluations(setting, models)
        self._epochs = epochs
        self.client_forward = training.client_forward
        self.server_forward = training.server_forward
        self.client_tail = training.client_tail
        self.server_backward = training.server_backward
        self.server_step = training.server_step
        self.client_backward = training.client_backward
        self.model_out = models.model_out
        self.model_in = models.model_in
        self.aggregate = models.aggregate
        self.models = models

    def plan(self, client: str, round: int) -> Sequence[Minibatch]:
        """Minibatches of a client in a global round, in order."""
        return [at for at, _ in self.setting.batches(client, round)]

    def keep(self, half: str, round: int, client: str = "") -> None:
        """Keep one half of the global model as it is now."""
        self._evaluations.keep(half, round, client)

    def evaluate(self, round: int) -> list[Measured]:
        """Measure the global model of a round."""
        return self._evaluations.evaluate(round)

    def saturated(self) -> dict[str, int]:
        """How many values each slot's codec had to clip to its range, for slots that had to."""
        slots = self.setting.slots.items()
        return {name: sum(slot.saturated.values()) for name, slot in slots if slot.saturated}

    def snapshot(self) -> dict[str, Any]:
        """Everything that later works depend on; see `sfsim.workload.saving`."""
        return {name: part.snapshot() for name, part in self._parts().items()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` returned."""
        for name, part in self._parts().items():
            part.restore(saved[name])

    def _parts(self) -> dict[str, Saved]:
        return {
            "setting": self.setting,
            "epochs": self._epochs,
            "models": self.models,
            "evaluations": self._evaluations,
        }

    def close(self) -> None:
        """End the threads."""
        self.setting.executor.close()
