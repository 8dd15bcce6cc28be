"""Steps that are no binary fractions: time always goes on, and the k-th instant stands at k times the step."""

from fractions import Fraction
from math import inf, nextafter

import numpy as np
import pytest
import simpy
from hypothesis import example, given
from hypothesis import strategies as st

from sfsim.channel import Outage, RayleighBlock, Trace
from sfsim.channel.mobility import RandomWaypoint
from sfsim.intervals import interval_at
from sfsim.ledger import Ledger
from sfsim.network import Link, Network, Outgoing, framing
from sfsim.network.topology import from_links

AWKWARD = [0.1, 0.2, 0.3, 0.7, 1e-3, 0.001, 0.01, 0.02, 0.05, 1 / 3, 1.1e-6, 3e7 / 7, 0.25]


@given(st.one_of(st.sampled_from(AWKWARD), st.floats(1e-6, 1e6)), st.integers(0, 10**9), st.integers(-2, 2))
@example(0.1, 5, 0)
@example(0.1, 3, 0)
def test_an_instant_lies_in_its_interval_and_the_next_one_is_later(length_s, number, ulps):
    time_s = number * length_s
    for _ in range(abs(ulps)):
        time_s = nextafter(time_s, inf if ulps > 0 else 0.0)
    found = interval_at(time_s, length_s)
    assert found * length_s <= time_s < (found + 1) * length_s
    assert abs(found - Fraction(time_s) / Fraction(length_s)) <= 1 + 1e-9 * max(found, 1)
    if ulps == 0:
        assert found == number


@pytest.mark.parametrize("every_s", AWKWARD)
def test_the_samples_of_usage_stand_at_multiples_and_the_run_ends(every_s):
    """Forty samples of one long message, and a second message after a long silence."""
    env, ledger = simpy.Environment(), Ledger()
    links = [("a", "b", Link(rate_bps=8e6 / every_s, latency_s=0.0))]  # a million bytes for every step
    hosts = {party: party for party in "ab"}
    net = Network(env, from_links(links), hosts, framing("none"), 1, ledger, usage_every_s=every_s)

    def later():
        yield net.send("a", "b", Outgoing("x", b"", size=39_500_000))
        yield env.timeout(3.25 * every_s)
        yield net.send("a", "b", Outgoing("x", b"", size=500_000))

    env.process(later())
    for _ in range(2000):
        if not env._queue:
            break
        env.step()
    assert not env._queue, f"the clock stands at {env.now}"
    net.finish()
    rows = ledger.link_usage
    assert [(row.start_s, row.end_s) for row in rows[:40]] == [
        (number * every_s, (number + 1) * every_s) for number in range(40)
    ]
    assert (rows[40].start_s, rows[40].end_s) == (42 * every_s, 43 * every_s)
    assert len(rows) in (41, 42)  # the second ends at 43.25, or so
    carried = [row.carried_bytes for row in rows]
    assert carried[:39] == pytest.approx([1e6] * 39)
    assert sum(carried) == pytest.approx(40e6)


def _walk(drawn, times):
    """The walk from piece to piece: `times` of them."""
    now, ends = 0.0, []
    for _ in range(times):
        _, until_s = drawn.segment(now)
        assert until_s > now
        if until_s == inf:
            break
        now = until_s
        ends.append(now)
    return ends


@pytest.mark.parametrize("step_s", AWKWARD)
def test_every_channel_that_counts_in_steps_goes_on(step_s, tmp_path):
    (tmp_path / "rates.csv").write_text("".join(f"{k * step_s!r},{1 + k}\n" for k in range(7)))
    fading = RayleighBlock(mean_snr_db=3, bandwidth_hz=1e6, coherence_time_s=step_s)
    assert _walk(fading.realise(1, "a->b"), 300) == [(k + 1) * step_s for k in range(300)]
    channels = [
        Trace(path=tmp_path / "rates.csv"),
        Trace(path=tmp_path / "rates.csv", start="random"),
        Trace(path=tmp_path / "rates.csv", outage=Outage(mean_up_s=3 * step_s, mean_down_s=step_s)),
    ]
    for channel in channels:
        ends = _walk(channel.realise(1, "a->b"), 300)
        assert ends[-1] > 20 * step_s
    walk = RandomWaypoint(
        low=(0, 0), high=(9, 9), slowest_m_per_s=step_s, fastest_m_per_s=step_s, pause_s=step_s
    )
    assert np.all(np.diff(walk.realise(1, "c").travelled_m(np.arange(50) * step_s)) >= 0)
