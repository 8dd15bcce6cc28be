"""What happens next to packets, in order of time; SimPy is only told when somebody else could notice."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

import simpy

T = TypeVar("T")


class Agenda(Generic[T]):
    """A queue of ``action(value)`` by time, worked off in the simulated time of `env`.

    Up to the next event of anybody else nothing outside can tell when an action ran; so they run in one go,
    several times as fast as one SimPy event each. Actions know the time by their values; ``env.now`` lags.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._heap: list[tuple[float, int, Callable[[T], None], T]] = []
        self._count = 0
        self._wakes_s: list[float] = []  # instants for which a wake-up stands in SimPy's queue
        self._running = False

    def at(self, time_s: float, action: Callable[[T], None], value: T) -> None:
        """Have ``action(value)`` called at `time_s`; those of one instant in order of the calls."""
        heappush(self._heap, (time_s, self._count, action, value))
        self._count += 1
        if not self._running:
            self._wake_at(time_s)

    def _wake_at(self, time_s: float) -> None:
        if self._wakes_s and self._wakes_s[0] <= time_s:
            return
        heappush(self._wakes_s, time_s)
        event = simpy.Event(self._env)
        event._ok, event._value = True, None
        assert event.callbacks is not None
        event.callbacks.append(self._run)
        self._env.schedule(event, delay=max(0.0, time_s - self._env.now))  # type: ignore[arg-type]

    def _run(self, event: simpy.Event) -> None:
        heap, env = self._heap, self._env
        heappop(self._wakes_s)
        self._running = True
        while heap and (heap[0][0] <= env.now or heap[0][0] < env.peek()):
            _, _, action, value = heappop(heap)
            action(value)
        self._running = False
        if heap:
            self._wake_at(heap[0][0])
