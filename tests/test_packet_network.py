"""PacketNetwork has the face of Network: the same bytes, records and laws; its own times, by closed forms."""

import csv
from collections import defaultdict
from copy import copy
from itertools import pairwise
from math import ceil, inf

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.channel import Bernoulli, GilbertElliott, RayleighBlock, Trace
from sfsim.errors import NetworkError, SimulationError
from sfsim.ledger import Ledger
from sfsim.network import FRAMINGS, Link, Network, Outgoing, PacketNetwork
from sfsim.network.topology import from_links, star

BOTH = pytest.mark.parametrize("engine", [Network, PacketNetwork])
FRAME = 1502 * 8  # bits of a full frame


class World:
    """A network with its clock and ledger, and a shorthand to send at a given time."""

    def __init__(self, engine, graph, seed=1, framing="tcp-ipv4", **options):
        self.env, self.ledger = simpy.Environment(), Ledger()
        hosts = {node: node for node in graph}
        self.network = engine(
            self.env, graph, hosts, FRAMINGS[framing], seed, self.ledger, ["a", "b"], **options
        )
        self.messages = []

    def send(self, time_s, source, destination, payload):
        payload = bytes(payload) if isinstance(payload, int) else payload

        def process():
            yield self.env.timeout(time_s)
            message = yield self.network.send(source, destination, Outgoing("smashed data", payload))
            assert message.delivered_s == self.env.now
            self.messages.append(message)

        self.env.process(process())
        return self

    def run(self, until=None):
        self.env.run(until)
        self.network.check_conservation()
        self.network.finish()
        return self.ledger.messages


class LoseOnce:
    """Loses chosen packets of chosen attempts: {attempt: places}."""

    def __init__(self, places):
        self.places = places

    def lost(self, seed, link_name, message_index, attempt, num_packets):
        return np.isin(np.arange(num_packets), self.places.get(attempt, ()))


def lose(link, packets):
    """Give a link in operation a law that no scenario can declare."""
    link.declared = copy(link.declared)
    object.__setattr__(link.declared, "loss", LoseOnce(packets))


def path(*links):
    nodes = [*"anmopq"[: len(links)], "b"]
    return from_links((x, y, link) for (x, y), link in zip(pairwise(nodes), links, strict=True))


def access(rate_bps=8e6, latency_s=0.01, **keys):
    return Link(rate_bps=rate_bps, latency_s=latency_s, **keys)


# The same on both engines


@st.composite
def traffic(draw):
    loss = draw(st.sampled_from([None, Bernoulli(probability=0.1), GilbertElliott(p=0.05, r=0.3)]))
    fading = RayleighBlock(mean_snr_db=5, bandwidth_hz=1e6, coherence_time_s=0.05)
    channel = draw(st.sampled_from([None, fading]))
    link = Link(rate_bps=draw(st.floats(1e5, 1e9)), latency_s=0.01, channel=channel, loss=loss)
    message = st.tuples(
        st.sampled_from([0.0, 0.1, 0.37]),
        st.permutations(["a", "b", "c", "s"]).map(lambda names: names[:2]),
        st.integers(0, 60_000),
    )
    return link, draw(st.lists(message, min_size=1, max_size=6)), draw(st.floats(0.01, 1))


@given(traffic(), st.sampled_from(["drr", "fifo"]))
@settings(max_examples=40, deadline=None)
def test_both_engines_move_and_lose_the_same_bytes_and_keep_every_one(case, discipline):
    link, messages, stop_s = case
    rows = {}
    for name, engine, options in (
        ("fluid", Network, {}),
        ("packet", PacketNetwork, {"discipline": discipline}),
        ("again", PacketNetwork, {"discipline": discipline}),
    ):
        world = World(engine, star(dict.fromkeys("abcs", (link, link))), seed=5, **options)
        for time_s, (source, destination), num_bytes in messages:
            world.send(time_s, source, destination, num_bytes)
        world.env.run(until=stop_s)
        world.network.check_conservation()
        assert all(row.delivered for row in world.run())
        rows[name] = {row.message_id: row for row in world.ledger.messages}
        for row in rows[name].values():
            assert row.wire_bytes - row.lost_bytes == FRAMINGS["tcp-ipv4"].wire_bytes(row.payload_bytes)
            assert row.queued_s <= row.first_byte_s < inf or not row.packets
            assert 0 <= row.sharing_s <= row.delivered_s - row.queued_s
        if link.loss is None:
            assert sum(x.wire_bytes for x in world.ledger.links) == sum(
                2 * r.wire_bytes for r in rows[name].values()
            )
    assert repr(rows["packet"]) == repr(rows["again"])
    same = (
        "kind",
        "source",
        "destination",
        "direction",
        "payload_bytes",
        "packets",
        "retransmissions",
        "wire_bytes",
    )
    for number, row in rows["fluid"].items():
        for column in (*same, "lost_bytes", "hops", "payload_crc32", "queued_s"):
            assert getattr(row, column) == getattr(rows["packet"][number], column), column


@BOTH
def test_what_is_under_way_at_the_end_is_recorded_as_such(engine):
    world = World(engine, star(dict.fromkeys("abs", (access(), access()))), framing="none")
    rows = world.send(0.0, "a", "s", 10**6).send(0.0, "b", "s", 0).run(until=0.5)
    assert [(r.source, r.delivered, r.delivered_s) for r in rows] == [("b", True, 0.02), ("a", False, inf)]
    carried = {(link.source, link.destination): link.carried_bytes for link in world.ledger.links}
    assert carried["a", "hub"] == pytest.approx(0.5e6, rel=1e-9)
    busy = {(link.source, link.destination): link.busy_s for link in world.ledger.links}
    assert busy["a", "hub"] == pytest.approx(0.5)


@BOTH
def test_conservation_notices_a_wrong_counter(engine):
    world = World(engine, star(dict.fromkeys("as", (access(), access()))), framing="none")
    world.send(0.0, "a", "s", 10**6).env.run()
    link = world.network.links["a", "hub"]
    link.wire_bytes += 1
    with pytest.raises(
        SimulationError, match=r"link 'a->hub' carried (1000000.0|999999.9)\d* bytes by its rates"
    ):
        world.network.check_conservation()
    link.wire_bytes -= 1
    world.network._received_bytes -= 1
    with pytest.raises(SimulationError, match=r"bytes sent \d+ != received"):
        world.network.check_conservation()


@BOTH
def test_a_dead_link_names_link_and_message(engine, tmp_path):
    (tmp_path / "dead.csv").write_text("0,1e6\n0.5,0\n")
    up = Link(latency_s=0.01, channel=Trace(path=tmp_path / "dead.csv", end="hold"))
    world = World(engine, path(up)).send(0.0, "a", "b", 10**6)
    with pytest.raises(NetworkError) as raised:
        world.run()
    text = (
        "link 'a->b' is down for ever from 0.5 s on; message 0 ('smashed data' from 'a' to 'b') waits for it"
    )
    assert str(raised.value) == text


@BOTH
def test_the_same_node_empty_messages_and_unknown_parties(engine):
    world = World(engine, star(dict.fromkeys("as", (access(), access()))))
    rows = world.send(1.0, "a", "a", 1000).send(1.0, "a", "s", 0).run()
    assert [(row.delivered_s, row.hops, row.packets, row.wire_bytes) for row in rows] == [
        (1, 0, 0, 0),
        (1.02, 2, 0, 0),
    ]
    with pytest.raises(NetworkError, match="there is no party 'x'"):
        world.network.send("a", "x", Outgoing("x", b""))


# Times


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("num_bytes", [1, 1448, 3000, 200_000])
def test_on_an_idle_star_both_engines_agree_within_a_frame_per_hop(framing, num_bytes):
    """Store and forward: the fluid engine's time, and one frame on the faster link."""
    preset = FRAMINGS[framing]
    up, down = access(20e6, 0.002), access(100e6, 0.001)
    graph = star({"a": (up, up), "s": (down, down)})
    (fluid,) = World(Network, graph, framing=framing).send(0.5, "a", "s", num_bytes).run()
    for transport in ("arq", "udp"):
        world = World(PacketNetwork, graph, framing=framing, transport=transport)
        (packet,) = world.send(0.5, "a", "s", num_bytes).run()
        frame_bits = 8 * (min(num_bytes, preset.payload_bytes) + preset.overhead_bytes)
        last_bits = 8 * preset.wire_bytes(num_bytes) - (packet.packets - 1) * frame_bits
        both_s = max(last_bits / 20e6 + last_bits / 100e6, (last_bits + frame_bits) / 100e6)
        expected_s = 0.503 + (packet.packets - 1) * frame_bits / 20e6 + both_s
        assert packet.delivered_s == pytest.approx(expected_s, rel=1e-12)
        assert abs(packet.delivered_s - fluid.delivered_s) <= frame_bits / 20e6 + frame_bits / 100e6 + 1e-9
        assert packet.sharing_s == 0.0
        assert packet.first_byte_s == fluid.first_byte_s


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_over_one_link_a_changing_rate_is_integrated_exactly(seed, tmp_path):
    """Over one link there is nothing to store and forward: the fluid engine's time to its own tolerance."""
    (tmp_path / "outage.csv").write_text("0,4e6\n0.05,0\n0.35,1e6\n0.4,9e6\n0.5,2e6\n")
    channels = [
        RayleighBlock(mean_snr_db=8, bandwidth_hz=1e6, coherence_time_s=0.003),
        Trace(path=tmp_path / "outage.csv", end="wrap"),
    ]
    for channel in channels:
        graph = path(Link(latency_s=0.02, channel=channel))
        ends = [
            World(engine, graph, seed, **options).send(0.01, "a", "b", 250_000).run()[0].delivered_s
            for engine, options in ((Network, {}), (PacketNetwork, {"transport": "udp"}), (PacketNetwork, {}))
        ]
        assert ends[1] == pytest.approx(ends[0], abs=3e-9)
        # A window that starts small while the rate is low loses a round trip at most.
        assert ends[0] - 3e-9 <= ends[2] <= ends[0] + 0.04


def test_a_window_of_one_stops_and_waits():
    world = World(PacketNetwork, path(access(1e6), access(2e6)), window=1)
    (row,) = world.send(0.0, "a", "b", 10 * 1448).run()
    assert row.delivered_s == pytest.approx(10 * (FRAME / 1e6 + FRAME / 2e6 + 0.04) - 0.02, rel=1e-12)


@pytest.mark.parametrize("latency_s", [0.0, 0.001, 0.1])
@pytest.mark.parametrize("rates", [(1e7,), (1e7, 1e9), (1e8, 1e6, 3e7), (5e6, 5e6, 5e6, 5e6)])
def test_the_window_never_holds_a_message_alone_back(rates, latency_s):
    graph = path(*(access(rate_bps, latency_s) for rate_bps in rates))
    arq, udp = (
        World(PacketNetwork, graph, transport=name).send(0, "a", "b", 10**5).run() for name in ("arq", "udp")
    )
    assert arq[0].delivered_s == pytest.approx(udp[0].delivered_s, rel=1e-12)


# Losses


def test_selective_repeat_by_hand():
    """4 packets; the first link loses the second one, the second link the third one, and that one again."""
    tx, latency_s = FRAME / 1e6, 0.05
    world = World(PacketNetwork, path(access(1e6, latency_s), access(1e6, latency_s)))
    first, second = world.network.links.values()
    lose(first, {1: [1]})
    lose(second, {1: [2], 2: [1]})
    (row,) = world.send(0.0, "a", "b", 4 * 1448).run()
    # The third: sent at 3 tx, at the second link from 3 tx + L on, lost at 4 tx + L; known 3 L later.
    # The second, known at 2 tx + 4 L, is long through by then.
    trip = 2 * tx + 4 * latency_s
    assert row.delivered_s == pytest.approx(2 * tx + 2 * trip + 2 * tx + 2 * latency_s, rel=1e-12)
    assert (row.packets, row.retransmissions, row.lost_bytes) == (4, 3, 3 * 1502)
    assert [link.lost_packets for link in (first, second)] == [1, 2]
    # What the first link loses never comes to the second one.
    assert [link.wire_bytes for link in (first, second)] == [7 * 1502, 6 * 1502]
    assert (row.wire_bytes, row.sharing_s) == (7 * 1502, 0.0)


def test_datagrams_arrive_with_the_pattern_of_what_is_missing():
    world = World(PacketNetwork, path(access(1e6)), transport="udp", framing="udp-ipv4")
    (link,) = world.network.links.values()
    lose(link, {1: [0, 2, 3, 5]})
    payload = bytes(range(1, 256)) * 40
    (row,) = world.send(0.0, "a", "b", payload[: 5 * 1472 + 100]).run()
    (message,) = world.messages
    assert message.missing == ((0, 1472), (2944, 5888), (7360, 7460))
    for start, end in message.missing:
        assert message.payload[start:end] == bytes(end - start)
    assert message.payload[1472:2944] == payload[1472:2944]
    assert len(message.payload) == row.payload_bytes == 7460
    assert (row.packets, row.retransmissions, row.delivered) == (6, 0, True)
    assert row.lost_bytes == 3 * 1502 + 130
    # The last one is lost as it leaves the link, before the fifth has landed.
    assert row.delivered_s == pytest.approx(5 * 1502 * 8 / 1e6 + 0.01, rel=1e-12)


@pytest.mark.parametrize(
    ("rate_mbps", "rtt_ms", "num_bytes"), [(10, 50, 15_000), (100, 10, 100_000), (10, 10, 10**6)]
)
def test_selective_repeat_is_that_of_ns3(rate_mbps, rtt_ms, num_bytes, shared):
    """Row 12 of the validation matrix, on three cells of its golden data."""
    from scipy.stats import ks_2samp

    file = shared / "specs" / "network-golden" / "arq_ns3.csv"
    if not file.is_file():
        pytest.skip("no golden data of ns-3")
    cells = defaultdict(list)
    for row in csv.DictReader(file.read_text().splitlines()):
        cells[int(row["rate_mbps"]), int(row["rtt_ms"]), int(row["bytes"])].append(float(row["done_s"]))
    golden = np.array(cells[rate_mbps, rtt_ms, num_bytes])
    link = access(rate_mbps * 1e6, rtt_ms / 2e3, loss=Bernoulli(probability=0.05))
    count = 40 if num_bytes == 10**6 else 300
    found = np.array(
        [
            World(PacketNetwork, path(link), seed, framing="udp-ipv4")
            .send(0, "a", "b", num_bytes)
            .run()[0]
            .delivered_s
            for seed in range(count)
        ]
    )
    error = (golden.var() / len(golden) + found.var() / len(found)) ** 0.5
    tolerance = 0.01 if num_bytes >= 10**6 else 0.05
    assert abs(found.mean() - golden.mean()) < max(tolerance * golden.mean(), 3 * error)
    assert ks_2samp(found.round(3), golden.round(3)).pvalue > 0.001
    if num_bytes < 10**6:  # some runs lose nothing
        assert found.min() == pytest.approx(golden.min(), rel=1e-9)


def test_the_default_window_is_what_the_route_holds():
    world = World(PacketNetwork, path(access(12e6, 0.01), access(24e6, 0.01)))
    world.send(0.0, "a", "b", 10**6).run(until=0.0101)
    held = 3 + ceil(0.04 * 12e6 / FRAME)
    sent = (
        sum(1 for _ in world.network.links["a", "n"]._queue) + 1 + 10
    )  # waiting, in service, sent in 10.1 ms
    assert sent == held


@BOTH
def test_a_clock_too_coarse_for_a_fast_link_loses_no_bytes(engine):
    """At 1e5 s the clock has steps of 1.5e-11 s, in which a link of 1 Tbit/s sends 15 bits."""
    graph = from_links([("a", "b", Link(rate_bps=1e12, latency_s=0.001))], ["a", "b"])
    world = World(engine, graph)
    rows = world.send(1e5, "a", "b", 100_000).send(1e5 + 1, "a", "b", 1).run()
    assert [row.payload_bytes for row in rows] == [100_000, 1]
