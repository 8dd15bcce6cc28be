"""How long one message takes over one line of its own: what the command `sfsim transfer` prints."""

from dataclasses import dataclass, replace
from typing import Any

from sfsim.channel import Bernoulli
from sfsim.errors import ConfigError
from sfsim.network.declarations import framing
from sfsim.network.delivery import Luck
from sfsim.network.transport import Arq, Path, Sending, Transport, Wifi
from sfsim.network.transport import transport as named
from sfsim.network.transport.tcp import Tcp
from sfsim.seeds import stream

PARTIES = ("sender", "receiver")


@dataclass(slots=True)
class Line:
    """A line that loses packets."""

    name: str
    loss: Bernoulli | None
    lost_packets: int = 0


def transfer(
    num_bytes: int,
    rate_bps: float,
    rtt_s: float,
    loss: float = 0.0,
    transport: str | Transport = "tcp-cubic",
    retries: int | None = None,
    seeds: int = 1,
    frames: str | None = None,
) -> dict[str, Any]:
    """Send one message over one idle line, once per seed, each time over a fresh connection.

    Parameters
    ----------
    num_bytes : int
        Payload of the message.
    rate_bps : float
        Wire rate, both ways; for Wi-Fi the PHY rate.
    rtt_s : float
        Twice the propagation delay.
    loss : float
        Probability that a packet towards the receiver is lost; SYNs can be lost too, acknowledgements never.
    transport : str or Transport
        The transport, or its kind.
    retries : int, optional
        How often a packet is sent again at most (ARQ and Wi-Fi).
    seeds : int
        How many times: seeds 1, 2, ..., `seeds`.
    frames : str, optional
        Name of a framing. Default: that of the transport over a point-to-point line.

    Returns
    -------
    dict
        ``seconds`` from the start to the last byte at the receiver, ``sent_packets`` with repeats,
        ``wire_bytes``, ``lost_bytes`` of payload that never arrived and ``missing``, their byte ranges; one
        entry per seed each.

    Raises ConfigError for numbers without meaning, an unknown transport, or `retries` where there are none.

    Examples
    --------
    >>> found = transfer(100_000, 1e6, 0.01)
    >>> round(found["seconds"][0], 6), found["sent_packets"]
    (0.8466, [70])
    """
    law = named(transport) if isinstance(transport, str) else transport
    if isinstance(law, Tcp):
        law = replace(law, connection="per-message")
    if isinstance(law, Arq | Wifi) and retries is not None:
        law = replace(law, retries=retries)
    elif retries is not None:
        raise ConfigError("retries", str(retries), f"nothing: transport {law.kind!r} has no retry limit")
    for name, value, meant in (
        ("num_bytes", num_bytes, num_bytes >= 0),
        ("rate_bps", rate_bps, 0 < rate_bps < float("inf")),
        ("rtt_s", rtt_s, 0 <= rtt_s < float("inf")),
        ("loss", loss, 0 <= loss < 1),
        ("seeds", seeds, seeds >= 1),
    ):
        if not meant:
            raise ConfigError(name, str(value), _MEANT[name])
    path = Path(rate_bps, rate_bps, rtt_s / 2, rtt_s / 2)
    cut = framing(frames or law.preset.removesuffix("-ethernet"), "framing")
    found: dict[str, Any] = {
        "transport": law.kind,
        **{key: [] for key in ("seconds", "sent_packets", "wire_bytes", "lost_bytes", "missing")},
    }
    for seed in range(1, seeds + 1):
        line = Line("line", Bernoulli(probability=loss) if loss else None)
        sending = Sending(
            num_bytes=num_bytes,
            framing=cut,
            rtt_s=lambda: rtt_s,
            path=lambda: path,
            luck=Luck(seed, [line], " -> ".join(PARTIES), 0) if loss else None,
            now_s=0.0,
            parties=PARTIES,
            windows={},
            rng=lambda name, seed=seed: stream(seed, "transport", name, *PARTIES, 0),  # type: ignore[misc]
        )
        attempts = list(law.attempts(sending))
        busy_s = sum(step.pause_s + step.wire_bytes * 8 / min(rate_bps, step.cap_bps) for step in attempts)
        missing = attempts[-1].missing
        found["seconds"].append(busy_s + path.latency_s + attempts[-1].tail_s)
        found["sent_packets"].append(sum(step.packets for step in attempts))
        found["wire_bytes"].append(sum(step.wire_bytes for step in attempts))
        found["lost_bytes"].append(sum(end - start for start, end in missing))
        found["missing"].append([list(span) for span in missing])
    return found


_MEANT = {
    "num_bytes": "zero or more",
    "rate_bps": "a rate above zero",
    "rtt_s": "zero or more",
    "loss": "a probability, at least 0 and below 1",
    "seeds": "one or more",
}
