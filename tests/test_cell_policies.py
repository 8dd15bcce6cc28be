"""How members of a cell share its airtime: properties that every policy has, and what each one promises."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfsim.network.cell import gain, grid
from sfsim.network.cell.policy import (
    Csma,
    EqualAirtime,
    EqualRate,
    LteGrid,
    MaxRate,
    Members,
    Ofdma,
    Policy,
    Private,
    ProportionalFair,
)

POLICIES: list[Policy] = [
    EqualAirtime(),
    EqualAirtime(0.23),
    ProportionalFair(),
    ProportionalFair(gain="rayleigh", mean_snr_db=5.0, freshness=0.5),
    EqualRate(),
    MaxRate(),
    Ofdma(gap=5.5),
    LteGrid(resource_blocks=25),
    LteGrid(resource_blocks=50, downlink=True),
    Csma(standard="802.11a"),
    Csma(standard="802.11n"),
]
peaks = st.floats(1e5, 6e7)
caps = st.one_of(st.just(inf), st.floats(1e3, 6e7))
member = st.tuples(peaks, caps, st.booleans(), st.floats(0.1, 1e3))


def split(rows: list[tuple[float, float, bool, float]]) -> tuple[np.ndarray, np.ndarray, Members]:
    peak, cap, down, snr = (np.array(column) for column in zip(*rows, strict=True))
    return peak, cap, Members(down=down, snr=snr, snr_limit=np.full(len(peak), 250.0))


def scaled(members: Members, keep: np.ndarray) -> Members:
    return replace(members, down=members.down[keep], snr=members.snr[keep], snr_limit=members.snr_limit[keep])


def airtime(policy: Policy, peak: np.ndarray, rate: np.ndarray, members: Members) -> float:
    """The share of the policy's budget that `rate` uses; what a larger cap may not change when it is 1."""
    known = policy.weights(peak, len(peak))
    if known is not None:
        _, cost, budget = known
        return float((cost * rate).sum() / budget)
    return float((rate / peak).sum() / policy.budget)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(member, min_size=1, max_size=12))
def test_feasible_and_work_conserving(policy: Policy, rows: list[tuple[float, float, bool, float]]) -> None:
    peak, cap, members = split(rows)
    rate = policy.allocate(peak, cap, members)
    assert (rate >= 0).all()
    assert (rate <= cap * (1 + 1e-12)).all()
    held_back = (rate < cap * (1 - 1e-9)).any()
    if isinstance(policy, Ofdma | Csma):
        # Whoever wants more gets nothing when the caps grow further: the medium was full.
        wanted = np.where(rate < cap * (1 - 1e-9), inf, cap)
        again = policy.allocate(peak, wanted, members)
        np.testing.assert_allclose(again, rate, rtol=1e-6)
        return
    used = airtime(policy, peak, rate, members)
    assert used <= 1 + 1e-9
    if held_back:
        assert used == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(member, min_size=2, max_size=10), factor=st.floats(1.01, 4))
def test_monotone(policy: Policy, rows: list[tuple[float, float, bool, float]], factor: float) -> None:
    peak, cap, members = split(rows)
    rate = policy.allocate(peak, cap, members)
    more_cap = cap.copy()
    more_cap[0] *= factor
    assert policy.allocate(peak, more_cap, members)[0] >= rate[0] * (1 - 1e-9)
    others = policy.allocate(peak, more_cap, members)[1:]
    # Not with csma: a fast receiver that takes more of the access point's queue shortens its mean access.
    if not isinstance(policy, Csma):
        assert (others <= rate[1:] * (1 + 1e-6) + 1e-3).all(), "what one takes, the others lose"
    if isinstance(policy, Csma) and policy.standard == "802.11n":
        return  # a faster PHY rate comes with another burst: not monotone in steps
    more_peak = peak.copy()
    more_peak[0] *= factor
    assert policy.allocate(more_peak, cap, members)[0] >= rate[0] * (1 - 1e-9)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(member, min_size=2, max_size=10), seed=st.integers(0, 1000))
def test_the_order_of_members_does_not_matter(
    policy: Policy, rows: list[tuple[float, float, bool, float]], seed: int
) -> None:
    peak, cap, members = split(rows)
    order = np.random.default_rng(seed).permutation(len(rows))
    rate = policy.allocate(peak, cap, members)
    other = policy.allocate(peak[order], cap[order], scaled(members, order))
    np.testing.assert_allclose(other, rate[order], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_alone_a_member_has_its_peak_rate(policy: Policy) -> None:
    peak = np.array([7e6])
    rate = policy.allocate(peak, np.array([inf]), Members(down=np.array([False])))
    assert rate == pytest.approx(peak * policy.budget, rel=1e-9)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_an_outage_gets_nothing_and_costs_nothing(policy: Policy) -> None:
    three = policy.allocate(np.array([5e6, 0.0, 2e7]), np.full(3, inf))
    assert three[1] == 0
    two = policy.allocate(np.array([5e6, 2e7]), np.full(2, inf))
    if not isinstance(policy, ProportionalFair | LteGrid):  # these know how many members there are
        assert three[[0, 2]] == pytest.approx(two)
    assert (three[[0, 2]] > 0).sum() >= 1


@settings(max_examples=50, deadline=None)
@given(st.lists(peaks, min_size=1, max_size=20))
def test_equal_shares(peak: list[float]) -> None:
    peak, n, free = np.array(peak), len(peak), np.full(len(peak), inf)
    np.testing.assert_allclose(EqualAirtime().allocate(peak, free), peak / n)
    np.testing.assert_allclose(EqualRate().allocate(peak, free), 1 / (1 / peak).sum())
    np.testing.assert_allclose(
        ProportionalFair().allocate(peak, free), peak / n * gain.multi_user("measured", n)
    )
    np.testing.assert_allclose(Ofdma().allocate(peak, free), peak / n)
    best = MaxRate().allocate(peak, free)
    assert best.sum() == pytest.approx(peak.max())
    np.testing.assert_array_equal(Private().allocate(peak, free), peak)


def test_weights_fill_to_the_same_rates() -> None:
    """A common level times the weights, up to the caps, is what allocate finds."""
    peak, cap = np.array([2e6, 8e6, 3e7]), np.array([1e5, inf, 4e6])
    for policy in (EqualAirtime(), ProportionalFair(), EqualRate(), LteGrid(resource_blocks=25)):
        weight, cost, budget = policy.weights(peak, 3)
        low, high = 0.0, 1e9
        for _ in range(200):
            level = (low + high) / 2
            fits = (cost * np.minimum(cap, weight * level)).sum() <= budget
            low, high = (level, high) if fits else (low, level)
        expected = np.minimum(cap, weight * low)
        np.testing.assert_allclose(policy.allocate(peak, cap), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("snr_db", "n", "factor"),
    [(-5, 2, 1.78), (-5, 5, 3.45), (-5, 10, 5.19), (0, 2, 1.58), (0, 10, 3.46), (10, 5, 1.64), (20, 2, 1.15)],
)
def test_concentrated_power_against_turns(snr_db: float, n: int, factor: float) -> None:
    """OFDMA over TDMA for power-limited terminals: log2(1 + n s) / log2(1 + s)."""
    peak, free = np.full(n, 1e6), np.full(n, inf)
    snr = np.full(n, 10 ** (snr_db / 10))
    rate = Ofdma().allocate(peak, free, Members(snr=snr))
    assert rate * n / peak == pytest.approx(factor, abs=0.01)
    assert Ofdma().allocate(peak, free, Members(snr=snr, down=np.ones(n, bool))) == pytest.approx(peak / n)
    limited = Members(snr=snr, snr_limit=snr)
    assert Ofdma().allocate(peak, free, limited) == pytest.approx(peak / n), "power control aims no higher"


def test_fixed_sub_bands_are_not_lent() -> None:
    peak, free = np.array([8e6]), np.array([inf])
    assert Ofdma(sub_bands=4).allocate(peak, free) == pytest.approx(2e6)


@pytest.mark.parametrize(
    ("snr_db", "gains"), [(0, (1.39, 1.89, 2.22)), (10, (1.26, 1.51, 1.65)), (20, (1.16, 1.30, 1.37))]
)
def test_multi_user_gain_under_rayleigh_fading(snr_db: float, gains: tuple[float, ...]) -> None:
    found = [gain.multi_user("rayleigh", n, float(snr_db)) for n in (2, 5, 10)]
    assert found == pytest.approx(gains, abs=0.006)
    draws = np.random.default_rng(1).standard_exponential((200_000, 5))
    snr = 10 ** (snr_db / 10)
    best = np.log2(1 + snr * draws.max(axis=1)).mean() / np.log2(1 + snr * draws).mean()
    assert found[1] == pytest.approx(best, rel=0.005)


def test_the_measured_gain_is_near_its_three_points() -> None:
    for n, seen in ((2, 1.00), (5, 1.26), (10, 1.31)):
        assert gain.multi_user("measured", n) == pytest.approx(seen, rel=0.095)


def test_whole_groups_of_blocks_waste_what_they_leave_over() -> None:
    """Round robin downlink loses 20 % (25 RB, 5 or 10 members) and 40 % (50 RB, 10); the others nothing."""
    lost = {
        (blocks, n): 1
        - grid.downlink("rr", blocks, n)[0] * grid.downlink("rr", blocks, n)[1] * whole / blocks
        for blocks, whole in ((25, 24), (50, 48))
        for n in (5, 10)
    }
    assert lost[25, 5] == pytest.approx(0.2)
    assert lost[25, 10] == pytest.approx(0.2)
    assert lost[50, 10] == pytest.approx(0.4)
    assert grid.uplink(25, 10) == (3 / 25, 8)
