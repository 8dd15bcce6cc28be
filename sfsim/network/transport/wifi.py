"""802.11 DCF: one station, which waits, backs off, and repeats what is lost."""

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sfsim.declaration import declaration
from sfsim.network.delivery import Attempt
from sfsim.network.transport.arq import Ahead, Repeated
from sfsim.network.transport.base import Path, Sending, Transport, lost_ranges

if TYPE_CHECKING:
    from sfsim.network.declarations import Framing

PREAMBLE_S, SYMBOL_S = 20e-6, 4e-6
SERVICE_AND_TAIL_BITS, ACK_BYTES = 22, 14
CONTROL_RATES_BPS = (6e6, 12e6, 24e6)


@declaration
class Wifi(Transport):
    """A single 802.11 station without aggregation; the rate of its link is the PHY rate.

    A frame takes DIFS, back-off, preamble and symbols, and then SIFS and acknowledgement; one that is lost
    takes the acknowledgement time-out instead, doubles the contention window and is sent again. The very
    first frame finds the air idle and goes without back-off. The message's bytes cross as one flow that is
    capped at the rate that all this gave.

    Parameters
    ----------
    retries : int
        How often a frame is sent again at most; what is lost then stays lost.
    cw_min : int
        First contention window, in slots.
    cw_max : int
        Largest contention window, in slots.
    slot_s : float
        A slot of the back-off; the default is that of 802.11a.
    sifs_s : float
        Short space between frames, before an acknowledgement; the default is that of 802.11a.
    difs_s : float
        Space before the back-off; the default is that of 802.11a.

    Source: IEEE 802.11-2020, 10.3 (DCF), 17.3 and 17.4 (OFDM PHY).
    Left out: other stations (see the cell), RTS/CTS, aggregation, rate adaptation.
    """

    preset: ClassVar[str] = "udp-ipv4-wifi"
    kind: Literal["wifi"] = "wifi"
    retries: Annotated[int, Field(ge=0)] = 6
    cw_min: Annotated[int, Field(ge=0)] = 15
    cw_max: Annotated[int, Field(ge=0)] = 1023
    slot_s: Annotated[float, Field(gt=0)] = 9e-6
    sifs_s: Annotated[float, Field(gt=0)] = 16e-6
    difs_s: Annotated[float, Field(gt=0)] = 34e-6

    def attempts(self, sending: Sending) -> Iterator[Attempt]:
        """Yield one attempt: all transmissions, at the rate that the waiting leaves."""
        framing, num_bytes, luck = sending.framing, sending.num_bytes, sending.luck
        packets, useful = framing.packets(num_bytes), framing.wire_bytes(num_bytes)
        if not packets:
            yield Attempt(0, 0)
            return
        path, rng = sending.path(), sending.rng
        ahead = (lambda count: luck.ahead(1, count)) if luck else (lambda count: np.zeros(count, dtype=bool))
        found = self.repeat(framing, num_bytes, path, ahead, rng("back-off"), luck.memory if luck else 0)
        if luck is not None:
            luck.count(found.met)
        missing = lost_ranges(found.given_up, framing.payload_bytes, num_bytes)
        lost_for_good = int(found.given_up.sum())
        missing_wire = sum(end - start for start, end in missing) + lost_for_good * framing.overhead_bytes
        yield Attempt(
            found.sent,
            found.wire_bytes,
            lost_packets=found.sent - packets + lost_for_good,
            lost_bytes=found.wire_bytes - useful + missing_wire,
            repeated=found.sent - packets,
            cap_bps=found.wire_bytes * 8 / (found.arrived_s - path.latency_s),
            missing=missing,
            missing_wire_bytes=missing_wire,
        )

    def repeat(
        self,
        framing: "Framing",
        num_bytes: int,
        path: Path,
        ahead: Ahead,
        rng: np.random.Generator,
        memory: int = 0,
    ) -> Repeated:
        """Send `num_bytes` > 0 over idle air; ``ahead(n)``: which of the first n transmissions are lost."""
        from sfsim.network.transport import wifi_kernel as kernel

        frames = framing.packets(num_bytes)
        frame_bytes = framing.payload_bytes + framing.overhead_bytes
        last_bytes = num_bytes - (frames - 1) * framing.payload_bytes + framing.overhead_bytes
        control_bps = max(
            (rate for rate in CONTROL_RATES_BPS if rate <= path.rate_bps), default=path.rate_bps
        )
        count, out, uniform = 2 * frames + 64, np.empty(4), np.empty(0)
        while True:
            uniform = np.concatenate((uniform, rng.random(count - len(uniform))))
            given_up, met = np.zeros(frames, dtype=bool), np.zeros(count, dtype=bool)
            status = kernel.run(
                ahead(count),
                met,
                memory,
                uniform,
                frames,
                air_s(frame_bytes, path.rate_bps),
                air_s(last_bytes, path.rate_bps),
                self.difs_s,
                self.sifs_s + air_s(ACK_BYTES, control_bps),
                self.sifs_s + self.slot_s + PREAMBLE_S,
                self.slot_s,
                self.cw_min,
                self.cw_max,
                self.retries + 1,
                given_up,
                out,
            )
            if status == kernel.FINISHED:
                break
            count *= 2
        arrived_s, left_s, sent, sent_last = out
        wire_bytes = int(sent) * frame_bytes - int(sent_last) * (frame_bytes - last_bytes)
        return Repeated(
            (left_s if given_up.all() else arrived_s) + path.latency_s, int(sent), wire_bytes, given_up, met
        )

    def mean_s(self, framing: "Framing", num_bytes: int, path: Path, probability: float) -> float:
        """Return the mean time of a message in closed form; each transmission is lost with `probability`.

        Each of up to `retries` + 1 attempts k happens with probability p^k and costs DIFS, half the
        contention window, the frame, and the acknowledgement or its time-out. Frames that are given up count
        with the time they took.
        """
        frames = framing.packets(num_bytes)
        last_bytes = num_bytes - (frames - 1) * framing.payload_bytes + framing.overhead_bytes
        control_bps = max(
            (rate for rate in CONTROL_RATES_BPS if rate <= path.rate_bps), default=path.rate_bps
        )
        answer_s = self.sifs_s + air_s(ACK_BYTES, control_bps)
        timeout_s = self.sifs_s + self.slot_s + PREAMBLE_S
        tries = wait_s = 0.0
        window = self.cw_min
        for attempt in range(self.retries + 1):
            tries += probability**attempt
            wait_s += probability**attempt * (self.difs_s + window / 2 * self.slot_s)
            window = min(2 * window + 1, self.cw_max)
        failed = 1 - probability ** (self.retries + 1)
        frame_s = air_s(framing.payload_bytes + framing.overhead_bytes, path.rate_bps)
        around_s = wait_s + (tries - failed) * timeout_s + failed * answer_s
        total_s = frames * around_s + tries * ((frames - 1) * frame_s + air_s(last_bytes, path.rate_bps))
        return total_s - self.cw_min / 2 * self.slot_s - answer_s * (1 - probability) + path.latency_s


def air_s(num_bytes: int, rate_bps: float) -> float:
    """Return the time of an OFDM frame on the air: preamble, and whole symbols for its bits.

    >>> round(air_s(1536, 54e6) * 1e6)
    248
    """
    bits = SERVICE_AND_TAIL_BITS + 8 * num_bytes
    return PREAMBLE_S + SYMBOL_S * ceil(bits / (rate_bps * SYMBOL_S) - 1e-9)
