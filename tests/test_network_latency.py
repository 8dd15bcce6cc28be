"""Laws of latency on links: drawn once per message and link, the same whatever the codec and the engine."""

from math import inf
from pathlib import Path

import pytest
import simpy
from worlds import clients, finished, scenario

from sfsim.channel import Bernoulli, ConstantLatency, GammaLatency, UniformLatency
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, PacketNetwork, framing
from sfsim.network.topology import from_links
from sfsim.scenario import load

BOTH = pytest.mark.parametrize("engine", [Network, PacketNetwork])
SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
JITTER = GammaLatency(mean_s=0.05, std_s=0.04)


def link(latency_s=0.01, **keys):
    return Link(rate_bps=8e6, latency_s=latency_s, **keys)


def delivered(engine, links, messages, seed=3):
    """Send (start, source, destination, bytes) between nodes; return when each was delivered, and the world."""
    env, ledger = simpy.Environment(), Ledger()
    graph = from_links(links)
    network = engine(env, graph, {node: node for node in graph}, framing("none"), seed, ledger, ["a", "b"])

    def process(start_s, source, destination, num_bytes):
        yield env.timeout(start_s)
        message = yield network.send(source, destination, Outgoing("control", bytes(num_bytes)))
        return message.delivered_s

    sent = [env.process(process(*message)) for message in messages]
    env.run()
    network.check_conservation()
    network.finish()
    return [process.value for process in sent], network


@BOTH
def test_a_constant_law_is_more_latency(engine):
    law = ConstantLatency(latency_s=0.04)
    links = [("a", "x", link(latency=law)), ("x", "b", link(0.0, latency=law)), ("b", "a", link())]
    times_s, _ = delivered(engine, links, [(0.0, "a", "b", 1000), (1.0, "a", "b", 0)])
    hops = 1 if engine is Network else 2
    assert times_s == pytest.approx([0.01 + 0.08 + hops * 0.001, 1.09])


@BOTH
def test_every_message_takes_the_sum_of_what_its_links_drew(engine):
    links = [("a", "x", link(latency=JITTER)), ("x", "b", link(latency=JITTER)), ("x", "c", link())]
    messages = [(float(k), "a", "bc"[k % 2], 0) for k in range(8)]
    times_s, network = delivered(engine, links, messages)
    for k, time_s in enumerate(times_s):
        hops = [("a", "x"), ("x", "b")] if k % 2 == 0 else [("a", "x")]
        whose = ("a", "bc"[k % 2])
        drawn = [JITTER.realise(3, "->".join(hop), whose).at(k // 2) for hop in hops]
        assert time_s == pytest.approx(k + 0.02 + sum(drawn))
    assert network.links["a", "x"].latency_s == pytest.approx(0.06), "on average"


@BOTH
def test_two_codecs_meet_the_same_jitter(engine):
    """Sizes differ, and so does who is first; the k-th message of two parties keeps its latency."""
    links = [("a", "x", link(latency=JITTER)), ("b", "x", link(latency=JITTER))]
    runs = []
    for small, order in ((1000, "ab"), (8000, "ba")):
        messages = [(10.0 * k, name, "x", small) for k in range(6) for name in order]
        times_s, _ = delivered(engine, links, messages)
        pure = {}
        for (start_s, name, _, num_bytes), time_s in zip(messages, times_s, strict=True):
            pure[start_s, name] = time_s - start_s - num_bytes * 8 / 8e6
        runs.append(pure)
    assert runs[0] == pytest.approx(runs[1])
    assert len({round(value, 9) for value in runs[0].values()}) == 12, "each its own"


def test_routes_are_chosen_by_the_mean():
    slow = UniformLatency(low_s=0.0, high_s=0.2)
    links = [("a", "b", link(0.0, latency=slow)), ("a", "x", link(0.04)), ("x", "b", link(0.04))]
    times_s, _ = delivered(Network, links, [(0.0, "a", "b", 0)])
    assert times_s == pytest.approx([0.08])


@BOTH
def test_jitter_and_losses_together_conserve_bytes(engine):
    lossy = link(loss=Bernoulli(probability=0.1), latency=JITTER)
    links = [("a", "x", lossy), ("b", "x", lossy), ("x", "c", lossy), ("c", "x", lossy)]
    messages = [(0.003 * k, "ab"[k % 2], "c", 3000 + 500 * k) for k in range(40)]
    times_s, network = delivered(engine, links, messages)  # checks conservation at the end
    assert max(times_s) < inf
    own = [time_s for time_s, message in zip(times_s, messages, strict=True) if message[1] == "a"]
    assert own != sorted(own), "a later message may overtake an earlier one"
    assert network.links["x", "c"].lost_packets > 0


@BOTH
def test_conservation_while_messages_fly(engine):
    env, ledger = simpy.Environment(), Ledger()
    graph = from_links([("a", "b", link(latency=ConstantLatency(latency_s=1.0)))])
    network = engine(env, graph, {node: node for node in graph}, framing("none"), 3, ledger)
    network.send("a", "b", Outgoing("control", bytes(10_000)))
    for until_s in (0.005, 0.5, 1.005, 1.5):
        env.run(until_s)
        network.check_conservation()


def test_a_scenario_takes_a_law_from_a_file_and_runs(tmp_path):
    (tmp_path / "jitter.toml").write_text('kind = "gamma"\nmean_s = 0.05\nstd_s = 0.04\nsource = "test"\n')
    file = tmp_path / "s.toml"
    file.write_text(_SCENARIO.replace("DEVICES", str(SCENARIOS / "devices")))
    group = load(file, {"clients.c.uplink.latency": "jitter.toml"}).clients[0]
    assert group.uplink.latency == GammaLatency(mean_s=0.05, std_s=0.04, source="test")

    up = link(latency=JITTER)
    rows = [finished(scenario(clients=clients(2, uplink=one))).ledger.messages for one in (link(), up)]
    calm, shaken = (max(row.delivered_s for row in part) for part in rows)
    assert shaken > calm
    assert sum(row.wire_bytes for row in rows[0]) == sum(row.wire_bytes for row in rows[1])


_SCENARIO = """\
name = "s"
seed = 1
protocol = "splitfed-v1"
global_rounds = 1
batch_size = 16
cut_layers = ["conv1"]
data = { kind = "digits" }
model = { kind = "cnn" }
optimiser = { kind = "sgd", learning_rate = 0.1 }
[[clients]]
name = "c"
device = "DEVICES/raspberry-pi-4.toml"
uplink = { rate_bps = 1e6, latency_s = 0 }
downlink = { rate_bps = 1e6, latency_s = 0 }
[main_server]
device = "DEVICES/raspberry-pi-4.toml"
"""
