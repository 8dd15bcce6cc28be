"""The fluid engine: flows share links max-min fairly, and every change of the world changes their rates.

Between two events (a flow starts, a flow ends, a link changes its capacity) all rates are constant, so the
state moves on by multiplication and no packet is simulated. An event costs the links and route classes around
it, never the flows: `sfsim.network.solver` says how. Links that one flow uses alone are a part of its cap; they
become resources of the solver when a second flow comes, and are parts of caps again when there are too many.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from sfsim.errors import NetworkError
from sfsim.network.cells import Cells, FluidCell, Policy, Seat
from sfsim.network.flow import ENDED, NONE, Ahead, Course, Flow, FluidLink, Segment
from sfsim.network.pace import Pace

if TYPE_CHECKING:
    from sfsim.network.solver.state import Tables

# After all ordinary events of an instant (0 urgent, 1 normal): its arrivals meet in one solve.
LOW = 2
# A flow is done when less than this is left to do. A tolerance in time, not in bytes: a byte tolerance can be
# shorter than the clock's resolution and stop time for ever, and a smaller one lets equal flows drift apart.
TOLERANCE_S = 1e-9
_ROUNDING = 4 * 2.0**-52  # four roundings of the clock, relative
_NUM_DONE, _NUM_OUT, _NUM_CROWDED = 7, 8, 9  # entries of the solver's counts
_SPARE = 64  # resources that may be used by a single flow before they are made parts of caps again


class FluidEngine:
    """Moves flows over links in the simulated time of `env`.

    Parameters
    ----------
    env : simpy.Environment
        The clock.
    timed : bool
        Flows that have ended still know ``first_s`` and ``sharing_s``.

    The state (``flows``, their rates, what links carry) is open to read at any instant; call `settle` first to
    bring integrals up to that instant.
    """

    def __init__(self, env: simpy.Environment, timed: bool = True) -> None:
        from sfsim.network.solver import state, steps

        self._env, self._timed = env, timed
        self.steps, self._state = steps, state
        self._cells = Cells(self)
        self._pending: list[Flow] = []
        self._timers: list[float] = []  # instants for which a wake-up is already in SimPy's queue
        self._event = simpy.Event(env)
        self._event._ok, self._event._value = True, None
        self._callbacks: list[Callable[[Any], None]] = [self._wake]
        self._event.callbacks = self._callbacks
        self._courses: dict[tuple[FluidLink, ...], Course] = {}
        self._classes: dict[tuple[int, ...], int] = {}
        self._spare_classes: list[int] = []
        self._num_classes = self._num_resources = self._num_ordered = 0
        self._shared: dict[FluidLink, None] = {}
        self._spare_resources: list[int] = []
        self._most_shared = _SPARE
        # What will change: links, and flows with links of their own that change. One entry each.
        self._queue: list[tuple[float, int, FluidLink | Pace | Seat]] = []
        self._num_queued = 0
        self._soonest_s = inf
        self._new = np.zeros(60)
        self._adopt(state.tables())
        self._step = steps.fast_step()
        self._flows: list[Flow | None] = [None] * len(self.tables.flows)
        self._free = list(range(len(self._flows)))[::-1]
        self.num_wakes = 0
        self.many = False  # several flows have ended at this instant; `after_many` is called after the last
        self.after_many: Callable[[], None] = _nothing

    # What others see

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return float(self._env.now)

    @property
    def flows(self) -> list[Flow]:
        """All flows on their way, in the order of their starts."""
        return sorted((flow for flow in self._flows if flow is not None), key=lambda flow: flow.order)

    @property
    def used_links(self) -> list[FluidLink]:
        """All links that a flow uses."""
        return list(dict.fromkeys(link for flow in self.flows for link in flow.course.links))

    @property
    def num_solves(self) -> int:
        """How often rates were computed."""
        return int(self.tables.counts[self._state.NUM_SOLVES])

    def add_cell(self, name: str, policy: Policy, members: Any = None) -> FluidCell:
        """Make a radio cell; `FluidCell.add` leads links through it."""
        cell = FluidCell(self, name, policy, members)
        cell.at = self._new_resource()
        row = self.tables.resources[cell.at]
        row["cell"], row["level"] = 1, inf
        self._cells.all.append(cell)
        return cell

    def add_link(self, name: str, segment: Segment, ahead: Ahead | None = None) -> FluidLink:
        """Make a link whose capacity over time is `segment`; it is asked only while a flow uses the link.

        ``ahead(time_s)`` returns many pieces at once: when they end (s, shape (n,)) and their capacities
        (bit/s, shape (n,)), from the one that holds at `time_s` on.
        """
        return FluidLink(self, name, segment, ahead)

    def course(self, links: Sequence[FluidLink]) -> Course:
        """Return the course over `links`, the same for the same links; `start` takes it instead of them."""
        key = tuple(links)
        if key not in self._courses:
            self._courses[key] = course = Course(key)
            for link in key:
                link.courses.append(course)
        return self._courses[key]

    def start(
        self,
        bits: float,
        route: "Sequence[FluidLink] | Course",
        done: Callable[[Flow], None],
        owner: object = "a flow",
        cap_bps: float = inf,
        weight: float = 1.0,
    ) -> Flow:
        """Start a flow of `bits` over all links of `route` at once; ``done(flow)`` is called when it drained.

        Parameters
        ----------
        bits : float
            How much; a flow of zero bits drains at once, after all ordinary events of the instant.
        route : Course or sequence of FluidLink
            Its way; at least one link.
        done : callable
            Called at the instant at which it has drained; flows of one instant in the order of their starts.
        owner : object
            Whose it is: an error shows it as text.
        cap_bps : float
            It never gets more.
        weight : float
            Its share of a full link, relative to that of others.
        """
        course = route if isinstance(route, Course) else self.course(route)
        return self.launch(Flow(float(bits), course, done, owner, cap_bps, weight))

    def launch(self, flow: Flow) -> Flow:
        """Start a flow that has been made ready."""
        pending = self._pending
        if not pending:
            self._wake_at(self._env.now)
        pending.append(flow)
        return flow

    def set_cap(self, flow: Flow, cap_bps: float) -> None:
        """Change the most that a flow may get."""
        flow.cap_bps = cap_bps
        if flow.slot < 0:
            return
        now = float(self._env.now)
        if flow.course.cells:
            self._cells.change(flow, now)
        elif flow.pace is not None:
            self._repace(flow, now)
        else:
            cap_bps = min(cap_bps, flow.course.cap_bps)
            self.steps.change(self.tables, flow.slot, flow.course.number, cap_bps, cap_bps, False, now)
        self._soonest_s = now
        self._wake_at(now)

    def settle(self) -> None:
        """Bring all integrals up to now."""
        now = float(self._env.now)
        self.steps.settle(self.tables, now)
        for flow in self._flows:
            if flow is not None and flow.pace is not None and flow.pace.own:
                self._credit(flow, flow.pace.left_bits(now))

    # What flows say about themselves

    def rate_bps(self, flow: Flow) -> float:
        """The rate of an active flow."""
        if flow.pace is not None and flow.pace.own:
            return flow.pace.rate_at(float(self._env.now))[0]
        return float(self.steps.rate(self.tables, flow.slot))

    def left_bits(self, flow: Flow) -> float:
        """What an active flow has left."""
        if flow.pace is not None and flow.pace.own:
            return flow.pace.left_bits(float(self._env.now))
        return float(self.steps.left(self.tables, flow.slot, float(self._env.now)))

    def idle_s(self, flow: Flow) -> float:
        """Seconds that an active flow has had no rate."""
        if flow.slot < 0:
            return 0.0
        row = self.tables.flows[flow.slot]
        stopped_s = self.tables.classes["stopped"][row["cls"]]
        return float(row["idle"] + stopped_s) + (flow.pace.idle_s if flow.pace is not None else 0.0)

    def began_s(self, flow: Flow) -> float:
        """When an active flow first had a rate."""
        first_s = float(self.tables.flows["first"][flow.slot])
        if flow.pace is None:
            return first_s
        return min(first_s, flow.pace.first_until(float(self._env.now)))

    def lost_s(self, flow: Flow) -> float:
        """What an active flow has lost to others."""
        return float(self.steps.sharing(self.tables, flow.slot, float(self._env.now)))

    # What cells ask

    def solve(self, now: float) -> None:
        """Compute rates around all that has changed."""
        self._soonest_s = self.steps.solve(self.tables, now)

    def level(self, course: Course) -> float:
        """The most that the shared links of a course give one flow now."""
        return float(self.tables.classes["level"][course.number])

    def budget(self, at: int) -> float:
        """What a resource has to give."""
        return float(self.tables.resources["budget"][at])

    def entered(self, flow: Flow) -> bool:
        """Whether the solver knows a flow."""
        return flow.slot >= 0 and bool(self.tables.flows["state"][flow.slot] != 0)

    def has_crowds(self) -> bool:
        """Whether a link would have held a flow back that only its cell may hold back."""
        return self._counts[_NUM_CROWDED] > 0

    def is_crowded(self, course: Course) -> bool:
        """Whether one of the links of a course is such a link."""
        return any(link.at >= 0 and self.tables.resources["crowded"][link.at] for link in course.links)

    def forget_crowds(self) -> None:
        """Begin to look for such links anew."""
        self._counts[_NUM_CROWDED] = 0
        self.tables.resources["crowded"] = 0

    # Time

    def _wake_at(self, time_s: float) -> None:
        """Make sure that `_wake` runs at `time_s` or before; an early one finds nothing due and re-arms."""
        timers = self._timers
        if timers and timers[0] <= time_s:
            return
        heappush(timers, time_s)
        delay_s = time_s - self._env.now
        self._env.schedule(self._event, LOW, delay_s if delay_s > 0 else 0.0)  # type: ignore[arg-type]

    def _wake(self, event: simpy.Event) -> None:
        event.callbacks = self._callbacks  # type: ignore[assignment]  # one event serves all wake-ups
        heappop(self._timers)
        now = self._env.now
        tolerance_s = max(TOLERANCE_S, now * _ROUNDING)
        horizon_s = now + tolerance_s
        queue = self._queue
        queued = queue and queue[0][0] <= horizon_s
        if self._pending or self._soonest_s <= horizon_s or queued:
            self.num_wakes += 1
            ended: list[Flow] = []
            if queued:
                self.steps.finish(self.tables, now, tolerance_s)
                self._end(ended, now)
                self._follow(ended, now, horizon_s)
            num_new = self._admit(ended, now) if self._pending else 0
            num_before = len(ended)
            self._soonest_s = self._step(self._addresses, now, tolerance_s, num_new)
            counts = self._counts
            if counts[_NUM_OUT]:
                self._call_in(now)
            if counts[_NUM_DONE]:
                self._end(ended, now)
            if self._cells.all:
                self._cells.tend(now)
            if ended:
                if num_before:  # not all from the solver, which has them in order
                    ended.sort(key=_order)
                self.many = len(ended) > 1
                for flow in ended:
                    flow.done(flow)
                if self.many:
                    self.many = False
                    self.after_many()
        next_s = self._soonest_s
        if queue and queue[0][0] < next_s:
            next_s = queue[0][0]
        if next_s < inf:
            self._wake_at(next_s)

    # Flows come and go

    def _admit(self, ended: list[Flow], now: float) -> int:
        """File the flows that came at this instant; return how many the solver has to take in."""
        pending, self._pending = self._pending, []
        flows, new, order = self._flows, self._new_view, self._num_ordered
        num_shared = len(self._shared)
        place = 0
        for flow in pending:
            order += 1
            flow.order = order
            bits = flow.bits
            if bits == 0:
                flow.slot = ENDED
                flow.final_began_s = now
                ended.append(flow)
                continue
            course = flow.course
            if course.special:
                self._look_at(course, flow, now)
            for link in course.private:
                if link.flow is None:
                    link.flow = flow
                    link.base_bits = bits
                    link.base_s = now
                    link.base_idle_s = 0.0
                else:
                    self._share(link, now)
            if course.stale:
                self._look_at(course, flow, now)
            if course.cells:
                for link in course.varying:  # a flow in a cell has no pace of its own
                    self._share(link, now)
                self._look_at(course, flow, now)
            if not self._free:
                self._more_flows()
            flow.slot = slot = self._free.pop()
            flows[slot] = flow
            if course.cells:
                self._cells.join(flow, now)
                continue
            if course.varying:
                self._start_paced(flow, now)
                continue
            if place + 6 > len(new):
                self._new = np.concatenate((self._new, np.zeros_like(self._new)))
                self._adopt(self.tables)
                new = self._new_view
            cap_bps = flow.cap_bps
            new[place] = slot
            new[place + 1] = course.number
            new[place + 2] = bits
            new[place + 3] = course.cap_bps if course.cap_bps < cap_bps else cap_bps
            new[place + 4] = flow.weight
            new[place + 5] = order
            place += 6
        self._num_ordered = order
        if len(self._shared) != num_shared:  # what was filed before a link became shared is filed again
            for entry in range(0, place, 6):
                flow = flows[int(new[entry])]  # type: ignore[assignment]
                course = flow.course
                if course.stale:
                    self._look_at(course, flow, now)
                new[entry + 1] = course.number
                new[entry + 3] = min(course.cap_bps, flow.cap_bps)
        return place // 6

    def _look_at(self, course: Course, flow: Flow, now: float) -> None:
        """See to what there is to see to when a flow starts on a course."""
        if course.stale:
            self.refresh(course, now)
        for link in course.followed:
            self._keep_up(link, now)
        if course.cap_bps == 0 and not course.varying:
            self._refuse(flow, now)

    def _end(self, ended: list[Flow], now: float) -> None:
        """Release the flows that the solver has finished."""
        count = self._counts[_NUM_DONE]
        flows = self._flows
        for slot in self.tables.done[:count].tolist():
            flow: Flow = flows[slot]  # type: ignore[assignment]
            self._release(flow, now)
            ended.append(flow)
        self._counts[_NUM_DONE] = 0

    def _release(self, flow: Flow, now: float) -> None:
        slot = flow.slot
        if self._timed:
            flow.final_began_s, flow.final_lost_s = self._first_view[slot], self._sharing_view[slot]
            if flow.pace is not None:
                flow.final_began_s = min(flow.final_began_s, flow.pace.first_s)
        private = flow.course.private if flow.moved is None else flow.moved
        if flow.course.cells:
            self._cells.leave(flow, now)
        if private:
            idle_s = self._idle_view[slot]
            if flow.pace is not None:
                idle_s += flow.pace.idle_s
            for link in private:
                link.flow = None
                link.past_bits += link.base_bits
                link.past_busy_s += now - link.base_s - (idle_s - link.base_idle_s)
        flow.slot = ENDED
        self._flows[slot] = None
        self._free.append(slot)

    def _more_flows(self) -> None:
        old = len(self._flows)
        self._adopt(self._state.more_flows(self.tables))
        self._flows += [None] * old
        self._free = list(range(old, 2 * old))[::-1]

    def _adopt(self, tables: "Tables") -> None:
        """Take new tables into use."""
        self.tables = tables
        self._counts = _view(tables.counts)
        self._first_view = _view(tables.flows["first"])
        self._sharing_view = _view(tables.flows["sharing"])
        self._idle_view = _view(tables.flows["idle"])
        self._new_view = _view(self._new)
        self._addresses = self.steps.addresses(tables, self._new)

    # Private and shared links

    def refresh(self, course: Course, now: float) -> None:
        """Find out anew what of a course is shared, and what the rest lets through."""
        for link in course.links:
            if link.changes_at_s <= now and link.cell is None:
                link.ask(now)
                if link.at >= 0:
                    self.steps.set_budget(self.tables, link.at, link.capacity_bps, now)
        course.cells = tuple(link for link in course.links if link.cell is not None)
        private = tuple(link for link in course.links if link.at < 0 and link.cell is None)
        course.private = private
        course.varying = tuple(link for link in private if link.changes_at_s < inf)
        constant = (link.capacity_bps for link in private if link.changes_at_s == inf)
        course.cap_bps = min(constant, default=inf)
        course.followed = tuple(link for link in course.links if link.at >= 0 and link.changes_at_s < inf)
        shared = tuple(sorted({link.at for link in course.links if link.at >= 0}))
        cell = next(
            (link.cell for link in course.cells if link.cell is not None and link.cell.as_resource), None
        )
        course.number = self._class_of(shared if cell is None else (cell.at, *shared), cell is not None)
        course.stale = False
        course.special = bool(course.followed) or (course.cap_bps == 0 and not course.varying)

    def _class_of(self, resources: tuple[int, ...], first_is_cell: bool = False) -> int:
        number = self._classes.get(resources)
        if number is None:
            if len(resources) > self.tables.crossings.shape[2]:
                self._adopt(self._state.wider(self.tables, len(resources)))
            if self._spare_classes:
                number = self._spare_classes.pop()
            else:
                if self._num_classes == len(self.tables.classes):
                    self._adopt(self._state.more_classes(self.tables))
                number, self._num_classes = self._num_classes, self._num_classes + 1
            self._classes[resources] = number
            row = self.tables.classes[number]
            row["length"], row["cell"], row["level"] = len(resources), 0 if first_is_cell else NONE, inf
            self.tables.crossings[0, number, : len(resources)] = resources
        return number

    def _share(self, link: FluidLink, now: float) -> None:
        """Make a link a resource: a second flow has come."""
        if link.at >= 0:
            return
        if len(self._shared) >= self._most_shared:
            self._unshare(now)
        link.at = self._new_resource()
        self._shared[link] = None
        row = self.tables.resources[link.at]
        row["carried"] = row["busy"] = row["sharing"] = row["used"] = row["peaks"] = 0.0
        row["last"], row["budget"], row["level"] = now, link.capacity_bps, inf
        for course in link.courses:
            course.stale = course.special = True
        flow, link.flow = link.flow, None
        # What came at this very instant is not in the solver yet, and is filed again.
        if flow is not None and self.tables.flows["state"][flow.slot] != 0:
            self._detach(link, flow, now)
            self._reroute(flow, now)
        if link.changes_at_s < inf:
            self._keep_up(link, now)

    def _new_resource(self) -> int:
        if self._spare_resources:
            return self._spare_resources.pop()
        if self._num_resources == len(self.tables.resources):
            self._adopt(self._state.more_resources(self.tables))
        self._num_resources += 1
        return self._num_resources - 1

    def _detach(self, link: FluidLink, flow: Flow, now: float) -> None:
        link.past_bits += link.base_bits - flow.remaining_bits
        link.past_busy_s += now - link.base_s - (flow.idle_s - link.base_idle_s)

    def _unshare(self, now: float) -> None:
        """Make resources that at most one flow uses parts of caps again."""
        self.settle()
        resources = self.tables.resources
        lonely = {link.at: link for link in self._shared if resources["num"][link.at] <= 1}
        moved: dict[Flow, None] = {}
        for flow in self.flows:
            for link in flow.course.links:
                if link.at in lonely:
                    link.flow = flow
                    link.base_bits, link.base_s, link.base_idle_s = flow.remaining_bits, now, flow.idle_s
                    moved[flow] = None
        for at, link in lonely.items():
            row = resources[at]
            link.past_bits += float(row["carried"])
            link.past_busy_s += float(row["busy"])
            link.past_sharing_s += float(row["sharing"])
            del self._shared[link]
            link.at = NONE
            for course in link.courses:
                course.stale = course.special = True
        for flow in moved:
            self._reroute(flow, now)
        for key in [key for key in self._classes if not lonely.keys().isdisjoint(key)]:
            self._spare_classes.append(self._classes.pop(key))
        # The solver must not find the old resources through classes that are only now empty.
        self._soonest_s = self.steps.solve(self.tables, now)
        self._spare_resources += lonely
        self._most_shared = _SPARE + 2 * len(self._shared)

    def _reroute(self, flow: Flow, now: float) -> None:
        """Put a flow into the class that its links belong to now."""
        course = flow.course
        if course.stale:
            self.refresh(course, now)
        flow.moved = course.private
        if course.cells:
            self._cells.change(flow, now)
            return
        if flow.pace is not None or course.varying:
            self._repace(flow, now)
            return
        cap_bps = min(flow.cap_bps, course.cap_bps)
        self.steps.change(self.tables, flow.slot, course.number, cap_bps, cap_bps, False, now)

    # Links that change

    def _keep_up(self, link: FluidLink, now: float) -> None:
        """Make sure that a shared link has the capacity of this instant, and is asked again in time."""
        if link.changes_at_s <= now:
            link.ask(now)
            self.steps.set_budget(self.tables, link.at, link.capacity_bps, now)
        if link.capacity_bps == 0 and link.changes_at_s == inf:
            for flow in [*self.flows, *self._pending]:
                if link in flow.course.links:
                    self._refuse(flow, now)
        if not link.queued and link.changes_at_s < inf:
            link.queued = True
            self.put(link.changes_at_s, link)

    def put(self, time_s: float, what: FluidLink | Pace | Seat) -> None:
        self._num_queued += 1
        heappush(self._queue, (time_s, self._num_queued, what))

    def _refuse(self, flow: Flow, now: float) -> None:
        for link in flow.course.links:
            if link.capacity_bps == 0 and link.changes_at_s == inf:
                raise NetworkError(
                    f"link {link.name!r} is down for ever from {now:g} s on; {flow.owner} waits for it"
                )

    def _follow(self, ended: list[Flow], now: float, horizon_s: float) -> None:
        """Let links and paced flows that are due change."""
        while self._queue and self._queue[0][0] <= horizon_s:
            time_s, _, what = heappop(self._queue)
            if isinstance(what, Seat):
                if what.until_s == time_s:
                    self._cells.follow(what, now)
                continue
            if isinstance(what, Pace):
                if what.due_s == time_s and what.flow.pace is what and what.flow.slot >= 0:
                    self._continue(what, ended, max(now, time_s))
                continue
            what.queued = False
            if what.at >= 0 and self.tables.resources["num"][what.at] > 0:
                # Ask at the boundary: now may be a rounding error before it.
                what.ask(max(now, what.changes_at_s))
                self.steps.set_budget(self.tables, what.at, what.capacity_bps, now)
                self._keep_up(what, now)

    # Flows whose own links change

    def _start_paced(self, flow: Flow, now: float) -> None:
        one = self.tables.flows[flow.slot]
        one["weight"], one["order"], one["cost"] = flow.weight, flow.order, 1.0
        one["sharing"] = one["idle"] = 0.0
        one["first"] = inf
        one["state"] = 0
        flow.pace = pace = Pace(flow, flow.course.varying, min(flow.cap_bps, flow.course.cap_bps))
        pace.look_ahead(now, flow.bits)
        one["cls"], one["cap"], one["peak"] = flow.course.number, pace.peak_bps, pace.peak_bps
        one["solo"] = pace.peak_bps
        # By itself first: the solver calls it in when its way may become full.
        self.steps.enter(self.tables, flow.slot, now, flow.bits, True)
        pace.due_s = pace.end_s()
        self.put(pace.due_s, pace)

    def _continue(self, pace: Pace, ended: list[Flow], now: float) -> None:
        """A paced flow has come to the end of what it knew, or of its bits."""
        flow = pace.flow
        if pace.own:
            bits = pace.left_bits(now)
            self._credit(flow, bits)
            pace.note(now)
            if bits <= pace.rate_at(now - TOLERANCE_S)[0] * 2 * TOLERANCE_S + 1e-9:
                self._credit(flow, 0.0)
                self.steps.drop(self.tables, flow.slot, now)
                self._release(flow, now)
                ended.append(flow)
                return
            pace.look_ahead(now, bits)
        else:
            bits = flow.remaining_bits
            if now >= pace.ends_s[-1]:
                pace.look_ahead(now, bits)
        self._run_paced(flow, now, bits, self.steps.is_roomy(self.tables, flow.course.number))

    def _run_paced(self, flow: Flow, now: float, bits: float, own: bool) -> None:
        pace = flow.pace
        assert pace is not None
        peak_bps = pace.peak_bps
        if own:
            pace.look_ahead(now, bits) if pace.start_s != now else None
            self.tables.flows["bits"][flow.slot] = bits
            cap_bps, pace.due_s = peak_bps, pace.end_s()
        else:
            cap_bps, pace.due_s = pace.rate_at(now)
        pace.own = own
        self.steps.change(self.tables, flow.slot, flow.course.number, cap_bps, peak_bps, own, now)
        self.put(pace.due_s, pace)

    def _repace(self, flow: Flow, now: float) -> None:
        """The links of a paced flow, or its cap, have changed."""
        bits = flow.remaining_bits
        old = flow.pace
        if old is not None and old.own:
            self._credit(flow, bits)
            old.note(now)
            self.tables.flows["bits"][flow.slot] = bits
        if not flow.course.varying:
            flow.pace = None
            cap_bps = min(flow.cap_bps, flow.course.cap_bps)
            self.steps.change(self.tables, flow.slot, flow.course.number, cap_bps, cap_bps, False, now)
            return
        flow.pace = pace = Pace(flow, flow.course.varying, min(flow.cap_bps, flow.course.cap_bps))
        if old is not None:
            pace.first_s, pace.idle_s = old.first_s, old.idle_s
        pace.look_ahead(now, bits)
        self._run_paced(flow, now, bits, False)

    def _call_in(self, now: float) -> None:
        """Make flows that run at their own pace go through the solver: their way may become full."""
        tables, counts = self.tables, self._counts
        while counts[_NUM_OUT]:
            first = counts[_NUM_DONE]
            for slot in tables.done[first : first + counts[_NUM_OUT]].tolist():
                flow = self._flows[slot]
                assert flow is not None and flow.pace is not None
                bits = flow.pace.left_bits(now)
                self._credit(flow, bits)
                flow.pace.note(now)
                tables.flows["bits"][slot] = bits
                self._run_paced(flow, now, bits, False)
            self._soonest_s = self.steps.solve(tables, now)

    def _credit(self, flow: Flow, bits: float) -> None:
        """Tell the shared links of a flow at its own pace what has crossed them since the last time."""
        pace = flow.pace
        assert pace is not None
        self.steps.credit(self.tables, flow.slot, pace.credited_bits - bits)
        pace.credited_bits = bits


def _view(array: np.ndarray) -> Any:
    """Return the numbers of an array for reading and writing one by one, in a third of the time."""
    return memoryview(array)  # type: ignore[arg-type]


def _order(flow: Flow) -> int:
    return flow.order


def _nothing() -> None:
    """Do nothing."""
