"""A graph of links, and messages that cross it in simulated time. Knows bytes, never tensors."""

from sfsim.network.declarations import FRAMINGS, Framing, Link, framing
from sfsim.network.effects import unused_effects
from sfsim.network.message import Inbox, Message
from sfsim.network.network import Network
from sfsim.payload import Outgoing

__all__ = [
    "FRAMINGS",
    "Framing",
    "Inbox",
    "Link",
    "Message",
    "Network",
    "Outgoing",
    "framing",
    "unused_effects",
]
