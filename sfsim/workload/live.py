"""The live workload: real PyTorch split training with real codecs (implements `workload.work.Workload`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsim.codec import Learned
from sfsim.workload.evaluation import Evaluations
from sfsim.workload.models import Models
from sfsim.workload.saving import Saved
from sfsim.workload.selection import BestEpochs
from sfsim.workload.setting import Setting
from sfsim.workload.training import Training
from sfsim.workload.work import Measured, Minibatch, Work

if TYPE_CHECKING:
    from sfsim.workload.learned.updates import CodecUpdates

if TYPE_CHECKING:
    import numpy as np


class LiveWorkload:
    """What the parties of a live run ask; the work is in `Training`, `Models` and `Evaluations`."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        epochs = BestEpochs(setting)
        self._epochs = epochs
        self.codecs = _codec_updates(setting, epochs)
        training, models = Training(setting, epochs), Models(setting, epochs, self.codecs)
        self._evaluations = Evaluations(setting, models, self.codecs)
        self.client_forward = training.client_forward
        self.server_forward = training.server_forward
        self.client_tail = training.client_tail
        self.client_gradient = training.client_gradient
        self.skip = training.skip
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

    def codecs_due(self, receiver: str, turn: int, owner: str | None = None) -> Sequence[str]:
        """Codec slots whose new weights a receiver is to get for a turn."""
        return self.codecs.due(receiver, turn, owner) if self.codecs else []

    def codecs_returning(self, round: int) -> Sequence[str]:
        """Codec slots whose weights clients hand back at the end of a round."""
        return self.codecs.returning(round) if self.codecs else []

    def codecs_swapped(self, client: str, at: Minibatch, owner: str) -> Sequence[str]:
        """Codec slots of an owner whose weights travel when a minibatch is done."""
        return self.codecs.swapped(client, at, owner) if self.codecs else []

    def codec_out(self, sender: str, receiver: str, client: str, at: Minibatch, slot: str) -> Work:
        """Encode the weights of a learned codec."""
        assert self.codecs is not None
        return self.codecs.codec_out(sender, receiver, client, at, slot)

    def codec_in(
        self, receiver: str, sender: str, client: str, at: Minibatch, turn: int, slot: str, payload: bytes
    ) -> Work:
        """Decode the weights of a learned codec."""
        assert self.codecs is not None
        return self.codecs.codec_in(receiver, sender, client, at, turn, slot, payload)

    def keep(self, half: str, round: int, client: str = "") -> None:
        """Keep one half of the global model as it is now."""
        self._evaluations.keep(half, client)
        if self.codecs:
            self.codecs.settle("client" if half == "client-side" else "server", round, client)

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """The first test examples, and what the model of the last evaluation makes of them."""
        return self._evaluations.predictions

    def evaluate(self, round: int) -> list[Measured]:
        """Measure the global model of a round."""
        return self._evaluations.evaluate(round)

    def saturated(self) -> dict[str, int]:
        """How many values each slot's codec had to clip to its range, for slots that had to."""
        slots = self.setting.slots.items()
        return {name: sum(slot.saturated.values()) for name, slot in slots if slot.saturated}

    def save_codecs(self, folder: Path) -> None:
        """Write the learned codecs of the last global model, one file per slot; without any, nothing."""
        if self.codecs:
            self.codecs.save(folder)

    def snapshot(self) -> dict[str, Any]:
        """Everything that later works depend on; see `sfsim.workload.saving`."""
        return {name: part.snapshot() for name, part in self._parts().items()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` returned."""
        for name, part in self._parts().items():
            part.restore(saved[name])

    def _parts(self) -> dict[str, Saved]:
        parts: dict[str, Saved] = {
            "setting": self.setting,
            "epochs": self._epochs,
            "models": self.models,
            "evaluations": self._evaluations,
        }
        return parts | {"codecs": self.codecs} if self.codecs else parts

    def close(self) -> None:
        """End the threads."""
        self.setting.executor.close()


def _codec_updates(setting: Setting, epochs: BestEpochs) -> CodecUpdates | None:
    if not any(isinstance(slot.codec, Learned) for slot in setting.slots.values()):
        return None
    # Two seconds of imports, for those who use it.
    from sfsim.workload.learned.updates import CodecUpdates

    return CodecUpdates(setting, epochs)
