"""Radio channels: Jakes correlation, Markov channel, link budgets, shadowing, movement against their laws."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import exp1, j0

from sfsim.channel import (
    Awgn,
    LinkBudget,
    LogDistance,
    MarkovChannel,
    PathMobility,
    RandomWaypoint,
    RayleighBlock,
    RicianBlock,
    Tr38901,
    parse,
)
from sfsim.channel.budget import MeanSnr
from sfsim.channel.growing import CorrelatedGauss
from sfsim.channel.jakes import SumOfSinusoids
from sfsim.channel.pathloss import SHADOWING_DB, los_probability, path_loss_db
from sfsim.channel.survey import pieces
from sfsim.errors import ConfigError
from sfsim.seeds import stream

DRIVING = {"bandwidth_hz": 1e6, "carrier_hz": 2e9, "speed_m_per_s": 15.0}
DOPPLER_HZ = 100.0


def waves(number: int, step_s: float, count: int = 40_960) -> np.ndarray:
    return SumOfSinusoids(DOPPLER_HZ, np.random.default_rng(number)).samples(0, count, step_s)


def mean_rate(channel, seeds: int, seconds: float) -> float:
    means = []
    for seed in range(seeds):
        ends_s, rates = pieces(channel.realise(seed, "a->b"), seconds)
        means.append(rates @ np.diff(np.append(0.0, ends_s)) / seconds)
    return float(np.mean(means))


# Row 19 of the validation matrix: 1 % for the mean capacity, 2 % for the correlation.


@pytest.mark.parametrize("snr_db", [0, 10, 20])
def test_rayleigh_mean_rate_is_the_ergodic_capacity(snr_db):
    snr = 10 ** (snr_db / 10)
    expected = 1e6 * np.exp(1 / snr) * exp1(1 / snr) / np.log(2)
    assert mean_rate(RayleighBlock(mean_snr_db=snr_db, **DRIVING), 6, 80.0) == pytest.approx(
        expected, rel=0.01
    )
    markov = MarkovChannel(mean_snr_db=snr_db, **DRIVING)
    assert mean_rate(markov, 3, 10.0) == pytest.approx(expected, rel=0.05)
    assert markov.levels()[0].mean() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("lag", [0.05, 0.1, 0.2115, 0.3])
def test_jakes_correlation(lag):
    step_s = lag / DOPPLER_HZ
    found = []
    for number in range(8):
        h = waves(number, step_s)
        found.append(np.mean(h[1:] * h[:-1].conj()) / np.mean(np.abs(h) ** 2))
    expected = j0(2 * np.pi * lag)
    assert np.mean(found).real == pytest.approx(expected, rel=0.02, abs=0.005)
    assert abs(np.mean(found).imag) < 0.02


def test_blocks_have_j0_at_lag_one():
    channel = RayleighBlock(mean_snr_db=0, **DRIVING)
    block_s = channel.realise(1, "x").block_s
    assert block_s == pytest.approx(0.423 / 100 / 2)
    products = []
    for seed in range(8):
        gain = channel.realise(seed, "x").snr(0, 60 * 1024)
        products.append(np.mean(gain[1:] * gain[:-1]) / np.mean(gain) ** 2)
    # |h|^2 of two Gauss values of correlation rho: E[g g'] = 1 + rho^2
    assert np.mean(products) - 1 == pytest.approx(j0(2 * np.pi * 0.2115) ** 2, rel=0.05)


def test_fades_follow_their_laws():
    gains = np.concatenate([np.abs(waves(number, 0.05, 400)) ** 2 for number in range(30)])
    assert stats.kstest(gains, stats.expon.cdf).pvalue > 1e-3
    independent = RayleighBlock(mean_snr_db=0, bandwidth_hz=1, coherence_time_s=1)
    assert stats.kstest(independent.realise(1, "x").snr(0, 20_000), stats.expon.cdf).pvalue > 1e-3
    k = 10**0.6
    law = stats.ncx2(2, 2 * k, scale=1 / (2 * (k + 1)))
    for keys in ({"coherence_time_s": 1.0}, {"speed_m_per_s": 15.0, "carrier_hz": 2e9, "block_s": 1.0}):
        channel = RicianBlock(mean_snr_db=0, bandwidth_hz=1, k_factor_db=6, **keys)
        gains = np.concatenate([channel.realise(seed, "x").snr(0, 400) for seed in range(30)])
        assert stats.kstest(gains, law.cdf).pvalue > 1e-3
        assert gains.mean() == pytest.approx(1, rel=0.02)


def test_markov_channel_keeps_its_stationary_law():
    channel = MarkovChannel(mean_snr_db=10, bandwidth_hz=1e6, carrier_hz=2e9, speed_m_per_s=15, states=8)
    up, down = channel.transitions()
    # Exactly: what goes up from a state comes down to it, so the equal law is stationary.
    assert up[:-1] == pytest.approx(down[1:], rel=1e-12)
    assert np.all(up + down <= 1)
    visits = np.zeros(8)
    for seed in range(60):
        drawn = channel.realise(seed, "x")
        for chunk in range(20):
            visits += np.bincount(drawn.states(chunk), minlength=8)
    # Independent starts from the stationary law; 1.2 M steps are some 3,000 coherence times.
    assert visits / visits.sum() == pytest.approx(np.full(8, 1 / 8), rel=0.06)
    matrix = np.diag(1 - up - down) + np.diag(up[:-1], 1) + np.diag(down[1:], -1)
    values, vectors = np.linalg.eig(matrix.T)
    law = np.real(vectors[:, np.argmax(np.real(values))])
    assert law / law.sum() == pytest.approx(np.full(8, 1 / 8), rel=0.01)


def test_markov_channel_steps_to_neighbours_as_often_as_it_should():
    channel = MarkovChannel(mean_snr_db=10, bandwidth_hz=1e6, carrier_hz=2e9, speed_m_per_s=15)
    up, _ = channel.transitions()
    states = np.concatenate([channel.realise(seed, "x").states(0) for seed in range(300)])
    steps = np.diff(states.reshape(300, -1), axis=1).ravel()
    before = states.reshape(300, -1)[:, :-1].ravel()
    assert set(steps) == {-1, 0, 1}
    for state in range(7):
        assert np.mean(steps[before == state] == 1) == pytest.approx(up[state], rel=0.1)


def test_link_budget():
    budget = LinkBudget(
        path_loss=Tr38901(scenario="umi", sight="nlos", shadowing=False),
        distance_m=120,
        tx_power_dbm=23,
        gain_db=8,
        noise_figure_db=5,
        interference_margin_db=2,
    )
    loss = path_loss_db("umi-nlos", 3.5, 120, 10, 1.5)
    expected = 23 + 8 - loss - 2 - (-174 + 10 * np.log10(20e6) + 5)
    channel = Awgn(budget=budget, bandwidth_hz=20e6, carrier_hz=3.5e9)
    drawn = channel.realise(1, "a->b")
    assert drawn.snr_db(np.array([0.0, 99.0])) == pytest.approx([expected, expected])
    assert drawn.segment(3.0)[0] == pytest.approx(20e6 * np.log2(1 + 10 ** (expected / 10)))


def snr_of(path_loss, names, **keys) -> np.ndarray:
    budget = LinkBudget(path_loss=path_loss, **({"distance_m": 100.0} | keys))
    zero = np.zeros(1)
    return np.array([budget.realise(1, name, 1e6, 2e9).db(zero)[0] for name in names])


def test_shadowing_is_normal_and_the_places_own():
    names = [f"a{i}->b" for i in range(2000)]
    drawn = snr_of(LogDistance(shadowing_db=7), names)
    plain = snr_of(LogDistance(shadowing_db=0), names[:1])
    assert stats.kstest((drawn - plain) / 7, stats.norm.cdf).pvalue > 1e-3
    both = snr_of(LogDistance(shadowing_db=7), ["a->b", "b->a", "a->c"])
    assert both[0] == both[1] != both[2]


@pytest.mark.parametrize("correlation_m", [10.0, 50.0])
def test_shadowing_is_correlated_over_the_way(correlation_m):
    gauss = CorrelatedGauss(correlation_m, lambda chunk: stream(1, "test", chunk))
    values = gauss.at(np.arange(0, 40_000) * correlation_m / 10)
    for lag in (1, 5, 10, 20):
        found = np.corrcoef(values[lag:], values[:-lag])[0, 1]
        assert found == pytest.approx(np.exp(-lag / 10), abs=0.05)
    assert values.std() == pytest.approx(1, abs=0.05)


def test_sight_is_drawn_with_its_probability():
    law = Tr38901(scenario="umi", shadowing=False)
    snr = snr_of(law, [f"a{i}->b" for i in range(3000)], distance_m=40.0)
    los, nlos = (
        snr_of(Tr38901(scenario="umi", sight=sight, shadowing=False), ["x"], distance_m=40.0)[0]
        for sight in ("los", "nlos")
    )
    assert set(np.round(snr, 6)) == {round(los, 6), round(nlos, 6)}
    assert np.mean(snr > (los + nlos) / 2) == pytest.approx(los_probability("umi", 40.0), abs=0.03)


def test_deviation_of_the_shadowing_follows_the_sight():
    for sight, deviation in zip(("los", "nlos"), SHADOWING_DB["uma"], strict=True):
        snr = snr_of(Tr38901(scenario="uma", sight=sight), [f"a{i}->b" for i in range(2000)])
        assert snr.std() == pytest.approx(deviation, rel=0.06)


@pytest.mark.parametrize(
    ("end", "distances"),
    [("stop", [0, 50, 100, 100, 100]), ("back", [0, 50, 100, 50, 0]), ("loop", [0, 50, 100, 50, 0])],
)
def test_path(end, distances):
    path = PathMobility(points=((0, 0), (60, 80)), speed_m_per_s=10, end=end)
    way = path.realise(1, "x")
    times = np.arange(5) * 5.0
    assert way.distance_m(times) == pytest.approx(distances, abs=1e-9)
    gone = [0, 50, 100, 100, 100] if end == "stop" else [0, 50, 100, 150, 200]
    assert way.travelled_m(times) == pytest.approx(gone)


def test_random_waypoint_stays_inside_and_keeps_its_speeds():
    law = RandomWaypoint(
        low=(0, 0), high=(100, 50), slowest_m_per_s=1, fastest_m_per_s=2, pause_s=3, station=(50, 25)
    )
    way = law.realise(1, "x")
    times = np.arange(0, 20_000, 0.5)
    x, y = way.position(times)
    assert x.min() >= 0 and x.max() <= 100 and y.min() >= 0 and y.max() <= 50
    speed = np.hypot(np.diff(x), np.diff(y)) / 0.5
    assert speed.max() <= 2 + 1e-9
    assert np.mean(speed == 0) == pytest.approx(3 / (3 + 35.5 * np.log(2)), abs=0.05)  # mean way 36 m
    assert np.diff(way.travelled_m(times)).min() >= 0
    assert x.mean() == pytest.approx(50, rel=0.1)
    assert way.distance_m(times) == pytest.approx(np.hypot(x - 50, y - 25))


def test_a_client_that_drives_away_gets_less():
    road = PathMobility(points=((50, 0), (2050, 0)), speed_m_per_s=20)
    budget = LinkBudget(path_loss=LogDistance(exponent=3.5, shadowing_db=0), mobility=road)
    drawn = Awgn(budget=budget, bandwidth_hz=1e6, carrier_hz=2e9, block_s=1.0).realise(1, "a->b")
    rates = np.array([drawn.segment(float(t))[0] for t in range(100)])
    assert np.all(np.diff(rates) < 0)
    mean: MeanSnr = budget.realise(1, "a->b", 1e6, 2e9)
    assert mean.distance_m(np.array([0.0, 50.0])) == pytest.approx([50, 1050])
    slope = mean.db(np.array([0.0])) - mean.db(np.array([22.5]))  # 50 m and 500 m
    assert slope == pytest.approx([35.0])


def test_both_directions_of_a_link_see_the_same_client():
    walk = RandomWaypoint(low=(-99, -99), high=(99, 99), slowest_m_per_s=1, fastest_m_per_s=2)
    budget = LinkBudget(path_loss=Tr38901(scenario="umi"), mobility=walk)
    times = np.linspace(0, 500, 99)
    there, back, other = (budget.realise(1, name, 1e6, 2e9).db(times) for name in ("a->b", "b->a", "c->b"))
    assert np.array_equal(there, back)
    assert not np.array_equal(there, other)


RAYLEIGH = {"kind": "rayleigh", "mean_snr_db": 5.0, "bandwidth_hz": 1e6, "coherence_time_s": 0.1}
BUDGET = {"path_loss": {"kind": "log-distance"}, "distance_m": 10.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"mean_snr_db": None},
            "mean_snr_db: found nothing, expected either a mean SNR in dB, or a link budget",
        ),
        ({"budget": BUDGET}, "mean_snr_db: found both a mean SNR and a budget"),
        (
            {"budget": BUDGET, "mean_snr_db": None},
            "carrier_hz: found nothing, expected the carrier frequency",
        ),
        (
            {"coherence_time_s": None},
            "coherence_time_s: found nothing, expected either a coherence time in s",
        ),
        ({"speed_m_per_s": 3.0}, "coherence_time_s: found both a coherence time and a speed"),
        ({"coherence_time_s": None, "speed_m_per_s": 3.0}, "carrier_hz: found nothing, expected the carrier"),
        ({"block_s": 3.0}, "block_s: found 3, expected nothing beside a coherence time"),
        (
            {"snr_to_rate": {"kind": "cqi", "max_transmissions": 0}},
            r"\[snr_to_rate\] max_transmissions: found 0",
        ),
        ({"outage": {"mean_up_s": 1.0, "mean_down_s": 0.0}}, r"\[outage\] mean_down_s: found 0"),
        (
            {"budget": BUDGET | {"distance_m": None}, "mean_snr_db": None},
            r"\[budget\] distance_m: found nothing, expected either a distance in m, or a mobility",
        ),
    ],
)
def test_wrong_tables(change, message):
    table = {key: value for key, value in (RAYLEIGH | change).items() if value is not None}
    if isinstance(table.get("budget"), dict):
        table["budget"] = {key: value for key, value in table["budget"].items() if value is not None}
    with pytest.raises(ConfigError, match=f"a.toml, {message}"):
        parse(table, "a.toml")


def test_wrong_movements_and_chains():
    with pytest.raises(ConfigError, match=r"high: found .*, expected a corner right of and above low"):
        RandomWaypoint(low=(0, 0), high=(0, 9), slowest_m_per_s=1, fastest_m_per_s=2)
    with pytest.raises(ConfigError, match="fastest_m_per_s: found 1, expected at least slowest_m_per_s = 2"):
        RandomWaypoint(low=(0, 0), high=(9, 9), slowest_m_per_s=2, fastest_m_per_s=1)
    with pytest.raises(ConfigError, match=r"step_s: found 0.01, expected a step of at most"):
        MarkovChannel(mean_snr_db=3, step_s=0.01, **DRIVING)
    outdated = {"kind": "cqi", "outdated": True}
    table = {"kind": "fsmc", "mean_snr_db": 3.0, "snr_to_rate": outdated, **DRIVING}
    with pytest.raises(ConfigError, match="snr_to_rate: found outdated = true, expected outdated = false"):
        parse(table, "a.toml")
