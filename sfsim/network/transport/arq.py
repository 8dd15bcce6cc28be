"""Selective-repeat ARQ: every packet has its own timer, and only what was lost is sent again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration
from sfsim.network.delivery import Attempt
from sfsim.network.transport.base import Path, Sending, Transport, lost_ranges

if TYPE_CHECKING:
    from sfsim.network.declarations import Framing

Ahead = Callable[[int], np.ndarray]
NEVER = 1 << 40


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a run of frames with repeats came to."""

    arrived_s: float
    sent: int
    wire_bytes: int
    given_up: np.ndarray
    met: np.ndarray


@declaration
class Arq(Transport):
    """Ideal selective repeat.

    Frames leave back to back. A frame whose acknowledgement is missing when its timer expires (one round trip
    and one acknowledgement after its last bit left) is sent again as soon as the line is free.
    Acknowledgements are never lost and take no capacity.

    Parameters
    ----------
    retries : int, optional
        How often a packet is sent again at most; what is lost then stays lost. Default: until it arrives.
    ack_bytes : int
        Length of an acknowledgement on the wire.
    margin_s : float
        How much later than the earliest acknowledgement the timer expires.

    Source: the default timer is that of the reference runs (ns-3 3.44, 14-byte acknowledgements, 1 us).
    Left out: window limits, lost acknowledgements.
    """

    preset: ClassVar[str] = "udp-ipv4-ethernet"
    kind: Literal["arq"] = "arq"
    retries: Annotated[int, Field(ge=0)] | None = None
    ack_bytes: Annotated[int, Field(ge=0)] = 14
    margin_s: Annotated[float, Field(ge=0)] = 1e-6

    def attempts(self, sending: Sending) -> Iterator[Attempt]:
        """Yield one attempt: all transmissions at line rate, and the time that the timers add as its tail."""
        framing, num_bytes, luck = sending.framing, sending.num_bytes, sending.luck
        packets, useful = framing.packets(num_bytes), framing.wire_bytes(num_bytes)
        if luck is None or not packets:
            yield Attempt(packets, useful)
            return
        path = sending.path()
        found = self.repeat(framing, num_bytes, path, lambda count: luck.ahead(1, count), luck.memory)
        luck.count(found.met)
        missing = lost_ranges(found.given_up, framing.payload_bytes, num_bytes)
        missing_bytes = sum(end - start for start, end in missing)
        missing_wire = missing_bytes + int(found.given_up.sum()) * framing.overhead_bytes
        yield Attempt(
            found.sent,
            found.wire_bytes,
            lost_packets=found.sent - packets + int(found.given_up.sum()),
            lost_bytes=found.wire_bytes - useful + missing_wire,
            repeated=found.sent - packets,
            tail_s=max(0.0, found.arrived_s - path.latency_s - found.wire_bytes * 8 / path.rate_bps),
            missing=missing,
            missing_wire_bytes=missing_wire,
        )

    def repeat(
        self, framing: "Framing", num_bytes: int, path: Path, ahead: Ahead, memory: int = 0
    ) -> Repeated:
        """Send `num_bytes` > 0 over an idle `path`; ``ahead(n)``: which of the first n frames are lost.

        `memory`: packet times after which the law of loss has forgotten its state.
        """
        from sfsim.network.transport import arq_kernel as kernel

        frames = framing.packets(num_bytes)
        frame_bytes = framing.payload_bytes + framing.overhead_bytes
        last_bytes = num_bytes - (frames - 1) * framing.payload_bytes + framing.overhead_bytes
        byte_s = 8 / path.rate_bps
        answer_s = path.rtt_s + self.ack_bytes * byte_s + self.margin_s
        attempts = NEVER if self.retries is None else self.retries + 1
        luck, room, out = 2 * frames + 64, frames + 64, np.empty(4)
        while True:
            given_up, met = np.zeros(frames, dtype=bool), np.zeros(luck, dtype=bool)
            ring = np.empty(room, np.int64), np.empty(room), np.empty(room, np.int64)
            status = kernel.run(
                ahead(luck),
                met,
                memory,
                frames,
                frame_bytes * byte_s,
                last_bytes * byte_s,
                answer_s,
                attempts,
                given_up,
                *ring,
                out,
            )
            if status == kernel.FINISHED:
                break
            # The same luck again, and more of it: the beginning does not change.
            luck, room = (2 * luck, room) if status == kernel.MORE_LUCK else (luck, 2 * room)
        arrived_s, left_s, sent, sent_last = out
        wire_bytes = int(sent) * frame_bytes - int(sent_last) * (frame_bytes - last_bytes)
        return Repeated(
            (left_s if given_up.all() else arrived_s) + path.latency_s, int(sent), wire_bytes, given_up, met
        )
