"""How a message becomes packets, and what becomes of them: full rate, TCP, ARQ, Wi-Fi, datagrams.

A transport is a declaration. What it asks the network to carry are the attempts of `sfsim.network.delivery`.

>>> transport("tcp-cubic").connection
'persistent'
"""

from typing import Annotated, Any

from pydantic import Field

from sfsim.declaration import validate
from sfsim.network.transport.arq import Arq
from sfsim.network.transport.base import Path, Sending, Transport, Window
from sfsim.network.transport.fluid import Fluid
from sfsim.network.transport.tcp import TcpCubic, TcpReno
from sfsim.network.transport.udp import Fec, Udp
from sfsim.network.transport.wifi import Wifi

AnyTransport = Annotated[Fluid | Arq | TcpCubic | TcpReno | Wifi | Udp, Field(discriminator="kind")]

__all__ = [
    "AnyTransport",
    "Arq",
    "Fec",
    "Fluid",
    "Path",
    "Sending",
    "TcpCubic",
    "TcpReno",
    "Transport",
    "Udp",
    "Wifi",
    "Window",
    "transport",
]


def transport(table: str | dict[str, Any], place: str = "transport") -> Transport:
    """Build a transport from its kind, or from a table; raises ConfigError."""
    made: Transport = validate(AnyTransport, Transport.from_short_form(table), place)
    return made
