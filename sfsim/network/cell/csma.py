"""Who gets what in an 802.11 cell: all contenders access the medium alike, whatever they then carry.

With `A` the contenders (stations with uplink messages, and the access point with all downlink messages in one
FIFO), `idle`, `c` of their backoff (`sfsim.network.cell.backoff`) and `T_i` the duration of an access,

    cycle = idle * slot + (1 - c) * mean(T_i) + c * E[longest colliding frame]
    rate_i = burst_i * (1 - c) / (n * cycle)

so every contender has the same access rate x: equal packet rates without aggregation (the performance
anomaly), near equal airtime with it. Downlinks leave one FIFO at equal byte rates.

A contender that needs fewer accesses takes as many as it needs, single datagrams first; the rest goes to the
others. It counts as the fraction of a contender that it is busy, between the `idle` and `c` of whole numbers.
"""

import numba
import numpy as np

from sfsim.network.cell.backoff import Contention, contention
from sfsim.network.cell.wifi import PAYLOAD_BYTES, SLOT_S, access

_FRAMES = 7  # sizes 2 .. 8 of a collision
_EXACT = 64  # up to here the backoff of exactly so many contenders is run, beyond it is interpolated


def rates(
    standard: str,
    peak_bps: np.ndarray,
    cap_bps: np.ndarray,
    down: np.ndarray,
    phy_bps: np.ndarray | None,
    flows: np.ndarray | None = None,
) -> np.ndarray:
    """Return the goodput in bit/s of every member, shape (n,).

    Members with the same number in `flows`, which does not decrease, have one rate: that of the slowest.
    """
    rate = np.zeros(len(peak_bps))
    if flows is None:
        alive, numbers = np.flatnonzero(peak_bps > 0), np.empty(0, np.int64)
    else:
        whole = np.bincount(flows, peak_bps <= 0) == 0  # nothing moves before an outage ends
        alive = np.flatnonzero(whole[flows])
        numbers = np.unique(flows[alive], return_inverse=True)[1].astype(np.int64)
    if not len(alive):
        return rate
    # Rows in one piece: a single member's would be so anyway, and two layouts are compiled twice.
    shapes = np.array(
        [access(standard, peak_bps[i], 0.0 if phy_bps is None else phy_bps[i]) for i in alive]
    ).T.copy()
    is_down = down[alive]
    contenders = int((~is_down).sum() + is_down.any())
    limited = bool(np.isfinite(cap_bps[alive]).any())
    grid = _grid(contenders, limited or flows is not None)
    rate[alive] = 8 * _solve(*shapes, cap_bps[alive] / 8, is_down, grid, numbers)
    return rate


def _grid(contenders: int, limited: bool) -> np.ndarray:
    """Return rows (n, idle slots, c, shares of sizes 2 ..) at so many contenders, or (`limited`) up to it."""
    counts = list(range(1, min(contenders, 12) + 1))
    while counts[-1] < contenders:
        counts.append(counts[-1] * 5 // 4)
    if contenders <= _EXACT:
        counts = [n for n in counts if n < contenders] + [contenders]
    return np.array([_row(n, contention(n)) for n in (counts if limited else counts[-2:])])


def _row(n: int, known: Contention) -> list[float]:
    shares = [*known.colliding, *[0.0] * _FRAMES][:_FRAMES]
    return [float(n), known.idle_slots, known.collision, *shares]


@numba.njit(cache=True)
def _solve(
    burst: np.ndarray,
    success_s: np.ndarray,
    byte_s: np.ndarray,
    collision_s: np.ndarray,
    cap: np.ndarray,
    down: np.ndarray,
    grid: np.ndarray,
    flows: np.ndarray,
) -> np.ndarray:
    """Find the access rate x at which the medium is just full; return byte rates."""
    n = len(burst)
    weight = np.zeros(n)
    order = np.argsort(collision_s)
    rate = np.zeros(n)
    # Nobody needs more than one access per datagram, so this x gives everybody its cap.
    most = 0.0
    down_most = 0.0
    for i in range(n):
        if down[i]:
            down_most += cap[i] / PAYLOAD_BYTES
        else:
            most = max(most, cap[i] / PAYLOAD_BYTES)
    most = max(most, down_most)
    if (
        np.isfinite(most)
        and _load(most, burst, success_s, byte_s, collision_s, cap, down, grid, order, weight, rate, flows)
        <= 1
    ):
        return rate
    high = 1.0 / success_s.min()
    low = 0.0
    for _ in range(100):
        x = 0.5 * (low + high)
        if _load(x, burst, success_s, byte_s, collision_s, cap, down, grid, order, weight, rate, flows) <= 1:
            low = x
        else:
            high = x
        if high - low <= 1e-13 * high:
            break
    _load(low, burst, success_s, byte_s, collision_s, cap, down, grid, order, weight, rate, flows)
    return rate


@numba.njit(cache=True)
def _load(
    x: float,
    burst: np.ndarray,
    success_s: np.ndarray,
    byte_s: np.ndarray,
    collision_s: np.ndarray,
    cap: np.ndarray,
    down: np.ndarray,
    grid: np.ndarray,
    order: np.ndarray,
    weight: np.ndarray,
    rate: np.ndarray,
    flows: np.ndarray,
) -> float:
    """Fill in the byte rates at access rate `x`; return the share of time that they keep the medium busy."""
    n = len(burst)
    if len(flows):
        # What one crossing of a message cannot carry, no other has to: first the way up, then both.
        cap = cap.copy()
        for through_fifo in (False, True):
            if through_fifo:
                _fifo(x, burst, cap, down, rate)
            slowest = np.full(n, np.inf)
            for i in range(n):
                own = rate[i] if down[i] and through_fifo else cap[i] if down[i] else burst[i] * x
                slowest[flows[i]] = min(slowest[flows[i]], min(cap[i], own))
            for i in range(n):
                cap[i] = slowest[flows[i]]
    busy = 0.0
    accesses = 0.0
    for i in range(n):
        if not down[i]:
            rate[i] = min(cap[i], burst[i] * x)
            own = min(x, rate[i] / PAYLOAD_BYTES)
            busy += own * (success_s[i] - burst[i] * byte_s[i]) + rate[i] * byte_s[i]
            weight[i] = own / x
            accesses += own
    # The FIFO of the access point: equal byte rates, each access carrying a burst for one station.
    bursts = _fifo(x, burst, cap, down, rate)
    if bursts > 0:
        datagrams = 0.0
        for i in range(n):
            if down[i]:
                datagrams += rate[i] / PAYLOAD_BYTES
        own = min(x, datagrams)
        for i in range(n):
            if down[i]:
                share = rate[i] / burst[i] / bursts
                busy += own * share * (success_s[i] - burst[i] * byte_s[i]) + rate[i] * byte_s[i]
                weight[i] = own * share / x
        accesses += own
    # Backoff and collisions of so many busy contenders.
    count = max(1.0, accesses / x)
    after = min(int(np.searchsorted(grid[:, 0], count)), len(grid) - 1)
    before = max(0, after - 1)
    span = grid[after, 0] - grid[before, 0]
    part = (count - grid[before, 0]) / span if span > 0 else 0.0
    row = (1 - part) * grid[before] + part * grid[after]
    c = row[2]
    waste = row[1] * SLOT_S
    if c > 0:
        waste += c * _longest(collision_s, weight, order, count, row[3:])
    return busy + accesses * waste / (1 - c)


@numba.njit(cache=True)
def _fifo(x: float, burst: np.ndarray, cap: np.ndarray, down: np.ndarray, rate: np.ndarray) -> float:
    """Set the downlink byte rates to ``min(cap, y)`` so that their bursts take at most `x` accesses."""
    per_byte = 0.0
    most = 0.0
    for i in range(len(burst)):
        if down[i]:
            rate[i] = -1.0
            per_byte += 1 / burst[i]
            most = max(most, burst[i])
    left = x
    bursts = 0.0
    open_ones = per_byte > 0
    while open_ones:
        y = left / per_byte
        open_ones = False
        for i in range(len(burst)):
            if down[i] and rate[i] < 0 and cap[i] <= y:
                rate[i] = cap[i]
                left -= cap[i] / burst[i]
                per_byte -= 1 / burst[i]
                bursts += cap[i] / burst[i]
                open_ones = True
        if per_byte < 0.5 / most:  # all of them have what they need
            break
        if not open_ones:
            for i in range(len(burst)):
                if down[i] and rate[i] < 0:
                    rate[i] = y
                    bursts += y / burst[i]
    return bursts


@numba.njit(cache=True)
def _longest(
    collision_s: np.ndarray, weight: np.ndarray, order: np.ndarray, count: float, shares: np.ndarray
) -> float:
    """Return the mean of the longest of the frames that collide, which are drawn without replacement."""
    total = 0.0
    known = 0.0
    for size in range(2, 2 + len(shares)):
        if shares[size - 2] <= 0 or count <= size - 1:
            continue
        passed = 0.0
        before = 0.0
        mean = 0.0
        for i in order:
            passed += weight[i]
            below = 1.0
            for taken in range(size):
                below *= max(0.0, min(1.0, (passed - taken) / (count - taken)))
            mean += (below - before) * collision_s[i]
            before = below
        total += shares[size - 2] * (mean + (1 - before) * collision_s[order[-1]])
        known += shares[size - 2]
    return total / known if known > 0 else collision_s[order[-1]]
