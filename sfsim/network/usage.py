"""What links carry over time, in intervals of equal length."""

from heapq import heappush
from typing import TYPE_CHECKING

import simpy

from sfsim.intervals import interval_at
from sfsim.ledger import LinkUsageRecord

if TYPE_CHECKING:
    from sfsim.network.network import Network

_LAST = 3  # after everything else of an instant


class Usage:
    """Notes at every multiple of `every_s` what each link has carried since the last, while there is traffic.

    Parameters
    ----------
    network : Network
        Whose links.
    every_s : float
        Length of an interval.
    """

    def __init__(self, network: "Network", every_s: float) -> None:
        self._network, self._env, self._every_s = network, network.env, every_s
        self._waiting = False
        self._last_s = float(self._env.now)
        self._before: dict[tuple[str, str], tuple[float, float, float]] = {}

    def watch(self) -> None:
        """There is traffic: see that the next multiple is not missed."""
        if self._waiting:
            return
        self._waiting = True
        env = self._env
        number = interval_at(float(env.now), self._every_s)
        self._last_s = max(self._last_s, number * self._every_s)
        event = simpy.Event(env)
        event._ok, event._value = True, None
        event.callbacks = [self._due]
        # As `schedule` does, but with the instant itself instead of a delay that is rounded twice.
        entry = ((number + 1) * self._every_s, _LAST, next(env._eid), event)
        heappush(env._queue, entry)  # type: ignore[misc]

    def note(self) -> None:
        """Write a row for every link that has carried something since the last time."""
        network, now = self._network, float(self._env.now)
        elapsed_s = now - self._last_s
        if elapsed_s <= 0:
            return
        network.engine.settle()
        for key, link in network.links.items():
            totals = (*link.totals(), link.sharing_s)
            before = self._before.get(key, (0.0, 0.0, 0.0))
            if totals[0] == before[0]:
                continue
            bits, busy_s, sharing_s = (new - old for new, old in zip(totals, before, strict=True))
            self._before[key] = totals
            capacity_bps = link.capacity(now)[0]
            network.ledger.link_usage.append(
                LinkUsageRecord(
                    source=link.source,
                    destination=link.destination,
                    start_s=self._last_s,
                    end_s=now,
                    carried_bytes=bits / 8,
                    busy_s=busy_s,
                    sharing_s=sharing_s,
                    capacity_bps=capacity_bps,
                    utilisation=bits / (capacity_bps * elapsed_s) if capacity_bps > 0 else 0.0,
                )
            )
        self._last_s = now

    def _due(self, event: simpy.Event) -> None:
        self.note()
        self._waiting = False
        if self._network.busy:
            self.watch()
