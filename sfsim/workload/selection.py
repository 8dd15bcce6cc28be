"""Best-validation aggregation: of a round's local epochs, the one that validated best is handed on.

SplitFedZip's published code averages, for each client, the weights of its best local epoch instead of the last
(specification: paper code, FedAvg scripts). Validation is free in simulated time and bytes, like all evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sfsim.errors import SimulationError
from sfsim.learning.cut import Parts
from sfsim.learning.metrics import evaluate
from sfsim.workload.replica import State

if TYPE_CHECKING:
    from sfsim.workload.setting import Setting
    from sfsim.workload.work import Minibatch


# Round, validation loss, client-side model, server-side model, learned codecs.
_Best = tuple[int, float, State, State, dict[str, State]]


class BestEpochs:
    """Keeps, per client, both halves of the model as they were after its best local epoch of the round.

    The parties wait for each other at the end of an epoch (`sfsim.splitfed.meeting`), so that both halves, and the
    codecs between them, are those of one epoch whatever the clock says.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._wanted = setting.scenario.aggregate == "best-validation"
        self._half_done: set[str] = set()
        self._best: dict[str, _Best] = {}

    def half_done(self, client: str, at: Minibatch) -> None:
        """The client's or the server's step of a minibatch is done; the second call ends an epoch."""
        if not self._wanted or not self._ends_epoch(client, at):
            return
        if client not in self._half_done:
            self._half_done.add(client)
            return
        self._half_done.remove(client)
        setting = self._setting
        own, server = setting.clients[client], setting.servers[client]
        loss = evaluate(
            Parts(**own.parts, **server.parts),
            setting.dataset.validation,
            setting.scenario.evaluation.batch_size,
            lambda tensor, slot: setting.slots[slot].preview(tensor, client),
            setting.scenario.loss,
        )["loss"]
        held = self._best.get(client)
        # A NaN never wins, and the first epoch of a round always replaces the last round's best.
        if held is None or held[0] != at.round or loss < held[1]:
            self._best[client] = (at.round, loss, own.state(), server.state(), setting.codec_states(client))

    def touches(self, client: str) -> list[str]:
        """What the end of an epoch looks at: both halves, so both steps wait for each other's work."""
        return [client, self._setting.server_name(client)] if self._wanted else []

    def client_side(self, client: str, round: int) -> State:
        """The client-side model that a client hands on in a round."""
        return self._best_of(client, round)[2] if self._wanted else self._setting.clients[client].state()

    def server_side(self, client: str, round: int) -> State:
        """The copy of the server-side model that is averaged for a client in a round."""
        return self._best_of(client, round)[3] if self._wanted else self._setting.servers[client].state()

    def codec_side(self, slot: str, client: str, round: int) -> State:
        """The weights of a learned codec that are averaged for a client in a round."""
        held = self._best_of(client, round)[4] if self._wanted else self._setting.codec_states(client)
        return held[slot]

    def _best_of(self, client: str, round: int) -> _Best:
        held = self._best.get(client)
        if held is None or held[0] != round or client in self._half_done:
            raise SimulationError(
                f"the best epoch of {client} is asked for before both halves of round {round} are done"
            )
        return held

    def snapshot(self) -> dict[str, Any]:
        """See `sfsim.workload.saving`."""
        return {"half_done": sorted(self._half_done), "best": self._best}

    def restore(self, saved: dict[str, Any]) -> None:
        """See `sfsim.workload.saving`."""
        self._half_done, self._best = set(saved["half_done"]), saved["best"]

    def _ends_epoch(self, client: str, at: Minibatch) -> bool:
        plan = self._setting.batches(client, at.round)
        return at.minibatch == len(plan) or plan[at.minibatch][0].epoch > at.epoch
