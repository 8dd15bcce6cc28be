"""Sharing one budget of airtime: every member gets its weight times a common level, or what it needs."""

import numba
import numpy as np


@numba.njit(cache=True)
def fill(weight: np.ndarray, cost: np.ndarray, cap: np.ndarray, budget: float) -> np.ndarray:
    """Return ``min(cap_i, weight_i * level)`` for the highest level with ``sum cost_i * rate_i <= budget``.

    Parameters
    ----------
    weight : float64 array, shape (n,)
        Rate at level 1; a member of weight 0 gets nothing and costs nothing.
    cost : float64 array, shape (n,)
        Budget per unit of rate.
    cap : float64 array, shape (n,)
        What each can use at most; infinite when nothing limits it.
    budget : float
        What there is to share.

    Returns
    -------
    rate : float64 array, shape (n,)
        O(n log n): members reach their caps in the order of cap / weight.
    """
    n = len(weight)
    rate = np.zeros(n)
    level = np.full(n, np.inf)
    open_cost = 0.0
    for i in range(n):
        if weight[i] > 0:
            level[i] = cap[i] / weight[i]
            open_cost += cost[i] * weight[i]
    order = np.argsort(level)
    left = budget
    for position in range(n):
        i = order[position]
        if weight[i] <= 0:
            continue
        if open_cost <= 0 or level[i] * open_cost <= left:
            # Even at the level where this member has enough there is budget for all the others.
            rate[i] = cap[i]
            left -= cost[i] * cap[i]
            open_cost -= cost[i] * weight[i]
            continue
        # Summed anew: what the loop took away from the sums has left its rounding there.
        open_cost = 0.0
        for later in range(position, n):
            if weight[order[later]] > 0:
                open_cost += cost[order[later]] * weight[order[later]]
        common = max(0.0, left) / open_cost
        for later in range(position, n):
            j = order[later]
            if weight[j] > 0:
                rate[j] = min(cap[j], weight[j] * common)
        return rate
    return rate


@numba.njit(cache=True)
def serve_best(peak: np.ndarray, cap: np.ndarray, budget: float) -> np.ndarray:
    """Return the rates when airtime goes to the members of the highest peak rate; equals share it."""
    n = len(peak)
    rate = np.zeros(n)
    order = np.argsort(-peak)
    start = 0
    left = budget
    while start < n and left > 0 and peak[order[start]] > 0:
        end = start
        while end < n and peak[order[end]] == peak[order[start]]:
            end += 1
        members = order[start:end]
        group = fill(peak[members], 1 / peak[members], cap[members], left)
        for position in range(end - start):
            rate[members[position]] = group[position]
            left -= group[position] / peak[members[position]]
        # Rounding must not leave crumbs of airtime to the next group when this one took all.
        if left < 1e-12 * budget:
            return rate
        start = end
    return rate
