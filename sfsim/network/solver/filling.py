"""Progressive filling over classes: the levels of max-min fairness, without looking at single flows.

All levels grow alike until a resource is full; its classes stop there, the others grow on. Which flows are
capped is kept from the last time: a wrong guess shows as a flow whose cap is on the wrong side of its level;
such flows move, and the filling runs again. On one resource that is Newton's method on a concave function and
ends; on many it has always ended within a few rounds, and if it did not, `_fill_from_nothing` would.

Source: Bertsekas and Gallager, *Data Networks*, section 6.5.2.
"""

# mypy: disable-error-code="no-untyped-def"

from math import inf

from numba import njit

from sfsim.network.solver.members import put_capped, put_uncapped, take, threshold, times, two_sum
from sfsim.network.solver.state import AFTER, AT, NONE, NUM_COLD, NUM_MOVES

_CLOSE = 1e-12  # a cap so near to its level may be on either side: both give the same rate
_ROUNDS = 50


@njit(cache=True, _nrt=False)
def fill(s, num_classes, num_resources, now):
    """Find the levels of the classes in ``s.scratch[1]``; their resources are in ``s.scratch[2]``."""
    for _ in range(_ROUNDS):
        _start(s, num_classes, num_resources)
        for cells in (1, 0):
            while True:
                full = _next_full(s, num_resources, cells, now)
                if full < 0:
                    break
                _stop_at(s, full)
        if _move(s, num_classes, now) == 0:
            return
    s.counts[NUM_COLD] += 1
    _fill_from_nothing(s, num_classes, num_resources, now)


@njit(cache=True, forceinline=True, _nrt=False)
def _start(s, num_classes, num_resources):
    for index in range(num_resources):
        resource = s.resources[s.scratch[2, index]]
        resource.fixed = resource.fixed_err = resource.weight = resource.limited = 0.0
        resource.waiting = 0
        resource.level = inf
    for index in range(num_classes):
        number = s.scratch[1, index]
        cls = s.classes[number]
        cls.frozen = 0
        cls.limit = NONE
        for place in range(cls.length):
            resource = s.resources[s.crossings[AT, number, place]]
            if place == cls.cell:
                fixed, weight = cls.cell_capped + cls.cell_capped_err, cls.cell_weight + cls.cell_weight_err
            else:
                fixed, weight = cls.capped + cls.capped_err, cls.weight + cls.weight_err
            resource.fixed, resource.fixed_err = two_sum(resource.fixed, resource.fixed_err, fixed)
            if cls.num_uncapped > 0 and (cls.cell < 0 or place == cls.cell):
                resource.weight += weight
                resource.waiting += 1


@njit(cache=True, forceinline=True, _nrt=False)
def _next_full(s, num_resources, cells, now):
    """Return the resource that is full at the lowest level, with that level noted; NONE: none ever is."""
    full, lowest = NONE, inf
    index = 0
    while index < num_resources:
        at = s.scratch[2, index]
        resource = s.resources[at]
        index += 1
        if resource.cell != cells:
            continue
        if resource.waiting == 0:
            if resource.level < inf or resource.fixed + resource.fixed_err <= resource.budget * (1 + _CLOSE):
                continue
            # Caps alone are more than it has: its widest flow must follow the level instead. That changes
            # other resources of that flow too, so all of them are looked at again.
            if _uncap_widest(s, at, now):
                full, lowest = NONE, inf
                index = 0
            continue
        level = (resource.budget - (resource.fixed + resource.fixed_err)) / resource.weight
        if level < lowest:
            full, lowest = at, level
    if full >= 0:
        s.resources[full].level = lowest  # below 0 where caps alone are too much: see `_move`
        s.resources[full].limited = s.resources[full].weight
    return full


@njit(cache=True, _nrt=False)
def _uncap_widest(s, at, now):
    width = s.crossings.shape[2]
    chosen, widest = NONE, -inf
    crossing = s.resources[at].head
    while crossing >= 0:
        number, place = crossing // width, crossing % width
        cls = s.classes[number]
        if not cls.frozen and cls.high >= 0 and (cls.cell < 0 or place == cls.cell):
            threshold = -s.keys[cls.high, 1]
            if threshold > widest:
                chosen, widest = number, threshold
        crossing = s.crossings[AFTER, number, place]
    if chosen < 0:
        return False
    cls = s.classes[chosen]
    flow = cls.high
    one = s.flows[flow]
    bits = take(s, flow, now)
    put_uncapped(s, flow, now, bits)
    s.counts[NUM_MOVES] += 1
    first = cls.num_uncapped == 1
    for place in range(cls.length):
        resource = s.resources[s.crossings[AT, chosen, place]]
        cost = one.cost if place == cls.cell else 1.0
        resource.fixed, resource.fixed_err = two_sum(resource.fixed, resource.fixed_err, -one.cap * cost)
        if cls.cell < 0 or place == cls.cell:
            resource.weight += one.weight * cost
            if first:
                resource.waiting += 1
    return True


@njit(cache=True, forceinline=True, _nrt=False)
def _stop_at(s, full):
    """All classes of a full resource that still grow stop at its level."""
    width = s.crossings.shape[2]
    level = s.resources[full].level
    crossing = s.resources[full].head
    while crossing >= 0:
        number, at = crossing // width, crossing % width
        cls = s.classes[number]
        if not cls.frozen and (cls.cell < 0 or at == cls.cell):
            cls.frozen = 1
            cls.limit = full
            cls.level = max(0.0, level)
            if cls.num_uncapped > 0:
                for place in range(cls.length):
                    resource = s.resources[s.crossings[AT, number, place]]
                    if place == cls.cell:
                        weight = cls.cell_weight + cls.cell_weight_err
                    else:
                        weight = cls.weight + cls.weight_err
                    resource.fixed, resource.fixed_err = two_sum(
                        resource.fixed, resource.fixed_err, weight * cls.level
                    )
                    if cls.cell < 0 or place == cls.cell:
                        resource.waiting -= 1
                        if resource.waiting == 0:
                            resource.weight = 0.0
                        else:
                            resource.weight -= weight
        crossing = s.crossings[AFTER, number, at]


@njit(cache=True, forceinline=True, _nrt=False)
def _move(s, num_classes, now):
    """Move flows whose cap is on the wrong side of the level of their class; return how many."""
    moves = 0
    for index in range(num_classes):
        cls = s.classes[s.scratch[1, index]]
        if cls.length == 0:
            continue
        level = s.resources[cls.limit].level if cls.limit >= 0 else inf
        crossings = 1
        if cls.cell < 0 and cls.limit >= 0:
            for place in range(cls.length):
                if s.crossings[AT, s.scratch[1, index], place] == cls.limit:
                    crossings = times(s, s.scratch[1, index], place)
                    break
        while cls.low >= 0 and s.keys[cls.low, 1] < level * (1 - _CLOSE):
            flow = cls.low
            bits = take(s, flow, now)
            put_capped(s, flow, now, bits)
            moves += 1
        while cls.high >= 0 and -s.keys[cls.high, 1] > level * (1 + _CLOSE):
            flow = cls.high
            one = s.flows[flow]
            bits = take(s, flow, now)
            put_uncapped(s, flow, now, bits)
            moves += 1
            # The cap it gives back raises the level of all: move no more than must.
            resource = s.resources[cls.limit]
            weight = one.weight * (one.cost if cls.cell >= 0 else crossings)
            level = (resource.limited * level + weight * threshold(one)) / (resource.limited + weight)
            resource.level = level
            resource.limited += weight
        cls.level = max(0.0, level)
    s.counts[NUM_MOVES] += moves
    return moves


@njit(cache=True, _nrt=False)
def _fill_from_nothing(s, num_classes, num_resources, now):
    """Fill without any guess: caps and resources one after the other as the level meets them."""
    for index in range(num_classes):
        cls = s.classes[s.scratch[1, index]]
        while cls.length > 0 and cls.high >= 0:
            flow = cls.high
            bits = take(s, flow, now)
            put_uncapped(s, flow, now, bits)
    _start(s, num_classes, num_resources)
    for cells in (1, 0):
        while True:
            full, lowest = NONE, inf
            for index in range(num_resources):
                at = s.scratch[2, index]
                resource = s.resources[at]
                if resource.cell == cells and resource.waiting > 0:
                    level = (resource.budget - (resource.fixed + resource.fixed_err)) / resource.weight
                    if level < lowest:
                        full, lowest = at, level
            capped, smallest = NONE, inf
            for index in range(num_classes):
                number = s.scratch[1, index]
                cls = s.classes[number]
                growing = not cls.frozen and cls.low >= 0 and (cls.cell >= 0) == (cells == 1)
                if growing and s.keys[cls.low, 1] < smallest:
                    capped, smallest = number, s.keys[cls.low, 1]
            if full < 0 and capped < 0:
                break
            if smallest <= lowest:
                _cap_smallest(s, capped, now)
            else:
                s.resources[full].level = lowest  # below 0 where caps alone are too much: see `_move`
                s.resources[full].limited = s.resources[full].weight
                _stop_at(s, full)
    for index in range(num_classes):
        cls = s.classes[s.scratch[1, index]]
        cls.level = max(0.0, s.resources[cls.limit].level) if cls.limit >= 0 else inf


@njit(cache=True, _nrt=False)
def _cap_smallest(s, number, now):
    cls = s.classes[number]
    flow = cls.low
    one = s.flows[flow]
    bits = take(s, flow, now)
    put_capped(s, flow, now, bits)
    for place in range(cls.length):
        resource = s.resources[s.crossings[AT, number, place]]
        cost = one.cost if place == cls.cell else 1.0
        resource.fixed, resource.fixed_err = two_sum(resource.fixed, resource.fixed_err, one.cap * cost)
        if cls.cell < 0 or place == cls.cell:
            if cls.num_uncapped == 0:
                resource.waiting -= 1
            if resource.waiting == 0:
                resource.weight = 0.0
            else:
                resource.weight -= one.weight * cost
