"""Many pieces at once are the same function of time as one at a time, for every kind of channel."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.channel import (
    Awgn,
    Constant,
    Cqi,
    LinkBudget,
    LogDistance,
    MarkovChannel,
    Outage,
    PathMobility,
    RandomWaypoint,
    RayleighBlock,
    RicianBlock,
    Tr38901,
    Trace,
    UserSpeeds,
)
from sfsim.channel.blocks import CHUNK

RADIO = {"bandwidth_hz": 1e6, "carrier_hz": 2e9}
WALK = RandomWaypoint(low=(-200, -200), high=(200, 200), slowest_m_per_s=1, fastest_m_per_s=3, pause_s=5)
STREET = LinkBudget(path_loss=Tr38901(scenario="umi"), mobility=WALK)
PATH = PathMobility(points=((0, 10), (900, 10)), speed_m_per_s=20, end="back")
ROAD = LinkBudget(path_loss=LogDistance(exponent=3.7), mobility=PATH)
RARE = Outage(mean_up_s=3, mean_down_s=1)
MAKE = {
    "constant": lambda folder: Constant(rate_bps=5),
    "dead": lambda folder: Constant(rate_bps=0),
    "constant with outages": lambda folder: Constant(rate_bps=5, outage=RARE),
    "dead with outages": lambda folder: Constant(rate_bps=0, outage=RARE),
    "rayleigh": lambda folder: RayleighBlock(mean_snr_db=3, bandwidth_hz=1e6, coherence_time_s=0.01),
    "rayleigh cqi": lambda folder: RayleighBlock(
        mean_snr_db=-8, bandwidth_hz=1e6, coherence_time_s=0.3, snr_to_rate=Cqi()
    ),
    "jakes": lambda folder: RayleighBlock(mean_snr_db=3, speed_m_per_s=10, **RADIO),
    "jakes with outages": lambda folder: RayleighBlock(
        mean_snr_db=3, speed_m_per_s=1, outage=RARE, snr_to_rate=Cqi(), **RADIO
    ),
    "rician": lambda folder: RicianBlock(mean_snr_db=3, speed_m_per_s=10, **RADIO),
    "rician outdated": lambda folder: RicianBlock(
        mean_snr_db=3, speed_m_per_s=10, snr_to_rate=Cqi(outdated=True), **RADIO
    ),
    "walking": lambda folder: RayleighBlock(budget=STREET, speed_m_per_s=2, **RADIO),
    "driving": lambda folder: Awgn(budget=ROAD, **RADIO),
    "standing": lambda folder: Awgn(mean_snr_db=10, bandwidth_hz=1e6),
    "markov": lambda folder: MarkovChannel(mean_snr_db=3, speed_m_per_s=10, snr_to_rate=Cqi(), **RADIO),
    "trace wrap": lambda folder: Trace(path=folder / "rates.csv"),
    "trace random": lambda folder: Trace(path=folder / "rates.csv", start="random"),
    "trace hold": lambda folder: Trace(path=folder / "rates.csv", end="hold"),
    "trace with outages": lambda folder: Trace(path=folder / "rates.csv", outage=RARE),
    "one row": lambda folder: Trace(path=folder / "one.csv"),
    "users": lambda folder: UserSpeeds(path=folder / "users.json", direction="up", block_s=0.7),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    (folder / "rates.csv").write_text("0,10\n2,0\n3,30\n3.5,0\n4.1,7\n")
    (folder / "one.csv").write_text("0,10\n")
    (folder / "users.json").write_text('{"a": {"down_u": 9, "down_sigma": 3, "up_u": 5, "up_sigma": 2}}')
    return folder


@pytest.mark.parametrize("kind", MAKE)
@given(time_s=st.floats(0, 200), count=st.integers(1, 3000))
@settings(max_examples=12, deadline=None)
def test_blocks_are_segments(folder, kind, time_s, count):
    channel = MAKE[kind](folder)
    ends_s, rates_bps = channel.realise(5, "a->b").blocks(time_s, count)
    assert len(ends_s) == len(rates_bps) >= 1
    assert ends_s[0] > time_s
    assert np.all(np.diff(ends_s) > 0)
    one = channel.realise(5, "a->b")
    starts_s = np.append(time_s, ends_s[:-1])
    for i in {0, len(ends_s) // 2, len(ends_s) - 1}:
        middle_s = starts_s[i] + 1 if ends_s[i] == inf else (starts_s[i] + ends_s[i]) / 2
        if middle_s >= ends_s[i]:  # the piece is one step of the clock long
            middle_s = starts_s[i]
        for at_s in (starts_s[i], middle_s):
            assert one.segment(float(at_s))[0] == rates_bps[i]
        if not rates_bps.any():
            assert one.segment(float(at_s))[1] <= ends_s[i]
    if len(ends_s) > 1:
        assert rates_bps.any()


@pytest.mark.parametrize("kind", MAKE)
@given(times=st.lists(st.floats(0, 500), min_size=1, max_size=6), random=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_asking_order_never_matters(folder, kind, times, random):
    channel = MAKE[kind](folder)
    forward, other = channel.realise(3, "x->y"), channel.realise(3, "x->y")
    answers = {time_s: (forward.segment(time_s), forward.blocks(time_s, 50)) for time_s in times}
    random.shuffle(times)
    for time_s in times:
        segment, (ends_s, rates_bps) = answers[time_s]
        again_ends_s, again_rates_bps = other.blocks(time_s, 50)
        assert np.array_equal(ends_s, again_ends_s)
        assert np.array_equal(rates_bps, again_rates_bps)
        assert other.segment(time_s) == segment


@pytest.mark.parametrize("kind", [kind for kind in MAKE if "random" in kind or "outages" in kind] + ["jakes"])
def test_luck_is_the_links_own(folder, kind):
    channel = MAKE[kind](folder)
    if kind == "dead with outages":
        return
    ends = {
        (seed, name): channel.realise(seed, name).blocks(0.0, 40)[0].tobytes()
        + channel.realise(seed, name).blocks(0.0, 40)[1].tobytes()
        for seed, name in ((1, "a->b"), (1, "a->c"), (2, "a->b"))
    }
    assert len(set(ends.values())) == 3


def test_a_dead_channel_says_so_at_once():
    assert [part.tolist() for part in Constant(rate_bps=0).realise(1, "x").blocks(2.0, 9)] == [[inf], [0.0]]
    weak = RayleighBlock(mean_snr_db=-60, bandwidth_hz=1e6, coherence_time_s=0.5, snr_to_rate=Cqi())
    assert [part.tolist() for part in weak.realise(1, "x").blocks(2.0, 9)] == [[inf], [0.0]]


def test_blocks_cross_chunks():
    channel = RayleighBlock(mean_snr_db=3, bandwidth_hz=1e6, coherence_time_s=1.0)
    drawn = channel.realise(1, "x")
    ends_s, rates_bps = drawn.blocks(CHUNK - 2.5, 5)
    assert ends_s.tolist() == [CHUNK - 2, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 2]
    both = np.concatenate([drawn.rates_bps(0)[-3:], drawn.rates_bps(1)[:2]])
    assert np.array_equal(rates_bps, both)
    assert drawn.queries == 1


def test_outages_have_the_share_and_the_length_that_were_asked_for():
    drawn = Constant(rate_bps=1.0, outage=Outage(mean_up_s=9, mean_down_s=1)).realise(1, "x")
    ends_s, rates_bps = drawn.blocks(0.0, 40_000)
    lengths_s = np.diff(np.append(0.0, ends_s))
    assert rates_bps @ lengths_s / ends_s[-1] == pytest.approx(0.9, rel=0.01)
    assert lengths_s[rates_bps == 0].mean() == pytest.approx(1.0, rel=0.03)
    firsts = [
        Constant(rate_bps=1.0, outage=Outage(mean_up_s=3, mean_down_s=1)).realise(1, f"x{i}").segment(0.0)[0]
        for i in range(2000)
    ]
    assert np.mean(firsts) == pytest.approx(0.75, abs=0.03)


def test_an_outage_of_a_dead_channel_is_no_hope():
    drawn = Constant(rate_bps=0, outage=RARE).realise(1, "x")
    assert drawn.segment(1.0) == (0.0, inf)
