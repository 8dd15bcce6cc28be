"""The fluid engine against closed forms, hand-computed schedules and the certificate of max-min fairness."""

from math import inf

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.errors import NetworkError
from sfsim.network.fluid import FluidEngine


def constant(rate_bps):
    return lambda time_s: (rate_bps, inf)


def steps(*pieces):
    """Capacity from ``(start_s, rate_bps)`` pairs; the last rate holds for ever."""
    starts = [start for start, _ in pieces] + [inf]

    def segment(time_s):
        place = max(i for i, (start, _) in enumerate(pieces) if start <= time_s)
        return float(pieces[place][1]), starts[place + 1]

    return segment


class Bench:
    """Starts flows at given times and notes when they end."""

    def __init__(self, start_s=0.0, **capacities):
        self.env = simpy.Environment(initial_time=start_s)
        self.engine = FluidEngine(self.env)
        self.links = {
            name: self.engine.add_link(name, segment if callable(segment) else constant(segment))
            for name, segment in capacities.items()
        }
        self.ends, self.flows = {}, {}

    def start(self, name, time_s, bits, *route):
        def process():
            yield self.env.timeout(time_s - self.env.now)
            links = [self.links[link] for link in route]
            self.flows[name] = self.engine.start(bits, links, lambda flow: self.end(name), name)

        self.env.process(process())

    def end(self, name):
        self.ends[name] = self.env.now

    def run(self, until=None):
        self.env.run(until)
        self.engine.settle()
        return self.ends


@pytest.mark.parametrize("num_bytes", [1, 1500, 10**8])
@pytest.mark.parametrize("rates", [[1e3], [1e6, 7e5], [1e9, 3.3e7, 9.9e9, 1e8]])
def test_alone_on_an_idle_route(num_bytes, rates):
    bench = Bench(**{f"l{i}": rate for i, rate in enumerate(rates)})
    bench.start("a", 0.5, num_bytes * 8, *bench.links)
    assert bench.run()["a"] - 0.5 == pytest.approx(num_bytes * 8 / min(rates), rel=1e-9, abs=1e-15)
    assert bench.flows["a"].lost_s == 0
    for link in bench.links.values():
        assert link.carried_bits == pytest.approx(num_bytes * 8, rel=1e-12)


def test_zero_bits_drain_at_once_even_over_a_dead_link():
    bench = Bench(dead=0.0)
    bench.start("a", 2.0, 0, "dead")
    assert bench.run() == {"a": 2.0}
    assert bench.flows["a"].began_s == 2.0


def test_two_flows_share_a_link_and_diverge():
    # Trunk 8 bit/s, then a leaves over 16 and b over 2: b is held to 2 and a takes the other 6. At 1 s c
    # joins on the trunk alone: b keeps 2, a and c get 3 each, until a ends at 1 + 6/3 = 3 s; then c gets 6.
    bench = Bench(trunk=8.0, wide=16.0, narrow=2.0)
    bench.start("a", 0.0, 12, "trunk", "wide")
    bench.start("b", 0.0, 8, "trunk", "narrow")
    bench.start("c", 1.0, 12, "trunk")
    assert bench.run() == {"a": 3.0, "b": 4.0, "c": 4.0}
    # Alone, a and c would have 8: a lost 1/4 of one second and 5/8 of two, c 5/8 of two and 1/4 of one.
    assert bench.flows["a"].lost_s == 0.25 + 2 * 0.625
    assert bench.flows["b"].lost_s == 0.0
    assert bench.flows["c"].lost_s == 2 * 0.625 + 0.25
    assert [bench.links[name].carried_bits for name in ("trunk", "wide", "narrow")] == [32.0, 12.0, 8.0]
    assert [bench.links[name].busy_s for name in ("trunk", "wide", "narrow")] == [4.0, 3.0, 4.0]


def test_linear_network_of_three():
    # The text book's case: one long flow over both links, one short flow on each; x = 1/2, 1/2 and 3/2.
    bench = Bench(first=1.0, second=2.0)
    bench.start("long", 0.0, 1, "first", "second")
    bench.start("a", 0.0, 1, "first")
    bench.start("b", 0.0, 6, "second")
    bench.run(until=1.0)
    assert [bench.flows[name].rate_bps for name in ("long", "a", "b")] == [0.5, 0.5, 1.5]
    assert bench.run() == {"long": 2.0, "a": 2.0, "b": 3.5}


@pytest.mark.parametrize(
    ("pieces", "bits", "end_s"),
    [
        ([(0, 2.0), (1, 4.0)], 6, 2.0),  # up
        ([(0, 4.0), (1, 2.0)], 6, 2.0),  # down
        ([(0, 4.0), (1, 0.0), (5, 1.0)], 6, 7.0),  # outage
        ([(0, 0.0), (5, 1.0)], 2, 7.0),  # starts in an outage
        ([(0, 4.0), (1, 4.0), (2, 4.0)], 10, 2.5),  # a change that changes nothing
        (
            [(i / 8, float(i % 3)) for i in range(100)],
            10,
            10.0625,
        ),  # many pieces: 0, 1/8 and 2/8 bits by turns
    ],
)
def test_a_changing_capacity_is_integrated(pieces, bits, end_s):
    bench = Bench(link=steps(*pieces))
    bench.start("a", 0.0, bits, "link")
    assert bench.run() == {"a": pytest.approx(end_s, abs=1e-9)}
    assert bench.links["link"].carried_bits == pytest.approx(bits, rel=1e-12)


def test_an_outage_is_neither_sharing_nor_a_first_byte():
    bench = Bench(link=steps((0, 0.0), (5, 1.0)))
    bench.start("a", 0.0, 2, "link")
    bench.run()
    assert bench.flows["a"].began_s == 5.0
    assert bench.flows["a"].lost_s == 0.0
    assert bench.links["link"].busy_s == 2.0


def test_a_link_is_not_asked_while_idle():
    asked = []

    def segment(time_s):
        asked.append(time_s)
        return 1.0, time_s + 1

    bench = Bench(link=segment)
    bench.start("a", 10.0, 2, "link")
    bench.start("b", 1000.0, 1, "link")
    bench.run()
    assert sorted(set(asked)) == [10.0, 11.0, 1000.0]


def test_a_link_that_is_down_for_ever_is_named_with_who_waits():
    bench = Bench(link=steps((0, 1.0), (3, 0.0)))
    bench.start("message 4", 0.0, 5, "link")
    with pytest.raises(
        NetworkError, match="link 'link' is down for ever from 3 s on; message 4 waits for it"
    ):
        bench.run()


def test_arrivals_of_one_instant_are_one_solve():
    bench = Bench(link=1.0)
    for name in range(50):
        bench.start(name, 1.0, 1, "link")
    bench.run()
    assert set(bench.ends.values()) == {51.0}
    assert bench.engine.num_solves == 2


@pytest.mark.parametrize("start_s", [69_522.0, 1e7, 1e9])
def test_no_livelock_at_large_times(start_s):
    bench = Bench(start_s=start_s, **{"a": 7.3e7, "b": 1.1e8, "all": 1.3e8})
    bits, sent = 8 * 5021, 300

    def client(link, gap_s):
        for number in range(sent):
            done = bench.env.event()
            bench.engine.start(
                bits * (1 + number % 97),
                [bench.links[link], bench.links["all"]],
                lambda flow, e=done: e.succeed(),
            )
            yield done
            yield bench.env.timeout(gap_s)

    for link, gap_s in (("a", 1e-3), ("b", 7e-4)):
        bench.env.process(client(link, gap_s))
    bench.run()
    assert bench.engine.num_solves <= 4 * 2 * sent
    assert bench.links["all"].carried_bits == pytest.approx(
        2 * bits * sum(1 + n % 97 for n in range(sent)), rel=1e-9
    )


def test_lock_step_stays_in_step():
    clients = 1000
    bench = Bench(all=1e9 / 3, **{f"l{i}": 1.7e6 for i in range(clients)})
    ends = [[] for _ in range(10)]

    def client(link):
        for round_ends in ends:
            done = bench.env.event()
            bench.engine.start(123_456, [link, bench.links["all"]], lambda flow: done.succeed())  # noqa: B023
            yield done
            round_ends.append(bench.env.now)
            yield bench.env.timeout(0.0123)

    for i in range(clients):
        bench.env.process(client(bench.links[f"l{i}"]))
    bench.run()
    assert [max(times) - min(times) for times in ends] == [0.0] * 10


def check_certificate(engine):
    """Every flow has a full link on which nobody has more; no link carries more than it can."""
    for link in engine.used_links:
        total = sum(flow.rate_bps for flow in link.flows)
        assert total == pytest.approx(link.used_bps, rel=1e-12)
        assert total <= link.capacity_bps * (1 + 1e-9)
    for flow in engine.flows:
        assert any(
            link.used_bps >= link.capacity_bps * (1 - 1e-9)
            and flow.rate_bps >= max(other.rate_bps for other in link.flows) * (1 - 1e-9)
            for link in flow.course.links
        )


@st.composite
def worlds(draw):
    names = [f"l{i}" for i in range(draw(st.integers(1, 7)))]
    rate = st.one_of(st.sampled_from([1.0, 2.0, 3.0]), st.floats(0.01, 100))
    links = {}
    for name in names:
        changes = sorted(draw(st.sets(st.floats(0.01, 20), max_size=4)))
        rates = [draw(st.one_of(st.just(0.0), rate)) for _ in changes]
        links[name] = [*zip([0.0, *changes], [*rates, draw(rate)], strict=True)]
    route = st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)
    time = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 20))
    flow = st.tuples(time, st.one_of(st.just(0.0), st.floats(0.1, 100)), route)
    return (
        links,
        draw(st.lists(flow, min_size=1, max_size=12)),
        draw(st.lists(st.floats(0.001, 30), max_size=5)),
    )


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_random_graphs_are_max_min_fair_and_conserve_bits(world):
    links, flows, probes = world
    bench = Bench(**{name: steps(*pieces) for name, pieces in links.items()})
    for number, (time_s, bits, route) in enumerate(flows):
        bench.start(number, time_s, bits, *route)
    for probe_s in sorted(set(probes)):
        bench.run(until=probe_s)
        while bench.env.peek() <= probe_s:  # `until` stops before the events of its instant
            bench.env.step()
        check_certificate(bench.engine)
    bench.run()
    assert len(bench.ends) == len(flows)
    assert not bench.engine.used_links
    for name, link in bench.links.items():
        crossed = sum(bits for _, bits, route in flows if name in route)
        assert link.carried_bits == pytest.approx(crossed, rel=1e-9, abs=1e-12)
