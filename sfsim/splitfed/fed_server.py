"""The fed server: it hands out the client-side model and averages what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sfsim.splitfed.party import MAIN_SERVER, Party, Process
from sfsim.workload.work import Minibatch


class FedServer(Party):
    """The fed server; it may stand on the main server's host and then shares its device.

    Parameters
    ----------
    multicast : bool
        Clients that start together get one payload, which a cell may deliver to all of them at once.
    """

    def __init__(self, *args: Any, multicast: bool = False) -> None:
        super().__init__(*args)
        self.multicast = multicast

    def send_models(self, starts_s: Mapping[str, float], round: int) -> None:
        """Begin to send the global client-side model to clients that join at `starts_s`, or have joined."""
        if not self.multicast:
            for client, start_s in starts_s.items():
                self.env.process(self.send_model(client, round, start_s))
            return
        together: dict[float, list[str]] = {}
        for client, start_s in starts_s.items():
            together.setdefault(max(start_s, self.env.now), []).append(client)
        for start_s, clients in together.items():
            self.env.process(self._send_to_all(clients, round, start_s))

    def _send_to_all(self, clients: Sequence[str], round: int, start_s: float) -> Process:
        due = {client: self.workload.codecs_due(client, round, "client") for client in clients}
        if start_s > self.env.now:
            yield self.env.timeout(start_s - self.env.now)
        outgoing = yield from self.compute(self.workload.model_out(self.name, clients[0], round))
        assert outgoing is not None
        self.network.send_to_all(self.name, clients, outgoing)
        for slot in dict.fromkeys(slot for slots in due.values() for slot in slots):
            group = [client for client in clients if slot in due[client]]
            at = Minibatch(round, 0, 0)
            work = self.workload.codec_out(self.name, group[0], group[0], at, slot)
            outgoing = yield from self.compute(work)
            assert outgoing is not None
            self.network.send_to_all(self.name, group, outgoing)

    def send_model(self, client: str, round: int, start_s: float = 0.0) -> Process:
        """Send the global client-side model to one client, and its codecs, not before the client has joined."""
        due = self.workload.codecs_due(client, round, "client")
        if start_s > self.env.now:
            yield self.env.timeout(start_s - self.env.now)
        outgoing = yield from self.compute(self.workload.model_out(self.name, client, round))
        self.send(client, outgoing)
        yield from self.send_codecs(client, client, Minibatch(round, 0, 0), due)

    def send_decoders(self, client: str, round: int) -> Process:
        """Send the main server the decoders of the codecs that clients own, as averaged (`client` is any)."""
        due = self.workload.codecs_due(MAIN_SERVER, round, "client")
        yield from self.send_codecs(MAIN_SERVER, client, Minibatch(round, 0, 0), due)

    def collect_models(self, clients: Sequence[str], round: int) -> Process:
        """Receive and decode the models of a round, in the order in which they arrive."""
        for _ in clients:
            message = yield from self.receive("client model")
            yield from self.compute(
                self.workload.model_in(self.name, message.source, message.source, round, message.payload)
            )
        for client in clients:
            slots = self.workload.codecs_returning(round)
            yield from self.receive_codecs(client, client, Minibatch(round, 0, 0), round, slots)

    def aggregate(self, clients: Sequence[str], round: int) -> Process:
        """Average the client-side models, weighted by samples."""
        yield from self.compute(self.workload.aggregate(self.name, clients, round))
