"""The main server: it keeps the server-side model, one for all clients or one copy for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sfsim.splitfed.party import FED_SERVER, Party, Process
from sfsim.workload.work import SKIPPED, Minibatch

if TYPE_CHECKING:
    from sfsim.network import Message
    from sfsim.splitfed.meeting import Meeting


class MainServer(Party):
    """The main server.

    Parameters
    ----------
    u_shaped : bool
        Two cuts: smashed data go back down, and the gradient comes from the client.
    one_model : bool
        All clients share one server-side model, so a U-shaped visit holds it from forward to backward.
    meeting : Meeting
        With each client, at the end of local epochs.
    """

    def __init__(self, *args: Any, u_shaped: bool, one_model: bool, meeting: Meeting) -> None:
        super().__init__(*args)
        self.u_shaped, self.one_model, self.meeting = u_shaped, one_model, meeting

    def serve(self, client: str, at: Minibatch, message: Message | None = None) -> Process:
        """One minibatch of one client: forward, backward, gradient down, optimiser step.

        The gradient is computed with the weights before the step and sent before it.
        """
        if message is None:
            message = yield from self.receive("smashed data", client)
        if message.delivered_s < self.env.now:
            self.log_wait("turn", message.delivered_s, client, at.round)
        outgoing = yield from self.compute(self.workload.server_forward(client, at, message.payload))
        gradient = None
        if self.u_shaped:
            self.send(client, outgoing)
            start_s = self.env.now
            gradient = (yield from self.receive("gradient", client)).payload
            if self.one_model:
                self.log_wait("hold", start_s, client, at.round)
        if gradient == SKIPPED:
            yield from self.compute(self.workload.skip(self.name, client, at))
        else:
            outgoing = yield from self.compute(self.workload.server_backward(client, at, gradient))
            self.send(client, outgoing)
            yield from self.compute(self.workload.server_step(client, at))
        yield from self.meeting.meet(client, at)
        swapped = self.workload.codecs_swapped
        yield from self.send_codecs(client, client, at, swapped(client, at, "server"))
        yield from self.receive_codecs(client, client, at, at.round, swapped(client, at, "client"))

    def exchange_codecs(
        self, starts_s: Mapping[str, float], round: int, turn: int, origin: str = FED_SERVER
    ) -> Process:
        """Before a turn: send clients what they need of this server's learned codecs, and take over theirs."""
        for client, start_s in starts_s.items():
            self.env.process(self._send_due(client, start_s, round, turn))
        due = self.workload.codecs_due(self.name, turn, "client")
        yield from self.receive_codecs(origin, next(iter(starts_s)), Minibatch(round, 0, 0), turn, due)

    def _send_due(self, client: str, start_s: float, round: int, turn: int) -> Process:
        due = self.workload.codecs_due(client, turn, "server")
        if start_s > self.env.now:
            yield self.env.timeout(start_s - self.env.now)
        yield from self.send_codecs(client, client, Minibatch(round, 0, 0), due)

    def serve_round(self, client: str, round: int) -> Process:
        """All minibatches of one client in a global round."""
        for at in self.workload.plan(client, round):
            yield from self.serve(client, at)

    def aggregate(self, clients: Sequence[str], round: int) -> Process:
        """Average the copies of the server-side model, weighted by samples."""
        yield from self.compute(self.workload.aggregate(self.name, clients, round))
