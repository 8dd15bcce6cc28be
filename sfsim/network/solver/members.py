"""Flows enter and leave classes and their heaps; classes and resources move on in time.

Every function that changes a class expects it to be advanced to now, so that nothing is changed in the past.
"""

# mypy: disable-error-code="no-untyped-def"

from math import inf

from numba import njit

from sfsim.network.solver.heaps import insert, remove
from sfsim.network.solver.state import (
    AFTER,
    AT,
    BEFORE,
    CAPPED,
    CAPPED_ROOT,
    FINISH,
    LIST_NEXT,
    LIST_PREVIOUS,
    NONE,
    NUM_ACTIVE,
    NUM_DIRTY,
    OWN,
    THRESHOLD,
    UNCAPPED,
)

# Shorter than this, lost time is a rounding error of two clock readings.
_NO_TIME_S = 1e-12


@njit(cache=True, forceinline=True, _nrt=False)
def two_sum(total, error, term):
    """Add and keep what rounding loses: sums must not drift, nor depend on the order of their terms."""
    result = total + term
    virtual = result - total
    return result, error + ((total - (result - virtual)) + (term - virtual))


@njit(cache=True, forceinline=True, _nrt=False)
def advance_class(s, number, now):
    """Bring a class up to now."""
    cls = s.classes[number]
    elapsed = now - cls.last
    if elapsed > 0:
        if cls.level == 0:
            cls.stopped += elapsed
        elif cls.num_uncapped > 0:
            cls.virtual += cls.level * elapsed
            if cls.limit >= 0:
                lost = cls.num_uncapped - cls.level * (cls.inverse + cls.inverse_err)
                if lost > 0:
                    s.resources[cls.limit].sharing += lost * elapsed
    cls.last = now


@njit(cache=True, forceinline=True, _nrt=False)
def advance_resource(s, number, now):
    """Bring a resource up to now."""
    resource = s.resources[number]
    elapsed = now - resource.last
    if elapsed > 0:
        if resource.used > 0:
            resource.carried += resource.used * elapsed
        if resource.used > 0 or resource.num_own > 0:
            resource.busy += elapsed
    resource.last = now


@njit(cache=True, forceinline=True, _nrt=False)
def threshold(one):
    """Return the level at which a flow becomes capped."""
    return one.cap / one.weight


@njit(cache=True, forceinline=True, _nrt=False)
def left(s, flow, now):
    """Return the bits that a flow still has to send."""
    one = s.flows[flow]
    if one.state == UNCAPPED:
        cls = s.classes[one.cls]
        virtual = cls.virtual
        if now > cls.last:
            virtual += cls.level * (now - cls.last)
        return (s.keys[flow, FINISH] - virtual) * one.weight
    if one.state == CAPPED:
        return one.bits - one.cap * (now - one.bits_s)
    return one.bits


@njit(cache=True, forceinline=True, _nrt=False)
def put_capped(s, flow, now, bits):
    """File a flow of `bits` as one that runs at its cap."""
    one = s.flows[flow]
    cls = s.classes[one.cls]
    one.state = CAPPED
    one.bits = one.mark_bits = bits
    one.bits_s = one.mark_s = now
    finish = inf
    if one.cap > 0:
        finish = now + bits / one.cap
    else:
        one.idle += cls.stopped  # idle anyway: the stops of its class do not count for it, see `take`
    s.counts[CAPPED_ROOT] = insert(s.links, s.keys, FINISH, s.counts[CAPPED_ROOT], flow, finish)
    if cls.length > 0:
        cls.high = insert(s.links, s.keys, THRESHOLD, cls.high, flow, -threshold(one))
        cls.capped, cls.capped_err = two_sum(cls.capped, cls.capped_err, one.cap)
        if cls.cell >= 0:
            cls.cell_capped, cls.cell_capped_err = two_sum(
                cls.cell_capped, cls.cell_capped_err, one.cap * one.cost
            )


@njit(cache=True, forceinline=True, _nrt=False)
def put_uncapped(s, flow, now, bits):
    """File a flow of `bits` as one that follows the level of its class."""
    one = s.flows[flow]
    cls = s.classes[one.cls]
    one.state = UNCAPPED
    one.mark_bits = bits
    one.mark_s = now
    cls.finish = insert(s.links, s.keys, FINISH, cls.finish, flow, cls.virtual + bits / one.weight)
    if one.cap < inf:
        cls.low = insert(s.links, s.keys, THRESHOLD, cls.low, flow, threshold(one))
    cls.num_uncapped += 1
    cls.weight, cls.weight_err = two_sum(cls.weight, cls.weight_err, one.weight)
    if cls.cell >= 0:
        cls.cell_weight, cls.cell_weight_err = two_sum(
            cls.cell_weight, cls.cell_weight_err, one.weight * one.cost
        )
    if one.alone > 0:
        cls.inverse, cls.inverse_err = two_sum(cls.inverse, cls.inverse_err, one.weight / one.alone)


@njit(cache=True, forceinline=True, _nrt=False)
def note_sharing(s, flow, bits, now):
    """Count the time that a flow has lost to others since its mark, and set the mark anew.

    It is uncapped, or capped below its rate alone: by a cell that was allocated as a whole.
    """
    one = s.flows[flow]
    if one.alone > 0:
        lost = (now - one.mark_s) - (one.mark_bits - bits) / one.alone
        if lost > _NO_TIME_S + 8e-16 * now:
            one.sharing += lost
            if one.state == CAPPED or s.classes[one.cls].cell >= 0:
                s.aired[flow] += lost
    one.mark_s = now
    one.mark_bits = bits


@njit(cache=True, forceinline=True, _nrt=False)
def take(s, flow, now):
    """Take a flow out of the heaps and sums of its class; return the bits it has left."""
    one = s.flows[flow]
    cls = s.classes[one.cls]
    bits = left(s, flow, now)
    if one.state == CAPPED:
        if one.cap < one.alone:
            note_sharing(s, flow, bits, now)
        s.counts[CAPPED_ROOT] = remove(s.links, s.keys, FINISH, s.counts[CAPPED_ROOT], flow)
        if cls.length > 0:
            cls.high = remove(s.links, s.keys, THRESHOLD, cls.high, flow)
            if cls.high < 0:
                cls.capped = cls.capped_err = cls.cell_capped = cls.cell_capped_err = 0.0
            else:
                cls.capped, cls.capped_err = two_sum(cls.capped, cls.capped_err, -one.cap)
                if cls.cell >= 0:
                    cls.cell_capped, cls.cell_capped_err = two_sum(
                        cls.cell_capped, cls.cell_capped_err, -one.cap * one.cost
                    )
        if one.cap == 0:
            one.idle += now - one.bits_s - cls.stopped
    elif one.state == UNCAPPED:
        note_sharing(s, flow, bits, now)
        cls.finish = remove(s.links, s.keys, FINISH, cls.finish, flow)
        if one.cap < inf:
            cls.low = remove(s.links, s.keys, THRESHOLD, cls.low, flow)
        cls.num_uncapped -= 1
        if cls.num_uncapped == 0:
            cls.weight = cls.weight_err = cls.cell_weight = cls.cell_weight_err = 0.0
            cls.inverse = cls.inverse_err = 0.0
        else:
            cls.weight, cls.weight_err = two_sum(cls.weight, cls.weight_err, -one.weight)
            if cls.cell >= 0:
                cls.cell_weight, cls.cell_weight_err = two_sum(
                    cls.cell_weight, cls.cell_weight_err, -one.weight * one.cost
                )
            if one.alone > 0:
                cls.inverse, cls.inverse_err = two_sum(cls.inverse, cls.inverse_err, -one.weight / one.alone)
    one.bits = bits
    one.bits_s = now
    return bits


@njit(cache=True, forceinline=True, _nrt=False)
def make_dirty(s, number):
    """Note that the levels around a class have to be found anew."""
    if not s.classes[number].dirty:
        s.classes[number].dirty = 1
        s.scratch[0, s.counts[NUM_DIRTY]] = number
        s.counts[NUM_DIRTY] += 1


@njit(cache=True, forceinline=True, _nrt=False)
def times(s, number, place):
    """Return how often a class crosses the resource at a place of it, from that place on: they stand together."""
    count = 1
    at = s.crossings[AT, number, place]
    while place + count < s.classes[number].length and s.crossings[AT, number, place + count] == at:
        count += 1
    return count


@njit(cache=True, _nrt=False)
def _open(s, number, now):
    """A class gets its first flow."""
    cls = s.classes[number]
    cls.place = s.counts[NUM_ACTIVE]
    s.active[s.counts[NUM_ACTIVE]] = number
    s.counts[NUM_ACTIVE] += 1
    cls.head = cls.finish = cls.low = cls.high = cls.limit = NONE
    cls.virtual = cls.stopped = cls.widest = cls.heaviest = 0.0
    cls.last = now
    cls.next = cls.alone = inf
    # Its last level is a good guess of the next one, so that flows need not move.
    width = s.crossings.shape[2]
    for place in range(cls.length):
        at = s.crossings[AT, number, place]
        resource = s.resources[at]
        if resource.num == 0 and (place == 0 or s.crossings[AT, number, place - 1] != at):
            advance_resource(s, at, now)
            resource.head = NONE
            resource.level = inf
            resource.peaks = 0.0
        if place != cls.cell:
            cls.alone = min(cls.alone, resource.budget / times(s, number, place))
        name = number * width + place
        s.crossings[AFTER, number, place] = resource.head
        s.crossings[BEFORE, number, place] = NONE
        if resource.head >= 0:
            s.crossings[BEFORE, resource.head // width, resource.head % width] = name
        resource.head = name


@njit(cache=True, _nrt=False)
def _close(s, number):
    """A class loses its last flow."""
    cls = s.classes[number]
    s.counts[NUM_ACTIVE] -= 1
    moved = s.active[s.counts[NUM_ACTIVE]]
    s.active[cls.place] = moved
    s.classes[moved].place = cls.place
    width = s.crossings.shape[2]
    for place in range(cls.length):
        after = s.crossings[AFTER, number, place]
        before = s.crossings[BEFORE, number, place]
        if before >= 0:
            s.crossings[AFTER, before // width, before % width] = after
        else:
            s.resources[s.crossings[AT, number, place]].head = after
        if after >= 0:
            s.crossings[BEFORE, after // width, after % width] = before


@njit(cache=True, _nrt=False)
def enter(s, flow, now, bits, own):
    """Put a flow, whose constants are filled in, into its class."""
    one = s.flows[flow]
    cls = s.classes[one.cls]
    if cls.num == 0:
        _open(s, one.cls, now)
    else:
        advance_class(s, one.cls, now)
    cls.num += 1
    s.links[flow, LIST_PREVIOUS] = NONE
    s.links[flow, LIST_NEXT] = cls.head
    if cls.head >= 0:
        s.links[cls.head, LIST_PREVIOUS] = flow
    cls.head = flow
    cls.widest = max(cls.widest, one.solo)
    cls.heaviest = max(cls.heaviest, one.weight)
    one.alone = min(one.solo, cls.alone)
    one.idle -= cls.stopped
    for place in range(cls.length):
        resource = s.resources[s.crossings[AT, one.cls, place]]
        resource.num += 1
        if one.peak < inf:
            resource.peaks += one.peak
        else:
            resource.num_peakless += 1
        if own:
            resource.num_own += 1
    if own:
        cls.num_own += 1
        one.state = OWN
        one.bits = bits
        one.bits_s = now
    elif one.cap < inf and threshold(one) <= cls.level:
        put_capped(s, flow, now, bits)
    else:
        put_uncapped(s, flow, now, bits)
    make_dirty(s, one.cls)


@njit(cache=True, _nrt=False)
def leave(s, flow, now):
    """Take a flow out of its class; return the bits it has left."""
    one = s.flows[flow]
    cls = s.classes[one.cls]
    advance_class(s, one.cls, now)
    own = one.state == OWN
    bits = take(s, flow, now)
    if own:
        cls.num_own -= 1
    for place in range(cls.length):
        at = s.crossings[AT, one.cls, place]
        resource = s.resources[at]
        if own:
            advance_resource(s, at, now)
            resource.num_own -= 1
        resource.num -= 1
        if one.peak < inf:
            resource.peaks -= one.peak
        else:
            resource.num_peakless -= 1
    before, after = s.links[flow, LIST_PREVIOUS], s.links[flow, LIST_NEXT]
    if before >= 0:
        s.links[before, LIST_NEXT] = after
    else:
        cls.head = after
    if after >= 0:
        s.links[after, LIST_PREVIOUS] = before
    one.idle += cls.stopped
    cls.num -= 1
    if cls.num == 0:
        _close(s, one.cls)
    make_dirty(s, one.cls)
    return bits


@njit(cache=True, _nrt=False)
def renew_alone(s, number, now):
    """A capacity of a class has changed: what would its flows have alone?

    Costs O(flows of the class), unless their own caps are below the old and the new capacity.
    """
    cls = s.classes[number]
    old = cls.alone
    cls.alone = inf
    for place in range(cls.length):
        if place != cls.cell:
            budget = s.resources[s.crossings[AT, number, place]].budget
            cls.alone = min(cls.alone, budget / times(s, number, place))
    if cls.alone == old or cls.widest <= min(old, cls.alone):
        return
    cls.inverse = cls.inverse_err = 0.0
    flow = cls.head
    while flow >= 0:
        one = s.flows[flow]
        alone = min(one.solo, cls.alone)
        if alone != one.alone and (one.state == UNCAPPED or (one.state == CAPPED and one.cap < one.alone)):
            note_sharing(s, flow, left(s, flow, now), now)
        if one.state == UNCAPPED and alone > 0:
            cls.inverse, cls.inverse_err = two_sum(cls.inverse, cls.inverse_err, one.weight / alone)
        one.alone = alone
        flow = s.links[flow, LIST_NEXT]


@njit(cache=True, _nrt=False)
def in_order(s, which):
    """Sort flows by when they started, in place: a heap sort, for there is no room to allocate."""
    count = len(which)
    for start in range(count // 2 - 1, -1, -1):
        _sift(s, which, start, count)
    for end in range(count - 1, 0, -1):
        which[0], which[end] = which[end], which[0]
        _sift(s, which, 0, end)


@njit(cache=True, _nrt=False)
def _sift(s, which, root, end):
    while True:
        child = 2 * root + 1
        if child >= end:
            return
        if child + 1 < end and s.flows[which[child]].order < s.flows[which[child + 1]].order:
            child += 1
        if s.flows[which[root]].order >= s.flows[which[child]].order:
            return
        which[root], which[child] = which[child], which[root]
        root = child
