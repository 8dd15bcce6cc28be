"""Reliable delivery: what is lost is sent again, in repair rounds.

Round 1 sends all packets of a message. One round-trip time after its last bit has left, the lost packets
are sent again as round 2, and so on until nothing is lost. Alone on a route of rate R and latency L, with
W_k wire bytes in round k of K, a message takes

    T = sum_k 8 W_k / R + (K - 1) * 2 L + L

Repair is end to end: a packet that any link of the route loses occupied all of its links, in every attempt.

Left out: congestion windows, retransmissions while the round is still being sent, retry limits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sfsim.network.declarations import Framing

Draw = Callable[[int, int], np.ndarray]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One round: frames and bytes on the wire, and what of them is lost."""

    packets: int
    wire_bytes: int
    lost_packets: int = 0
    lost_bytes: int = 0


def attempts(framing: Framing, num_bytes: int, draw: Draw | None) -> Iterator[Attempt]:
    """Yield the rounds that deliver `num_bytes` of payload.

    Parameters
    ----------
    framing : Framing
        How the payload becomes frames.
    num_bytes : int
        Payload bytes; zero need no frame.
    draw : callable, optional
        ``draw(attempt, packets)`` returns which packets are lost (bool, shape (packets,)); None: none, ever.

    Examples
    --------
    >>> from sfsim.network.declarations import framing
    >>> lose_first = lambda attempt, packets: np.arange(packets) < (attempt == 1)
    >>> [step.wire_bytes for step in attempts(framing("tcp-ipv4"), 3000, lose_first)]
    [3162, 1502]
    """
    packets = framing.packets(num_bytes)
    short_bytes = packets * framing.payload_bytes - num_bytes  # what the last frame lacks to a full one
    frame_bytes = framing.payload_bytes + framing.overhead_bytes
    has_last = packets > 0
    number = 0
    while True:
        number += 1
        wire_bytes = packets * frame_bytes - short_bytes * has_last
        lost = draw(number, packets) if draw and packets else None
        num_lost = 0 if lost is None else int(lost.sum())
        lost_last = has_last and lost is not None and bool(lost[-1])
        yield Attempt(packets, wire_bytes, num_lost, num_lost * frame_bytes - short_bytes * lost_last)
        if not num_lost:
            return
        packets, has_last = num_lost, lost_last
