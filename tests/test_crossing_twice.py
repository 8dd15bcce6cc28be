"""A route that crosses a link or a medium twice is charged twice, for latency, capacity and airtime."""

from math import inf

import networkx as nx
import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.bench_flows import run as bench_flows
from sfsim.network.cell import Cellular, WifiCell
from sfsim.network.cell import policy as policies
from sfsim.network.cell.radio import CellAccess
from sfsim.network.fluid import FluidEngine
from sfsim.network.transport import TcpCubic

NO_WAIT = {"wake_up_s": 0.0, "sr_period_s": 0.0, "grant_delay_s": 0.0}
HALF = {"duplex": "half", "uplink_overhead": 0.0, "downlink_overhead": 0.0, "pf_gain": "none", **NO_WAIT}
MEGABIT = 125_000


def constant(rate_bps):
    return lambda time_s: (rate_bps, inf)


# Links


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_link_named_several_times_costs_latency_and_capacity_as_often(times):
    world = {
        "links": {"L": {"bw": 1e6, "lat": 0.25}, "wide": {"bw": 1e9, "lat": 0.0}},
        "clients": [{"route": ["L", "wide"] + ["L"] * (times - 1), "sizes": [1e6], "start": 0.0, "gap": 0.0}],
    }
    assert bench_flows(world) == [(0, 0, 0.0, pytest.approx(times * 1.25))]


def test_who_crosses_twice_takes_two_shares_of_three():
    """Max-min: both get 1/3 of the link. Each sends 1 MB: at 3 s both are done, if both go on to the end."""
    link = {"L": {"bw": 1e6, "lat": 0.0}}
    clients = [{"route": ["L", "L"], "sizes": [1e6]}, {"route": ["L"], "sizes": [2e6]}]
    assert [row[3] for row in bench_flows({"links": link, "clients": clients})] == pytest.approx([3.0, 4.0])


def test_the_link_carries_and_loses_for_both_crossings():
    env = simpy.Environment()
    engine = FluidEngine(env)
    link, other = (engine.add_link(name, constant(8e6)) for name in ("link", "other"))
    done = {}

    def start(route, bits, name):
        engine.start(bits, route, lambda flow: done.setdefault(name, (env.now, flow.lost_s)))

    start([link, other, link], 8e6, "twice")
    start([link], 8e6, "once")
    env.run(until=1.0)
    engine.settle()
    assert link.used_bps == pytest.approx(8e6)
    assert link.carried_bits == pytest.approx(8e6)
    env.run()
    engine.settle()
    # Rates of 8/3 Mbit/s for 3 s. Alone: 2 s and 1 s.
    assert done == {
        "twice": (pytest.approx(3.0), pytest.approx(1.0)),
        "once": (pytest.approx(3.0), pytest.approx(2.0)),
    }
    assert (link.carried_bits, link.busy_s, link.sharing_s) == pytest.approx((24e6, 3.0, 3.0))
    assert other.carried_bits == pytest.approx(8e6)


def test_a_link_that_changes_is_crossed_twice():
    """8 Mbit/s, then 2 from second 1 on: 4 Mbit in the first second, 1 Mbit in each later one."""
    env = simpy.Environment()
    engine = FluidEngine(env)
    link = engine.add_link("link", lambda time_s: (8e6, 1.0) if time_s < 1 else (2e6, inf))
    ends = []
    engine.start(6e6, [link, link], lambda flow: ends.append(env.now))
    env.run()
    assert ends == pytest.approx([3.0])
    assert link.carried_bits == pytest.approx(12e6)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.floats(0, 3)),
        min_size=1,
        max_size=6,
    )
)
def test_no_link_gives_more_than_it_has_and_every_flow_meets_a_full_one(flows):
    env = simpy.Environment()
    engine = FluidEngine(env)
    links = [engine.add_link(str(number), constant(rate)) for number, rate in enumerate((1.0, 2.0, 5.0))]
    sent = [0.0, 0.0, 0.0]

    def later(route, start_s):
        yield env.timeout(start_s)
        engine.start(2.0, [links[number] for number in route], lambda flow: None)

    for route, start_s in flows:
        env.process(later(route, start_s))
        for number in route:
            sent[number] += 2.0
    while env.peek() < inf:
        env.step()
        if engine._pending:
            continue  # rates are found once all of an instant have come
        used = {link: link.used_bps for link in links}
        for link, capacity in zip(links, (1.0, 2.0, 5.0), strict=True):
            assert used[link] <= capacity * (1 + 1e-9)
        for flow in engine.flows:
            assert any(used[link] >= link.capacity_bps * (1 - 1e-9) for link in flow.course.links)
    engine.settle()
    assert [link.carried_bits for link in links] == pytest.approx(sent)


# Cells


def cell_world(cell, peaks_bps, messages, wired_bps=1e12, **options):
    """Clients c0, c1, ... around one cell; messages are (start, source, destination, bytes)."""
    env, ledger = simpy.Environment(), Ledger()
    graph: nx.DiGraph = nx.DiGraph()
    names = [f"c{number}" for number in range(len(peaks_bps))]
    for name, peak_bps in zip(names, peaks_bps, strict=True):
        link = Link(rate_bps=peak_bps, latency_s=0.001)
        graph.add_edge(name, "hub", link=link, cell=CellAccess("cell", name, False))
        graph.add_edge("hub", name, link=link, cell=CellAccess("cell", name, True))
    for edge in (("hub", "server"), ("server", "hub")):
        graph.add_edge(*edge, link=Link(rate_bps=wired_bps, latency_s=0.0), cell=None)
    hosts = {node: node for node in graph if node != "hub"}
    net = Network(env, graph, hosts, framing("none"), 7, ledger, set(names), cells={"cell": cell}, **options)

    def sender(start_s, source, destination, num_bytes):
        yield env.timeout(start_s)
        yield net.send(source, destination, Outgoing("control", b"", size=num_bytes))

    env.run(until=env.all_of([env.process(sender(*message)) for message in messages]))
    net.finish()
    net.check_conservation()
    rows = sorted(ledger.messages, key=lambda row: row.message_id)
    return rows, {(link.source, link.destination): link for link in ledger.links}, net


CELLS = {
    "round-robin": Cellular(access="round-robin", **HALF),
    "tdma": Cellular(access="tdma", **HALF),
    "proportional-fair": Cellular(access="proportional-fair", **HALF),
    "max-rate": Cellular(access="max-rate", **HALF),
    "equal-rate": Cellular(access="equal-rate", **HALF),
    "ofdma": Cellular(access="ofdma", **HALF),
    "wifi round-robin": WifiCell(access="round-robin"),
    "wifi equal-rate": WifiCell(access="equal-rate"),
}


@pytest.mark.parametrize("name", CELLS)
def test_from_client_to_client_takes_the_airtime_of_both_crossings(name):
    """1 Mbit at 4 Mbit/s up and 1 Mbit/s down: 0.25 s and 1 s of the air, and two latencies."""
    rows, links, _ = cell_world(CELLS[name], [4e6, 1e6], [(0.0, "c0", "c1", MEGABIT)])
    assert rows[0].delivered_s == pytest.approx(1.25 + 0.002, rel=1e-9)
    assert rows[0].sharing_s == pytest.approx(0.0, abs=1e-9)
    for edge in (("c0", "hub"), ("hub", "c1")):
        assert (links[edge].carried_bytes, links[edge].wire_bytes) == (pytest.approx(MEGABIT), MEGABIT)
        assert links[edge].busy_s == pytest.approx(1.25)


SHARED = {
    # c0 -> c1 at 4 and 2 Mbit/s, and c2 -> server at 4 Mbit/s, both 1 Mbit. Level a, airtime a (1 + 1/2) and a:
    # rates 0.8 and 1.6; at 0.625 s 0.5 Mbit are left and take 0.75 of the air each.
    "round-robin": (0.625 + 0.5 * 0.75, 0.625),
    "wifi round-robin": (0.625 + 0.5 * 0.75, 0.625),
    "tdma": (0.625 + 0.5 * 0.75, 0.625),
    "proportional-fair": (0.625 + 0.5 * 0.75, 0.625),
    "ofdma": (0.625 + 0.5 * 0.75, 0.625),
    # One rate r with r (1/4 + 1/2 + 1/4) = 1: both end after a second.
    "equal-rate": (1.0, 1.0),
    "wifi equal-rate": (1.0, 1.0),
    # 4 Mbit/s of airtime go before 1 / (1/4 + 1/2) = 4/3.
    "max-rate": (0.25 + 0.75, 0.25),
}


@pytest.mark.parametrize("name", SHARED)
def test_who_crosses_twice_beside_one_who_crosses_once(name):
    messages = [(0.0, "c0", "c1", MEGABIT), (0.0, "c2", "server", MEGABIT)]
    rows, links, _ = cell_world(CELLS[name], [4e6, 2e6, 4e6], messages)
    twice_s, once_s = SHARED[name]
    assert [row.delivered_s for row in rows] == pytest.approx([twice_s + 0.002, once_s + 0.001], rel=1e-9)
    assert rows[0].sharing_s == pytest.approx(twice_s - 0.75, abs=1e-9)
    assert sum(row.sharing_s for row in rows) == pytest.approx(sum(link.sharing_s for link in links.values()))


@pytest.mark.parametrize("name", CELLS)
def test_a_wire_that_holds_one_back_leaves_its_airtime_to_the_other(name):
    """The wired link gives c2 a quarter of a Mbit/s; c0 -> c1 has the rest of the air."""
    messages = [(0.0, "c0", "c1", MEGABIT), (0.0, "c2", "server", MEGABIT)]
    rows, _, _ = cell_world(CELLS[name], [4e6, 4e6, 4e6], messages, wired_bps=0.25e6)
    airtime = 0.25 / 4  # of c2
    assert rows[0].delivered_s == pytest.approx(0.5 / (1 - airtime) + 0.002, rel=1e-6)


@pytest.mark.parametrize("standard", ["802.11a", "802.11n"])
def test_csma_lets_the_station_and_the_access_point_contend(standard):
    """Alone, a message up and another one down of the same length end together: so does one that does both."""
    cell = WifiCell(standard=standard)
    rows, _, _ = cell_world(cell, [6e6, 6e6], [(0.0, "c0", "c1", MEGABIT)])
    both, _, _ = cell_world(
        cell, [6e6, 6e6], [(0.0, "c0", "server", MEGABIT), (0.0, "server", "c1", MEGABIT)]
    )
    assert rows[0].delivered_s - 0.002 == pytest.approx(both[0].delivered_s - 0.001, rel=1e-6)
    assert both[0].delivered_s == pytest.approx(both[1].delivered_s, rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=5),
    st.sampled_from(["air", "rate", "max", "ofdma"]),
    st.lists(st.sampled_from([inf, 0.3, 1.0]), min_size=5, max_size=5),
)
def test_airtime_is_never_more_than_there_is_and_crossings_have_one_rate(groups, name, caps):
    kinds = {
        "air": policies.EqualAirtime,
        "rate": policies.EqualRate,
        "max": policies.MaxRate,
        "ofdma": policies.Ofdma,
    }
    flows = np.repeat(np.arange(len(groups)), [count for count, _, _ in groups])
    peaks = np.concatenate([[up, *[down] * (count - 1)] for count, up, down in groups]).astype(float)
    cap = np.array(caps)[flows]
    rate = kinds[name]().allocate(peaks, cap, policies.Members(flows=flows))
    assert all(np.ptp(rate[flows == number]) == 0 for number in range(len(groups)))
    taken = float((rate / peaks).sum())
    assert taken <= 1 + 1e-9
    assert taken == pytest.approx(1, rel=1e-9) or np.all(rate >= cap * (1 - 1e-9))


@pytest.mark.parametrize("access", ["csma", "round-robin"])
def test_a_transport_knows_what_both_crossings_leave(access):
    """TCP alone on the route: its rate is that of the medium for both crossings, handshake and slow start too."""
    cell = WifiCell(access=access)
    size = 4 * MEGABIT
    rows, _, net = cell_world(cell, [6e6, 6e6], [(0.0, "c0", "c1", size)], transport=TcpCubic())
    (way,) = [way for way in net._all_ways() if way.source == "c0"]
    medium = way.first.cell
    alone_bps = medium.alone_bps(way.links, 0.0)
    assert alone_bps == pytest.approx(3e6, rel=0.15)
    one, _, _ = cell_world(cell, [6e6], [(0.0, "c0", "server", size)], transport=TcpCubic())
    assert rows[0].delivered_s > 1.8 * one[0].delivered_s
    assert rows[0].delivered_s > size * 8 / alone_bps
