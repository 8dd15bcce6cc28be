"""TCP: handshake, slow start and, where packets are lost, the whole of congestion control."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, floor, inf
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration
from sfsim.errors import NetworkError
from sfsim.network.delivery import Attempt
from sfsim.network.transport.base import Path, Sending, Transport, Window

if TYPE_CHECKING:
    from sfsim.network.declarations import Framing

Ahead = Callable[[int], np.ndarray]
UNLIMITED = float(1 << 40)
MAX_SYN_TIMEOUT_S = 120.0  # Linux, TCP_RTO_MAX
SYN_OPTION_BYTES = 4  # what a SYN is longer than an acknowledgement (window scale, SACK permitted)


class _GaveUp(Exception):
    """A connection that is given up: after how long, and why."""

    def __init__(self, after_s: float, why: str) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Flight:
    """What sending one message over a path of its own came to; times from the start of `Tcp.fly`."""

    opened_s: float
    delivered_s: float
    data_packets: int
    wire_bytes: int
    window: Window
    met: np.ndarray = field(compare=False)  # which packets of the luck it asked for


@declaration
class Tcp(Transport):
    """Base of the TCPs.

    Parameters
    ----------
    connection : {"persistent", "per-message"}
        One connection between two parties for the whole run, opened by their first message, whose window is
        kept from message to message and starts again from the initial window after an idle time-out (RFC
        5681, 4.1); or a fresh connection, with its handshake, for every message.
    initial_window : int
        Segments (RFC 6928).
    min_rto_s : float
        Least retransmission time-out (Linux: 0.2 s; RFC 6298: 1 s).
    syn_timeout_s : float
        After so long a lost SYN is sent again; the time doubles with every further loss, up to 120 s (Linux).
    syn_retries : int
        How often a SYN is sent again before the connection is given up (Linux: 6).
    retries : int
        So many time-outs in a row are survived; at the next the connection is given up (Linux: 15).

    Loss-free, alone and at a constant rate C, with segments of `tx` s on the wire, it is exact that

        T = handshake + sum over rounds k of (RTT + tx + ack) while w_k tx < RTT + tx + ack + rest tx + RTT /
        2

    with w_k = initial_window * 2^k: the idle time that this adds to the plain wire time is a pause before the
    message's flow. On a route that loses packets every packet is simulated as if the message was alone; its
    wire bytes, repeats included, then cross as one flow that is capped at the rate which that gave, so that a
    message that stays alone takes exactly that long, and one that meets others shares.

    Handshake and acknowledgements take time, but no capacity.

    Left out: receiver windows, delayed acknowledgements, HyStart, pacing, RACK and tail loss probes; losses
    of acknowledgements; drop-tail queues (the queue is never full). A connection that gives up ends the run.
    """

    cubic: ClassVar[bool]
    connection: Literal["persistent", "per-message"] = "persistent"
    initial_window: Annotated[int, Field(ge=1)] = 10
    min_rto_s: Annotated[float, Field(gt=0)] = 0.2
    syn_timeout_s: Annotated[float, Field(gt=0)] = 3.0
    syn_retries: Annotated[int, Field(ge=0, le=100)] = 6
    retries: Annotated[int, Field(ge=0, le=1000)] = 15

    def attempts(self, sending: Sending) -> Iterator[Attempt]:
        """Yield one attempt, and remember the connection."""
        path, luck, framing = sending.path(), sending.luck, sending.framing
        source, destination = sending.parties
        persistent = self.connection == "persistent"
        window = sending.windows.get((source, destination)) if persistent else None
        opened = persistent and (window is not None or (destination, source) in sending.windows)
        if opened:
            window = self._resume(window, path, framing, sending.now_s)
        try:
            flight = self.fly(
                framing,
                sending.num_bytes,
                path,
                (lambda count: luck.ahead(1, count)) if luck else None,
                window,
                luck.memory if luck else 0,
            )
        except _GaveUp as gave_up:
            raise NetworkError(
                f"TCP from {source!r} to {destination!r} gives up a message of {sending.num_bytes:,} bytes at "
                f"{sending.now_s + gave_up.after_s:.6g} s: {gave_up}"
            ) from None
        if luck is not None and flight.met.any():  # an empty message meets no luck
            luck.count(flight.met)
        if persistent:
            flight.window.used_s = sending.now_s + flight.delivered_s
            sending.windows[source, destination] = flight.window
        useful = framing.wire_bytes(sending.num_bytes)
        packets = framing.packets(sending.num_bytes)
        busy_s = flight.delivered_s - path.latency_s - flight.opened_s
        least_s = flight.wire_bytes * 8 / path.rate_bps
        lossy = luck is not None and packets > 0
        yield Attempt(
            flight.data_packets,
            flight.wire_bytes,
            lost_packets=flight.data_packets - packets,
            lost_bytes=flight.wire_bytes - useful,
            repeated=flight.data_packets - packets,
            pause_s=flight.opened_s if lossy else max(0.0, flight.delivered_s - path.latency_s - least_s),
            cap_bps=flight.wire_bytes * 8 / max(busy_s, least_s) if lossy else inf,
        )

    def fly(
        self,
        framing: "Framing",
        num_bytes: int,
        path: Path,
        ahead: Ahead | None,
        window: Window | None = None,
        memory: int = 0,
    ) -> Flight:
        """Send `num_bytes` over an idle path.

        Parameters
        ----------
        framing : Framing
        num_bytes : int
        path : Path
        ahead : callable, optional
            ``ahead(n)`` returns which of the first n packets of the sender are lost (bool, shape (n,)): the
            SYNs, the acknowledgement of the handshake, the segments; without the former two when `window` is
            given. None: none is ever lost.
        window : Window, optional
            That of the open connection; None: open one.
        memory : int
            Packet times after which the law of loss has forgotten its state: waiting moves on in what `ahead`
            returns by the packets that the line could have carried meanwhile, but not by more.
        """
        byte_s, back_byte_s = 8 / path.rate_bps, 8 / path.back_rate_bps
        head_bytes, mss = framing.overhead_bytes, framing.payload_bytes
        opened_s, free_s = 0.0, 0.0
        used: list[int] = []  # packets of `ahead` that opening the connection has met
        if window is None:
            syn_s, used = self._syn(ahead, memory, (mss + head_bytes) * byte_s)
            syn_bytes = head_bytes + SYN_OPTION_BYTES
            opened_s = syn_s + path.rtt_s + syn_bytes * (byte_s + back_byte_s)
            used.append(used[-1] + 1)  # the acknowledgement of the handshake, which may be lost without harm
            free_s = opened_s + head_bytes * byte_s
            first_s = max((floor(opened_s * 1e3 + 1e-6) - floor(syn_s * 1e3 + 1e-6)) * 1e-3, 1e-6)
            window = Window(self.initial_window * mss, UNLIMITED, first_s, first_s / 2)
        met = np.zeros(used[-1] + 1 if ahead and used else 0, bool)
        met[used if ahead else []] = True
        if not num_bytes:
            if ahead is not None and len(met):
                ahead(len(met))  # what is counted of: the acknowledgement's luck was not looked at
            return Flight(opened_s, opened_s + path.latency_s, 0, 0, window, met)
        segments = framing.packets(num_bytes)
        tx_s, ack_s = (mss + head_bytes) * byte_s, head_bytes * back_byte_s
        start_s = max(opened_s, free_s)
        if ahead is None and ack_s <= tx_s and window.ssthresh >= UNLIMITED:
            answer_s = path.rtt_s + tx_s + ack_s
            idle_s, grown = slow_start(segments, window.cwnd / mss, tx_s, answer_s)
            wire_bytes = framing.wire_bytes(num_bytes)
            delivered_s = start_s + idle_s + wire_bytes * byte_s + path.latency_s
            calm = Window(grown * mss, UNLIMITED, path.rtt_s + tx_s + ack_s, window.rttvar_s * 0.75**segments)
            return Flight(opened_s, delivered_s, segments, wire_bytes, calm, met)
        return self._simulate(framing, num_bytes, path, ahead, memory, window, met, opened_s, start_s)

    def _syn(self, ahead: Ahead | None, memory: int, packet_s: float) -> tuple[float, list[int]]:
        """Return when the SYN left that arrived, and which packets of `ahead` all SYNs were."""
        used, left_s, timeout_s = [0], 0.0, self.syn_timeout_s
        while ahead is not None and ahead(used[-1] + 1)[-1]:
            left_s += timeout_s
            if len(used) > self.syn_retries:
                why = f"{len(used)} SYNs in a row were lost (syn_retries = {self.syn_retries})"
                raise _GaveUp(left_s, why)
            used.append(used[-1] + 1 + min(int(timeout_s / packet_s), memory))
            timeout_s = min(2 * timeout_s, max(MAX_SYN_TIMEOUT_S, self.syn_timeout_s))
        return left_s, used

    def _resume(self, window: Window | None, path: Path, framing: "Framing", now_s: float) -> Window:
        """Return the window that a message on an open connection starts with."""
        fresh = self.initial_window * framing.payload_bytes
        if window is None:  # opened from the other end
            return Window(fresh, UNLIMITED, path.rtt_s, path.rtt_s / 2)
        rto_s = max(window.srtt_s + 4 * window.rttvar_s, self.min_rto_s)
        cwnd = min(window.cwnd, fresh) if now_s - window.used_s > rto_s else window.cwnd
        return Window(cwnd, window.ssthresh, window.srtt_s, window.rttvar_s, window.w_max)

    def _simulate(
        self,
        framing: "Framing",
        num_bytes: int,
        path: Path,
        ahead: Ahead | None,
        memory: int,
        window: Window,
        met: np.ndarray,
        opened_s: float,
        free_s: float,
    ) -> Flight:
        from sfsim.network.transport import tcp_kernel as kernel

        segments = framing.packets(num_bytes)
        last_bytes = num_bytes - (segments - 1) * framing.payload_bytes
        skip = len(met)
        luck, room, out = skip + segments + segments // 4 + 64, segments + 64, np.empty(4)
        while True:
            state = np.array([window.cwnd, window.ssthresh, window.srtt_s, window.rttvar_s, window.w_max])
            ring = (
                np.empty(room),
                np.empty(room, np.int64),
                np.empty(room, np.int64),
                np.empty(room, np.int64),
            )
            later = np.zeros(luck - skip, dtype=bool)
            status = kernel.run(
                ahead(luck)[skip:] if ahead else np.zeros(luck, dtype=bool),
                later,
                memory,
                self.retries,
                segments,
                last_bytes,
                self.cubic,
                framing.payload_bytes,
                framing.overhead_bytes,
                8 / path.rate_bps,
                8 / path.back_rate_bps,
                path.latency_s,
                path.back_latency_s,
                self.min_rto_s,
                opened_s,
                free_s,
                state,
                np.zeros(segments, np.uint8),
                *ring,
                out,
            )
            if status == kernel.FINISHED:
                break
            if status == kernel.GAVE_UP:
                raise _GaveUp(out[0], f"{self.retries + 1} time-outs in a row (retries = {self.retries})")
            # The same luck again, and more of it: the beginning does not change.
            luck, room = (2 * luck, room) if status == kernel.MORE_LUCK else (luck, 2 * room)
        delivered_s, sent, wire_bytes, _ = out
        met = np.concatenate((met, later)) if ahead else met
        return Flight(opened_s, delivered_s, int(sent), int(wire_bytes), Window(*state.tolist()), met)


def slow_start(segments: int, window: float, tx_s: float, answer_s: float) -> tuple[float, float]:
    """Return how long the line stands idle while the window opens, and the window at the end.

    Parameters
    ----------
    segments : int
        To send.
    window : float
        To begin with, in segments.
    tx_s : float
        A full segment on the wire.
    answer_s : float
        From the first bit of a segment to its acknowledgement.

    Examples
    --------
    Rounds of 10 and 20 segments wait for their answers, the third is never done:

    >>> slow_start(60, 10, tx_s=0.001, answer_s=0.1)
    (0.17, 35)
    """
    left, now, idle_s = segments, floor(window), 0.0
    while left > now and now * tx_s < answer_s:
        idle_s += answer_s - now * tx_s
        left -= now
        now *= 2
    # Every answer lets two segments out; once all are out, the window no longer limits and stays as it is.
    return idle_s, floor(window) + max(0, ceil((segments - floor(window)) / 2))


@declaration
class TcpCubic(Tcp):
    """TCP with CUBIC congestion control (RFC 8312), as in ns-3 3.44 and, but for HyStart, Linux."""

    cubic: ClassVar[bool] = True
    kind: Literal["tcp-cubic"] = "tcp-cubic"


@declaration
class TcpReno(Tcp):
    """TCP with Reno congestion control (RFC 5681), as in ns-3 3.44 (TcpLinuxReno) and Linux."""

    cubic: ClassVar[bool] = False
    kind: Literal["tcp-reno"] = "tcp-reno"
