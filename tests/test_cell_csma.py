"""802.11 in a cell: the backoff process, durations of frames, the performance anomaly, bursts, caps."""

from math import inf

import numpy as np
import pytest

from sfsim.network.cell.backoff import contention
from sfsim.network.cell.policy import Csma, Members
from sfsim.network.cell.wifi import STANDARDS

# ns-3 3.44: goodput of a single station in Mbit/s.
ALONE = {
    "802.11a": {6: 5.27, 12: 9.82, 24: 17.26, 54: 29.89},
    "802.11n": {6.5: 5.82, 13: 11.84, 26: 23.80, 65: 59.40},
}
# Stations, idle slots per access, share of accesses that collide, share of frames that collide.
SLOTS = [
    (1, 7.49, 0, 0),
    (2, 4.52, 0.057, 0.108),
    (3, 3.53, 0.096, 0.178),
    (5, 2.84, 0.147, 0.264),
    (8, 2.33, 0.193, 0.337),
    (10, 2.21, 0.211, 0.365),
    (15, 2.00, 0.250, 0.423),
    (20, 1.87, 0.277, 0.460),
    (30, 1.70, 0.316, 0.511),
    (50, 1.56, 0.365, 0.574),
]
EFFICIENCY = {
    2: (0.96, 0.98, 1.01),
    3: (0.92, 0.95, 0.99),
    5: (0.87, 0.91, 0.95),
    8: (0.82, 0.86, 0.91),
    10: (0.81, 0.84, 0.89),
    15: (0.77, 0.80, 0.85),
    20: (0.74, 0.78, 0.82),
    30: (0.70, 0.74, 0.78),
    50: (0.65, 0.68, 0.72),
}


def rates(
    standard: str, phy: list[float], down: list[bool] | None = None, cap: list[float] | None = None
) -> np.ndarray:
    peak = np.array([ALONE[standard][value] * 1e6 for value in phy])
    known = Members(down=np.array(down or [False] * len(phy)), phy_bps=np.array(phy) * 1e6)
    free = np.full(len(phy), inf) if cap is None else np.array(cap)
    return Csma(standard=standard).allocate(peak, free, known)


@pytest.mark.parametrize(("n", "idle", "collision", "frame"), SLOTS)
def test_the_backoff_process(n: int, idle: float, collision: float, frame: float) -> None:
    found = contention(n)
    assert found.idle_slots == pytest.approx(idle, rel=0.025)
    assert found.collision == pytest.approx(collision, abs=0.003)
    assert found.frame_collision == pytest.approx(frame, abs=0.004)
    assert sum(found.colliding) == pytest.approx(1)


def test_the_backoff_process_is_the_same_in_every_run() -> None:
    first = contention(7)
    contention.cache_clear()
    assert contention(7) == first


@pytest.mark.parametrize("n", EFFICIENCY)
def test_what_collisions_leave(n: int) -> None:
    found = [rates("802.11a", [phy] * n).sum() / ALONE["802.11a"][phy] / 1e6 for phy in (6, 24, 54)]
    assert found == pytest.approx(EFFICIENCY[n], abs=0.011)


@pytest.mark.parametrize("standard", ALONE)
def test_frames_give_the_rate_of_a_single_station(standard: str) -> None:
    layer = STANDARDS[standard]
    for phy, goodput in ALONE[standard].items():
        assert layer.rate_bps(phy * 1e6) / 1e6 == pytest.approx(goodput, rel=0.006)
        assert layer.nearest_phy_bps(goodput * 1e6) == phy * 1e6


def test_bursts() -> None:
    assert [STANDARDS["802.11n"].burst(phy * 1e6) for phy in (6.5, 65)] == [2, 28]
    assert STANDARDS["802.11a"].burst(54e6) == 1


def test_the_anomaly_and_what_bursts_make_of_it() -> None:
    """Without bursts all are as slow as the slowest; with them nearly equal airtime; a FIFO undoes that."""
    slow, fast = rates("802.11a", [6, 54])
    assert slow == pytest.approx(fast)
    assert fast < 0.16 * ALONE["802.11a"][54] * 1e6
    slow, fast = rates("802.11n", [6.5, 65])
    assert fast / slow == pytest.approx(14)
    slow, fast = rates("802.11n", [6.5, 65], down=[True, True])
    assert slow == pytest.approx(fast)


def test_the_access_point_is_one_contender() -> None:
    found = rates("802.11a", [24] * 6, down=[False] * 3 + [True] * 3)
    assert found[3:].sum() == pytest.approx(found[0])
    alone = rates("802.11a", [24] * 3, down=[True] * 3)
    assert alone.sum() == pytest.approx(17.26e6), "a single contender has no collisions"


def test_members_below_saturation_return_the_rest() -> None:
    free = rates("802.11a", [24] * 5)
    capped = rates("802.11a", [24] * 5, cap=[0.5e6, 0.5e6, inf, inf, inf])
    assert capped[:2] == pytest.approx([0.5e6, 0.5e6])
    three = rates("802.11a", [24] * 3)
    assert free[2] < capped[2] < three[0]
    assert capped[2:].sum() + 1e6 > 0.93 * three.sum(), "they also collide less"
    nobody = rates("802.11a", [24] * 5, cap=[1e6] * 5)
    assert nobody == pytest.approx([1e6] * 5)


def test_a_station_of_80211n_below_saturation_sends_single_datagrams() -> None:
    """1 Mbit/s in single datagrams takes more air than 1/59 of the time, and contends for it."""
    other = rates("802.11n", [65, 65], cap=[1e6, inf])[1]
    assert other < 0.96 * (1 - 1 / 59.4) * 59.4e6
    assert other > rates("802.11n", [65, 65])[1]


def test_a_capped_downlink_leaves_its_place_in_the_queue() -> None:
    free = rates("802.11a", [24] * 3, down=[False, True, True])
    capped = rates("802.11a", [24] * 3, down=[False, True, True], cap=[inf, 1e5, inf])
    assert capped[1] == pytest.approx(1e5)
    assert capped[2] + 1e5 == pytest.approx(free[1:].sum(), rel=1e-6)
    assert capped[0] == pytest.approx(free[0], rel=1e-6)


def test_rates_are_continuous_where_a_cap_begins_to_bind() -> None:
    free = rates("802.11n", [26, 65, 6.5])
    for factor in (1 - 1e-7, 1 + 1e-7):
        again = rates("802.11n", [26, 65, 6.5], cap=[free[0] * factor, inf, inf])
        assert again == pytest.approx(free, rel=1e-4)


def test_a_thousand_stations() -> None:
    found = rates("802.11a", [24] * 1000)
    assert 0.1 < found.sum() / 17.26e6 < 0.5, "even the largest window is too small for so many"
    assert np.ptp(found) < 1e-6 * found[0]
