"""What a user says about a network: links, and the framing of what crosses them."""

from typing import Annotated

from pydantic import Field

from sfsim.channel import AnyChannel, AnyLatency, AnyLoss
from sfsim.declaration import declaration, misfit
from sfsim.errors import ConfigError, did_you_mean
from sfsim.network import lora
from sfsim.network.transport import AnyTransport


@declaration
class Link:
    """One direction of a link.

    Parameters
    ----------
    rate_bps : float, optional
        Wire rate in bit/s: frames with their headers cross at this rate.
    channel : Channel, optional
        A rate that changes over time; with `rate_bps` too, the smaller of the two holds.
    latency_s : float
        Propagation delay in s.
    latency : Latency, optional
        What comes on top of `latency_s`, drawn for each message: a law of jitter.
    loss : Loss, optional
        Which packets are lost (and sent again).
    efficiency : float
        Share of the rate that is left after what the link's own layers take (preambles, control, retries
        below the transport).
    transport : Transport, optional
        How messages whose route crosses this link travel. Default: as the network says.
    background : Channel, optional
        Traffic of others, as the rate that it takes from this link whatever our messages do: constant, from a
        trace, or on and off. What it leaves is shared by our messages.

    Examples
    --------
    >>> Link(latency_s=0.01)
    Traceback (most recent call last):
        ...
    sfsim.errors.ConfigError: Link, rate_bps: found nothing, expected a rate in bit/s, or a channel
    """

    rate_bps: Annotated[float, Field(ge=1)] | None = None
    latency_s: Annotated[float, Field(ge=0, le=1e5)]
    latency: AnyLatency | None = None
    channel: AnyChannel | None = None
    loss: AnyLoss | None = None
    efficiency: Annotated[float, Field(ge=0.001, le=1)] = 1.0
    transport: AnyTransport | None = None
    background: AnyChannel | None = None

    def __post_init__(self) -> None:
        if self.rate_bps is None and self.channel is None:
            raise misfit("rate_bps", "nothing", "a rate in bit/s, or a channel")

    def mean_latency_s(self, seed: int, name: str) -> float:
        """Return what a message takes on the link called `name`, on average over the law of latency."""
        if self.latency is None:
            return self.latency_s
        return self.latency_s + self.latency.mean(seed, name)


@declaration
class Framing:
    """How a payload becomes frames: full ones of `payload_bytes`, and a short last one.

    Parameters
    ----------
    name : str
        What a scenario calls it.
    payload_bytes : int
        Payload of a full frame.
    overhead_bytes : int
        Headers and trailers of every frame.
    source : str
        What the overhead consists of.

    Examples
    --------
    >>> framing("tcp-ipv4").wire_bytes(3000)
    3162
    """

    name: str
    payload_bytes: Annotated[int, Field(gt=0)]
    overhead_bytes: Annotated[int, Field(ge=0)]
    source: str

    def packets(self, num_bytes: int) -> int:
        """Return how many frames carry `num_bytes` of payload; none for an empty one."""
        return -(-num_bytes // self.payload_bytes)

    def wire_bytes(self, num_bytes: int) -> int:
        """Return the bytes of all frames that carry `num_bytes` of payload."""
        return num_bytes + self.packets(num_bytes) * self.overhead_bytes


FRAMINGS = {
    entry.name: entry
    for entry in (
        Framing(
            name="none", payload_bytes=1500, overhead_bytes=0, source="no headers; packets for loss only"
        ),
        Framing(
            name="tcp-ipv4",
            payload_bytes=1448,
            overhead_bytes=54,
            source="TCP 32 (RFC 9293, 7323 timestamps), IPv4 20 (RFC 791), PPP 2 (RFC 1661), as in ns-3",
        ),
        Framing(
            name="udp-ipv4",
            payload_bytes=1472,
            overhead_bytes=30,
            source="UDP 8 (RFC 768), IPv4 20 (RFC 791), PPP 2 (RFC 1661), as in ns-3",
        ),
        Framing(
            name="tcp-ipv4-ethernet",
            payload_bytes=1448,
            overhead_bytes=70,
            source="TCP 32 with timestamps, IPv4 20, Ethernet header 14 and checksum 4 (IEEE 802.3, 3.1.1)",
        ),
        Framing(
            name="udp-ipv4-ethernet",
            payload_bytes=1472,
            overhead_bytes=46,
            source="UDP 8, IPv4 20, Ethernet header 14 and checksum 4 (IEEE 802.3, 3.1.1)",
        ),
        Framing(
            name="udp-ipv4-wifi",
            payload_bytes=1472,
            overhead_bytes=64,
            source="UDP 8, IPv4 20, LLC/SNAP 8, 802.11 header 24 and checksum 4 (IEEE 802.11-2020, 9.2)",
        ),
        Framing(
            name="lte-like",
            payload_bytes=1448,
            overhead_bytes=59,
            source="TCP 32 with timestamps, IPv4 20, PDCP 2 (TS 36.323), RLC 2 (36.322), MAC 3 (36.321)",
        ),
        Framing(
            name="ip",
            payload_bytes=1472,
            overhead_bytes=28,
            source="UDP 8, IPv4 20: a packet of 1,500 bytes, as one delivery opportunity of Mahimahi carries",
        ),
        Framing(
            name="tcp-ip",
            payload_bytes=1448,
            overhead_bytes=52,
            source="TCP 32 with timestamps, IPv4 20: a packet of 1,500 bytes, as one opportunity of Mahimahi carries",
        ),
        Framing(
            name="nb-iot",
            payload_bytes=118,
            overhead_bytes=7,
            source="a transport block of 1,000 bits (TS 36.213, NPUSCH, Release 13): MAC 2, RLC 2, and 3 for its share "
            "of PDCP 1, UDP 8 and IPv4 20 (estimated: ten blocks a datagram)",
        ),
        *(
            Framing(
                name=f"lorawan-sf{factor}",
                payload_bytes=lora.MAX_PAYLOAD_BYTES[factor],
                overhead_bytes=lora.overhead_bytes(factor),
                source="LoRaWAN 13, and preamble, header, CRC and padding of LoRa as bytes at the symbols' rate "
                "(SX1276, 4.1.1.7), EU868",
            )
            for factor in lora.MAX_PAYLOAD_BYTES
        ),
    )
}


def framing(name: str, place: str = "framing") -> Framing:
    """Return the preset called `name`; raises ConfigError that lists what there is.

    >>> framing("tcp-ipv4").overhead_bytes
    54
    """
    if name not in FRAMINGS:
        raise ConfigError(place, repr(name), "one of " + ", ".join(FRAMINGS), did_you_mean(name, FRAMINGS))
    return FRAMINGS[name]
