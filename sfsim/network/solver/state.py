"""What the solver knows: tables of flows, classes, resources, lanes and courses, as arrays of records.

A *resource* is a link that several flows share, or a radio cell. A *class* holds the flows that cross the
same resources. A flow of weight ``w`` in a class of level ``theta`` has the rate ``min(cap, w * theta)``; it
is *capped* when its cap is the smaller one. A *lane* is a link that a flow has for itself: its capacity is a
part of the cap. A *course* is what flows of one route have in common: their class, and their lanes.
"""

from struct import Struct
from typing import NamedTuple

import numpy as np

NONE = -1
FREE, UNCAPPED, CAPPED, OWN = 0, 1, 2, 3  # OWN: runs at its own pace, outside the solver

FLOW = np.dtype(
    [
        # These are written when it comes (see `ARRIVAL`).
        ("course", np.int32),
        ("cls", np.int32),
        ("state", np.int64),
        ("order", np.float64),  # in which flows started; decides between those that end at one instant
        ("cap", np.float64),
        ("weight", np.float64),
        ("bits", np.float64),  # left at `bits_s` (capped flows); uncapped flows have them in the heap's key
        ("bits_s", np.float64),
        ("peak", np.float64),  # the largest rate it may ever have alone
        ("alone", np.float64),  # the rate it would have alone, now
        ("solo", np.float64),  # what of `alone` is neither cap nor capacity: its rate alone in a cell
        ("cost", np.float64),  # what a bit/s takes of the budget of the class's cell
        ("mark_bits", np.float64),  # left at `mark_s`, since when it is uncapped with the same `alone`
        ("mark_s", np.float64),
        ("sharing", np.float64),
        ("first", np.float64),
        ("idle", np.float64),
    ]
)
ARRIVAL = Struct("iiqdddd")  # how the columns of `FLOW` begin: up to `bits`
CLASS = np.dtype(
    [
        ("length", np.int64),  # how many resources it crosses
        ("cell", np.int64),  # place of the resource that sets the level by itself, or NONE: all of them do
        ("num", np.int64),
        ("num_uncapped", np.int64),
        ("num_own", np.int64),
        ("place", np.int64),  # in the list of active classes
        ("head", np.int64),  # first of its flows
        ("finish", np.int64),  # heap of uncapped flows by finish (in virtual time)
        ("low", np.int64),  # heap of uncapped flows, smallest threshold first
        ("high", np.int64),  # heap of capped flows, largest threshold first
        ("seen", np.int64),
        ("dirty", np.int64),
        ("frozen", np.int64),
        ("limit", np.int64),  # the resource that sets its level, or NONE
        ("level", np.float64),
        ("before", np.float64),  # the level until now
        ("virtual", np.float64),  # integral of the level over time
        ("last", np.float64),
        ("next", np.float64),  # when its first uncapped flow will be done
        ("weight", np.float64),  # sum over uncapped flows; with its rounding error, as all sums here
        ("weight_err", np.float64),
        ("capped", np.float64),  # sum of the caps of capped flows
        ("capped_err", np.float64),
        ("cell_weight", np.float64),  # the same two, each flow times its cost
        ("cell_weight_err", np.float64),
        ("cell_capped", np.float64),
        ("cell_capped_err", np.float64),
        ("inverse", np.float64),  # sum of weight / alone over uncapped flows
        ("inverse_err", np.float64),
        ("stopped", np.float64),  # seconds at level 0
        ("alone", np.float64),  # the smallest capacity of its resources
        ("widest", np.float64),  # no cap in it is larger
        ("heaviest", np.float64),  # no weight in it is larger
    ]
)
RESOURCE = np.dtype(
    [
        ("head", np.int64),  # first of the active classes that cross it
        ("num", np.int64),
        ("num_own", np.int64),
        ("cell", np.int64),  # 1: flows take `cost` per bit/s of its budget, and it sets levels by itself
        ("seen", np.int64),
        ("waiting", np.int64),  # classes with uncapped flows that still grow while filling
        ("crowded", np.int64),  # 1: it would hold a flow back that only its cell may hold back
        ("budget", np.float64),
        ("used", np.float64),
        ("carried", np.float64),
        ("busy", np.float64),
        ("sharing", np.float64),
        ("last", np.float64),
        ("peaks", np.float64),  # sum of the peaks of its flows
        ("num_peakless", np.int64),  # flows without a finite peak
        ("fixed", np.float64),  # what is given away while filling
        ("fixed_err", np.float64),
        ("weight", np.float64),  # sum over what still grows
        ("level", np.float64),
        ("limited", np.float64),  # weight of what stopped at it
    ]
)
LANE = np.dtype(
    [
        ("flow", np.int64),  # who has the link for itself now, or NONE
        ("base_bits", np.float64),  # what that flow had left when the link became its own, at `base_s`
        ("base_s", np.float64),
        ("base_idle", np.float64),
        ("bits", np.float64),  # what has crossed it in such times
        ("busy", np.float64),
    ]
)
COURSE = np.dtype([("cls", np.int32), ("num_lanes", np.int32), ("cap", np.float64)])
# Columns of `links`, the integers of flows: two heaps (child, next, previous) and the list of a class.
FINISH, THRESHOLD = 0, 1
LIST_NEXT, LIST_PREVIOUS = 6, 7
# Planes of `crossings`: the resource at a place of a class, and its neighbours in the list of that resource.
AT, AFTER, BEFORE = 0, 1, 2
# Entries of `counts`.
NUM_ACTIVE, CAPPED_ROOT, NUM_DIRTY, STAMP, NUM_SOLVES, NUM_COLD, NUM_MOVES = range(7)
NUM_DONE, NUM_OUT, NUM_CROWDED, NUM_ATTACHED, TAKEN_LANE = range(7, 12)


class Tables(NamedTuple):
    """All arrays of a solver; every compiled function takes them as its first argument."""

    flows: np.ndarray
    keys: np.ndarray
    links: np.ndarray
    classes: np.ndarray
    crossings: np.ndarray
    resources: np.ndarray
    counts: np.ndarray
    active: np.ndarray
    scratch: np.ndarray
    done: np.ndarray
    lanes: np.ndarray
    courses: np.ndarray
    course_lanes: np.ndarray
    aired: np.ndarray  # of what a flow has lost to others: the seconds that it lost in its cells


def tables() -> Tables:
    """Return empty tables with a little room."""
    counts = np.zeros(16, np.int64)
    counts[CAPPED_ROOT] = NONE
    return Tables(
        flows=np.zeros(16, FLOW),
        keys=np.zeros((16, 2)),
        links=np.full((16, 8), NONE, np.int32),
        classes=np.zeros(8, CLASS),
        crossings=np.full((3, 8, 4), NONE, np.int64),
        resources=np.zeros(8, RESOURCE),
        counts=counts,
        active=np.zeros(8, np.int64),
        scratch=np.zeros((3, 8), np.int64),
        done=np.zeros(16, np.int64),
        lanes=np.zeros(8, LANE),
        courses=np.zeros(8, COURSE),
        course_lanes=np.zeros((8, 4), np.int32),
        aired=np.zeros(16),
    )


def more_flows(old: Tables, number: int) -> Tables:
    """Make room for `number` flows."""
    size = len(old.flows)
    while size < number:
        size *= 2
    return old._replace(
        flows=_grown(old.flows, size),
        keys=_grown(old.keys, size),
        links=_grown(old.links, size),
        done=_grown(old.done, size),
        aired=_grown(old.aired, size),
    )


def more_classes(old: Tables) -> Tables:
    """Double the room for classes."""
    size = old.crossings.shape[1]
    crossings = np.full((3, 2 * size, old.crossings.shape[2]), NONE, np.int64)
    crossings[:, :size] = old.crossings
    new = old._replace(classes=_doubled(old.classes), active=_doubled(old.active), crossings=crossings)
    return _fitting(new)


def more_resources(old: Tables) -> Tables:
    """Double the room for resources."""
    return _fitting(old._replace(resources=_doubled(old.resources)))


def wider(old: Tables, length: int) -> Tables:
    """Make room for classes that cross `length` resources."""
    before = old.crossings.shape[2]
    width = before
    while width < length:
        width *= 2
    crossings = np.full((3, old.crossings.shape[1], width), NONE, np.int64)
    crossings[:, :, :before] = old.crossings
    # A crossing is called by class * width + place: the names change with the width.
    for names in (crossings[AFTER], crossings[BEFORE], old.resources["head"]):
        known = names >= 0
        names[known] = names[known] // before * width + names[known] % before
    return old._replace(crossings=crossings)


def more_lanes(old: Tables) -> Tables:
    """Double the room for links that a flow may have for itself."""
    return old._replace(lanes=_doubled(old.lanes))


def more_courses(old: Tables) -> Tables:
    """Double the room for courses."""
    return old._replace(courses=_doubled(old.courses), course_lanes=_doubled(old.course_lanes))


def longer_courses(old: Tables, length: int) -> Tables:
    """Make room for courses of `length` links."""
    course_lanes = np.zeros((len(old.courses), 2 * length), np.int32)
    course_lanes[:, : old.course_lanes.shape[1]] = old.course_lanes
    return old._replace(course_lanes=course_lanes)


def _fitting(new: Tables) -> Tables:
    size = max(len(new.classes), len(new.resources))
    scratch = np.zeros((3, size), np.int64)
    scratch[:, : new.scratch.shape[1]] = new.scratch
    return new._replace(scratch=scratch)


def _doubled(array: np.ndarray) -> np.ndarray:
    return _grown(array, 2 * len(array))


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    grown = np.zeros((size, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
