"""Transports in the network: times, sharing, connections, counters, missing bytes, the command."""

import json
import subprocess
import sys

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.channel import Bernoulli, GilbertElliott, RayleighBlock
from sfsim.errors import ConfigError
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.topology import star
from sfsim.network.transport import Arq, Fec, Fluid, TcpCubic, TcpReno, Udp, Wifi, transport
from sfsim.network.transport.measure import transfer

SERVER = "main server"


class World:
    """Clients around one switch: access at 8 Mbit/s and 20 ms, the server's line at 80 Mbit/s and 5 ms."""

    def __init__(self, law, loss=None, clients=("a", "b"), framing_name="tcp-ipv4", seed=1, **link):
        self.env, self.ledger = simpy.Environment(), Ledger()
        access = Link(**{"rate_bps": 8e6, "latency_s": 0.02, "loss": loss} | link)
        back = Link(rate_bps=8e6, latency_s=0.02)
        trunk = Link(rate_bps=80e6, latency_s=0.005)
        graph = star({**dict.fromkeys(clients, (access, back)), SERVER: (trunk, trunk)})
        self.network = Network(
            self.env,
            graph,
            {name: name for name in (*clients, SERVER)},
            framing(framing_name),
            seed,
            self.ledger,
            clients,
            transport=law,
        )
        self.messages = []

    def send(self, time_s, source, destination, num_bytes):
        def process():
            yield self.env.timeout(time_s)
            payload = bytes([7]) * num_bytes
            message = yield self.network.send(source, destination, Outgoing(kind="x", payload=payload))
            self.messages.append(message)

        self.env.process(process())
        return self

    def run(self):
        self.env.run()
        self.network.check_conservation()
        self.network.finish()
        for link in self.ledger.links:
            assert link.carried_bytes == pytest.approx(link.wire_bytes, rel=1e-9)
        return sorted(self.ledger.messages, key=lambda row: row.queued_s)


def took(row):
    return row.delivered_s - row.queued_s


LAWS = [Fluid(), Arq(), TcpCubic(), TcpReno(), Udp(), Udp(fec=Fec(n=10, k=8)), Wifi()]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("num_bytes", [0, 1, 10**4, 10**6])
def test_alone_and_loss_free_it_takes_what_transfer_says(law, num_bytes):
    """The access line is the narrow one; 25 ms each way."""
    (row,) = World(law).send(1.0, "a", SERVER, num_bytes).run()
    alone = transfer(num_bytes, 8e6, 0.05, transport=law, frames="tcp-ipv4")
    assert row.wire_bytes == alone["wire_bytes"][0]
    if isinstance(law, Wifi):  # its back-off has the name of the parties
        assert took(row) == pytest.approx(alone["seconds"][0], rel=0.02)
    else:
        assert took(row) == pytest.approx(alone["seconds"][0], rel=1e-9)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize(
    "loss", [Bernoulli(probability=0.05), GilbertElliott(p=0.01, r=0.3)], ids=["iid", "bursts"]
)
def test_alone_and_lossy_it_takes_what_its_attempts_say(law, loss, monkeypatch):
    seen = []
    original = type(law).attempts

    def listen(self, sending):
        for attempt in original(self, sending):
            seen.append(attempt)
            yield attempt

    monkeypatch.setattr(type(law), "attempts", listen)
    world = World(law, loss).send(0.0, "a", SERVER, 10**6)
    (row,) = world.run()
    busy_s = sum(step.pause_s + step.wire_bytes * 8 / min(8e6, step.cap_bps) for step in seen)
    assert took(row) == pytest.approx(busy_s + 0.025 + seen[-1].tail_s, rel=1e-9)
    (up,) = [link for link in world.ledger.links if link.source == "a"]
    assert up.lost_packets > 0
    assert up.wire_bytes == row.wire_bytes == sum(step.wire_bytes for step in seen)
    pieces = framing("tcp-ipv4").packets(10**6)
    assert (row.packets, row.retransmissions) == (pieces, sum(step.repeated for step in seen))
    parity = 0 if getattr(law, "fec", None) is None else -(-pieces // 8) * 2
    assert pieces + row.retransmissions + parity == sum(step.packets for step in seen)


def test_two_lossy_tcp_flows_share_the_trunk_and_one_alone_keeps_its_rate():
    """A flow is capped at what losses leave it; more of them than fit share."""
    loss = Bernoulli(probability=0.01)
    alone = [took(World(TcpCubic(), loss).send(0.0, "a", SERVER, 10**6).run()[0])]
    world = World(TcpCubic(), loss)
    for name in ("a", "b"):
        world.send(0.0, name, SERVER, 10**6)
    rows = world.run()
    assert took(next(row for row in rows if row.source == "a")) == pytest.approx(alone[0], rel=1e-9)
    crowded = World(TcpCubic(), loss, clients=tuple(f"c{i}" for i in range(40)))
    for i in range(40):
        crowded.send(0.0, f"c{i}", SERVER, 10**6)
    assert np.mean([took(row) for row in crowded.run()]) > 2 * alone[0]


@pytest.mark.parametrize("law", [TcpCubic(), TcpReno()], ids=str)
def test_a_connection_is_opened_once_and_keeps_its_window(law):
    world = World(law)
    for time_s in (0.0, 2.0, 2.1, 30.0):
        world.send(time_s, "a", SERVER, 40_000)
    first, after_idle, at_once, much_later = world.run()
    tx_s, ack_s = 1502 * 8 / 8e6, 54 * 8 / 8e6
    wire_s = (40_000 + 28 * 54) * 8 / 8e6
    # Of 28 segments a window of 10 lets 10 out and waits; the other 18 leave on 9 answers, which make it 19.
    waiting = {window: 0.05 + tx_s + ack_s - window * tx_s for window in (10, 19)}
    handshake_s = 0.05 + (58 + 58 + 54) * 8 / 8e6
    assert took(first) == pytest.approx(handshake_s + waiting[10] + wire_s + 0.025, rel=1e-9)
    assert took(after_idle) == pytest.approx(waiting[10] + wire_s + 0.025, rel=1e-9)
    assert took(at_once) == pytest.approx(waiting[19] + wire_s + 0.025, rel=1e-9)
    assert took(much_later) == pytest.approx(took(after_idle), rel=1e-9)


def test_the_answer_uses_the_same_connection():
    world = World(TcpCubic()).send(0.0, "a", SERVER, 1000).send(1.0, SERVER, "a", 1000)
    there, back = world.run()
    assert took(there) == pytest.approx(0.075 + (2 * 58 + 54 + 1054) * 8 / 8e6, rel=1e-9)
    assert took(back) == pytest.approx(0.025 + 1054 * 8 / 8e6, rel=1e-9)


def test_per_message_connections_start_anew():
    world = World(TcpCubic(connection="per-message"))
    for time_s in (0.0, 0.5, 0.6):
        world.send(time_s, "a", SERVER, 40_000)
    rows = world.run()
    assert np.ptp([took(row) for row in rows]) == pytest.approx(0, abs=1e-9)


def test_bytes_that_did_not_arrive_read_as_zeros():
    world = World(Udp(), Bernoulli(probability=0.3), framing_name="udp-ipv4").send(0.0, "a", SERVER, 20_000)
    (row,) = world.run()
    (message,) = world.messages
    assert message.missing
    payload = np.frombuffer(message.payload, np.uint8)
    gone = np.zeros(20_000, bool)
    for start, end in message.missing:
        gone[start:end] = True
    assert np.array_equal(payload == 0, gone)
    assert row.delivered
    assert row.lost_bytes == gone.sum() + 30 * -(-gone.sum() // 1472)


def test_a_link_may_name_its_own_transport():
    world = World(Fluid(), transport=Wifi(), rate_bps=54e6)
    world.send(0.0, "a", SERVER, 10**6).send(0.0, SERVER, "a", 10**6)
    up, down = sorted(world.run(), key=lambda row: row.source)
    assert up.wire_bytes == 10**6 + 680 * 64
    assert took(up) == pytest.approx(0.2677 + 0.025, rel=0.02)  # 29.9 Mbit/s of 54
    assert down.wire_bytes == framing("tcp-ipv4").wire_bytes(10**6)


def test_fading_and_outages_do_not_stop_a_transport():
    fading = RayleighBlock(bandwidth_hz=1e6, mean_snr_db=10, coherence_time_s=0.05)
    for law in LAWS:
        world = World(law, Bernoulli(probability=0.02), rate_bps=None, channel=fading)
        assert world.send(0.0, "a", SERVER, 10**5).run()[0].delivered


@settings(max_examples=25, deadline=None)
@given(
    law=st.sampled_from(LAWS),
    seed=st.integers(0, 1000),
    probability=st.floats(0, 0.3),
    sizes=st.lists(st.integers(0, 2 * 10**5), min_size=1, max_size=6),
)
def test_no_byte_appears_or_vanishes(law, seed, probability, sizes):
    world = World(law, Bernoulli(probability=probability), seed=seed)
    for i, num_bytes in enumerate(sizes):
        world.send(0.01 * i, "ab"[i % 2], SERVER, num_bytes)
    rows = world.run()
    assert len(rows) == len(sizes)
    for row in rows:
        useful = framing("tcp-ipv4").wire_bytes(row.payload_bytes)
        missing = sum(
            end - start + 54 * -(-(end - start) // 1448)
            for message in world.messages
            if message.message_id == row.message_id
            for start, end in message.missing
        )
        assert row.wire_bytes - row.lost_bytes == useful - missing


def test_a_longer_message_meets_the_luck_of_a_shorter_one():
    """The first lost transmission is the same for both, whatever the codec made of the tensor."""
    firsts = []
    for num_bytes in (60_000, 150_000):
        world = World(Udp(), Bernoulli(probability=0.1)).send(0.0, "a", SERVER, num_bytes)
        world.run()
        firsts.append([span for span in world.messages[0].missing if span[1] < 55_000])
    assert firsts[0] == firsts[1] != []


# Names and errors


def test_a_transport_is_named_by_its_kind_or_a_table():
    assert transport("tcp-reno") == TcpReno()
    assert transport({"kind": "arq", "retries": 3}) == Arq(retries=3)
    with pytest.raises(ConfigError, match=r"transport, kind: found 'tcp', expected 'fluid', 'arq', .*"):
        transport("tcp")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"loss": 1.0}, "loss: found 1.0, expected a probability, at least 0 and below 1"),
        ({"rate_bps": 0.0}, "rate_bps: found 0.0, expected a rate above zero"),
        ({"rtt_s": -1.0}, "rtt_s: found -1.0, expected zero or more"),
        ({"seeds": 0}, "seeds: found 0, expected one or more"),
        ({"num_bytes": -1}, "num_bytes: found -1, expected zero or more"),
        ({"retries": 1}, "retries: found 1, expected nothing: transport 'tcp-cubic' has no retry limit"),
    ],
)
def test_numbers_without_meaning_are_refused(keys, text):
    with pytest.raises(ConfigError) as error:
        transfer(**{"num_bytes": 1000, "rate_bps": 1e6, "rtt_s": 0.1} | keys)
    assert str(error.value) == text


@pytest.mark.parametrize("text", ["1.5", "1e-1", "x", "nan", "inf"])
def test_the_command_takes_whole_bytes_only(text):
    command = [
        sys.executable,
        "-m",
        "sfsim",
        "transfer",
        "--bytes",
        text,
        "--rate-bps",
        "1e7",
        "--rtt-s",
        "0",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"error: --bytes: found {text}, expected a whole number, such as 1000000 or 1e6\n"


def test_the_command_prints_what_the_function_returns():
    words = "transfer --bytes 1e5 --rate-bps 1e7 --rtt-s 0.05 --loss 0.1 --retries 2 --seeds 3 --json"

    def run(kind):
        command = [sys.executable, "-m", "sfsim", *words.split(), "--transport", kind]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(run("arq").stdout) == transfer(100_000, 1e7, 0.05, 0.1, "arq", retries=2, seeds=3)
    failed = run("carrier-pigeon")
    assert failed.returncode == 2
    assert "found 'carrier-pigeon'" in failed.stderr
