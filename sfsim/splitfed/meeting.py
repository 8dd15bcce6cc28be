"""The meeting of a client and the main server at the end of a local epoch, where both halves are validated."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import simpy

if TYPE_CHECKING:
    from sfsim.workload.work import Minibatch, Workload


class Meeting:
    """Makes the client and the main server's visit of it wait for each other's last step of a local epoch.

    Aggregation by validation looks at both halves as they are after the epoch, so neither may go on, hand its half
    on or send new codec weights before the other has stepped: whichever is the faster.

    Parameters
    ----------
    needed : bool
        Without need nobody waits.
    """

    def __init__(self, env: simpy.Environment, workload: Workload, needed: bool) -> None:
        self.env, self.workload, self.needed = env, workload, needed
        self._waiting: dict[str, simpy.Event] = {}

    def meet(self, client: str, at: Minibatch) -> Generator[simpy.Event, None, float]:
        """Wait for the other side where a minibatch ends an epoch; return the seconds that it took."""
        start_s = self.env.now
        if self.needed and self._ends_epoch(client, at):
            other = self._waiting.pop(client, None)
            if other is None:
                self._waiting[client] = other = self.env.event()
                yield other
            else:
                other.succeed()
        return self.env.now - start_s

    def _ends_epoch(self, client: str, at: Minibatch) -> bool:
        plan = self.workload.plan(client, at.round)
        return at.minibatch == len(plan) or plan[at.minibatch].epoch > at.epoch
