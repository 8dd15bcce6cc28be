"""From a declared cell to what its members get: power control, link budget, stale knowledge, grants."""

from dataclasses import replace
from math import inf, log10

import numpy as np
import pytest

from sfsim.channel import Constant, InterceptSlope, LogDistance, RayleighBlock, Tr38901
from sfsim.channel.pathloss import BASE_HEIGHT_M, USER_HEIGHT_M, los_probability, path_loss_db
from sfsim.errors import ConfigError
from sfsim.network.cell import Cellular, WifiCell
from sfsim.network.cell.grants import Grants
from sfsim.network.cell.medium import is_half_duplex, multicast, policy_of
from sfsim.network.cell.policy import Csma, EqualAirtime, LteGrid, Ofdma, ProportionalFair
from sfsim.network.cell.radio import cell_link, csi_margin_db, freshness, loss_db, snr, target_snr_db

# ns-3 3.44, Mbit/s at 100, 200, 300, 400, 500, 600, 700, 800 m.
UP = {
    25: (17.93, 14.92, 10.43, 6.30, 4.29, 2.53, 1.74, 1.06),
    50: (35.91, 22.42, 14.92, 8.56, 5.04, 3.53, 2.16, 1.34),
}
DOWN = {
    25: (17.18, 17.18, 17.15, 10.81, 7.56, 6.05, 4.66, 3.65),
    50: (34.40, 34.40, 24.91, 15.50, 11.94, 9.31, 6.56, 4.85),
}


def at(cell: Cellular, distance_m: float) -> float:
    return loss_db(cell, distance_m, 1, "cell: phone")


def alone_bps(cell: Cellular | WifiCell, distance_m: float, down: bool) -> float:
    link, _ = cell_link(cell, "cell", "phone", distance_m, down, seed=1)
    rate_bps = link.rate_bps if link.channel is None else min(link.rate_bps, link.channel.rate_bps)
    return rate_bps * link.efficiency


@pytest.mark.parametrize("blocks", (25, 50))
def test_default_rates_are_near_those_of_ns3(blocks: int) -> None:
    for down, seen in ((False, UP[blocks]), (True, DOWN[blocks])):
        found = [
            alone_bps(Cellular(resource_blocks=blocks), d, down) / rate / 1e6
            for d, rate in zip(range(100, 900, 100), seen, strict=True)
        ]
        assert np.median(found) == pytest.approx(1, abs=0.06)
        assert found == pytest.approx([1] * 8, abs=0.35)


def test_uplink_power() -> None:
    """With P0 = -80 dBm per block a terminal reaches its 23 dBm at a loss of 89 dB: 91 m on 25 blocks."""
    cell = Cellular(resource_blocks=25)
    edge_m = 10 ** ((23 + 80 - 10 * log10(25) - 15.3) / 37.6)
    assert edge_m == pytest.approx(91.4, abs=0.1)
    near, far = snr(cell, at(cell, 0.5 * edge_m), down=False), snr(cell, at(cell, 2 * edge_m), down=False)
    assert near[0] == pytest.approx(target_snr_db(cell, at(cell, 10.0))), (
        "below its limit: the target, at any distance"
    )
    assert near[0] < near[1]
    assert far[0] == pytest.approx(far[1])
    half = replace(cell, alpha=0.8)
    assert snr(half, at(half, 30.0), down=False)[0] - snr(half, at(half, 60.0), down=False)[
        0
    ] == pytest.approx(0.2 * 37.6 * log10(2))


def test_a_wider_band_helps_only_those_with_power_to_spare() -> None:
    wide, narrow = Cellular(resource_blocks=50), Cellular(resource_blocks=25)
    gains = [alone_bps(wide, d, False) / alone_bps(narrow, d, False) for d in (80.0, 600.0, 800.0)]
    assert gains[0] == pytest.approx(2, abs=0.05)
    assert 1 < gains[2] < gains[1] < 1.4


def test_interference_is_a_margin_on_the_noise() -> None:
    quiet, loud = Cellular(), Cellular(interference_margin_db=3.0)
    for down in (False, True):
        assert snr(quiet, at(quiet, 400.0), down)[0] - snr(loud, at(loud, 400.0), down)[0] == pytest.approx(3)


def test_stale_and_wrong_channel_knowledge() -> None:
    cell = Cellular(fading="rayleigh", coherence_time_s=0.05)
    assert freshness(cell) == 1
    assert csi_margin_db(cell) == 0
    ages = [freshness(replace(cell, csi_delay_s=age)) for age in (0.001, 0.01, 0.02)]
    assert ages[0] > 0.99 > ages[1] > ages[2]
    assert csi_margin_db(replace(cell, csi_error_db=2.0)) == pytest.approx(2.56, abs=0.01)
    still = replace(cell, fading="none", csi_delay_s=1.0)
    assert csi_margin_db(still) == 0, "what does not move does not age"
    link, _ = cell_link(replace(cell, csi_error_db=2.0), "cell", "phone", 300.0, down=False, seed=1)
    assert isinstance(link.channel, RayleighBlock)
    assert link.channel.mean_snr_db == pytest.approx(
        snr(cell, at(cell, 300.0), down=False)[0] - 2.56, abs=0.01
    )
    policy = policy_of(replace(cell, access="proportional-fair", csi_delay_s=0.01), down=False)
    assert policy == ProportionalFair(gain="measured", mean_snr_db=policy.mean_snr_db, freshness=ages[1])


def test_duplex() -> None:
    tdd = Cellular(duplex="tdd")
    assert tdd.airtime(down=False) == pytest.approx(0.2 + 0.2 * 2 / 14)
    assert tdd.airtime(down=True) == pytest.approx(0.6 + 0.2 * 10 / 14)
    seven = Cellular(duplex="tdd", tdd_pattern="DDDDDDDSUU", tdd_special=(6, 4, 4))
    assert seven.airtime(down=False) == pytest.approx(0.2 + 0.1 * 4 / 14)
    budgets = [policy_of(tdd, down=down).budget for down in (False, True)]
    assert budgets == [tdd.airtime(False), tdd.airtime(True)]
    assert not is_half_duplex(Cellular())
    assert is_half_duplex(Cellular(duplex="half")) and is_half_duplex(WifiCell())


def test_every_access_has_its_policy() -> None:
    assert (
        policy_of(Cellular(), down=False) == policy_of(Cellular(access="tdma"), down=False) == EqualAirtime()
    )
    grid = policy_of(Cellular(access="lte-grid", resource_blocks=25), down=True)
    assert grid == LteGrid(resource_blocks=25, scheduler="pf", downlink=True)
    assert isinstance(policy_of(Cellular(access="ofdma", sub_bands=3), down=False), Ofdma)
    assert policy_of(Cellular(access="proportional-fair"), down=False).gain == "none", "nothing fades"
    assert policy_of(WifiCell(standard="802.11a"), down=True) == Csma(standard="802.11a")
    for access in ("max-rate", "equal-rate", "private"):
        assert (
            policy_of(Cellular(access=access), down=False).allocate(np.array([3e6]), np.array([inf])) == 3e6
        )


def test_wifi_by_distance() -> None:
    assert alone_bps(WifiCell(), 5.0, True) == pytest.approx(59.4e6, rel=0.01)
    rates = [alone_bps(WifiCell(), d, False) for d in (5.0, 50.0, 80.0, 100.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]
    with pytest.raises(
        ConfigError, match=r"found 1000 m for 'phone', where the SNR is .* a place that cell 'cell' reaches"
    ):
        cell_link(WifiCell(), "cell", "phone", 1000.0, down=False, seed=1)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"tdd_pattern": "DDX"}, "tdd_pattern: found 'DDX', expected letters D, S and U only"),
        (
            {"tdd_special": (10, 2, 1)},
            "tdd_special: found 13 symbols, expected three numbers that add up to 14",
        ),
        (
            {"duplex": "tdd", "tdd_pattern": "DDD"},
            "tdd_pattern: found 'DDD', expected slots in both directions",
        ),
        ({"duplex": "half", "access": "lte-grid"}, "duplex: found 'half', expected 'fdd' or 'tdd'"),
        ({"bandwidth_mhz": 10}, "bandwidth_mhz: found an unknown key"),
    ],
)
def test_declarations_that_do_not_fit(keys: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Cellular(**keys)


def test_multicast_goes_at_the_slowest_receivers_rate() -> None:
    fast, slow = (Constant(rate_bps=rate).realise(0, "x").segment for rate in (5e6, 2e6))
    assert multicast([fast, slow])(3.0) == (2e6, inf)


def test_waits_for_a_grant() -> None:
    cell = Cellular(sr_wait="mean")
    grants = Grants(cell, 7, "lte")
    assert grants.wait_s("a", 0.0, down=False) == pytest.approx(0.050 + 0.005 + 0.008), "idle at first"
    grants.begin("a", down=False)
    assert grants.wait_s("a", 0.5, down=False) == 0, "announced with the data"
    grants.end("a", 1.0, down=False)
    assert grants.wait_s("a", 2.0, down=False) == pytest.approx(0.013)
    assert grants.wait_s("a", 2.0, down=True) == 0
    assert grants.wait_s("a", 11.1, down=True) == pytest.approx(0.050), "it fell asleep"
    assert Grants(WifiCell(), 7, "home").wait_s("a", 0.0, down=False) == 0


def test_the_wait_for_a_request_opportunity_is_uniform_and_nobodys_but_the_clients() -> None:
    def waits(names: list[str]) -> dict[str, list[float]]:
        grants = Grants(Cellular(wake_up_s=0.0), 7, "lte")
        return {name: [grants.wait_s(name, 0.0, down=False) for _ in range(400)] for name in names}

    both = waits(["a", "b"])
    assert both["a"] == waits(["a"])["a"]
    found = np.array(both["b"]) - 0.008
    assert 0 <= found.min() < found.max() < 0.010
    assert found.mean() == pytest.approx(0.005, rel=0.1)


@pytest.mark.parametrize("sight", ["los", "nlos"])
@pytest.mark.parametrize("name", ["uma", "umi", "inh", "rma"])
def test_the_path_loss_of_tr_38901(name: str, sight: str) -> None:
    """As `sfsim pathloss` says; the SNR downlink falls by what the default law did not have."""
    law = Tr38901(scenario=name, sight=sight, shadowing=False)
    cell = Cellular(path_loss=law, carrier_hz=3.5e9)
    heights = (BASE_HEIGHT_M[name], USER_HEIGHT_M[name])
    expected = float(path_loss_db(f"{name}-{sight}", 3.5, 120.0, *heights))
    assert at(cell, 120.0) == pytest.approx(expected, abs=1e-9)
    link, _ = cell_link(replace(cell, fading="rayleigh"), "cell", "phone", 120.0, down=True, seed=1)
    assert link.channel.mean_snr_db == pytest.approx(snr(cell, expected, down=True)[0])
    high = replace(cell, path_loss=replace(law, base_height_m=30.0, user_height_m=2.0))
    assert at(high, 120.0) == pytest.approx(
        float(path_loss_db(f"{name}-{sight}", 3.5, 120.0, 30.0, 2.0)), abs=1e-9
    )


def test_log_distance_without_shadowing() -> None:
    law = LogDistance(exponent=3.5, shadowing_db=0.0)
    assert at(WifiCell(path_loss=law), 10.0) == pytest.approx(32.45 + 20 * log10(5.2) + 35)


def test_a_drawn_line_of_sight_is_the_clients_own_in_both_directions() -> None:
    cell = Cellular(path_loss=Tr38901(scenario="umi", shadowing=False))
    los, nlos = (
        at(replace(cell, path_loss=replace(cell.path_loss, sight=sight)), 60.0) for sight in ("los", "nlos")
    )
    losses = [loss_db(cell, 60.0, 3, f"cell: phone-{number}") for number in range(1500)]
    assert set(losses) == {los, nlos}
    chance = float(los_probability("umi", 60.0))
    assert np.mean(np.array(losses) == los) == pytest.approx(chance, abs=0.04)
    assert losses[:50] != [loss_db(cell, 60.0, 4, f"cell: phone-{number}") for number in range(50)]
    for down in (False, True):
        link, _ = cell_link(replace(cell, fading="rayleigh"), "cell", "phone-7", 60.0, down, seed=3)
        assert link.channel.mean_snr_db == pytest.approx(snr(cell, losses[7], down)[0])


def test_a_gain_by_the_mean_snr_knows_a_typical_place() -> None:
    cell = Cellular(access="proportional-fair", fading="rayleigh", path_loss=Tr38901(scenario="uma"))
    policy = policy_of(cell, down=True)
    assert isinstance(policy, ProportionalFair)
    assert policy.mean_snr_db == policy_of(cell, down=True).mean_snr_db  # type: ignore[attr-defined]
    plain = policy_of(replace(cell, path_loss=InterceptSlope()), down=True)
    assert isinstance(plain, ProportionalFair)
    assert plain.mean_snr_db == pytest.approx(snr(cell, 15.3 + 37.6 * log10(200), down=True)[0])
