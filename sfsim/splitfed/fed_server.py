"""The fed server: it hands out the client-side model and averages what comes back."""

from __future__ import annotations

from collections.abc import Sequence

from sfsim.splitfed.party import Party, Process


class FedServer(Party):
    """The fed server; it may stand on the main server's host and then shares its device."""

    def send_model(self, client: str, round: int, start_s: float = 0.0) -> Process:
        """Send the global client-side model to one client, not before the client has joined."""
        if start_s > self.env.now:
            yield self.env.timeout(start_s - self.env.now)
        outgoing = yield from self.compute(self.workload.model_out(self.name, client, round))
        self.send(client, outgoing)

    def collect_models(self, clients: Sequence[str], round: int) -> Process:
        """Receive and decode the models of a round, in the order in which they arrive."""
        for _ in clients:
            message = yield from self.receive("client model")
            yield from self.compute(
                self.workload.model_in(self.name, message.source, message.source, round, message.payload)
            )

    def aggregate(self, clients: Sequence[str], round: int) -> Process:
        """Average the client-side models, weighted by samples."""
        yield from self.compute(self.workload.aggregate(self.name, clients, round))
