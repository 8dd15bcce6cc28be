"""What the engine promises about its own cost, order and repeatability; background traffic; usage over time."""

import os
import random
import subprocess
import sys
import tracemalloc
from math import inf
from pathlib import Path

import numpy as np
import pytest
import simpy

from sfsim.channel import Constant, RayleighBlock, Trace
from sfsim.errors import NetworkError
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.fluid import FluidEngine
from sfsim.network.topology import from_links, star

ROOT = Path(__file__).resolve().parents[1]


def network(links, parties, ledger=None, **options):
    env = simpy.Environment()
    hosts = {party: party for party in parties}
    return env, Network(env, from_links(links), hosts, framing("none"), 1, ledger, **options)


def closed_loop(clients, sizes, order=None, latency_s=0.01, rate_bps=lambda number: 1e7 * (1 + number % 9)):
    """A star in which every client sends its next message when the last one has arrived."""
    access = [(f"c{n}", "hub", Link(rate_bps=rate_bps(n), latency_s=latency_s)) for n in range(clients)]
    links = [*access, ("hub", "server", Link(rate_bps=clients * 1e6, latency_s=0.001))]
    env, net = network(links, [*(f"c{n}" for n in range(clients)), "server"])
    net.inbox("server").open = False
    log = []

    def client(number):
        for index, num_bytes in enumerate(sizes(number)):
            message = yield net.send(f"c{number}", "server", Outgoing("x", b"", size=num_bytes))
            log.append((number, index, message.queued_s, message.delivered_s))

    for number in order or range(clients):
        env.process(client(number))
    env.run()
    net.check_conservation()
    return net, log


def log_uniform(messages):
    def sizes(number):
        luck = random.Random(number)
        return [int(10 ** luck.uniform(3, 8)) for _ in range(messages)]

    return sizes


def test_a_thousand_clients_in_lock_step_stay_in_step():
    _, log = closed_loop(1000, lambda number: [1_000_000] * 10, rate_bps=lambda number: 2e7)
    ends = [{end for _, index, _, end in log if index == message} for message in range(10)]
    assert [len(times) for times in ends] == [1] * 10


@pytest.mark.parametrize("latency_s", [0.0, 0.01])
def test_events_do_not_multiply(latency_s):
    # Log-uniform messages to simulated times at which a tolerance in bytes would stop the clock.
    net, log = closed_loop(40, log_uniform(60), latency_s=latency_s)
    assert max(end for *_, end in log) > 1000
    assert net.engine.num_wakes <= 4 * len(log)
    assert net.engine.num_solves <= 4 * len(log)
    assert len(net.engine.tables.flows) <= 64  # what ended has left no trace


def test_the_order_in_which_clients_are_created_does_not_matter():
    order = list(range(60))
    random.Random(3).shuffle(order)
    (_, one), (_, other) = closed_loop(60, log_uniform(8)), closed_loop(60, log_uniform(8), order)
    assert sorted(one) == sorted(other)


def test_a_run_does_not_depend_on_hashes():
    code = "import test_network_engine as t; print(t.closed_loop(30, t.log_uniform(5))[1])"
    outputs = set()
    for seed in ("0", "4711"):
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_a_run_can_end_at_a_delivery_and_go_on():
    # All four arrive at one instant and share an event; the run stops at the second of them.
    env, net = network([(p, "s", Link(rate_bps=8e6, latency_s=0.01)) for p in "abcd"], "abcds")
    sent = [net.send(party, "s", Outgoing("x", b"", size=1000)) for party in "abcd"]
    order = []
    for party, event in zip("abcd", sent, strict=True):
        event.callbacks.append(lambda event, party=party: order.append(party))
    message = env.run(until=sent[1])
    assert (message.source, env.now, order) == ("b", 0.011, ["a", "b"])
    env.run()
    assert (order, env.now) == (["a", "b", "c", "d"], 0.011)


def test_a_delivery_is_an_event_like_any_other():
    """A transfer keeps its callbacks itself: SimPy's conditions, interrupts and several waiters must not notice."""
    env, net = network([(p, "s", Link(rate_bps=8e6, latency_s=0.01)) for p in "ab"], "abs")
    seen = []

    def sender(party, size):
        try:
            yield net.send(party, "s", Outgoing("x", b"", size=size))
            seen.append(f"{party} sent")
        except simpy.Interrupt:
            seen.append(f"{party} interrupted at {env.now:g}")

    def watcher(*events):
        done = yield env.any_of(events)
        seen.append(f"{len(done.todict())} of {len(events)}")
        yield env.all_of(events)
        seen.append("both")

    slow = net.send("a", "s", Outgoing("x", b"", size=10_000))
    quick = net.send("b", "s", Outgoing("x", b"", size=1000))
    assert (slow.triggered, slow.processed, slow.ok, slow.env) == (False, False, True, env)
    for _ in range(2):
        env.process(watcher(slow, quick))
    waiting = env.process(sender("a", 50_000))
    env.process(sender("b", 1000))

    def interrupt():
        yield env.timeout(0.005)
        waiting.interrupt()

    env.process(interrupt())
    with pytest.raises(ValueError, match="not in list"):
        slow.callbacks.remove(print)
    env.run()
    assert seen == ["a interrupted at 0.005", "1 of 2", "1 of 2", "b sent", "both", "both"]
    assert slow.processed and slow.value.source == "a" and slow.callbacks is None
    net.check_conservation()


def test_a_client_with_a_message_under_way_takes_less_than_two_kilobytes():
    code = """
import tracemalloc
from benchmarks import network
network.transfers("star", 10, 2)()  # compiled, imported
tracemalloc.start()
run = network.transfers("star", 10_000, 1)
run()
print(tracemalloc.get_traced_memory()[1])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    assert int(done.stdout) / 10_000 < 2000


# Links that change


def fading(**keys):
    return Link(latency_s=0.0, channel=RayleighBlock(bandwidth_hz=1e6, coherence_time_s=1e-3, **keys))


def test_fading_of_a_private_link_makes_no_event_per_block():
    env, net = network([("a", "b", fading(mean_snr_db=10))], "ab", Ledger())
    net.send("a", "b", Outgoing("x", b"", size=10**7))
    env.run()
    blocks = env.now / 1e-3
    assert blocks > 20_000
    assert net.engine.num_wakes < blocks / 500
    # The end is where the integral of the capacity reaches the message.
    link, bits, now = net.links["a", "b"], 0.0, 0.0
    while now < env.now:
        rate_bps, until_s = link.capacity(now)
        bits += rate_bps * (min(until_s, env.now) - now)
        now = until_s
    assert bits == pytest.approx(8e7, rel=1e-9)


def test_fading_links_on_a_wide_trunk_run_by_themselves_and_on_a_narrow_one_share():
    for trunk_bps, many in ((1e9, False), (5e6, True)):
        links = [(f"c{n}", "hub", fading(mean_snr_db=10)) for n in range(5)]
        ledger = Ledger()
        env, net = network(
            [*links, ("hub", "s", Link(rate_bps=trunk_bps, latency_s=0.0))],
            [*(f"c{n}" for n in range(5)), "s"],
            ledger,
        )
        for number in range(5):
            net.send(f"c{number}", "s", Outgoing("x", b"", size=10**5))
        env.run()
        net.check_conservation()
        assert (net.engine.num_wakes > 100) == many
        assert (sum(row.sharing_s for row in ledger.messages) > 0) == many
        if many:  # the trunk is full until the last ones, whose fades it no longer sees
            assert max(row.delivered_s for row in ledger.messages) == pytest.approx(4e6 / trunk_bps, rel=0.1)


def test_background_takes_its_rate_first(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text("0,1e6\n1,8e6\n2,0\n")
    cases = {
        "constant": (Constant(rate_bps=3e6), 8e6 / 1e6 / 5),
        # 3 Mbit/s for one second, nothing for one, then all 4 for the other 5 Mbit.
        "on and off": (Trace(path=path, end="hold"), 2 + 5 / 8),
    }
    for background, end_s in cases.values():
        link = Link(
            rate_bps=8e6 if background.kind == "constant" else 4e6, latency_s=0.0, background=background
        )
        env, net = network([("a", "b", link)], "ab")
        num_bytes = 10**6
        net.send("a", "b", Outgoing("x", b"", size=num_bytes))
        env.run()
        rest = 5e6 if background.kind == "constant" else None
        assert env.now == pytest.approx(8e6 / rest if rest else 2 + (8e6 - 3e6) / 4e6, rel=1e-9)
        assert end_s > 0


def test_store_and_forward_adds_the_frames_of_the_faster_hops():
    links = [("a", "m", Link(rate_bps=8e6, latency_s=0.01)), ("m", "n", Link(rate_bps=1e6, latency_s=0.01))]
    links.append(("n", "b", Link(rate_bps=4e6, latency_s=0.01)))
    ends = {}
    for held in (False, True):
        env = simpy.Environment()
        net = Network(
            env, from_links(links), {p: p for p in "ab"}, framing("tcp-ipv4"), 1, None, store_and_forward=held
        )
        net.send("a", "b", Outgoing("x", bytes(100)))
        net.send("a", "b", Outgoing("x", bytes(0)))
        env.run()
        ends[held] = env.now
    assert ends[False] == pytest.approx(0.03 + 154 * 8 / 1e6)
    assert ends[True] - ends[False] == pytest.approx(154 * 8 / 8e6 + 154 * 8 / 4e6)


def test_usage_of_links_over_time():
    ledger = Ledger()
    links = [("a", "m", Link(rate_bps=8e6, latency_s=0.0)), ("m", "b", Link(rate_bps=4e6, latency_s=0.0))]
    env, net = network(links, "ab", ledger, usage_every_s=0.5)
    net.send("a", "b", Outgoing("x", b"", size=750_000))  # 6 Mbit at 4: 1.5 s

    def later():
        yield env.timeout(3.1)
        for _ in range(2):
            net.send("a", "b", Outgoing("x", b"", size=50_000))

    env.process(later())
    env.run()
    net.finish()
    rows = [(r.source, r.start_s, r.end_s, r.carried_bytes, r.utilisation) for r in ledger.link_usage]
    assert rows[:2] == [("a", 0.0, 0.5, 250_000.0, 0.5), ("m", 0.0, 0.5, 250_000.0, 1.0)]
    assert [row[1] for row in rows if row[0] == "m"] == pytest.approx([0.0, 0.5, 1.0, 3.0])
    assert sum(row.carried_bytes for row in ledger.link_usage) == pytest.approx(2 * 850_000)
    # Two messages share the slower link for 0.2 s: each loses half of it, and that link caused it.
    caused = {(link.source, link.destination): link.sharing_s for link in ledger.links}
    assert caused == pytest.approx({("a", "m"): 0.0, ("m", "b"): 0.2}, abs=1e-9)
    assert sum(row.sharing_s for row in ledger.messages) == pytest.approx(0.2)


# Weights, caps, rooms for many


def test_weights_caps_and_caps_that_change():
    env = simpy.Environment()
    engine = FluidEngine(env)
    link = engine.add_link("link", lambda time_s: (12.0, inf))
    ends = {}

    def start(name, bits, **keys):
        return engine.start(bits, [link], lambda flow: ends.setdefault(name, env.now), name, **keys)

    start("light", 20.0)
    heavy = start("heavy", 60.0, weight=3.0)
    start("capped", 4.0, cap_bps=2.0)
    env.run(until=1.0)
    assert [flow.rate_bps for flow in engine.flows] == [2.5, 7.5, 2.0]
    engine.set_cap(heavy, 1.0)
    env.run(until=1.5)
    assert [flow.rate_bps for flow in engine.flows] == [9.0, 1.0, 2.0]
    engine.set_cap(heavy, inf)
    env.run()
    assert ends["capped"] == pytest.approx(2.0)
    assert link.carried_bits == pytest.approx(84.0)


def test_links_that_were_shared_once_do_not_stay_resources():
    clients = 200
    access = {f"c{n}": (Link(rate_bps=1e6, latency_s=0.0),) * 2 for n in range(clients)}
    env = simpy.Environment()
    graph = star(access | {"s": (Link(rate_bps=1e9, latency_s=0.0),) * 2})
    net = Network(env, graph, {name: name for name in [*access, "s"]}, framing("none"), 1, None)

    def client(name):
        for _ in range(6):
            two = [net.send(name, "s", Outgoing("x", b"", size=1000 + hash(name) % 7)) for _ in range(2)]
            yield env.all_of(two)

    for index, name in enumerate(access):
        env.process(client(name))
        if index % 10 == 9:
            env.run(until=env.now + 0.01)
    env.run()
    net.check_conservation()
    assert len(net.engine.tables.resources) <= 256
    assert np.all(net.engine.tables.resources["num"] == 0)


def test_a_client_with_a_message_under_way_takes_little_memory():
    """SimPy's process, a link of its own, a route, a message and its payload's description: 2.3 kB in all."""
    clients = 4000
    env, warm = network([("a", "b", Link(rate_bps=1e6, latency_s=0.01))], "ab")
    warm.send("a", "b", Outgoing("x", bytes(1000)))
    env.run()  # compiled code is there
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        names = [f"c{number}" for number in range(clients)]
        link, trunk = Link(rate_bps=1e6, latency_s=0.01), Link(rate_bps=1e9, latency_s=0.0)
        edges = [(name, "hub", link) for name in names] + [("hub", "server", trunk)]
        env = simpy.Environment()
        hosts = {name: name for name in (*names, "server")}
        net = Network(env, edges, hosts, framing("tcp-ipv4"), 1, None)
        net.inbox("server").open = False

        def client(name, size):
            yield net.send(name, "server", Outgoing("x", b"", size=size))

        for number, name in enumerate(names):
            env.process(client(name, 10**7 + number))
        del edges, hosts
        env.run(until=1.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(net.engine.flows) == clients
    assert (after - before) / clients < 2600


def test_edges_are_as_good_as_a_graph():
    link = Link(rate_bps=1e6, latency_s=0.01)
    edges = [("a", "hub", link), ("b", "hub", link), ("hub", "s", link)]
    ends = []
    for graph in (edges, from_links(edges)):
        env = simpy.Environment()
        net = Network(env, graph, {node: node for node in "abs"}, framing("none"), 1, None)
        ends.append([net.send(party, "s", Outgoing("x", bytes(1000))) for party in "ab"])
        env.run()
        ends[-1] = [event.value.delivered_s for event in ends[-1]]
    assert ends[0] == ends[1] == pytest.approx([0.036, 0.036])
    with pytest.raises(NetworkError, match=r"'a' stands at unknown node 'hug'\. Did you mean 'hub'"):
        Network(simpy.Environment(), edges, {"a": "hug"}, framing("none"), 1, None)
    with pytest.raises(NetworkError, match="two links 'a' -> 'hub'"):
        Network(simpy.Environment(), [*edges, edges[0]], {"a": "a"}, framing("none"), 1, None)
