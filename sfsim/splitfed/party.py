"""A party: a name, an inbox, a device, and the three verbs compute, send and receive."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from sfsim.errors import NetworkError
from sfsim.ledger import AccessRecord, ComputationRecord

if TYPE_CHECKING:
    import simpy

    from sfsim.device.server import DeviceServer
    from sfsim.ledger import Ledger
    from sfsim.network import AnyNetwork, Message
    from sfsim.payload import Outgoing
    from sfsim.workload.work import Minibatch, Work, Workload

Process = Generator["simpy.Event", Any, Any]

MAIN_SERVER = "main server"
FED_SERVER = "fed server"


class Party:
    """One of client, main server, fed server; what they have in common.

    Parameters
    ----------
    name : str
        Name in the network and in the ledger.
    env, network, device, workload, ledger
        The simulated clock, the network, the machine that it computes on, what there is to do, and the record.
    """

    def __init__(
        self,
        name: str,
        env: simpy.Environment,
        network: AnyNetwork,
        device: DeviceServer,
        workload: Workload,
        ledger: Ledger,
    ) -> None:
        self.name, self.env, self.network = name, env, network
        self.device, self.workload, self.ledger = device, workload, ledger
        self.inbox = network.inbox(name)

    def compute(self, work: Work) -> Generator[simpy.Event, Any, Outgoing | None]:
        """Queue for the device, spend the work's cost on it, and return what is to be sent."""
        key = work.key

        def begin() -> None:
            rows, now = self.ledger.accesses, self.env.now
            where = (key.party, key.client, key.operation, key.round, key.epoch, key.minibatch)
            for access in work.accesses:
                rows.append(AccessRecord(len(rows), now, access.shared, access.mode, *where))
            work.start()

        yield from self.device.spend(
            work.costs,
            operation=key.operation,
            party=self.name,
            client=key.client,
            round=key.round,
            epoch=key.epoch,
            minibatch=key.minibatch,
            on_start=begin,
        )
        return work.collect()

    def send(self, destination: str, outgoing: Outgoing | None) -> simpy.Event:
        """Hand a payload to the network; the event fires when its last byte has been delivered."""
        assert outgoing is not None, "a work that feeds the network returned nothing to send"
        return self.network.send(self.name, destination, outgoing)

    def receive(self, kind: str, sender: str | None = None) -> Generator[simpy.Event, Any, Message]:
        """Wait for the next message of a kind, of one sender or of any.

        Raises NetworkError for one that lost bytes for good while its content is not known (a recorded run): what
        would be learnt from the rest was never recorded.
        """
        message = yield from self.inbox.receive(kind=kind, sender=sender)
        if message.missing and not message.payload:
            lost = sum(end - start for start, end in message.missing)
            where = f"{message.kind} of round {message.round} from {message.source} to {self.name}"
            raise NetworkError(
                f"{where} lost {lost:,} bytes for good at {self.env.now:g} s: a recorded run needs links and "
                "transports that deliver everything (retries, or no loss)"
            )
        return message

    def send_codecs(self, receiver: str, client: str, at: Minibatch, slots: Sequence[str]) -> Process:
        """Send the weights of learned codecs to a receiver, who is or serves `client`."""
        for slot in slots:
            work = self.workload.codec_out(self.name, receiver, client, at, slot)
            self.send(receiver, (yield from self.compute(work)))

    def receive_codecs(
        self, sender: str | None, client: str, at: Minibatch, turn: int, slots: Sequence[str]
    ) -> Process:
        """Receive and take over as many codec updates as slots are named, from one sender or any."""
        for _ in slots:
            message = yield from self.receive("codec update", sender)
            yield from self.compute(
                self.workload.codec_in(
                    self.name, message.source, client, at, turn, message.slot, message.payload
                )
            )

    def wait(self, event: simpy.Event, phase: str, client: str = "", round: int = 0) -> Process:
        """Wait for an event, and write down how long it took."""
        start_s = self.env.now
        value = yield event
        if self.env.now > start_s:
            self.log_wait(phase, start_s, client, round)
        return value

    def log_wait(
        self, phase: str, start_s: float, client: str = "", round: int = 0, end_s: float | None = None
    ) -> None:
        """Write down a wait that ended (now, unless told)."""
        self.ledger.computations.append(
            ComputationRecord(
                party=self.name,
                client=client,
                phase=phase,
                operation="wait",
                round=round,
                epoch=0,
                minibatch=0,
                flops=0.0,
                bytes_touched=0.0,
                serial_symbols=0.0,
                launches=0.0,
                start_s=start_s,
                end_s=self.env.now if end_s is None else end_s,
                joules=0.0,
            )
        )
