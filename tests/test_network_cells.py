"""Radio cells as resources of the fluid engine: airtime is shared, wired links hold back, peaks change."""

from math import inf

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.network.fluid import FluidEngine


class EqualAirtime:
    """Everybody gets the same share of the time."""

    def __init__(self, gain=lambda n: 1.0):
        self.gain = gain

    def weights(self, peak_bps, n):
        inverse = np.divide(1.0, peak_bps, out=np.zeros_like(peak_bps), where=peak_bps > 0)
        return peak_bps, inverse, self.gain(n)

    def allocate(self, peak_bps, cap_bps):
        """The water level by bisection, independent of the engine's filling."""
        weight, cost, budget = self.weights(peak_bps, len(peak_bps))
        if np.sum(cost * np.minimum(cap_bps, weight * 1e6)) <= budget:
            return np.minimum(cap_bps, weight * 1e6)
        low, high = 0.0, 1e6
        for _ in range(200):
            level = (low + high) / 2
            if np.sum(cost * np.minimum(cap_bps, weight * level)) > budget:
                high = level
            else:
                low = level
        return np.minimum(cap_bps, weight * low)


class EqualRate(EqualAirtime):
    """Everybody gets the same rate; its efficiency falls with the number of stations."""

    def weights(self, peak_bps, n):
        _, cost, _ = super().weights(peak_bps, n)
        return (peak_bps > 0).astype(float), cost, self.gain(n)


class Crowded(EqualAirtime):
    """Weights depend on the number of members, as on a grid of resource blocks."""

    def weights(self, peak_bps, n):
        return super().weights(peak_bps * (1 - 0.01 * n), n)


class OnlyAllocates(EqualAirtime):
    """The same rates, said in the other way."""

    def weights(self, peak_bps, n):
        return None

    def allocate(self, peak_bps, cap_bps):
        return EqualAirtime(self.gain).allocate(peak_bps, cap_bps)


def run(policy, messages, wired=(), until=None):
    """Each message: (start_s, bits, peak or segment, wired links); return ends, engine, links."""
    env = simpy.Environment()
    engine = FluidEngine(env)
    cell = engine.add_cell("cell", policy)
    shared = [engine.add_link(f"w{i}", lambda time_s, bps=bps: (bps, inf)) for i, bps in enumerate(wired)]
    ends, radio = {}, []

    def start(number, time_s, bits, peak, ways):
        yield env.timeout(time_s)
        segment = peak if callable(peak) else lambda time_s: (peak, inf)
        radio.append(engine.add_link(f"radio{number}", segment))
        cell.add(radio[-1])
        engine.start(
            bits,
            [radio[-1], *(shared[way] for way in ways)],
            lambda flow: ends.__setitem__(number, (env.now, flow.lost_s)),
            f"message {number}",
        )

    for number, message in enumerate(messages):
        env.process(start(number, *message))
    env.run(until)
    engine.settle()
    return ends, engine, radio, shared


def test_airtime_is_shared_not_bits():
    # Peaks 1 and 4, one second of air each: half the air gives rates 1/2 and 2; the fast one ends at 2 s
    # with its 4 bits, the slow one has sent 1 of its 2 and then has the air alone.
    ends, engine, radio, _ = run(EqualAirtime(), [(0.0, 2.0, 1.0, ()), (0.0, 4.0, 4.0, ())])
    assert ends == {0: (3.0, 1.0), 1: (2.0, 1.0)}
    assert [link.carried_bits for link in radio] == [2.0, 4.0]
    assert [link.busy_s for link in radio] == [3.0, 2.0]
    airtime = engine.tables.resources["busy"][0]
    assert airtime == 3.0


def test_who_is_held_back_by_a_wire_returns_his_air():
    # Member 0 has a wire of 0.25: a quarter of the air; the other gets 3/4 of 4.
    messages = [(0.0, 1.0, 1.0, (0,)), (0.0, 6.0, 4.0, ())]
    ends, *_ = run(EqualAirtime(), messages, wired=[0.25])
    assert ends[1][0] == pytest.approx(2.0, rel=1e-12)
    assert ends[0][0] == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize("policy", [EqualAirtime, OnlyAllocates])
def test_a_shared_wire_and_the_air_hold_back_at_once(policy):
    # Peaks 2 and 12, a wire of 4 for both. The air alone would give 1 and 6: too much for the wire, so
    # the fast one gets what the slow one leaves of the wire, and returns air: r0 + r1 = 4 and
    # r0/2 + r1/12 = 1 give r0 = 1.6, r1 = 2.4 (and r1 > r0: the wire holds only the fast one back).
    # But equal shares of the wire are 2 each, so r1 = 4 - r0 and the air is the slow one's limit.
    _ends, engine, _, shared = run(
        policy(), [(0.0, 16.0, 2.0, (0,)), (0.0, 24.0, 12.0, (0,))], [4.0], until=1.0
    )
    rates = [flow.rate_bps for flow in engine.flows]
    assert rates == pytest.approx([1.6, 2.4], rel=1e-9)
    assert shared[0].carried_bits == pytest.approx(4.0)


def test_a_peak_that_changes_is_followed_and_an_outage_stands_aside():
    def segment(time_s):
        return (4.0, 1.0) if time_s < 1 else (0.0, 3.0) if time_s < 3 else (4.0, inf)

    ends, *_ = run(EqualAirtime(), [(0.0, 6.0, segment, ()), (0.0, 7.0, 2.0, ())])
    # To 1 s: 2 and 1 bit. To 3 s the second has the air alone: 1 + 4 = 5. Then 2 and 1 bit/s: both at 5 s.
    assert ends[0][0] == pytest.approx(5.0, rel=1e-12)
    assert ends[1][0] == pytest.approx(5.0, rel=1e-12)


def test_a_budget_that_depends_on_the_number_of_members():
    ends, *_ = run(EqualRate(lambda n: 1.0 if n == 1 else 0.5), [(0.0, 1.0, 4.0, ()), (0.0, 5.0, 4.0, ())])
    # Two: half the efficiency, equal rates of 1 each. From 1 s on one: 4.
    assert ends[0][0] == pytest.approx(1.0, rel=1e-12)
    assert ends[1][0] == pytest.approx(2.0, rel=1e-12)


@st.composite
def cells(draw):
    number = draw(st.integers(1, 7))
    wires = draw(st.lists(st.floats(0.3, 20), max_size=3))
    messages = []
    for _ in range(number):
        ways = draw(st.lists(st.sampled_from(range(len(wires))), unique=True, max_size=2)) if wires else []
        messages.append(
            (draw(st.sampled_from([0.0, 1.0, 2.5])), draw(st.floats(0.5, 20)), draw(st.floats(0.5, 9)), ways)
        )
    return messages, wires


@given(cells())
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("policy", [EqualAirtime, EqualRate, Crowded])
def test_a_resource_of_the_solver_and_a_cell_allocated_as_a_whole_agree(policy, case):
    messages, wires = case

    class Whole(policy):
        def weights(self, peak_bps, n):
            return None

        def allocate(self, peak_bps, cap_bps):
            return policy().allocate(peak_bps, cap_bps)

    ends, _engine, _radio, shared = run(policy(), messages, wires)
    other, _, _other_radio, other_shared = run(Whole(), messages, wires)
    assert ends.keys() == other.keys() == set(range(len(messages)))
    for number, (end_s, lost_s) in ends.items():
        assert end_s == pytest.approx(other[number][0], rel=1e-8)
        assert lost_s == pytest.approx(other[number][1], rel=1e-6, abs=1e-6)
    for link, also in zip(shared, other_shared, strict=True):
        crossed = sum(bits for _, bits, _, ways in messages if int(link.name[1:]) in ways)
        assert link.carried_bits == pytest.approx(crossed, rel=1e-9, abs=1e-12)
        assert also.carried_bits == pytest.approx(crossed, rel=1e-9, abs=1e-12)
