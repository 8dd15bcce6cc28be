"""A client: it keeps the data, the front end and, U-shaped, the back end of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sfsim.splitfed.party import FED_SERVER, MAIN_SERVER, Party, Process
from sfsim.workload.work import SKIPPED, Minibatch

if TYPE_CHECKING:
    from sfsim.splitfed.meeting import Meeting


class Client(Party):
    """One client.

    Parameters
    ----------
    u_shaped : bool
        Two cuts: the loss is computed here and labels never leave.
    meeting : Meeting
        With the main server, at the end of local epochs.
    start_s : float
        When the client joins, in simulated seconds.
    """

    def __init__(self, *args: Any, u_shaped: bool, meeting: Meeting, start_s: float = 0.0) -> None:
        super().__init__(*args)
        self.u_shaped, self.meeting, self.start_s = u_shaped, meeting, start_s

    def receive_model(self, round: int, sender: str = FED_SERVER) -> Process:
        """Wait for the client-side model of a round and take it over."""
        start_s = self.env.now
        message = yield from self.receive("client model", sender)
        # Until the model sets out, this client waits for the others; the transfer itself is the message's.
        waited_until_s = max(start_s, message.queued_s)
        if waited_until_s > start_s:
            self.log_wait("barrier", start_s, self.name, round, waited_until_s)
        yield from self.compute(self.workload.model_in(self.name, sender, self.name, round, message.payload))

    def receive_codec_weights(self, round: int, turn: int, owner: str | None = None) -> Process:
        """Wait for the weights of learned codecs that are due, from whoever sends them (or of one owner's)."""
        due = self.workload.codecs_due(self.name, turn, owner)
        yield from self.receive_codecs(None, self.name, Minibatch(round, 0, 0), turn, due)

    def send_model(self, round: int, destination: str = FED_SERVER, codecs: Sequence[str] = ()) -> Process:
        """Send the client-side model on, and learned codecs: to the fed server, or to the next client."""
        outgoing = yield from self.compute(self.workload.model_out(self.name, self.name, round))
        sent = self.send(destination, outgoing)
        yield from self.send_codecs(destination, self.name, Minibatch(round, 0, 0), codecs)
        yield sent

    def train(self, at: Minibatch) -> Process:
        """One minibatch: smashed data up, gradient down; U-shaped, a visit to the back end between them."""
        outgoing = yield from self.compute(self.workload.client_forward(self.name, at))
        self.send(MAIN_SERVER, outgoing)
        if self.u_shaped:
            message = yield from self.receive("smashed data", MAIN_SERVER)
            outgoing = yield from self.compute(self.workload.client_tail(self.name, at, message.payload))
            if outgoing is None:
                outgoing = yield from self.compute(self.workload.client_gradient(self.name, at))
            self.send(MAIN_SERVER, outgoing)
            if outgoing is not None and outgoing.payload == SKIPPED:
                yield from self.compute(self.workload.skip(self.name, self.name, at))
                return
        message = yield from self.receive("gradient", MAIN_SERVER)
        if message.payload == SKIPPED:
            yield from self.compute(self.workload.skip(self.name, self.name, at))
            return
        yield from self.compute(self.workload.client_backward(self.name, at, message.payload))

    def train_round(self, round: int) -> Process:
        """All minibatches of all local epochs of a global round."""
        for at in self.workload.plan(self.name, round):
            yield from self.train(at)
            ended_s = self.env.now
            if (yield from self.meeting.meet(self.name, at)):
                self.log_wait("barrier", ended_s, self.name, round)
            swapped = self.workload.codecs_swapped
            yield from self.send_codecs(MAIN_SERVER, self.name, at, swapped(self.name, at, "client"))
            yield from self.receive_codecs(
                MAIN_SERVER, self.name, at, round, swapped(self.name, at, "server")
            )
