"""The fluid engine: flows share links max-min fairly, and every change of the world changes their rates.

Between two events (a flow starts, a flow ends, a link changes its capacity) all rates are constant, so the
state moves on by multiplication and no packet is simulated. An event costs the links and route classes around
it, never the flows: `sfsim.network.solver` says how.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from sfsim.network.cells import Cells, FluidCell, Policy, Seat
from sfsim.network.commons import Commons
from sfsim.network.flow import ENDED, NONE, TOLERANCE_S, Ahead, Course, Flow, FluidLink, GivenLink, Segment
from sfsim.network.pace import Pace, Pacer

if TYPE_CHECKING:
    from sfsim.network.solver.state import Tables

# After all ordinary events of an instant (0 urgent, 1 normal): its arrivals meet in one solve.
LOW = 2
_MANY = 2**14  # arrivals at one instant; the room for more is given back
_ROUNDING = 4 * 2.0**-52  # four roundings of the clock, relative
_NUM_DONE, _NUM_OUT, _NUM_CROWDED, _NUM_ATTACHED, _TAKEN_LANE = range(7, 12)  # entries of the solver's counts


class FluidEngine:
    """Moves flows over links in the simulated time of `env`.

    The state (``flows``, their rates, what links carry) is open to read at any instant; call `settle` first
    to bring integrals up to that instant.

    Parameters
    ----------
    env : simpy.Environment
        The clock.
    timed : bool
        Flows that have ended still know ``began_s`` and ``lost_s``.
    """

    def __init__(self, env: simpy.Environment, timed: bool = True) -> None:
        from sfsim.network.solver import interim, state

        self._env, self._timed = env, timed
        self._state, self._solver = state, interim
        self._pending: list[Flow] = []
        self._num_ordered = 0
        self._timers: list[float] = []  # instants for which a wake-up is already in SimPy's queue
        self._event = simpy.Event(env)
        self._event._ok, self._event._value = True, None
        self._callbacks: list[Callable[[Any], None]] = [self._wake]
        self._event.callbacks = self._callbacks
        self._courses: dict[tuple[FluidLink, ...], Course] = {}
        self._num_courses = 0
        self._links: list[FluidLink] = []
        self._commons, self._pacer, self._cells = Commons(self), Pacer(self), Cells(self)
        # What will change: shared links, flows with links of their own that change, members of cells.
        self._queue: list[tuple[float, int, FluidLink | Pace | Seat]] = []
        self._num_queued = 0
        self._soonest_s = inf
        self._new = np.zeros(10, np.int64)
        self.tables = state.tables()
        self._use(interim.ready())
        self._flows: list[Flow | None] = [None] * len(self.tables.flows)
        self._unused = 0  # rows of the table from here on have never been used,
        self._free: list[int] = []  # and these are free again
        self.num_wakes = 0
        self.held = False  # flows may still come at this instant; `let_go` follows
        # Called instead of each flow's own `done`, with several flows that have ended at one instant.
        self.done_together: Callable[[list[Flow]], None] | None = None

    # What others see

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return float(self._env.now)

    @property
    def flows(self) -> list[Flow]:
        """All flows on their way, in the order of their starts."""
        order = self.tables.flows["order"].tolist()
        known = (flow for flow in self._flows if flow is not None)
        return sorted(known, key=lambda flow: order[flow.slot])

    @property
    def used_links(self) -> list[FluidLink]:
        """All links that a flow uses."""
        return list(dict.fromkeys(link for flow in self.flows for link in flow.course.links))

    @property
    def num_solves(self) -> int:
        """How often rates were computed."""
        return int(self.tables.counts[self._state.NUM_SOLVES])

    def add_link(self, owner: object, segment: Segment, ahead: Ahead | None = None) -> FluidLink:
        """Make a link whose capacity over time is `segment`; it is asked only while a flow uses the link.

        The text of `owner` names it in errors.

        ``ahead(time_s)`` returns many pieces at once: when they end (s, shape (n,)) and their capacities
        (bit/s, shape (n,)), from the one that holds at `time_s` on.
        """
        return GivenLink(self, owner, segment, ahead)

    def new_lane(self, link: FluidLink) -> int:
        """Take up a link; return its row in the solver's table of links that a flow has for itself."""
        lane = _whole(len(self._links))
        if lane == len(self.tables.lanes):
            self.grow("more_lanes")
        self.tables.lanes["flow"][lane] = NONE
        self._links.append(link)
        return lane

    def add_cell(self, name: str, policy: Policy, members: Any = None) -> FluidCell:
        """Make a radio cell; `FluidCell.add` leads links through it."""
        cell = FluidCell(self, name, policy, members)
        cell.at = self._commons.new_resource()
        row = self.tables.resources[cell.at]
        row["cell"], row["level"] = 1, inf
        self._cells.all.append(cell)
        return cell

    def course(self, links: Sequence[FluidLink]) -> Course:
        """Return the course over `links`, the same for the same links; `start` takes it instead of them."""
        key = tuple(links)
        if key not in self._courses:
            self._courses[key] = self.new_course(key)
        return self._courses[key]

    def new_course(self, links: tuple[FluidLink, ...]) -> Course:
        """Return a course that nobody else gets."""
        course = Course(links[0], links[1:])
        self.enrol(course)
        return course

    def enrol(self, course: Course) -> None:
        """Give a course its row in the solver's table."""
        course.row = _whole(self._num_courses)
        self._num_courses += 1
        if course.row == len(self.tables.courses):
            self.grow("more_courses")
        if len(course.links) > self.tables.course_lanes.shape[1]:
            self.grow("longer_courses", len(course.links))
        for link in course.links:
            if isinstance(link.courses, list):
                link.courses.append(course)
            else:
                link.courses = course if link.courses is None else [link.courses, course]

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
        if not self._pending and not self.held:
            self._wake_at(self._env._now)
        self._pending.append(flow)
        return flow

    def let_go(self) -> None:
        """End what ``held = True`` began: whoever sets it says that all flows of this instant may come first.

        When nothing else is to happen at this instant, they are let in at once, without an event for it.
        """
        self.held = False
        if self._pending:
            env = self._env
            queue, now = env._queue, env._now
            if queue and queue[0][0] <= now:
                self._wake_at(now)
            else:
                self._attend(now)

    def set_cap(self, flow: Flow, cap_bps: float) -> None:
        """Change the most that a flow may get."""
        flow.cap_bps = cap_bps
        if self.entered(flow):
            now = self.now_s
            self.renew(flow, now)
            self._soonest_s = now
            self._wake_at(now)

    def settle(self) -> None:
        """Bring all integrals up to now."""
        now = self.now_s
        self.steps.settle(self.tables, now)
        for flow in self._flows:
            if flow is not None and flow.pace is not None and flow.pace.own:
                self._pacer.credit(flow, flow.pace.left_bits(now))

    # What flows say about themselves

    def rate_bps(self, flow: Flow) -> float:
        """The rate of an active flow."""
        if flow.pace is not None and flow.pace.own:
            return flow.pace.rate_at(self.now_s)[0]
        return float(self.steps.rate(self.tables, flow.slot))

    def left_bits(self, flow: Flow) -> float:
        """What an active flow has left."""
        if flow.pace is not None and flow.pace.own:
            return flow.pace.left_bits(self.now_s)
        return float(self.steps.left(self.tables, flow.slot, self.now_s))

    def idle_s(self, flow: Flow) -> float:
        """Seconds that an active flow has had no rate."""
        if not self.entered(flow):
            return 0.0
        idle_s = float(self.steps.idle(self.tables, flow.slot, self.now_s))
        return idle_s + (flow.pace.until(self.now_s)[1] if flow.pace is not None and flow.pace.own else 0.0)

    def began_s(self, flow: Flow) -> float:
        """When an active flow first had a rate."""
        first_s = float(self.tables.flows["first"][flow.slot])
        if flow.pace is None or not flow.pace.own:
            return first_s
        return min(first_s, flow.pace.until(self.now_s)[0])

    def lost_s(self, flow: Flow) -> float:
        """What an active flow has lost to others."""
        return float(self.steps.sharing(self.tables, flow.slot, self.now_s))

    def aired_s(self, flow: Flow) -> float:
        """What of that an active flow has lost in its cells."""
        self.lost_s(flow)  # brings it up to now
        return float(self.aired[flow.slot])

    # What its parts ask

    def solve(self, now: float) -> None:
        """Compute rates around all that has changed."""
        self._soonest_s = self.steps.solve(self.tables, now)
        self._call_in(now)

    def entered(self, flow: Flow) -> bool:
        """Whether the solver knows a flow."""
        return flow.slot >= 0 and bool(self.tables.flows["state"][flow.slot] != 0)

    def flow_on(self, link: FluidLink) -> Flow | None:
        """The flow that has a link for itself."""
        slot = self.tables.lanes["flow"][link.lane]
        return self._flows[slot] if slot >= 0 else None

    def renew(self, flow: Flow, now: float) -> None:
        """The course of a flow in the solver, or its cap, has changed."""
        standing = flow.course.standing
        if standing.cells:
            self._cells.change(flow, now)
        elif flow.pace is not None or standing.varying:
            self._pacer.renew(flow, now)
        else:
            cap_bps = min(flow.cap_bps, standing.cap_bps)
            self.steps.change(self.tables, flow.slot, standing.number, cap_bps, cap_bps, False, now)

    def refresh(self, course: Course, now: float) -> None:
        """Find out anew what of a course is shared."""
        self._commons.refresh(course, now)

    def unsettle(self, link: FluidLink) -> None:
        """Note that all courses over a link have to be looked at again."""
        self._commons.unsettle(link)

    def file_course(self, course: Course, private: list[FluidLink]) -> None:
        """Tell the solver what a course is now."""
        row, standing = self.tables.courses[course.row], course.standing
        row["cls"], row["cap"], row["num_lanes"] = standing.number, standing.cap_bps, len(private)
        self.tables.course_lanes[course.row, : len(private)] = [link.lane for link in private]

    def put(self, time_s: float, what: FluidLink | Pace | Seat) -> None:
        """See that something is looked at when it changes."""
        self._num_queued += 1
        heappush(self._queue, (time_s, self._num_queued, what))

    def grow(self, how: str, *more: int) -> None:
        """Make room in the solver's tables."""
        self._adopt(getattr(self._state, how)(self.tables, *more))

    def has_crowds(self) -> bool:
        """Whether a link would have held a flow back that only its cell may hold back."""
        return bool(self._counts[_NUM_CROWDED] > 0)

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
        # As `schedule` does, but with the instant itself instead of a delay that is rounded twice.
        env = self._env
        heappush(env._queue, (time_s, LOW, next(env._eid), self._event))  # type: ignore[misc]

    def _wake(self, event: simpy.Event) -> None:
        event.callbacks = self._callbacks  # type: ignore[assignment]  # one event serves all wake-ups
        heappop(self._timers)
        self._attend(self._env._now)

    def _attend(self, now: float) -> None:
        """Do what is due, and see that the next is not missed."""
        if self._interim is not None and self._interim.is_over():
            self._use(self._solver.ready())
        now += 0.0  # a clock that has not moved yet is a whole number
        tolerance_s = now * _ROUNDING
        if tolerance_s < TOLERANCE_S:
            tolerance_s = TOLERANCE_S
        queue = self._queue
        if queue and queue[0][0] <= now + tolerance_s:
            self._advance(now, tolerance_s, self._follow(now, tolerance_s))
        elif self._pending or self._soonest_s <= now + tolerance_s:
            self._advance(now, tolerance_s, None)
        next_s = self._soonest_s
        if queue and queue[0][0] < next_s:
            next_s = queue[0][0]
        timers = self._timers
        if next_s < inf and not (timers and timers[0] <= next_s):
            self._wake_at(next_s if next_s > now else now)

    def _advance(self, now: float, tolerance_s: float, ended: list[Flow] | None) -> None:
        """Do what is due at this instant; `ended`: what has ended at it already."""
        self.num_wakes += 1
        pending = self._pending
        num_new = 0
        if pending:
            self._pending = []
            self._commons.tidy(now)
            num_new, zero = self._admit(pending, now)
            if zero is not None:
                ended = zero if ended is None else ended + zero
        counts = self._counts
        self._soonest_s = soonest_s = self._step(self._addresses, now, tolerance_s, num_new)
        if soonest_s != soonest_s:
            self._make_room(pending, now, tolerance_s, num_new)
        if counts[_NUM_OUT]:
            self._call_in(now)
        num_done = counts[_NUM_DONE]
        if ended is not None or num_done > 1 or self._cells.all:
            self._end_many(ended or [], now)
        elif num_done:
            counts[_NUM_DONE] = 0
            flow: Flow = self._flows[self._done[0]]  # type: ignore[assignment]
            self._release(flow)
            flow.done(flow)

    def _end_many(self, ended: list[Flow], now: float) -> None:
        """End several flows, or some with cells."""
        sort = bool(ended)
        self._take_ended(ended, sort)
        if self._cells.all:
            self._cells.tend(now)
        if sort:  # not all are from the solver, which has them in order
            ended.sort(key=_order)
        if len(ended) > 1 and self.done_together is not None:
            self.done_together(ended)
            return
        for flow in ended:
            flow.done(flow)

    # Flows come and go

    def _admit(self, pending: list[Flow], now: float) -> tuple[int, list[Flow] | None]:
        """File the flows that came at this instant; return how many the solver takes in, and empty ones."""
        flows, order, place = self._flows, self._num_ordered, 0
        self._num_ordered += len(pending)
        zero: list[Flow] | None = None
        free, unused = self._free, self._unused
        if len(free) + len(flows) - unused < len(pending):
            self._more_flows(len(pending) + unused - len(free))
        if not len(pending) <= len(self._new) <= max(_MANY, 2 * len(pending)):
            self._new = np.zeros(max(10, len(pending)), np.int64)
            self._adopt(self.tables)
        file, num_unsettled = self._state.ARRIVAL.pack_into, self._commons.num_unsettled
        rows, new, size = self._rows, _view(self._new), self._state.FLOW.itemsize
        for flow in pending:
            order += 1
            bits = flow.bits
            if not bits:
                flow.order = order
                flow.slot = ENDED
                flow.final_began_s = now
                zero = [*zero, flow] if zero else [flow]
                continue
            course = flow.course
            if course.standing.special:
                self._commons.look_at(course, flow, now)
            if free:
                slot = free.pop()
            else:
                slot = _whole(self._unused)
                self._unused += 1
            flow.slot = slot
            flows[slot] = flow
            file(rows, slot * size, course.row, NONE, 0, order, flow.cap_bps, flow.weight, bits)
            if course.standing.special:
                flow.order = order
                if self._admit_special(flow, now):
                    continue
            new[place] = slot
            place += 1
        if self._commons.num_unsettled != num_unsettled:
            self._look_again(pending, now)
        return place, zero

    def _admit_special(self, flow: Flow, now: float) -> bool:
        """Let in what does not come in with the others; return whether this was such a flow."""
        course = flow.course
        if not course.standing.varying and not course.standing.cells:
            return False
        if course.standing.cells:
            for link in course.standing.varying:  # a flow in a cell has no pace of its own
                self._commons.share(link, now)
            self._commons.look_at(course, flow, now)
        while (lane := self._attach(self.tables, course.row, flow.slot, flow.bits, now)) >= 0:
            self._commons.share(self._links[lane], now)
            self._commons.look_at(course, flow, now)
        if course.standing.cells:
            self._cells.join(flow, now)
        elif course.standing.varying:
            self._pacer.start(flow, now)
        else:
            return False
        return True

    def _look_again(self, pending: list[Flow], now: float) -> None:
        for flow in pending:
            if flow.course.standing.stale:
                self._commons.look_at(flow.course, flow, now)

    def _make_room(self, pending: list[Flow], now: float, tolerance_s: float, num_new: int) -> None:
        """Make links shared that a flow had for itself and another one has come to, until all are in."""
        while self._soonest_s != self._soonest_s:
            attached = self._counts[_NUM_ATTACHED]
            self._counts[_NUM_ATTACHED] = 0
            self._commons.share(self._links[self._counts[_TAKEN_LANE]], now)
            self._look_again(pending, now)
            self._counts[_NUM_ATTACHED] = attached
            self._soonest_s = self._step(self._addresses, now, tolerance_s, num_new)

    def _take_ended(self, ended: list[Flow], note_order: bool) -> None:
        """Release the flows that the solver has finished."""
        flows, count = self._flows, self._counts[_NUM_DONE]
        for slot in self.tables.done[:count].tolist():
            flow: Flow = flows[slot]  # type: ignore[assignment]
            if note_order:
                flow.order = int(self.tables.flows["order"][slot])
            self._release(flow)
            ended.append(flow)
        self._counts[_NUM_DONE] = 0

    def _release(self, flow: Flow) -> None:
        slot = flow.slot
        if self._timed:
            flow.final_began_s, flow.final_lost_s = self._first[slot], self._sharing[slot]
        if self._cells.all and flow.course.standing.cells:
            self._cells.leave(flow, self.now_s)
        flow.slot = ENDED
        if flow.pace is not None:
            flow.pace = None  # each knows the other: the flow would wait for the garbage collector
        self._flows[slot] = None
        self._free.append(slot)

    def _call_in(self, now: float) -> None:
        """Make flows go through the solver that have run at their own pace over what may become full."""
        while self._counts[_NUM_OUT]:
            first = self._counts[_NUM_DONE]
            slots = self.tables.done[first : first + self._counts[_NUM_OUT]].tolist()
            self._pacer.call_in([self._flows[slot] for slot in slots], now)  # type: ignore[misc]
            self._soonest_s = self.steps.solve(self.tables, now)

    def _follow(self, now: float, tolerance_s: float) -> list[Flow]:
        """Let what is queued and due change; return the flows that ended."""
        ended: list[Flow] = []
        self.steps.finish(self.tables, now, tolerance_s)  # what has ended asks no link any more
        self._take_ended(ended, True)
        while self._queue and self._queue[0][0] <= now + tolerance_s:
            time_s, _, what = heappop(self._queue)
            if isinstance(what, Seat):
                if what.until_s == time_s:
                    self._cells.follow(what, now)
            elif isinstance(what, FluidLink):
                self._commons.change(what, now)
            elif what.due_s != time_s or what.flow.pace is not what or what.flow.slot < 0:
                continue  # it has another entry, or none, by now
            elif self._pacer.go_on(what, max(now, time_s)):
                what.flow.order = int(self.tables.flows["order"][what.flow.slot])
                self._release(what.flow)
                ended.append(what.flow)
        return ended

    def _use(self, steps: Any) -> None:
        """Call the functions of `steps` from now on: compiled, or interpreted until they are compiled."""
        self.steps = steps
        self._interim = steps if isinstance(steps, self._solver.Interim) else None
        self._adopt(self.tables)
        self._step = steps.fast_step()
        self._attach = steps.Direct(steps.attach)
        self.enter_cell, self.note_first = steps.Direct(steps.enter_cell), steps.Direct(steps.note_first)

    def _more_flows(self, number: int) -> None:
        self.grow("more_flows", number)
        self._flows += [None] * (len(self.tables.flows) - len(self._flows))

    def _adopt(self, tables: "Tables") -> None:
        """Take new tables into use."""
        self.tables = tables
        self._counts, self._done = _view(tables.counts), _view(tables.done)
        self._rows = _view(tables.flows.view(np.uint8))
        self.aired = _view(tables.aired)
        self._first, self._sharing = _view(tables.flows["first"]), _view(tables.flows["sharing"])
        self._addresses = self.steps.addresses(tables, self._new)


_WHOLE: list[int] = []


def _whole(number: int) -> int:
    """Return a row number, the same object every time: flows, links and courses by the thousand have them."""
    while len(_WHOLE) <= number:
        _WHOLE.append(len(_WHOLE))
    return _WHOLE[number]


def _view(array: np.ndarray) -> Any:
    """Return the numbers of an array for reading and writing one by one, in a third of the time."""
    return memoryview(array)  # type: ignore[arg-type]


def _order(flow: Flow) -> int:
    return flow.order
