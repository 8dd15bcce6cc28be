"""Simulated time that can say when an instant is over."""

from collections.abc import Callable

import simpy


class Clock(simpy.Environment):
    """SimPy's environment, and a call between two instants that leaves its schedule as it is.

    An event of its own would do for the call, but engines look at what is scheduled next: another event would
    change how they round.
    """

    _due: Callable[[], None] | None = None

    def when_instant_ends(self, call: Callable[[], None]) -> None:
        """Call once, as soon as nothing more is to happen now."""
        self._due = call

    def step(self) -> None:
        """Process the next event, and see whether it was the last one of its instant."""
        super().step()
        if self._due is not None and self.peek() > self.now:
            call, self._due = self._due, None
            call()
