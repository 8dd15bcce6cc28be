"""What the engine asks of the solver: one step at an instant, and changes between steps.

Each function first brings the classes it changes up to now, and leaves them marked; `step` and `solve` then
find the levels of the part of the network that hangs together with what was marked, and of nothing else.
"""

# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from sfsim.network.solver.filling import fill
from sfsim.network.solver.members import (
    advance_class,
    advance_resource,
    enter,
    in_order,
    leave,
    left,
    make_dirty,
    note_sharing,
    renew_alone,
    two_sum,
)
from sfsim.network.solver.state import (
    AFTER,
    AT,
    CAPPED,
    CAPPED_ROOT,
    CLASS,
    COURSE,
    FINISH,
    FLOW,
    FREE,
    LANE,
    LIST_NEXT,
    NONE,
    NUM_ACTIVE,
    NUM_ATTACHED,
    NUM_CROWDED,
    NUM_DIRTY,
    NUM_DONE,
    NUM_OUT,
    NUM_SOLVES,
    OWN,
    RESOURCE,
    STAMP,
    TAKEN_LANE,
    UNCAPPED,
    Tables,
    tables,
)


class Direct:
    """A compiled function without what numba does on every call to find out which types it was given (2 us).

    The first call decides the types: whole numbers are whole, and all others are `float`.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._entry: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        if self._entry is not None:
            return self._entry(*args)
        result = self._function(*args)
        if len(self._function.overloads) == 1:
            self._entry = next(iter(self._function.overloads.values())).entry_point
        return result


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    """Take an address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


def fast_step() -> Callable[[np.ndarray, float, float, int], float]:
    """Return `step` as a function of addresses (see `addresses`).

    Handing ten arrays to compiled code, and finding out on every call which types they have, takes longer
    than the step itself.
    """
    empty = tables()
    _step_at(addresses(empty, np.zeros(1, np.int64)), 0.0, 0.0, 0)
    return next(iter(_step_at.overloads.values())).entry_point  # type: ignore[no-any-return]


def is_loaded() -> bool:
    """Return whether this process has the compiled `step`."""
    return bool(_step_at.overloads)


def addresses(s: Tables, new: np.ndarray) -> np.ndarray:
    """Return where the tables and the list of arrivals are, and how long; good as long as they live."""
    known = [(array.ctypes.data, len(array)) for array in (*s, new)]
    shapes = [s.crossings.shape[1:], (s.scratch.shape[1], s.course_lanes.shape[1])]
    return np.array([*known, *shapes], np.int64).ravel()


@njit(cache=True)
def _step_at(at, now, tolerance, num_new):
    s = Tables(
        carray(_pointer(at[0]), (at[1],), FLOW),
        carray(_pointer(at[2]), (at[3], 2), np.float64),
        carray(_pointer(at[4]), (at[5], 8), np.int32),
        carray(_pointer(at[6]), (at[7],), CLASS),
        carray(_pointer(at[8]), (3, at[30], at[31]), np.int64),
        carray(_pointer(at[10]), (at[11],), RESOURCE),
        carray(_pointer(at[12]), (at[13],), np.int64),
        carray(_pointer(at[14]), (at[15],), np.int64),
        carray(_pointer(at[16]), (3, at[32]), np.int64),
        carray(_pointer(at[18]), (at[19],), np.int64),
        carray(_pointer(at[20]), (at[21],), LANE),
        carray(_pointer(at[22]), (at[23],), COURSE),
        carray(_pointer(at[24]), (at[25], at[33]), np.int32),
        carray(_pointer(at[26]), (at[27],), np.float64),
    )
    return step(s, now, tolerance, carray(_pointer(at[28]), (at[29],), np.int64), num_new)


@njit(cache=True, _nrt=False)
def step(s, now, tolerance, new, num_new):
    """Finish what is due, let the flows `new` in, share anew; return when to come next.

    ``counts[NUM_DONE]`` flows of `done` have finished, in the order of their starts; ``counts[NUM_OUT]``
    after them run at their own pace over resources that may become full, and must not. The answer is NaN
    when lane ``counts[TAKEN_LANE]`` has a flow already that an arrival needs: nothing has come in then.
    """
    finish(s, now, tolerance)
    for index in range(s.counts[NUM_ATTACHED], num_new):
        one = s.flows[new[index]]
        lane = attach(s, one.course, new[index], one.bits, now)
        if lane >= 0:
            s.counts[NUM_ATTACHED] = index
            s.counts[TAKEN_LANE] = lane
            return nan
    s.counts[NUM_ATTACHED] = 0
    for index in range(num_new):
        one = s.flows[new[index]]
        course = s.courses[one.course]
        one.cls = course.cls
        one.cap = one.peak = one.solo = min(course.cap, one.cap)
        one.cost = 1.0
        one.sharing = one.idle = 0.0
        one.first = inf
        enter(s, new[index], now, one.bits, False)
    soonest = solve(s, now)
    for index in range(num_new):
        note_first(s, new[index], now)
    return soonest


@njit(cache=True, forceinline=True, _nrt=False)
def attach(s, number, flow, bits, now):
    """Give a flow the lanes of its course; return one that another flow has, or NONE."""
    for place in range(s.courses[number].num_lanes):
        lane = s.lanes[s.course_lanes[number, place]]
        if lane.flow == flow:
            continue
        if lane.flow >= 0:
            return s.course_lanes[number, place]
        lane.flow = flow
        lane.base_bits = bits
        lane.base_s = now
        lane.base_idle = 0.0
    return NONE


@njit(cache=True, forceinline=True, _nrt=False)
def free_lane(s, number, bits, idle, now):
    """Take a lane from the flow that has it, which has `bits` left and was idle for `idle` seconds in all."""
    lane = s.lanes[number]
    lane.bits += lane.base_bits - bits
    lane.busy += now - lane.base_s - (idle - lane.base_idle)
    lane.flow = NONE


@njit(cache=True, _nrt=False)
def finish(s, now, tolerance):
    """Take out the flows that have less than `tolerance` seconds to go; add them to `done`."""
    before = num = s.counts[NUM_DONE]
    while s.counts[CAPPED_ROOT] >= 0 and s.keys[s.counts[CAPPED_ROOT], FINISH] - now <= tolerance:
        s.done[num] = s.counts[CAPPED_ROOT]
        num += 1
        _end(s, s.done[num - 1], now)
    for place in range(s.counts[NUM_ACTIVE] - 1, -1, -1):  # from the end: closing a class moves the last one
        number = s.active[place]
        cls = s.classes[number]
        if cls.next - now > tolerance:
            continue
        advance_class(s, number, now)
        while cls.finish >= 0 and s.keys[cls.finish, FINISH] - cls.virtual <= cls.level * tolerance:
            s.done[num] = cls.finish
            num += 1
            _end(s, s.done[num - 1], now)
        make_dirty(s, number)  # also when nothing was due after all: `next` is renewed
    if num > 1 and num > before:
        in_order(s, s.done[:num])
    s.counts[NUM_DONE] = num


@njit(cache=True, forceinline=True, _nrt=False)
def _end(s, flow, now):
    one = s.flows[flow]
    bits = drop(s, flow, now)
    cls = s.classes[one.cls]
    for place in range(cls.length):  # what the tolerance rounded away
        s.resources[s.crossings[AT, one.cls, place]].carried += bits * (
            one.cost if place == cls.cell else 1.0
        )


@njit(cache=True, _nrt=False)
def solve(s, now):
    """Share anew around all classes that were marked; return when the next flow will be done."""
    s.counts[NUM_OUT] = 0
    if s.counts[NUM_DIRTY]:
        s.counts[NUM_SOLVES] += 1
        s.counts[STAMP] += 1
        for index in range(s.counts[NUM_DIRTY]):
            number = s.scratch[0, index]
            s.classes[number].dirty = 0
            if s.classes[number].seen != s.counts[STAMP]:
                _solve_around(s, number, now)
        s.counts[NUM_DIRTY] = 0
    soonest = inf
    if s.counts[CAPPED_ROOT] >= 0:
        soonest = s.keys[s.counts[CAPPED_ROOT], FINISH]
    for place in range(s.counts[NUM_ACTIVE]):
        soonest = min(soonest, s.classes[s.active[place]].next)
    return soonest


@njit(cache=True, _nrt=False)
def _solve_around(s, number, now):
    num_classes, num_resources = _component(s, number)
    for index in range(num_classes):
        advance_class(s, s.scratch[1, index], now)
        cls = s.classes[s.scratch[1, index]]
        cls.before = cls.level
    for index in range(num_resources):
        advance_resource(s, s.scratch[2, index], now)
    if num_resources > 0:
        fill(s, num_classes, num_resources, now)
    _apply(s, num_classes, num_resources, now)


@njit(cache=True, _nrt=False)
def _component(s, number):
    """Collect the active classes and the resources that hang together with a class."""
    stamp = s.counts[STAMP]
    width = s.crossings.shape[2]
    num_classes = num_resources = 0
    s.classes[number].seen = stamp
    if s.classes[number].num > 0:
        s.scratch[1, 0] = number
        num_classes = 1
    for place in range(s.classes[number].length):
        at = s.crossings[AT, number, place]
        if s.resources[at].seen != stamp:
            s.resources[at].seen = stamp
            s.scratch[2, num_resources] = at
            num_resources += 1
    reached = 0
    while reached < num_resources:
        crossing = s.resources[s.scratch[2, reached]].head
        reached += 1
        while crossing >= 0:
            other, place = crossing // width, crossing % width
            if s.classes[other].seen != stamp:
                s.classes[other].seen = stamp
                s.scratch[1, num_classes] = other
                num_classes += 1
                for step in range(s.classes[other].length):
                    at = s.crossings[AT, other, step]
                    if s.resources[at].seen != stamp:
                        s.resources[at].seen = stamp
                        s.scratch[2, num_resources] = at
                        num_resources += 1
            crossing = s.crossings[AFTER, other, place]
    return num_classes, num_resources


@njit(cache=True, _nrt=False)
def _apply(s, num_classes, num_resources, now):
    """Draw the consequences of new levels: next finishes, use of resources, and who is in the way of whom."""
    for index in range(num_resources):
        resource = s.resources[s.scratch[2, index]]
        resource.used = resource.fixed = resource.fixed_err = 0.0
    for index in range(num_classes):
        number = s.scratch[1, index]
        cls = s.classes[number]
        cls.next = inf
        if cls.finish >= 0 and cls.level > 0:
            cls.next = now + (s.keys[cls.finish, FINISH] - cls.virtual) / cls.level
        if cls.before == 0 and cls.level > 0:
            flow = cls.head
            while flow >= 0:
                note_first(s, flow, now)
                flow = s.links[flow, LIST_NEXT]
        for place in range(cls.length):
            resource = s.resources[s.crossings[AT, number, place]]
            if place == cls.cell:
                used, weight = cls.cell_capped + cls.cell_capped_err, cls.cell_weight + cls.cell_weight_err
            else:
                used, weight = cls.capped + cls.capped_err, cls.weight + cls.weight_err
            if cls.num_uncapped > 0:
                used += weight * cls.level
            resource.fixed, resource.fixed_err = two_sum(resource.fixed, resource.fixed_err, used)
    for index in range(num_resources):
        resource = s.resources[s.scratch[2, index]]
        resource.used = max(0.0, resource.fixed + resource.fixed_err)
        if resource.num_own > 0 and not _is_roomy(resource):
            _call_out(s, s.scratch[2, index])
    for index in range(num_classes):
        _check_cell(s, s.scratch[1, index])


@njit(cache=True, forceinline=True, _nrt=False)
def _is_roomy(resource):
    """Can all flows of a resource have their largest rates at once?"""
    return resource.num_peakless == 0 and resource.peaks <= resource.budget * (1 - 1e-9)


@njit(cache=True, _nrt=False)
def _call_out(s, at):
    """List the flows that run at their own pace over a resource that may become full."""
    width = s.crossings.shape[2]
    crossing = s.resources[at].head
    while crossing >= 0:
        number, place = crossing // width, crossing % width
        cls = s.classes[number]
        if cls.num_own > 0 and cls.frozen != 2:
            cls.frozen = 2  # called once, though it may cross several such resources
            flow = cls.head
            while flow >= 0:
                if s.flows[flow].state == OWN:
                    s.done[s.counts[NUM_DONE] + s.counts[NUM_OUT]] = flow
                    s.counts[NUM_OUT] += 1
                flow = s.links[flow, LIST_NEXT]
        crossing = s.crossings[AFTER, number, place]


@njit(cache=True, _nrt=False)
def _check_cell(s, number):
    """Note resources that would hold a flow back whose class only asks its cell."""
    cls = s.classes[number]
    if cls.cell < 0:
        return
    fastest = cls.heaviest * cls.level if cls.num_uncapped > 0 else 0.0
    for place in range(cls.length):
        resource = s.resources[s.crossings[AT, number, place]]
        if place != cls.cell and (
            resource.level < fastest * (1 - 1e-9) or resource.used > resource.budget * (1 + 1e-9)
        ):
            resource.crowded = 1
            s.counts[NUM_CROWDED] += 1


@njit(cache=True, forceinline=True, _nrt=False)
def note_first(s, flow, now):
    """Note the instant at which a flow has a rate for the first time."""
    one = s.flows[flow]
    if one.first == inf and one.state > 0:
        cls = s.classes[one.cls]
        if (one.state == CAPPED and one.cap > 0) or (one.state == UNCAPPED and cls.level > 0):
            one.first = now


@njit(cache=True, _nrt=False)
def rate(s, flow):
    """Return the rate that a flow has now (0 for one that runs at its own pace)."""
    one = s.flows[flow]
    if one.state == CAPPED:
        return one.cap
    if one.state == UNCAPPED:
        return one.weight * s.classes[one.cls].level
    return 0.0


@njit(cache=True, _nrt=False)
def idle(s, flow, now):
    """Return the seconds that a flow has had no rate (besides those at its own pace)."""
    one = s.flows[flow]
    cls = s.classes[one.cls]
    if one.state == CAPPED and one.cap == 0:
        return one.idle + now - one.bits_s
    return one.idle + cls.stopped + (now - cls.last if cls.level == 0 and now > cls.last else 0.0)


@njit(cache=True, _nrt=False)
def settle(s, now):
    """Bring all integrals up to now."""
    for place in range(s.counts[NUM_ACTIVE]):
        number = s.active[place]
        advance_class(s, number, now)
        for step in range(s.classes[number].length):
            advance_resource(s, s.crossings[AT, number, step], now)


@njit(cache=True, _nrt=False)
def set_budget(s, at, budget, now):
    """Change the capacity of a resource."""
    advance_resource(s, at, now)
    s.resources[at].budget = budget
    width = s.crossings.shape[2]
    crossing = s.resources[at].head if s.resources[at].num > 0 else -1
    while crossing >= 0:
        number, place = crossing // width, crossing % width
        advance_class(s, number, now)
        renew_alone(s, number, now)
        make_dirty(s, number)
        crossing = s.crossings[AFTER, number, place]


@njit(cache=True, _nrt=False)
def change(s, flow, number, cap, peak, own, now):
    """Give a flow another class, another cap, or its own pace (or take that away); return its bits left.

    A flow that ran at its own pace has ``flows[flow].bits`` left: whoever paced it says so before.
    """
    one = s.flows[flow]
    bits = leave(s, flow, now)
    one.cls = number
    one.cap = one.solo = cap
    one.peak = peak
    enter(s, flow, now, bits, own)
    note_first(s, flow, now)
    return bits


@njit(cache=True, forceinline=True, _nrt=False)
def drop(s, flow, now):
    """Take a flow out for good, and from its lanes; return the bits it has left."""
    bits = leave(s, flow, now)
    one = s.flows[flow]
    one.state = FREE
    for place in range(s.courses[one.course].num_lanes):
        free_lane(s, s.course_lanes[one.course, place], 0.0, one.idle, now)
    return bits


@njit(cache=True, _nrt=False)
def credit(s, flow, bits):
    """Add bits that a flow has sent at its own pace to the resources it crosses."""
    number = s.flows[flow].cls
    for place in range(s.classes[number].length):
        s.resources[s.crossings[AT, number, place]].carried += bits


@njit(cache=True, _nrt=False)
def is_roomy(s, number):
    """Can all flows on all resources of a class have their largest rates at once?"""
    for place in range(s.classes[number].length):
        if not _is_roomy(s.resources[s.crossings[AT, number, place]]):
            return False
    return s.classes[number].cell < 0


@njit(cache=True, _nrt=False)
def sharing(s, flow, now):
    """Return the seconds that a flow has lost to others until now."""
    one = s.flows[flow]
    if one.state == UNCAPPED or (one.state == CAPPED and one.cap < one.alone):
        note_sharing(s, flow, left(s, flow, now), now)
    return one.sharing


@njit(cache=True, _nrt=False)
def enter_cell(s, flow, course, number, cap, weight, cost, solo, order, bits, now):
    """Let a flow in that shares a cell: `cost` and `solo` as in the table of flows."""
    one = s.flows[flow]
    one.course = course
    one.cls, one.cap, one.weight, one.cost, one.solo, one.order = number, cap, weight, cost, solo, order
    one.peak = solo
    one.sharing = one.idle = s.aired[flow] = 0.0
    one.first = inf
    enter(s, flow, now, bits, False)


@njit(cache=True, _nrt=False)
def change_cell(s, which, numbers, caps, weights, costs, solos, now):
    """Give many flows another class, cap, weight, cost and rate alone on the air."""
    for place in range(len(which)):
        flow = which[place]
        one = s.flows[flow]
        bits = leave(s, flow, now)
        one.cls, one.cap, one.weight = numbers[place], caps[place], weights[place]
        one.cost, one.solo = costs[place], solos[place]
        one.peak = one.solo
        enter(s, flow, now, bits, False)
        note_first(s, flow, now)


@njit(cache=True, _nrt=False)
def enter_paced(s, flow, course, number, peak, weight, order, bits, now):
    """Let a flow in that runs at its own pace, never faster than `peak`."""
    one = s.flows[flow]
    one.course, one.cls, one.weight, one.order = course, number, weight, order
    one.cap = one.peak = one.solo = peak
    one.cost = 1.0
    one.sharing = one.idle = 0.0
    one.first = inf
    enter(s, flow, now, bits, True)
