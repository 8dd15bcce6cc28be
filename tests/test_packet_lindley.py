"""FIFO packet by packet: Lindley's recursion, closed forms, ns.py, and the event mode give the same times."""

from itertools import accumulate

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.errors import NetworkError
from sfsim.ledger import Ledger
from sfsim.network import FRAMINGS, Link, Outgoing, PacketNetwork, framing
from sfsim.network.packet import Train, feed_forward, leave
from sfsim.network.topology import from_links, star

UDP = FRAMINGS["udp-ipv4"]


def frames(num_bytes, preset=UDP):
    """Bits of each frame of a message."""
    payload = np.full(preset.packets(num_bytes), preset.payload_bytes)
    payload[-1:] = num_bytes - preset.payload_bytes * (len(payload) - 1)
    return 8.0 * (payload + preset.overhead_bytes)


def last_passage(bits, links):
    """When the last packet of a train from 0 on has crossed: the longest way through packets x hops."""
    done = [0.0] * len(bits)
    for link in links:
        service = bits / (link.rate_bps * link.efficiency)
        done = list(
            accumulate(
                zip(done, service, strict=True), lambda left, now: max(left, now[0]) + now[1], initial=0.0
            )
        )[1:]
        done = [time_s + link.latency_s for time_s in done]
    return done[-1]


def delivered(network_class, links, num_bytes, preset=UDP, **options):
    """The record of one message over a path."""
    env, ledger = simpy.Environment(), Ledger()
    nodes = [f"n{index}" for index in range(len(links) + 1)]
    graph = from_links(zip(nodes, nodes[1:], links, strict=False))
    network = network_class(env, graph, {"a": "n0", "b": nodes[-1]}, preset, 1, ledger, **options)
    network.send("a", "b", Outgoing("x", bytes(num_bytes)))
    env.run()
    network.check_conservation()
    return ledger.messages[0]


def two_hops(first_bps, second_bps):
    return [Link(rate_bps=first_bps, latency_s=0.003), Link(rate_bps=second_bps, latency_s=0.02)]


# Row 16 of the validation matrix: UDP over two hops, store and forward.
@pytest.mark.parametrize(("first_bps", "second_bps"), [(1e8, 1e7), (1e7, 1e8), (3.3e6, 3.3e6)])
@pytest.mark.parametrize("num_bytes", [1, 1472, 1473, 10**6, 10**7])
def test_udp_over_two_hops_is_the_closed_form(first_bps, second_bps, num_bytes):
    bits, links = frames(num_bytes), two_hops(first_bps, second_bps)
    slow, fast = min(first_bps, second_bps), max(first_bps, second_bps)
    first_slow = first_bps < second_bps
    # Slow then fast: all of it on the slow link, and then what the fast one still has of the last two frames.
    if first_slow and len(bits) > 1:
        tail = max(bits[-1] / slow + bits[-1] / fast, bits[-2] / fast + bits[-1] / fast)
        expected_s = bits[:-1].sum() / slow + tail
    elif first_slow:
        expected_s = bits[0] / slow + bits[0] / fast
    else:  # the first frame on the fast link, and all of it on the slow one
        expected_s = bits[0] / fast + bits.sum() / slow
    expected_s += 0.023
    route = {"1": links[0], "2": links[1]}
    (by_recursion,) = feed_forward([Train(("1", "2"), bits, np.zeros(len(bits)))], route)
    assert by_recursion[-1] == pytest.approx(expected_s, rel=1e-9)
    if num_bytes <= 10**6:
        for discipline in ("fifo", "drr"):
            record = delivered(PacketNetwork, links, num_bytes, transport="udp", discipline=discipline)
            assert record.delivered_s == pytest.approx(expected_s, rel=1e-12)
            assert (record.sharing_s, record.first_byte_s) == (0.0, 0.0)


@pytest.mark.parametrize(("first_bps", "second_bps"), [(1e8, 1e7), (1e7, 1e8)])
def test_udp_over_two_hops_is_what_ns_py_says(first_bps, second_bps):
    pytest.importorskip("ns.port.port", reason="ns.py is not installed")
    from ns.packet.dist_generator import DistPacketGenerator
    from ns.packet.sink import PacketSink
    from ns.port.port import Port
    from ns.port.wire import Wire

    links, bits = two_hops(first_bps, second_bps), frames(1472 * 700)
    env = simpy.Environment()
    source = DistPacketGenerator(env, "s", lambda: 0.0, lambda: 1502, size=1502 * len(bits))
    sink = PacketSink(env)
    parts = [
        part for link in links for part in (Port(env, link.rate_bps), Wire(env, lambda s=link.latency_s: s))
    ]
    for before, after in zip([source, *parts], [*parts, sink], strict=True):
        before.out = after
    env.run()
    assert sink.packets_received[0] == 700
    (times_s,) = feed_forward([Train("12", bits, np.zeros(700))], dict(zip("12", links, strict=True)))
    assert env.now == pytest.approx(times_s[-1], rel=1e-9)


def test_the_recursion_is_its_own_loop():
    rng = np.random.default_rng(3)
    arrival_s = np.cumsum(rng.exponential(1.0, 500))
    service_s = rng.exponential(0.9, 500)
    left, times = 0.0, []
    for arrival, service in zip(arrival_s, service_s, strict=True):
        left = max(arrival, left) + service
        times.append(left)
    assert leave(arrival_s, service_s) == pytest.approx(times, rel=1e-12)
    assert len(leave(np.empty(0), np.empty(0))) == 0


@given(
    st.lists(
        st.tuples(st.floats(0, 0.05), st.integers(1, 40_000), st.floats(1e6, 1e8)), min_size=1, max_size=6
    ),
    st.floats(1e6, 1e8),
)
@settings(max_examples=40, deadline=None)
def test_events_and_recursion_agree_on_fifo_stars(messages, server_bps):
    """Each message from a client of its own; all meet in the queue before the server."""
    # No two packets may reach the server at one instant: then the order is anybody's choice.
    messages = [(start_s + 1e-5 * 2 ** (k / 7), *rest) for k, (start_s, *rest) in enumerate(messages)]
    env, ledger = simpy.Environment(), Ledger()
    access = {
        f"c{index}": Link(rate_bps=rate_bps, latency_s=0.001 * index)
        for index, (_, _, rate_bps) in enumerate(messages)
    }
    server = Link(rate_bps=server_bps, latency_s=0.01)
    graph = star({party: (link, link) for party, link in access.items()} | {"s": (server, server)})
    hosts = {party: party for party in (*access, "s")}
    network = PacketNetwork(env, graph, hosts, UDP, 1, ledger, transport="udp", discipline="fifo")

    def client(party, start_s, num_bytes):
        yield env.timeout(start_s)
        network.send(party, "s", Outgoing("x", bytes(num_bytes)))

    trains = []
    for party, (start_s, num_bytes, _) in zip(access, messages, strict=True):
        env.process(client(party, start_s, num_bytes))
        bits = frames(num_bytes)
        trains.append(Train((party, "s"), bits, np.full(len(bits), start_s)))
    env.run()
    network.check_conservation()
    found = {record.source: record.delivered_s for record in ledger.messages}
    expected = {
        train.route[0]: times_s[-1]
        for train, times_s in zip(trains, feed_forward(trains, access | {"s": server}), strict=True)
    }
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_hops", [1, 2, 5])
@pytest.mark.parametrize("num_bytes", [700, 50_000])
def test_a_train_alone_takes_its_longest_way_through_packets_and_hops(num_hops, num_bytes):
    rng = np.random.default_rng(num_hops)
    links = [
        Link(rate_bps=float(rng.uniform(1e6, 1e8)), latency_s=0.002, efficiency=0.9) for _ in range(num_hops)
    ]
    record = delivered(PacketNetwork, links, num_bytes)
    assert record.delivered_s == pytest.approx(last_passage(frames(num_bytes), links), rel=1e-12)


def test_routes_in_a_circle_and_channels_are_refused():
    link = Link(rate_bps=1e6, latency_s=0)
    trains = [Train(("x", "y"), np.ones(1), np.zeros(1)), Train(("y", "x"), np.ones(1), np.zeros(1))]
    with pytest.raises(NetworkError, match="routes are not feed-forward: "):
        feed_forward(trains, {"x": link, "y": link})
    from sfsim.channel import Constant

    fading = Link(channel=Constant(rate_bps=1.0), latency_s=0)
    with pytest.raises(
        NetworkError, match="link 'x' has no rate_bps: the recursion knows constant rates only"
    ):
        feed_forward(trains[:1], {"x": fading, "y": link})


def test_framings_are_cut_as_the_fluid_engine_cuts_them():
    for preset in FRAMINGS.values():
        for num_bytes in (1, 1448, 1449, 10**5):
            record = delivered(PacketNetwork, two_hops(1e7, 1e7), num_bytes, preset)
            assert (record.packets, record.wire_bytes) == (
                preset.packets(num_bytes),
                preset.wire_bytes(num_bytes),
            )
    assert framing("udp-ipv4") is UDP
