"""The plainest transport: full rate at once, and what is lost is sent again in repair rounds."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from sfsim.declaration import declaration
from sfsim.network.delivery import Attempt
from sfsim.network.transport.base import Sending, Transport

if TYPE_CHECKING:
    from sfsim.network.declarations import Framing

Draw = Callable[[int, int], np.ndarray]


@declaration
class Fluid(Transport):
    """The full rate from the first bit on.

    Round 1 sends all packets. One round-trip time after its last bit has left, the lost packets are sent
    again as round 2, and so on until nothing is lost. Repair is end to end: a packet that any link of the
    route loses occupied all of its links, in every round.

    Left out: congestion windows, repair while the round is still being sent, retry limits.
    """

    kind: Literal["fluid"] = "fluid"

    def attempts(self, sending: Sending) -> Iterator[Attempt]:
        """Yield the repair rounds."""
        return repair_rounds(sending.framing, sending.num_bytes, sending.luck, sending.rtt_s)


def repair_rounds(
    framing: "Framing", num_bytes: int, draw: Draw | None, rtt_s: Callable[[], float] = lambda: 0.0
) -> Iterator[Attempt]:
    """Yield the rounds that deliver `num_bytes` of payload.

    Parameters
    ----------
    framing : Framing
        How the payload becomes frames.
    num_bytes : int
        Payload bytes; zero need no frame.
    draw : callable, optional
        ``draw(round, packets)`` returns which packets are lost (bool, shape (packets,)); None: none, ever.
    rtt_s : callable
        How long the sender waits until it knows what was lost; asked when something was.

    Examples
    --------
    >>> from sfsim.network.declarations import framing
    >>> lose_first = lambda round, packets: np.arange(packets) < (round == 1)
    >>> [step.wire_bytes for step in repair_rounds(framing("tcp-ipv4"), 3000, lose_first)]
    [3162, 1502]
    """
    packets = framing.packets(num_bytes)
    short_bytes = packets * framing.payload_bytes - num_bytes  # what the last frame lacks to a full one
    frame_bytes = framing.payload_bytes + framing.overhead_bytes
    has_last = packets > 0
    number, pause_s = 0, 0.0
    while True:
        number += 1
        wire_bytes = packets * frame_bytes - short_bytes * has_last
        lost = draw(number, packets) if draw and packets else None
        num_lost = 0 if lost is None else int(lost.sum())
        lost_last = has_last and lost is not None and bool(lost[-1])
        yield Attempt(
            packets,
            wire_bytes,
            lost_packets=num_lost,
            lost_bytes=num_lost * frame_bytes - short_bytes * lost_last,
            repeated=packets if number > 1 else 0,
            pause_s=pause_s,
        )
        if not num_lost:
            return
        packets, has_last, pause_s = num_lost, lost_last, rtt_s()
