"""Exact FIFO queueing without events: Lindley's recursion, whole trains of packets at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import numpy as np

from sfsim.errors import NetworkError
from sfsim.network.declarations import Link


@dataclass(frozen=True, eq=False)
class Train:
    """Packets of one sender, in order.

    Parameters
    ----------
    route : sequence of str
        The links that they cross, by name.
    bits : numpy.ndarray
        Size of each packet on the wire, shape (n,).
    start_s : numpy.ndarray
        When each stands at the first link, shape (n,), not decreasing.
    """

    route: Sequence[str]
    bits: np.ndarray
    start_s: np.ndarray


def leave(arrival_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Return when each packet has left a FIFO queue; all arrays in s, shape (n,), in order of arrival.

    Lindley's recursion ``leave[i] = max(arrival[i], leave[i - 1]) + service[i]``, solved for all packets at
    once: with ``W[i] = service[0] + ... + service[i]`` it is ``W[i] + max_{j <= i} (arrival[j] - W[j - 1])``.

    Source: Lindley, The theory of queues with a single server, Proc. Camb. Phil. Soc. 48 (1952).

    Examples
    --------
    >>> leave(np.array([0.0, 0.1, 5.0]), np.array([1.0, 1.0, 1.0])).tolist()
    [1.0, 2.0, 6.0]
    """
    work_s = np.cumsum(service_s)
    left_s = arrival_s - work_s
    left_s += service_s
    np.maximum.accumulate(left_s, out=left_s)
    left_s += work_s
    return np.asarray(left_s)


def feed_forward(trains: Sequence[Train], links: Mapping[str, Link]) -> list[np.ndarray]:
    """Return when each packet of each train stands at the end of its route, in s.

    Store and forward: a packet waits at a link until it has come whole and those before it have left.
    Packets that come at one instant are served in order of trains.

    Left out: rates that change (`rate_bps` of a link is used), losses, limited buffers.

    Raises
    ------
    NetworkError
        The routes go in a circle, so that no order of links exists in which each could be done at once.
    """
    # In order of appearance, so that the order of links, and with it every rounding, is always the same.
    before: dict[str, dict[str, None]] = {name: {} for train in trains for name in train.route}
    for train in trains:
        for link, following in pairwise(train.route):
            before[following][link] = None
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise NetworkError(f"routes are not feed-forward: {' -> '.join(error.args[1])}") from None
    times_s = [np.asarray(train.start_s, dtype=float) for train in trains]
    for name in order:
        users = [index for index, train in enumerate(trains) if name in train.route]
        rate_bps = links[name].rate_bps
        if rate_bps is None:
            raise NetworkError(f"link {name!r} has no rate_bps: the recursion knows constant rates only")
        rate_bps *= links[name].efficiency
        if len(users) == 1:
            (index,) = users
            times_s[index] = leave(times_s[index], trains[index].bits / rate_bps)
            times_s[index] += links[name].latency_s
            continue
        arrival_s = np.concatenate([times_s[index] for index in users])
        bits = np.concatenate([trains[index].bits for index in users])
        by_time = np.argsort(arrival_s, kind="stable")
        left_s = np.empty_like(arrival_s)
        left_s[by_time] = leave(arrival_s[by_time], bits[by_time] / rate_bps)
        left_s += links[name].latency_s
        ends = np.cumsum([len(trains[index].bits) for index in users])
        for index, part_s in zip(users, np.split(left_s, ends[:-1]), strict=True):
            times_s[index] = part_s
    return times_s
