"""Sub-bands side by side: members send at once, and a terminal puts all its power into its own part of the
band.

A member that has the share f of the band has, with all power on the whole band, the SNR s (divided by the
gap), and an SNR per block that neither power control nor the best modulation lets exceed t:

    r(f) = R f log2(1 + min(s / f, t)) / log2(1 + min(s, t))

Concentration is worth most to those at the edge of a cell and nothing to those whose power is not the limit
(s infinite). All get one share f = theta; who needs less takes the share that gives its cap.

Source: 3GPP TS 36.213 5.1.1.1 for the power (per resource block until the terminal's limit), Shannon for the
rate. Against two points of ns-3 the gain is 22 % too low to 8 % too high.
"""

import numba
import numpy as np


@numba.njit(cache=True)
def share(
    peak: np.ndarray,
    cap: np.ndarray,
    snr: np.ndarray,
    limit: np.ndarray,
    widest: float,
    flows: np.ndarray,
) -> np.ndarray:
    """Return the rates, shape (n,): the largest theta <= `widest` whose shares fit into the band.

    Members with the same number in `flows`, which does not decrease, have one rate: that of the slowest.
    """
    n = len(peak)
    if flows[-1] < n - 1:
        return _share_together(peak, cap, snr, limit, widest, flows)
    full = np.empty(n)
    need = np.empty(n)  # share of the band at which a member has enough
    for i in range(n):
        full[i] = _gain(min(snr[i], limit[i]))
        need[i] = _needed(peak[i], cap[i], snr[i], limit[i], full[i], widest)
    # Water-filling of the band itself: sum min(need_i, theta) <= 1.
    order = np.argsort(need)
    left = 1.0
    theta = widest
    for position in range(n):
        if need[order[position]] * (n - position) > left:
            theta = min(widest, left / (n - position))
            break
        left -= need[order[position]]
    rate = np.empty(n)
    for i in range(n):
        rate[i] = (
            cap[i]
            if need[i] <= theta and cap[i] < np.inf
            else _rate(peak[i], theta, snr[i], limit[i], full[i])
        )
        rate[i] = min(rate[i], cap[i])
    return rate


@numba.njit(cache=True)
def _share_together(
    peak: np.ndarray,
    cap: np.ndarray,
    snr: np.ndarray,
    limit: np.ndarray,
    widest: float,
    flows: np.ndarray,
) -> np.ndarray:
    n = len(peak)
    rate = np.empty(n)
    low, high, theta = 0.0, widest, widest
    for _ in range(100):
        # Rates at theta: each member could use so much of the band, and needs less beside a slower one.
        slowest = np.full(n, np.inf)
        for i in range(n):
            own = min(cap[i], _rate(peak[i], theta, snr[i], limit[i], _gain(min(snr[i], limit[i]))))
            slowest[flows[i]] = min(slowest[flows[i]], own)
        taken = 0.0
        for i in range(n):
            rate[i] = slowest[flows[i]]
            full = _gain(min(snr[i], limit[i]))
            if rate[i] > 0:
                taken += min(theta, _needed(peak[i], rate[i], snr[i], limit[i], full, widest))
        if taken <= 1 + 1e-12:
            if theta == widest or high - low <= 1e-15 * high:
                break
            low = theta
        else:
            high = theta
        theta = 0.5 * (low + high)
    return rate


@numba.njit(cache=True)
def _needed(peak: float, cap: float, snr: float, limit: float, full: float, widest: float) -> float:
    if peak <= 0:
        return 0.0
    if _rate(peak, widest, snr, limit, full) < cap:
        return widest * (1 + 1e-12)  # never has enough
    low, high = 0.0, widest
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _rate(peak, middle, snr, limit, full) < cap:
            low = middle
        else:
            high = middle
    return high


@numba.njit(cache=True)
def _rate(peak: float, part: float, snr: float, limit: float, full: float) -> float:
    if part <= 0 or peak <= 0:
        return 0.0
    if full == np.inf:
        return peak * part
    return peak * part * _gain(min(snr / part, limit)) / full


@numba.njit(cache=True)
def _gain(snr: float) -> float:
    return np.log1p(snr)
