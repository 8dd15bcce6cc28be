"""Deficit round robin with closed windows shares as the fluid engine does (row 17); FIFO does not."""

from itertools import pairwise

import numpy as np
import pytest
import simpy

from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, PacketNetwork, framing
from sfsim.network.topology import from_links, star


def link(rate_bps, latency_s=1e-4):
    # Short: a flow takes all its links at once, packets come to the last one a latency later.
    return Link(rate_bps=rate_bps, latency_s=latency_s)


def star_case(seed):
    """Unequal access links before one server: some clients are held back by their own link, some share."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(5e6, 60e6, 8)
    access = {f"c{i}": (link(float(rate)), link(50e6)) for i, rate in enumerate(rates)}
    sends = [(float(rng.uniform(0, 0.3)), f"c{i}", "s", int(rng.uniform(1.5e6, 4e6))) for i in range(8)]
    return star(access | {"s": (link(1e9), link(100e6))}), sends


def tree_case(seed):
    """Three cells behind backhauls of their own, all of them before one server."""
    rng = np.random.default_rng(seed)
    links, sends = [("core", "s", link(60e6)), ("s", "core", link(60e6))], []
    for cell, backhaul_bps in enumerate((15e6, 30e6, 80e6)):
        links += [(f"b{cell}", "core", link(backhaul_bps)), ("core", f"b{cell}", link(backhaul_bps))]
        for client in range(3):
            name = f"c{cell}{client}"
            rate_bps = float(rng.uniform(6e6, 40e6))
            links += [(name, f"b{cell}", link(rate_bps)), (f"b{cell}", name, link(rate_bps))]
            sends.append((float(rng.uniform(0, 0.2)), name, "s", int(rng.uniform(1e6, 3e6))))
    return from_links(links), sends


def line_case(seed):
    """The parking lot: one long flow crosses three links, each of which has a short flow of its own too."""
    rng = np.random.default_rng(seed)
    nodes = ["n0", "n1", "n2", "s"]
    links = [(a, b, link(float(rng.uniform(20e6, 40e6)))) for a, b in pairwise(nodes)]
    sends = [(0.0, "n0", "s", 3_000_000)]
    sends += [(0.01 * i, a, b, int(rng.uniform(1e6, 4e6))) for i, (a, b, _) in enumerate(links)]
    return from_links(links), sends


def times(network_class, graph, sends, **options):
    """Seconds and sharing of each message, in order of sending, and when the last one was there."""
    env, ledger = simpy.Environment(), Ledger()
    hosts = {node: node for node in graph}
    network = network_class(env, graph, hosts, framing("tcp-ipv4"), 1, ledger, **options)

    def client(start_s, source, destination, num_bytes):
        yield env.timeout(start_s)
        yield network.send(source, destination, Outgoing("x", bytes(num_bytes)))

    for send in sends:
        env.process(client(*send))
    env.run()
    network.check_conservation()
    rows = sorted(ledger.messages, key=lambda row: row.message_id)
    seconds = np.array([row.delivered_s - row.queued_s for row in rows])
    return seconds, np.array([row.sharing_s for row in rows]), env.now


@pytest.mark.parametrize("case", [star_case, tree_case, line_case])
@pytest.mark.parametrize("seed", [1, 8])
def test_round_robin_shares_as_the_fluid_engine_does(case, seed):
    graph, sends = case(seed)
    sends = [(*send[:3], 3 * send[3]) for send in sends]  # what is left of frames shrinks with 1 / size
    fluid, fluid_sharing, fluid_end_s = times(Network, graph, sends)
    found, sharing, end_s = times(PacketNetwork, graph, sends)
    errors = np.abs(found / fluid - 1)
    assert np.median(errors) < 0.005
    assert errors.max() < 0.005
    assert end_s == pytest.approx(fluid_end_s, rel=0.001)
    # What is lost to others, too, means the same on both.
    assert sharing == pytest.approx(fluid_sharing, abs=0.005 * fluid_end_s)


def test_from_one_megabyte_on_row_17_holds_over_all_cases():
    """What is left is a frame here and there, so that single small cases may be a little over."""
    medians, ends = [], []
    for case in (star_case, tree_case, line_case):
        for seed in (1, 2, 8):
            graph, sends = case(seed)
            fluid, _, fluid_end_s = times(Network, graph, sends)
            found, _, end_s = times(PacketNetwork, graph, sends)
            medians.append(float(np.median(np.abs(found / fluid - 1))))
            ends.append(abs(end_s / fluid_end_s - 1))
    assert max(medians) < 0.005
    assert np.median(ends) < 0.001
    assert sorted(ends)[-2] < 0.001 and max(ends) < 0.002


def test_first_come_first_served_and_open_loops_do_not_share_fairly():
    graph, sends = star_case(1)
    fluid, _, _ = times(Network, graph, sends)
    fifo, _, _ = times(PacketNetwork, graph, sends, discipline="fifo")
    open_loop, _, _ = times(PacketNetwork, graph, sends, transport="udp")
    assert np.abs(fifo / fluid - 1).max() > 0.1
    assert (
        np.abs(open_loop / fluid - 1).max() > 0.02
    )  # what piled up before the server has left its access link


def test_equal_messages_stay_in_step():
    """N equal senders end within one frame of each other, whatever their number."""
    graph = star({f"c{i}": (link(1e8), link(1e8)) for i in range(9)} | {"s": (link(1e8), link(1e8))})
    found, sharing, end_s = times(PacketNetwork, graph, [(0.0, f"c{i}", "s", 300_000) for i in range(9)])
    assert np.ptp(found) <= 9 * 1502 * 8 / 1e8
    fluid, fluid_sharing, _ = times(Network, graph, [(0.0, f"c{i}", "s", 300_000) for i in range(9)])
    assert end_s == pytest.approx(float(fluid[0]), rel=0.005)
    assert sharing == pytest.approx(fluid_sharing, rel=0.01)


def test_small_packets_do_not_lose_their_share():
    """Deficits: two messages of 300-byte and 1448-byte frames get equal bytes, not equal packets."""
    from sfsim.network.packet.packet import Packet
    from sfsim.network.packet.queues import Drr

    queue, small, large = Drr(1500), object(), object()
    for _ in range(400):
        queue.push(Packet(small, 0, 1, 300, 0, 0.0, 0.0))
        queue.push(Packet(large, 0, 1, 1448, 0, 0.0, 0.0))
    sent = dict.fromkeys((small, large), 0)
    while sent[small] < 100_000:
        packet = queue.pop()
        sent[packet.sender] += packet.num_bytes
    assert abs(sent[small] - sent[large]) <= 2 * 1500
    assert len(list(queue)) == 800 - sent[small] // 300 - sent[large] // 1448
