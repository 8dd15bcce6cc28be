"""Every documented column of messages, links and their usage is what docs/results.md says, on both engines.

The columns are computed anew from others, from what was sent and from the routes; nothing is asked of the engine.
"""

from dataclasses import fields
from math import inf
from pathlib import Path

import networkx as nx
import pytest
import simpy

from sfsim import ledger as ledgers
from sfsim.channel import Bernoulli, Outage
from sfsim.channel import Constant as ConstantChannel
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.cell import Cellular, WifiCell
from sfsim.network.cell.radio import CellAccess
from sfsim.network.packet import PacketNetwork
from sfsim.network.topology import from_links
from sfsim.network.transport import Arq, Fec, Fluid, TcpCubic, Udp, Wifi

DOCS = (Path(__file__).parents[1] / "docs" / "results.md").read_text()
LOSS = Bernoulli(probability=0.03)
# Two clients before one trunk, and a message from client to client.
SENDS = [
    (0.0, "a", "s", 40_000),
    (0.0, "b", "s", 90_000),
    (0.02, "s", "a", 30_000),
    (0.05, "a", "b", 25_000),
    (0.05, "a", "s", 0),
    (0.06, "a", "s", 1),
    (0.3, "b", "s", 50_000),
]


def tree(loss=None, outage=None):
    links = []
    for client, rate_bps in (("a", 4e6), ("b", 9e6)):
        channel = None if outage is None else ConstantChannel(rate_bps=rate_bps, outage=outage)
        links.append((client, "hub", Link(rate_bps=rate_bps, latency_s=0.005, loss=loss, channel=channel)))
        links.append(("hub", client, Link(rate_bps=rate_bps, latency_s=0.005)))
    links.append(("hub", "s", Link(rate_bps=5e6, latency_s=0.002)))
    links.append(("s", "hub", Link(rate_bps=5e6, latency_s=0.002)))
    return from_links(links)


def cell_graph(cell):
    graph: nx.DiGraph = nx.DiGraph()
    for client, rate_bps in (("a", 4e6), ("b", 9e6)):
        link = Link(rate_bps=rate_bps, latency_s=0.005)
        graph.add_edge(client, "hub", link=link, cell=CellAccess("cell", client, False))
        graph.add_edge("hub", client, link=link, cell=CellAccess("cell", client, True))
    for edge in (("hub", "s"), ("s", "hub")):
        graph.add_edge(*edge, link=Link(rate_bps=5e6, latency_s=0.002), cell=None)
    return graph


def fluid(transport=None, preset="tcp-ipv4", graph=None, **options):
    return lambda env, ledger: Network(
        env,
        tree() if graph is None else graph,
        {"a": "a", "b": "b", "s": "s"},
        framing(preset),
        1,
        ledger,
        {"a", "b"},
        transport=transport,
        **options,
    )


def packets(transport="arq", graph=None, **options):
    return lambda env, ledger: PacketNetwork(
        env,
        tree() if graph is None else graph,
        {"a": "a", "b": "b", "s": "s"},
        framing("tcp-ipv4"),
        1,
        ledger,
        {"a", "b"},
        transport=transport,
        **options,
    )


def celled(cell):
    return fluid(graph=cell_graph(cell), cells={"cell": cell})


WORLDS = {
    "fluid": fluid(),
    "fluid, outages": fluid(graph=tree(outage=Outage(mean_up_s=0.05, mean_down_s=0.02))),
    "fluid, lossy": fluid(Fluid(), graph=tree(LOSS)),
    "arq": fluid(Arq(), "udp-ipv4-ethernet", tree(LOSS)),
    "arq, few retries": fluid(Arq(retries=0), "udp-ipv4-ethernet", tree(LOSS)),
    "tcp": fluid(TcpCubic(), graph=tree(LOSS)),
    "tcp, loss-free": fluid(TcpCubic()),
    "udp": fluid(Udp(), "udp-ipv4-ethernet", tree(LOSS)),
    "udp, fec": fluid(Udp(fec=Fec(n=5, k=4)), "udp-ipv4-ethernet", tree(LOSS)),
    "wifi": fluid(Wifi(), "udp-ipv4-wifi", tree(LOSS)),
    "packet": packets(),
    "packet, fifo": packets(discipline="fifo"),
    "packet, lossy": packets(graph=tree(LOSS)),
    "packet, udp": packets("udp", graph=tree(LOSS)),
    "packet, outages": packets(graph=tree(outage=Outage(mean_up_s=0.05, mean_down_s=0.02))),
    "csma": celled(WifiCell()),
    "wifi round robin": celled(WifiCell(access="round-robin")),
    "lte": celled(Cellular()),
    "half duplex": celled(Cellular(duplex="half", access="proportional-fair")),
    "max-rate": celled(Cellular(access="max-rate", duplex="half")),
    "ofdma": celled(Cellular(access="ofdma")),
}


def run(make, usage_every_s=None):
    env, ledger = simpy.Environment(), Ledger()
    net = make(env, ledger)
    if usage_every_s is not None:
        from sfsim.network.usage import Usage

        net._usage = Usage(net, usage_every_s)

    def sender(start_s, source, destination, num_bytes):
        yield env.timeout(start_s)
        yield net.send(source, destination, Outgoing("control", b"", size=num_bytes))

    done = [env.process(sender(*send)) for send in SENDS]
    env.run(until=env.all_of(done))
    net.finish()
    net.check_conservation()
    return env, net, ledger


def sending_order():
    return sorted(range(len(SENDS)), key=lambda place: SENDS[place][0])


@pytest.mark.parametrize("name", WORLDS)
def test_the_columns_of_messages_and_links(name):
    env, net, ledger = run(WORLDS[name])
    rows = sorted(ledger.messages, key=lambda row: row.message_id)
    used_framing = net._framing
    assert len(rows) == len(SENDS)
    for row, place in zip(rows, sending_order(), strict=True):
        start_s, source, destination, num_bytes = SENDS[place]
        assert (row.source, row.destination, row.queued_s) == (source, destination, start_s)
        ends = (source != "s", destination != "s")
        assert row.direction == {(True, True): "peer", (True, False): "up", (False, True): "down"}[ends]
        assert (row.payload_bytes, row.raw_bytes, row.label_bytes) == (num_bytes, 0, 0)
        assert row.hops == 2
        assert row.delivered
        assert row.delivered_s < inf
        pieces = used_framing.packets(num_bytes)
        assert row.packets == pieces
        copy = num_bytes + pieces * used_framing.overhead_bytes
        assert row.wire_bytes - row.lost_bytes <= copy
        if "udp" not in name and name != "arq, few retries":
            assert row.wire_bytes - row.lost_bytes == copy
        if row.retransmissions == 0 and "udp" not in name and "few" not in name:
            assert row.lost_bytes == 0
        assert row.retransmissions * (used_framing.payload_bytes + used_framing.overhead_bytes) >= (
            row.wire_bytes - copy if "fec" not in name else 0
        )
        if num_bytes:
            assert start_s <= row.first_byte_s <= row.delivered_s
        assert 0 <= row.sharing_s <= row.delivered_s - row.queued_s
    links = {(link.source, link.destination): link for link in ledger.links}
    for edge, link in links.items():
        crossed = [row for row in rows if edge in edges_of_route(row)]
        assert link.messages == len(crossed)
        assert link.carried_bytes == pytest.approx(link.wire_bytes, rel=1e-9, abs=1e-6)
        lossless_before = edge[0] in ("a", "b", "s") or not name.startswith("packet")
        if lossless_before or ("lossy" not in name and "udp" not in name):
            assert link.wire_bytes == sum(row.wire_bytes for row in crossed)
        assert link.loss_configured == (net.links[edge].loss is not None)
        assert link.channel_configured == (net.links[edge].realisation is not None)
        rate_bps = net.links[edge].declared.rate_bps
        assert link.carried_bytes * 8 / rate_bps <= link.busy_s * (1 + 1e-9) <= env.now * (1 + 1e-9)
    shared_s = sum(row.sharing_s for row in rows)
    assert shared_s > 0.01
    assert sum(link.sharing_s for link in links.values()) == pytest.approx(shared_s, rel=1e-6, abs=1e-9)


def edges_of_route(row):
    return {(row.source, "hub"), ("hub", row.destination)}


def test_an_outage_is_no_busy_time_in_a_cell_either():
    """1 Mbit at 1 Mbit/s with rate 0 between 0.5 s and 1 s: over at 1.5 s, a second of it busy."""
    from sfsim.network.cell.policy import EqualAirtime, MaxRate, Members
    from sfsim.network.cells import FluidCell
    from sfsim.network.fluid import FluidEngine

    for policy in (EqualAirtime(), MaxRate()):
        env = simpy.Environment()
        engine = FluidEngine(env)
        link = engine.add_link(
            "air", lambda t: (1e6, 0.5) if t < 0.5 else (0.0, 1.0) if t < 1 else (1e6, inf)
        )
        cell: FluidCell = engine.add_cell("cell", policy, Members)
        cell.add(link)
        engine.start(1e6, [link], lambda flow: None)
        env.run()
        engine.settle()
        assert env.now == pytest.approx(1.5)
        assert link.busy_s == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["fluid", "fluid, outages", "tcp", "csma", "half duplex"])
def test_the_columns_of_usage_add_up_to_those_of_links(name):
    every_s = 0.1
    _, _, ledger = run(WORLDS[name], usage_every_s=every_s)
    for link in ledger.links:
        rows = [
            row
            for row in ledger.link_usage
            if (row.source, row.destination) == (link.source, link.destination)
        ]
        for column in ("carried_bytes", "busy_s", "sharing_s"):
            found = sum(getattr(row, column) for row in rows)
            assert found == pytest.approx(getattr(link, column), rel=1e-9, abs=1e-9), column
        for row in rows:
            assert row.end_s <= row.start_s + every_s * (1 + 1e-9)
            if row.capacity_bps:
                used = row.carried_bytes * 8 / (row.capacity_bps * (row.end_s - row.start_s))
                assert row.utilisation == pytest.approx(used)


@pytest.mark.parametrize("kind", ["Message", "Computation", "Link", "Access", "LinkUsage"])
def test_every_column_is_documented(kind):
    for field in fields(getattr(ledgers, f"{kind}Record")):
        assert f"`{field.name}`" in DOCS, field.name
