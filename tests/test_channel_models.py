"""Constant and fading channels: right-open pieces, no memory of who asked, and the laws of the textbooks."""

from math import inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import exp1

from sfsim.channel import Constant, Cqi, RayleighBlock, RicianBlock, Shannon, TruncatedShannon
from sfsim.channel.fading import CHUNK
from sfsim.channel.snr import CQI_EFFICIENCY, CQI_SNR_DB, block_error_rate
from sfsim.errors import ConfigError

RAYLEIGH = RayleighBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.1)
RICIAN = RicianBlock(mean_snr_db=10, bandwidth_hz=1e6, coherence_time_s=0.1, k_factor_db=6)


def rates(channel, blocks, name="a->b", seed=7):
    """Rates of the first blocks, at the middle of each."""
    drawn = channel.realise(seed, name)
    return np.array([drawn.segment((k + 0.5) * channel.coherence_time_s)[0] for k in range(blocks)])


def test_constant_holds_for_ever():
    drawn = Constant(rate_bps=3.5).realise(1, "a->b")
    assert [drawn.segment(t) for t in (0.0, 1e9)] == [(3.5, inf)] * 2
    assert drawn.queries == 2


@pytest.mark.parametrize("channel", [RAYLEIGH, RICIAN])
def test_a_fade_depends_on_seed_and_name_only(channel):
    assert np.array_equal(rates(channel, 50), rates(channel, 50))
    assert not np.array_equal(rates(channel, 50), rates(channel, 50, name="a->c"))
    assert not np.array_equal(rates(channel, 50), rates(channel, 50, seed=8))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_asking_order_never_matters(times, random):
    for channel in (RAYLEIGH, RICIAN):
        forward, other = channel.realise(3, "x"), channel.realise(3, "x")
        answers = {t: forward.segment(t) for t in times}
        random.shuffle(times)
        assert all(other.segment(t) == answers[t] for t in times)


@given(st.floats(1e-5, 10), st.integers(0, 10**9))
@settings(max_examples=200, deadline=None)
def test_pieces_are_right_open_and_leave_no_gap(coherence_time_s, block):
    channel = RayleighBlock(mean_snr_db=3, bandwidth_hz=1, coherence_time_s=coherence_time_s)
    drawn = channel.realise(1, "x")
    boundary = block * coherence_time_s
    assert drawn.segment(boundary)[1] > boundary
    assert drawn.segment(drawn.segment(boundary)[1])[1] > drawn.segment(boundary)[1]


def test_rayleigh_mean_rate_is_the_ergodic_capacity():
    snr = 10 ** (RAYLEIGH.mean_snr_db / 10)
    drawn = RAYLEIGH.realise(1, "x")
    mean_bps = np.mean([drawn.rates_bps(chunk) for chunk in range(400)])
    expected = RAYLEIGH.bandwidth_hz * np.exp(1 / snr) * exp1(1 / snr) / log(2)
    assert mean_bps == pytest.approx(expected, rel=0.005)


def test_rician_gain_has_mean_one_and_the_variance_of_its_k():
    k = 10 ** (RICIAN.k_factor_db / 10)
    gains = RICIAN.gains(np.random.default_rng(1), 400_000)
    assert gains.mean() == pytest.approx(1, rel=0.005)
    assert gains.var() == pytest.approx((2 * k + 1) / (k + 1) ** 2, rel=0.01)


def test_rician_without_line_of_sight_is_rayleigh():
    channel = RicianBlock(mean_snr_db=0, bandwidth_hz=1, coherence_time_s=1, k_factor_db=-60)
    gains = channel.gains(np.random.default_rng(1), 200_000)
    assert np.mean(gains > 1) == pytest.approx(np.exp(-1), rel=0.01)


def test_shannon_with_a_gap():
    law = Shannon(gap_db=10)
    assert law.bits_per_hz(np.array([0.0, 10.0, 70.0])) == pytest.approx([0, 1, 3])


def test_truncated_shannon():
    law = TruncatedShannon(share=0.4, min_snr_db=-10, max_bits_per_hz=2)
    assert law.bits_per_hz(np.array([0.09, 0.11, 3.0, 1e6])) == pytest.approx(
        [0, 0.4 * np.log2(1.11), 0.8, 2]
    )


def test_cqi_picks_the_best_scheme_that_the_snr_carries():
    assert [round(x, 4) for x in CQI_EFFICIENCY[[0, 3, 9, 14]]] == [0.1523, 0.6016, 2.7305, 5.5547]
    snr_db = np.array([-30, CQI_SNR_DB[0], CQI_SNR_DB[6] - 0.01, CQI_SNR_DB[6] + 0.01, 60])
    found = Cqi(max_transmissions=1).bits_per_hz(10 ** (snr_db / 10))
    chosen = np.array([0, *CQI_EFFICIENCY[[0, 5, 6, 14]]])
    assert np.all(found <= chosen)
    assert np.all(found >= 0.9 * chosen - 1e-6)
    # At its threshold a scheme loses 10 %: plain ARQ delivers the other 90 %.
    at = Cqi(max_transmissions=1).bits_per_hz(10 ** (CQI_SNR_DB / 10))
    assert at == pytest.approx(0.9 * CQI_EFFICIENCY, rel=1e-6)
    # No scheme beats Shannon at its own threshold.
    assert np.all(np.log2(1 + 10 ** (CQI_SNR_DB / 10)) > CQI_EFFICIENCY)


def test_harq_combines_what_failed():
    """At the threshold 10 % need a second transmission, which at twice the SNR never fails."""
    snr = (10 ** (CQI_SNR_DB / 10))[7]
    second = block_error_rate(np.array([2 * snr]), np.array([8]))[0]
    assert second == pytest.approx(1 / (1 + 9 * np.exp(3.5 * 10 * np.log10(2))))
    expected = CQI_EFFICIENCY[7] / (1 + 0.1 + second + 0)
    assert Cqi().bits_per_hz(np.array([snr]))[0] == pytest.approx(expected, rel=1e-6)
    rates = [Cqi(max_transmissions=n).bits_per_hz(np.array([snr]))[0] for n in (1, 2, 4)]
    assert rates == pytest.approx([0.9 * CQI_EFFICIENCY[7], CQI_EFFICIENCY[7] / 1.1, expected], rel=1e-4)


def test_harq_meets_the_fade_of_its_own_time():
    snr = np.array([10**0.21, 1e3, 1e3, 1e-9, 1e3, 1e3, 1e3, 1e3])  # CQI 5 carries the first with 10 % errors

    def at(shift):
        return np.append(snr[shift:], np.full(shift, 1e3)) if shift >= 0 else np.append(snr[0], snr[:-1])

    late = Cqi(max_transmissions=2, harq_rtt_s=3.0).over_time(at, block_s=1.0)[0]
    soon = Cqi(max_transmissions=2, harq_rtt_s=1.0).over_time(at, block_s=1.0)[0]
    assert soon == pytest.approx(CQI_EFFICIENCY[4] / 1.1)
    assert late == pytest.approx(CQI_EFFICIENCY[4] * 0.9 / 1.1)


def test_outdated_cqi_sends_what_the_last_block_could_have_carried():
    channel = {"mean_snr_db": 10, "bandwidth_hz": 1.0, "coherence_time_s": 1.0}
    now, late = (
        RayleighBlock(**channel, snr_to_rate=Cqi(max_transmissions=1, outdated=outdated))
        .realise(3, "x")
        .rates_bps(0)
        for outdated in (False, True)
    )
    snr = RayleighBlock(**channel).realise(3, "x").snr(0, CHUNK)
    assert late[0] == now[0]
    dropped = (snr[1:] < snr[:-1] / 4) & (now[1:] > 0)
    assert np.all(late[1:][dropped] < now[1:][dropped])
    rose = snr[1:] > snr[:-1] * 4
    assert np.all(late[1:][rose] <= now[1:][rose])
    assert 0.2 < late.mean() / now.mean() < 0.7


def test_an_outage_lasts_until_the_first_block_with_a_rate():
    channel = RayleighBlock(mean_snr_db=-13, bandwidth_hz=1e6, coherence_time_s=0.5, snr_to_rate=Cqi())
    drawn = channel.realise(1, "x")
    alive = np.flatnonzero(np.concatenate([drawn.rates_bps(chunk) for chunk in range(3)]))
    assert len(alive) < 0.05 * 3 * CHUNK
    rate_bps, until_s = drawn.segment((alive[0] + 1) * 0.5)
    assert (rate_bps, until_s) == (0.0, alive[1] * 0.5)


def test_a_channel_too_weak_for_any_scheme_is_down_for_ever():
    channel = RayleighBlock(mean_snr_db=-60, bandwidth_hz=1e6, coherence_time_s=0.5, snr_to_rate=Cqi())
    assert channel.realise(1, "x").segment(0.0) == (0.0, inf)


@pytest.mark.parametrize("key", ["bandwidth_hz", "coherence_time_s"])
def test_bandwidth_and_coherence_time_are_above_zero(key):
    keys = {"mean_snr_db": 10, "bandwidth_hz": 1e6, "coherence_time_s": 0.1} | {key: -1}
    with pytest.raises(ConfigError, match=f"{key}: found -1, expected"):
        RayleighBlock(**keys)
