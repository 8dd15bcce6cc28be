"""How many packet-hops per second the packet mode does: recursion, events, and ns.py where it is installed.

100 MB over two hops (66,667 packets) by Lindley's recursion; 10 MB over the same hops by events, as UDP
through FIFO queues and as selective repeat through DRR queues; 10 MB by ns.py. All of them in turn, several
times; medians, and ratios to ns.py measured in the same turn.
"""

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np
import simpy

from sfsim.ledger import Ledger
from sfsim.network import FRAMINGS, Link, Outgoing, PacketNetwork
from sfsim.network.packet import Train, feed_forward
from sfsim.network.topology import from_links

HOPS = {"1": Link(rate_bps=100e6, latency_s=0.01), "2": Link(rate_bps=50e6, latency_s=0.01)}
FRAME_BITS = 1500 * 8
TURNS = 5


def recursion(num_packets: int) -> float:
    """Packet-hops/s of `feed_forward`."""
    train = Train(("1", "2"), np.full(num_packets, float(FRAME_BITS)), np.zeros(num_packets))
    start = perf_counter()
    feed_forward([train], HOPS)
    return 2 * num_packets / (perf_counter() - start)


def events(num_packets: int, transport: str, discipline: str) -> float:
    """Packet-hops/s of `PacketNetwork`."""
    env = simpy.Environment()
    graph = from_links([("a", "n", HOPS["1"]), ("n", "b", HOPS["2"])])
    hosts = {"a": "a", "b": "b"}
    options = {"transport": transport, "discipline": discipline}
    network = PacketNetwork(env, graph, hosts, FRAMINGS["none"], 1, Ledger(), **options)  # type: ignore[arg-type]
    start = perf_counter()
    network.send("a", "b", Outgoing("x", bytes(1500 * num_packets)))
    env.run()
    return 2 * num_packets / (perf_counter() - start)


def ns_py(num_packets: int) -> float:
    """Packet-hops/s of ns.py: the same two ports and wires."""
    from ns.packet.dist_generator import DistPacketGenerator
    from ns.packet.sink import PacketSink
    from ns.port.port import Port
    from ns.port.wire import Wire

    env = simpy.Environment()
    source = DistPacketGenerator(env, "s", lambda: 0.0, lambda: 1500.0, size=1500 * num_packets)
    parts = [source]
    for link in HOPS.values():
        parts += [Port(env, link.rate_bps), Wire(env, lambda latency_s=link.latency_s: latency_s)]
    parts.append(PacketSink(env))
    for before, after in pairwise(parts):
        before.out = after
    start = perf_counter()
    env.run()
    return 2 * num_packets / (perf_counter() - start)


def main(toy: bool = False) -> None:
    """Print packet-hops/s and, with ns.py, ratios."""
    turns, many, few = (1, 20, 10) if toy else (TURNS, 66_667, 6667)
    cases: dict[str, Callable[[], float]] = {
        "recursion, 100 MB": lambda: recursion(many),
        "events, UDP, FIFO, 10 MB": lambda: events(few, "udp", "fifo"),
        "events, selective repeat, DRR, 10 MB": lambda: events(few, "arq", "drr"),
    }
    if find_spec("ns") is not None:
        cases["ns.py, 10 MB"] = lambda: ns_py(few)
    found = [{name: case() for name, case in cases.items()} for _ in range(turns)]
    for name in cases:
        text = f"{name:38} {median(turn[name] for turn in found):14,.0f} packet-hops/s"
        if "ns.py, 10 MB" in cases and name != "ns.py, 10 MB":
            text += f" {median(turn[name] / turn['ns.py, 10 MB'] for turn in found):9.1f} x ns.py"
        print(text)


if __name__ == "__main__":
    main()
