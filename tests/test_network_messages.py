"""Messages through the whole network: times, records, retransmissions, conservation, inboxes, errors."""

from math import inf

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.channel import Bernoulli, Constant, GilbertElliott, RayleighBlock, Trace
from sfsim.errors import ConfigError, NetworkError, SimulationError
from sfsim.ledger import Ledger
from sfsim.network import FRAMINGS, Link, Network, Outgoing, framing, unused_effects
from sfsim.network.delivery import Luck
from sfsim.network.topology import from_links, star
from sfsim.network.transport.fluid import repair_rounds

SERVER = "main server"


def wire(rate_bps=8e6, latency_s=0.01, **keys):
    return Link(rate_bps=rate_bps, latency_s=latency_s, **keys)


class World:
    """A network with its clock and ledger, and a shorthand to send at a given time."""

    def __init__(self, graph, hosts, framing_name="none", seed=1, clients=("a", "b", "c")):
        self.env, self.ledger = simpy.Environment(), Ledger()
        self.network = Network(
            self.env,
            graph,
            hosts,
            framing(framing_name),
            seed,
            self.ledger,
            [c for c in clients if c in hosts],
        )
        self.delivered = []

    def send(self, time_s, source, destination, num_bytes, kind="smashed data"):
        def process():
            yield self.env.timeout(time_s)
            outgoing = Outgoing(kind=kind, payload=bytes(num_bytes))
            message = yield self.network.send(source, destination, outgoing)
            assert message.delivered_s == self.env.now
            self.delivered.append(message)

        self.env.process(process())

    def run(self, until=None):
        self.env.run(until)
        self.network.check_conservation()
        self.network.finish()
        return self.ledger.messages


def star_world(up=None, down=None, parties=("a", "b", "c", SERVER), **keys):
    up, down = up or wire(), down or wire()
    return World(star(dict.fromkeys(parties, (up, down))), {p: p for p in parties}, **keys)


def path_world(links, **keys):
    nodes = ["a", *(f"n{i}" for i in range(1, len(links))), SERVER]
    graph = from_links(zip(nodes, nodes[1:], links, strict=False))
    return World(graph, {"a": "a", SERVER: SERVER}, **keys)


@pytest.mark.parametrize("num_bytes", [0, 1, 1448, 1449, 10**8])
@pytest.mark.parametrize("framing_name", FRAMINGS)
def test_a_message_alone_takes_its_latencies_and_its_wire_bytes_at_the_smallest_rate(num_bytes, framing_name):
    links = [wire(1e9, 0.001), wire(3.3e6, 0.02), wire(1e7, 0.0005, efficiency=0.5)]
    world = path_world(links, framing_name=framing_name)
    world.send(2.0, "a", SERVER, num_bytes)
    (record,) = world.run()
    preset = FRAMINGS[framing_name]
    packets = -(-num_bytes // preset.payload_bytes)
    assert (record.packets, record.hops) == (packets, 3)
    assert record.wire_bytes == num_bytes + packets * preset.overhead_bytes
    assert record.delivered_s - 2.0 == pytest.approx(0.0215 + record.wire_bytes * 8 / 3.3e6, rel=1e-9)
    assert (record.queued_s, record.first_byte_s, record.sharing_s) == (2.0, 2.0, 0.0)
    for link in world.ledger.links:
        assert link.wire_bytes == record.wire_bytes
        assert link.carried_bytes == pytest.approx(record.wire_bytes, rel=1e-12)


def test_framing_presets_are_the_published_frames():
    frames = {name: (f.payload_bytes, f.payload_bytes + f.overhead_bytes) for name, f in FRAMINGS.items()}
    assert frames["tcp-ipv4"] == (1448, 1502)
    assert frames["udp-ipv4"] == (1472, 1502)
    assert frames["tcp-ipv4-ethernet"] == (1448, 1518)
    with pytest.raises(
        ConfigError, match=r"found 'tcp-ipv5', expected one of none, .* Did you mean 'tcp-ipv4'"
    ):
        framing("tcp-ipv5", "scenario.toml, network.framing")


def test_directions_sharing_and_who_waited():
    world = star_world()
    world.send(0.0, "a", SERVER, 10**6)
    world.send(0.0, "b", SERVER, 2 * 10**6)
    world.send(0.0, SERVER, "a", 10**6)
    world.send(0.0, "a", "b", 0)
    rows = {(r.source, r.destination): r for r in world.run()}
    assert {pair: row.direction for pair, row in rows.items()} == {
        ("a", SERVER): "up",
        ("b", SERVER): "up",
        (SERVER, "a"): "down",
        ("a", "b"): "peer",
    }
    # The server's downlink carries both uploads: half speed for 2 s, then b alone.
    assert rows["a", SERVER].delivered_s == pytest.approx(2.02, rel=1e-12)
    assert rows["b", SERVER].delivered_s == pytest.approx(3.02, rel=1e-12)
    assert rows["a", SERVER].sharing_s == rows["b", SERVER].sharing_s == 1.0
    assert rows[SERVER, "a"].sharing_s == 0.0


def test_a_channel_and_a_rate_are_the_smaller_of_the_two():
    links = [Link(rate_bps=rate, latency_s=0, channel=Constant(rate_bps=2e6)) for rate in (1e6, 8e6, None)]
    times = []
    for link in links:
        world = path_world([link])
        world.send(0.0, "a", SERVER, 10**6)
        times.append(world.run()[0].delivered_s)
    assert times == pytest.approx([8, 4, 4])


def test_parties_on_one_machine_need_no_network():
    world = World(
        star({"host": (wire(), wire()), "a": (wire(), wire())}), {SERVER: "host", "fed server": "host"}
    )
    world.send(1.5, SERVER, "fed server", 1000)
    (record,) = world.run()
    assert (record.delivered_s, record.hops, record.wire_bytes, record.direction) == (1.5, 0, 0, "core")
    assert record.delivered


# Retransmissions


def test_repair_rounds_by_hand():
    # 4 packets: 1448, 1448, 1448, 656 bytes. Round 1 loses the first and the last, round 2 the last again.
    luck = {1: [True, False, False, True], 2: [False, True], 3: [False]}
    rounds = list(repair_rounds(framing("tcp-ipv4"), 5000, lambda attempt, packets: np.array(luck[attempt])))
    assert [(r.packets, r.wire_bytes, r.lost_packets, r.lost_bytes) for r in rounds] == [
        (4, 5216, 2, 1502 + 710),
        (2, 1502 + 710, 1, 710),
        (1, 710, 0, 0),
    ]


def test_a_lossy_message_alone_takes_the_documented_time():
    loss = GilbertElliott(p=0.1, r=0.4)
    world = path_world([wire(1e6, 0.03, loss=loss), wire(2e6, 0.01)], framing_name="tcp-ipv4")
    world.send(0.0, "a", SERVER, 10**5)
    (record,) = world.run()
    name = f"a->n1: a -> {SERVER}"
    rounds = list(
        repair_rounds(framing("tcp-ipv4"), 10**5, lambda k, packets: loss.lost(1, name, 0, k, packets))
    )
    assert len(rounds) > 1
    total = sum(step.wire_bytes for step in rounds)
    expected_s = total * 8 / 1e6 + (len(rounds) - 1) * 2 * 0.04 + 0.04
    assert record.delivered_s == pytest.approx(expected_s, rel=1e-9)
    assert record.wire_bytes == total
    assert record.lost_bytes == sum(step.lost_bytes for step in rounds) == total - (10**5 + 70 * 54)
    assert (record.packets, record.retransmissions) == (70, sum(step.packets for step in rounds[1:]))
    # Repair is end to end: the loss-free second link carries every attempt too.
    assert [link.wire_bytes for link in world.ledger.links] == [total, total]
    assert [link.lost_packets for link in world.ledger.links] == [record.retransmissions, 0]


def test_two_codecs_meet_the_same_luck_on_the_shared_prefix(monkeypatch):
    drawn, ahead = [], Luck.ahead

    def listen(luck, attempt, packets):
        drawn.append(ahead(luck, attempt, packets))
        return drawn[-1]

    monkeypatch.setattr(Luck, "ahead", listen)

    def lost_first(num_bytes):
        drawn.clear()
        world = path_world([wire(loss=Bernoulli(probability=0.2))])
        for _ in range(3):
            world.send(0.0, "a", SERVER, num_bytes)
        world.run()
        return drawn[:3]

    for short, long in zip(lost_first(60_000), lost_first(150_000), strict=True):
        assert short.any()
        assert np.array_equal(short, long[:40])


# Records at the end of a run


def test_what_is_under_way_at_the_end_is_recorded_as_such():
    world = star_world()
    world.send(0.0, "a", SERVER, 10**6)
    world.send(0.0, "b", SERVER, 0)
    rows = world.run(until=0.5)
    assert [(r.source, r.delivered, r.delivered_s) for r in rows] == [("b", True, 0.02), ("a", False, inf)]
    carried = {(link.source, link.destination): link.carried_bytes for link in world.ledger.links}
    assert carried["a", "hub"] == pytest.approx(0.5e6)


def test_conservation_notices_a_wrong_counter():
    world = star_world()
    world.send(0.0, "a", SERVER, 10**6)
    world.env.run()
    link = world.network.links["a", "hub"]
    link.wire_bytes += 1
    with pytest.raises(SimulationError, match=r"link 'a->hub' carried 1000000.0 bytes by its rates"):
        world.network.check_conservation()
    link.wire_bytes -= 1
    world.network._received_bytes -= 1
    with pytest.raises(SimulationError, match="bytes sent 1000000 != received"):
        world.network.check_conservation()


@st.composite
def traffic(draw):
    loss = draw(st.sampled_from([None, Bernoulli(probability=0.1), GilbertElliott(p=0.05, r=0.3)]))
    fading = RayleighBlock(mean_snr_db=5, bandwidth_hz=1e6, coherence_time_s=0.05)
    channel = draw(st.sampled_from([None, fading]))
    up = Link(rate_bps=draw(st.floats(1e5, 1e9)), latency_s=0.01, channel=channel, loss=loss)
    message = st.tuples(
        st.sampled_from([0.0, 0.1, 0.37]),
        st.permutations(["a", "b", "c", SERVER]).map(lambda names: names[:2]),
        st.integers(0, 200_000),
    )
    return up, draw(st.lists(message, min_size=1, max_size=8)), draw(st.floats(0.01, 1))


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_no_byte_appears_or_vanishes_and_a_run_repeats(case):
    up, messages, stop_s = case
    ledgers = []
    for _ in range(2):
        world = star_world(up=up, framing_name="tcp-ipv4", seed=5)
        for time_s, (source, destination), num_bytes in messages:
            world.send(time_s, source, destination, num_bytes)
        world.env.run(until=stop_s)
        world.network.check_conservation()
        rows = world.run()
        assert all(row.delivered for row in rows)
        assert sum(link.wire_bytes for link in world.ledger.links) == sum(r.wire_bytes * r.hops for r in rows)
        for row in rows:
            frames = -(-row.payload_bytes // 1448)
            assert row.wire_bytes - row.lost_bytes == row.payload_bytes + 54 * frames
        ledgers.append(repr(world.ledger))
    assert ledgers[0] == ledgers[1]


# Inboxes


def test_an_inbox_gives_by_kind_and_sender_and_keeps_the_rest():
    world, got = star_world(), []
    world.send(0.0, "a", SERVER, 10, "gradient")
    world.send(0.0, "b", SERVER, 10, "smashed data")
    world.send(1.0, "a", SERVER, 10, "smashed data")

    def server():
        inbox = world.network.inbox(SERVER)
        for wanted in ({"sender": "a", "kind": "smashed data"}, {"kind": "gradient"}, {}):
            message = yield from inbox.receive(**wanted)
            got.append((message.source, message.kind, round(world.env.now, 2)))

    world.env.process(server())
    world.run()
    assert got == [("a", "smashed data", 1.02), ("a", "gradient", 1.02), ("b", "smashed data", 1.02)]
    assert len(world.network.inbox(SERVER)) == 0


def test_messages_of_one_instant_arrive_in_send_order():
    # c is sent first over a slower start; all three reach the server at the same instant.
    links = {"a": wire(latency_s=0.03), "b": wire(latency_s=0.01), "c": wire(latency_s=0.02), SERVER: wire()}
    world = World(star({party: (link, link) for party, link in links.items()}), {p: p for p in links})
    for time_s, party in ((0.0, "a"), (0.02, "b"), (0.01, "c")):
        world.send(time_s, party, SERVER, 0)
    order = []

    def handler(sender):
        message = yield from world.network.inbox(SERVER).receive(sender=sender)
        order.append((message.message_id, world.env.now))

    for sender in ("b", "c", "a"):
        world.env.process(handler(sender))
    world.run()
    assert order == sorted(order)


# Errors


def test_an_unknown_party_or_node_is_named():
    world = star_world()
    with pytest.raises(
        NetworkError, match=r"no party 'main sever' in the network. Did you mean 'main server'"
    ):
        world.network.send("a", "main sever", Outgoing("x", b""))
    with pytest.raises(NetworkError, match="no party 'd'"):
        world.network.inbox("d")
    with pytest.raises(NetworkError, match=r"'a' stands at unknown node 'hubb'. Did you mean 'hub'"):
        World(star({"x": (wire(), wire())}), {"a": "hubb"})


def test_no_route_is_an_error_at_once():
    world = path_world([wire()])
    with pytest.raises(NetworkError, match="no route from node 'main server' to node 'a'"):
        world.network.send(SERVER, "a", Outgoing("x", b""))


def test_a_dead_link_names_link_and_message(tmp_path):
    path = tmp_path / "dead.csv"
    path.write_text("0,1e6\n0.5,0\n")
    up = Link(latency_s=0.01, channel=Trace(path=path, end="hold"))
    world = star_world(up=up)
    world.send(0.0, "a", SERVER, 10**6)
    with pytest.raises(NetworkError) as raised:
        world.run()
    assert str(raised.value) == (
        "link 'a->hub' is down for ever from 0.5 s on; "
        "message 0 ('smashed data' from 'a' to 'main server') waits for it"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"latency_s": 0.0}, "rate_bps: found nothing, expected a rate in bit/s, or a channel"),
        ({"latency_s": 0.0, "rate_bps": -5.0}, "rate_bps: found -5.0"),
        ({"latency_s": -1.0, "rate_bps": 5.0}, "latency_s: found -1.0"),
        ({"rate_bps": 5.0}, "latency_s: found nothing"),
        ({"latency_s": 0.0, "rate_bps": True}, "rate_bps: found true"),
        ({"latency_s": 0.0, "rate_bps": 5.0, "efficiency": 1.5}, "efficiency: found 1.5"),
    ],
)
def test_wrong_links(keys, message):
    with pytest.raises(ConfigError) as raised:
        Link(**keys)
    assert message in str(raised.value)


# Effects that never happened


def test_unused_effects_are_reported():
    fading = RayleighBlock(mean_snr_db=5, bandwidth_hz=1e6, coherence_time_s=0.05)
    busy = Link(latency_s=0, channel=fading, loss=Bernoulli(probability=0.5))
    idle = Link(latency_s=0, channel=fading, loss=Bernoulli(probability=1e-9))
    graph = from_links([("a", SERVER, busy), (SERVER, "a", idle)])
    world = World(graph, {"a": "a", SERVER: SERVER})
    world.send(0.0, "a", SERVER, 10**5)
    world.run()
    assert unused_effects(world.ledger) == [
        "link 'main server' -> 'a': loss is configured, but none of 0 messages lost a packet",
        "link 'main server' -> 'a': a channel is configured, but no message ever asked for its rate",
    ]
