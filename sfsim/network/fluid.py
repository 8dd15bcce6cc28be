"""The fluid engine: flows share links max-min fairly, and every change of the world changes their rates.

Between two events (a flow starts, a flow ends, a link changes its capacity) all rates are constant, so the
state moves on by multiplication and no packet is simulated. Its face is three calls: `FluidEngine.add_link`,
`FluidEngine.start` and `FluidEngine.settle`.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf, ulp

import simpy

from sfsim.errors import NetworkError, SimulationError
from sfsim.network.flow import Flow, FluidLink, Segment
from sfsim.network.sharing import share

# After all ordinary events of an instant (0 urgent, 1 normal): its arrivals meet in one solve.
LOW = 2
# A flow is done when less than this is left to do. A tolerance in time, not in bytes: a byte tolerance can be
# shorter than the clock's resolution and stop time for ever, and a smaller one lets equal flows drift apart.
TOLERANCE_S = 1e-9


class FluidEngine:
    """Moves flows over links in the simulated time of `env`.

    The state (``flows``, ``used_links``, their rates and capacities) is open to read at any instant; call
    `settle` first to bring remaining bits and integrals up to that instant.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._last_s = float(env.now)
        self._arrivals: list[Flow] = []
        self._timers: list[float] = []  # instants for which a wake-up is already in SimPy's queue
        self.flows: dict[Flow, None] = {}
        self.used_links: dict[FluidLink, None] = {}
        self.num_solves = 0

    def add_link(self, name: str, segment: Segment) -> FluidLink:
        """Make a link whose capacity over time is `segment`; it is asked only while a flow uses the link."""
        return FluidLink(name, segment)

    def start(
        self,
        bits: float,
        route: Sequence[FluidLink],
        done: Callable[[Flow], None],
        label: str = "a flow",
        cap_bps: float = inf,
    ) -> Flow:
        """Start a flow of `bits` over all links of `route` at once; ``done(flow)`` is called when it drained.

        `label` says in an error whose flow it is. A flow of zero bits drains at once, after all ordinary
        events of the instant. `cap_bps` is what the flow takes at most.
        """
        if cap_bps < inf:  # a link of its own
            route = (*route, FluidLink(f"the cap of {label}", lambda time_s: (cap_bps, inf)))
        flow = Flow(label, tuple(route), float(bits), done)
        self._arrivals.append(flow)
        self._wake_at(self._env.now)
        return flow

    def settle(self) -> None:
        """Bring remaining bits and all integrals up to now."""
        now = float(self._env.now)
        elapsed_s = now - self._last_s
        self._last_s = now
        if elapsed_s <= 0:
            return
        for flow in self.flows:
            flow.remaining_bits -= flow.rate_bps * elapsed_s
            if flow.alone_bps > 0:
                flow.sharing_s += elapsed_s * (1 - flow.rate_bps / flow.alone_bps)
        for link in self.used_links:
            if link.used_bps > 0:
                link.carried_bits += link.used_bps * elapsed_s
                link.busy_s += elapsed_s

    def _wake_at(self, time_s: float) -> None:
        """Make sure that `_wake` runs at `time_s` or before; an early one finds nothing due and re-arms."""
        if self._timers and self._timers[0] <= time_s:
            return
        heappush(self._timers, time_s)
        event = simpy.Event(self._env)
        event._ok, event._value = True, None
        assert event.callbacks is not None
        event.callbacks.append(self._wake)
        self._env.schedule(event, priority=LOW, delay=max(0.0, time_s - self._env.now))  # type: ignore[arg-type]

    def _wake(self, event: simpy.Event) -> None:
        heappop(self._timers)
        self.settle()
        now = float(self._env.now)
        tolerance_s = max(TOLERANCE_S, 4 * ulp(now))
        changed = self._finish(tolerance_s)
        changed |= self._admit(now)
        changed |= self._follow_channels(now, now + tolerance_s)
        if changed:
            self._solve(now)
        self._wake_for_next(now)

    def _finish(self, tolerance_s: float) -> bool:
        """End the flows that have drained, in the order in which they started."""
        due = [
            flow
            for flow in self.flows
            if flow.rate_bps > 0 and flow.remaining_bits <= flow.rate_bps * tolerance_s
        ]
        for flow in due:
            if flow.remaining_bits < -2 * tolerance_s * flow.rate_bps:
                raise SimulationError(f"the network engine served {flow.label} beyond its last bit")
            del self.flows[flow]
            for link in flow.route:
                link.carried_bits += flow.remaining_bits  # what the tolerance rounded away
                del link.flows[flow]
                if not link.flows:
                    link.used_bps = 0.0
                    del self.used_links[link]
            flow.remaining_bits = 0.0
        for flow in due:
            flow.done(flow)
        return bool(due)

    def _admit(self, now: float) -> bool:
        arrivals, self._arrivals = self._arrivals, []
        for flow in arrivals:
            if flow.remaining_bits == 0:
                flow.first_s = now
                flow.done(flow)
                continue
            self.flows[flow] = None
            for link in flow.route:
                link.flows[flow] = None
                self.used_links[link] = None
        return bool(arrivals)

    def _follow_channels(self, now: float, horizon_s: float) -> bool:
        changed = False
        for link in self.used_links:
            ask_s = now
            while link.changes_at_s <= horizon_s:
                link.capacity_bps, link.changes_at_s = link.segment(ask_s)
                ask_s = max(now, link.changes_at_s)
                changed = True
        return changed

    def _solve(self, now: float) -> None:
        self.num_solves += 1
        share(self.flows, self.used_links)
        for flow in self.flows:
            flow.alone_bps = min(link.capacity_bps for link in flow.route)
            if flow.rate_bps > 0:
                flow.first_s = min(flow.first_s, now)
                continue
            for link in flow.route:
                if link.capacity_bps == 0 and link.changes_at_s == inf:
                    raise NetworkError(
                        f"link {link.name!r} is down for ever from {now:g} s on; {flow.label} waits for it"
                    )

    def _wake_for_next(self, now: float) -> None:
        next_s = min((link.changes_at_s for link in self.used_links), default=inf)
        for flow in self.flows:
            if flow.rate_bps > 0:
                next_s = min(next_s, now + flow.remaining_bits / flow.rate_bps)
        if next_s < inf:
            self._wake_at(next_s)
