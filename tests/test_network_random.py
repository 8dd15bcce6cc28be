"""Random networks: the certificate of max-min fairness at random instants, and every bit accounted for."""

from math import inf

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.network import commons
from sfsim.network.fluid import FluidEngine


def steps(starts, rates):
    """Capacity from the starts of its pieces; the last rate holds for ever."""

    def segment(time_s):
        place = int(np.searchsorted(starts, time_s, side="right")) - 1
        return float(rates[place]), float(starts[place + 1]) if place + 1 < len(starts) else inf

    def ahead(time_s):
        place = int(np.searchsorted(starts, time_s, side="right")) - 1
        return np.append(starts[place + 1 :], inf), np.asarray(rates[place:], float)

    return segment, ahead


def check_certificate(engine):
    """Each flow is at its cap, or has a full link on which nobody has more per weight; no link is overfull."""
    flows, links = engine.flows, engine.used_links
    used = dict.fromkeys(links, 0.0)
    most = dict.fromkeys(links, 0.0)
    rates = {flow: flow.rate_bps for flow in flows}
    for flow, rate_bps in rates.items():
        for link in flow.course.links:
            used[link] += rate_bps
            most[link] = max(most[link], rate_bps / flow.weight)
    capacity = {link: link.capacity(engine.now_s)[0] for link in links}
    for link in links:
        assert used[link] <= capacity[link] * (1 + 1e-9)
    for flow, rate_bps in rates.items():
        assert rate_bps >= flow.cap_bps * (1 - 1e-9) or any(
            used[link] >= capacity[link] * (1 - 1e-9) and rate_bps / flow.weight >= most[link] * (1 - 1e-9)
            for link in flow.course.links
        )


@st.composite
def worlds(draw):
    names = list(range(draw(st.integers(1, 8))))
    rate = st.one_of(st.sampled_from([1.0, 2.0, 3.0]), st.floats(0.01, 100))
    links = []
    for _ in names:
        changes = sorted(draw(st.sets(st.floats(0.01, 20), max_size=4)))
        rates = [draw(st.one_of(st.just(0.0), rate)) for _ in changes]
        links.append(([0.0, *changes], [*rates, draw(rate)], draw(st.booleans())))
    flow = st.tuples(
        st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 20)),
        st.one_of(st.just(0.0), st.floats(0.1, 100)),
        st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True),
        st.one_of(st.just(1.0), st.floats(0.1, 10)),
        st.one_of(st.just(inf), st.floats(0.1, 10)),
    )
    changes = st.lists(st.tuples(st.floats(0, 20), st.integers(0, 13), st.floats(0.1, 10)), max_size=4)
    return links, draw(st.lists(flow, min_size=1, max_size=14)), draw(changes), draw(st.integers(0, 3))


@given(worlds(), st.lists(st.floats(0.001, 30), max_size=5))
@settings(max_examples=250, deadline=None)
def test_rates_are_weighted_max_min_fair_at_any_instant(world, probes):
    run_world(world, sorted(set(probes)), check_certificate)


def run_world(world, probes=(), check=None):
    links, flows, changes, spare = world
    before, commons._SPARE = commons._SPARE, spare
    try:
        env = simpy.Environment()
        engine = FluidEngine(env)
    finally:
        commons._SPARE = before
    known = []
    for starts, rates, looks_ahead in links:
        segment, ahead = steps(np.array(starts), rates)
        known.append(engine.add_link(f"l{len(known)}", segment, ahead if looks_ahead else None))
    begun, ended = {}, {}

    def start(number, time_s, bits, route, weight, cap_bps):
        yield env.timeout(time_s)
        ways = [known[link] for link in route]
        begun[number] = engine.start(
            bits, ways, lambda flow: ended.setdefault(number, flow), f"flow {number}", cap_bps, weight
        )

    def change(time_s, number, cap_bps):
        yield env.timeout(time_s)
        if number in begun and begun[number].active:
            engine.set_cap(begun[number], cap_bps)

    for number, spec in enumerate(flows):
        env.process(start(number, *spec))
    for spec in changes:
        env.process(change(*spec))
    for probe_s in probes:
        env.run(until=probe_s)
        while env.peek() <= env.now:  # the engine acts after all others of an instant
            env.step()
        engine.settle()
        check(engine)
    env.run()
    engine.settle()
    assert len(ended) == len(flows)
    assert not engine.flows
    carried = [link.carried_bits for link in known]
    for number, link in enumerate(known):
        crossed = sum(bits for _, bits, route, *_ in flows if number in route)
        assert carried[number] == pytest.approx(crossed, rel=1e-9, abs=1e-12)
        assert link.flow is None
        assert -1e-9 <= link.busy_s <= env.now * (1 + 1e-9)
    # What messages lost, links caused (a cap that changed in between is nobody's).
    if not changes and all(weight == 1.0 for *_, weight, _ in flows):
        lost_s = sum(flow.lost_s for flow in ended.values())
        assert sum(link.sharing_s for link in known) == pytest.approx(lost_s, rel=1e-6, abs=1e-6)
    return ended


def scenario(seed):
    """A random graph's worth of links and flows, larger than hypothesis would make it."""
    rng = np.random.default_rng(seed)
    links = []
    for _ in range(rng.integers(1, 12)):
        pieces = rng.integers(1, 6)
        starts = np.concatenate(([0.0], np.sort(rng.uniform(0.01, 20, pieces - 1))))
        rates = np.where(rng.random(pieces) < 0.15, 0.0, 10 ** rng.uniform(-1, 2, pieces))
        rates[-1] = max(rates[-1], 0.1)
        links.append((starts.tolist(), rates.tolist(), bool(rng.random() < 0.5)))
    flows = []
    for _ in range(rng.integers(1, 40)):
        route = rng.choice(len(links), rng.integers(1, min(5, len(links)) + 1), replace=False)
        weight = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.1, 10))
        cap_bps = inf if rng.random() < 0.6 else float(10 ** rng.uniform(-1, 2))
        start_s = float(rng.choice([0.0, 1.0, rng.uniform(0, 20)]))
        flows.append((start_s, float(10 ** rng.uniform(-1, 3)), route.tolist(), weight, cap_bps))
    return links, flows, [], int(rng.integers(0, 4))


@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_scenarios_are_fair_and_conserve_every_bit(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        run_world(scenario(seed), [3.0, 9.0], check_certificate)
