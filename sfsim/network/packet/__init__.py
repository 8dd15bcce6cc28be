"""Packet by packet: the reference that the fluid engine is checked against, and a network for small runs."""

from sfsim.network.packet.lindley import Train, feed_forward, leave
from sfsim.network.packet.network import PacketNetwork

__all__ = ["PacketNetwork", "Train", "feed_forward", "leave"]
