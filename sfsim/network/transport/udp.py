"""Datagrams that are sent once, and erasure codes that repair some of what is lost."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration, misfit
from sfsim.network.delivery import Attempt
from sfsim.network.transport.base import Sending, Transport, lost_ranges


@declaration
class Fec:
    """A systematic (n, k) block erasure code over packets.

    Of every `n` packets, `k` carry the message and the others parity. A block is whole when at most ``n - k``
    of its packets are lost; otherwise those of its `k` that arrived are still good. The last block has fewer
    message packets and all of its parity.

    Parameters
    ----------
    n : int
        Packets of a block.
    k : int
        How many of them carry the message.

    Source: any maximum-distance-separable code, such as Reed-Solomon (Rizzo, CCR 27(2), 1997).
    """

    n: Annotated[int, Field(ge=1)]
    k: Annotated[int, Field(ge=1)]

    def __post_init__(self) -> None:
        if self.n < self.k:
            raise misfit("n", repr(self.n), f"at least k = {self.k}")

    def residual(self, probability: float) -> float:
        """Return the share of blocks that cannot be decoded when each packet is lost with `probability`.

        >>> round(Fec(n=3, k=2).residual(0.1), 6)
        0.028
        """
        from scipy.stats import binom

        return float(binom.sf(self.n - self.k, self.n, probability))


@declaration
class Udp(Transport):
    """Datagrams at line rate, each sent once.

    What is lost stays lost: the message is delivered with the list of its missing byte ranges, and their
    bytes read as zeros. It counts as delivered when its last datagram arrives, or would have arrived.

    Parameters
    ----------
    fec : Fec, optional
        An erasure code over the datagrams.

    Left out: reordering, jitter.
    """

    preset: ClassVar[str] = "udp-ipv4-ethernet"
    kind: Literal["udp"] = "udp"
    fec: Fec | None = None

    def attempts(self, sending: Sending) -> Iterator[Attempt]:
        """Yield one attempt."""
        framing, num_bytes = sending.framing, sending.num_bytes
        sources, useful = framing.packets(num_bytes), framing.wire_bytes(num_bytes)
        blocks = -(-sources // self.fec.k) if self.fec else 0
        parity = blocks * (self.fec.n - self.fec.k) if self.fec else 0
        frame_bytes = framing.payload_bytes + framing.overhead_bytes
        packets, wire_bytes = sources + parity, useful + parity * frame_bytes
        if sending.luck is None or not packets:
            yield Attempt(packets, wire_bytes, lost_bytes=wire_bytes - useful)
            return
        lost = sending.luck(1, packets)
        given_up = self._given_up(lost, sources)
        missing = lost_ranges(given_up, framing.payload_bytes, num_bytes)
        missing_wire = (
            sum(end - start for start, end in missing) + int(given_up.sum()) * framing.overhead_bytes
        )
        yield Attempt(
            packets,
            wire_bytes,
            lost_packets=int(lost.sum()),
            lost_bytes=wire_bytes - useful + missing_wire,
            missing=missing,
            missing_wire_bytes=missing_wire,
        )

    def _given_up(self, lost: np.ndarray, sources: int) -> np.ndarray:
        """Return which message packets are lost for good, given which of all packets are lost."""
        if self.fec is None:
            return lost
        n, k = self.fec.n, self.fec.k
        blocks = -(-sources // k)
        # Blocks as rows: the last one is filled up to full length with packets that are never lost.
        padded = np.zeros(blocks * n, dtype=bool)
        in_last = sources - (blocks - 1) * k
        order = np.arange(blocks * n).reshape(blocks, n)
        padded[np.concatenate((order[:-1].ravel(), order[-1, :in_last], order[-1, k:]))] = lost
        rows = padded.reshape(blocks, n)
        undecodable = rows.sum(axis=1) > n - k
        return np.asarray((rows[:, :k] & undecodable[:, None]).ravel()[:sources])
