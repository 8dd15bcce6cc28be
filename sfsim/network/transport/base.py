"""What every transport is: a declaration that turns a message into attempts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sfsim.declaration import declaration
from sfsim.network.delivery import Attempt

if TYPE_CHECKING:
    from sfsim.network.declarations import Framing
    from sfsim.network.delivery import Luck


@dataclass(frozen=True, slots=True)
class Path:
    """A route there and back as one pipe: what its slowest link offers now, and its latencies."""

    rate_bps: float
    back_rate_bps: float
    latency_s: float
    back_latency_s: float

    @property
    def rtt_s(self) -> float:
        """Latency there and back."""
        return self.latency_s + self.back_latency_s


@dataclass(slots=True)
class Window:
    """What one end of a TCP connection remembers from one message to the next; bytes and seconds."""

    cwnd: float
    ssthresh: float
    srtt_s: float
    rttvar_s: float
    w_max: float = 0.0
    used_s: float = 0.0


@dataclass(slots=True, kw_only=True)  # not frozen, for speed
class Sending:
    """A message that is about to be sent, as its transport sees it.

    Parameters
    ----------
    num_bytes : int
        Payload bytes.
    framing : Framing
        How they become frames.
    rtt_s : callable
        Returns the latency there and back.
    path : callable
        Returns the `Path`, for which it asks the channels; used only by transports that need it.
    luck : Luck, optional
        Which packets are lost; None when no link of the route loses any.
    now_s : float
        Now.
    parties : (str, str)
        Sender and receiver.
    windows : dict
        The open connections, by sender and receiver; transports with connections keep them here.
    rng : callable
        ``rng(name)`` returns a fresh generator for draws of the transport's own.
    """

    num_bytes: int
    framing: "Framing"
    rtt_s: Callable[[], float]
    path: Callable[[], Path]
    luck: "Luck | None"
    now_s: float
    parties: tuple[str, str]
    windows: dict[tuple[str, str], Window]
    rng: Callable[[str], np.random.Generator]


@declaration
class Transport:
    """Base of all transports.

    A file may name one by its kind alone: ``transport = "tcp-cubic"``.
    """

    preset: ClassVar[str] = "tcp-ipv4-ethernet"
    kind: str

    @staticmethod
    def from_short_form(value: Any) -> Any:
        """Take a kind where a table is expected; the path of a file stays one."""
        return {"kind": value} if isinstance(value, str) and not value.endswith(".toml") else value

    def attempts(self, sending: Sending) -> Iterator[Attempt]:
        """Yield what has to cross the route until the message is delivered, one attempt after the other."""
        raise NotImplementedError


def lost_ranges(given_up: np.ndarray, payload_bytes: int, num_bytes: int) -> tuple[tuple[int, int], ...]:
    """Return the byte ranges that the frames marked in `given_up` carried, sorted and merged.

    Parameters
    ----------
    given_up : (n,) bool
        Which of the frames never arrived.
    payload_bytes, num_bytes : int
        Payload of a full frame, and of the whole message.

    Examples
    --------
    >>> lost_ranges(np.array([False, True, True, False, True]), 100, 450)
    ((100, 300), (400, 450))
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], given_up, [False])).astype(np.int8)))
    spans = np.minimum(edges * payload_bytes, num_bytes).reshape(-1, 2)
    return tuple((int(start), int(end)) for start, end in spans)
