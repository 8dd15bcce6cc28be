"""A graph of links, and messages that cross it in simulated time. Knows bytes, never tensors."""

from sfsim.network.declarations import FRAMINGS, Framing, Link, framing
from sfsim.network.effects import unused_effects
from sfsim.network.message import Inbox, Message
from sfsim.network.network import Network
from sfsim.network.packet import PacketNetwork
from sfsim.payload import Outgoing

AnyNetwork = Network | PacketNetwork

__all__ = [
    "FRAMINGS",
    "AnyNetwork",
    "Framing",
    "Inbox",
    "Link",
    "Message",
    "Network",
    "Outgoing",
    "PacketNetwork",
    "framing",
    "unused_effects",
]
