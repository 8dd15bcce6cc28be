"""Flows, links and routes as the fluid engine sees them: state only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sfsim.network.cells import FluidCell
    from sfsim.network.fluid import FluidEngine
    from sfsim.network.pace import Pace

Segment = Callable[[float], tuple[float, float]]
Ahead = Callable[[float], tuple[np.ndarray, np.ndarray]]
# A flow is done when less than this is left to do. A tolerance in time, not in bytes: a byte tolerance can be
# shorter than the clock's resolution and stop time for ever, and a smaller one lets equal flows drift apart.
TOLERANCE_S = 1e-9
NONE, ENDED = -1, -2  # slots of flows that are not under way: not yet, and no longer


@dataclass(eq=False, repr=False, slots=True)
class Joint:
    """What only a link has to remember that flows have shared, or that leads through a radio cell.

    ``traits`` are what the cell's policy wants to know, ``riders`` the flows that cross the cell over the link,
    each with whether it has a rate; ``num_alive`` of them do, and ``base_s`` is since when any has. ``past_...``
    is what has crossed the link while it was shared, up to the last time, or through its cell.
    """

    cell: "FluidCell | None" = None
    traits: Mapping[str, Any] = field(default_factory=dict)
    riders: "dict[Flow, bool]" = field(default_factory=dict)
    num_alive: int = 0
    base_s: float = 0.0
    queued: bool = False  # its next change is in the engine's queue
    past_bits: float = 0.0
    past_busy_s: float = 0.0
    past_sharing_s: float = 0.0


_NEVER_S = -inf  # computed once: a number of its own for every link takes room
_ALONE = Joint()  # of most links, which are many: never changed


class FluidLink:
    """A link as the engine sees it.

    While at most one flow uses it, it is a part of that flow's cap (``lane``); from the second on it is a
    resource of the solver (``at``). It is asked for its capacity only while a flow uses it.
    """

    __slots__ = ("at", "capacity_bps", "changes_at_s", "courses", "engine", "joint", "lane")

    def __init__(self, engine: "FluidEngine") -> None:
        self.engine = engine
        self.at = NONE
        self.courses: Course | list[Course] | None = None  # one, as of most links, or several
        self.capacity_bps, self.changes_at_s = 0.0, _NEVER_S
        self.joint = _ALONE
        self.lane = engine.new_lane(self)

    @property
    def name(self) -> str:
        """What errors call it."""
        raise NotImplementedError

    def capacity(self, time_s: float) -> tuple[float, float]:
        """Return the rate at a time in bit/s, and until when it holds."""
        raise NotImplementedError

    def ahead(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return many pieces at once, from the one at `time_s` on: their ends and rates, shape (n,) each."""
        rate_bps, until_s = self.capacity(time_s)
        return np.array([until_s]), np.array([rate_bps])

    @property
    def cell(self) -> "FluidCell | None":
        """The radio cell that it leads through."""
        return self.joint.cell

    def remember(self) -> Joint:
        """Return `joint` to write in."""
        if self.joint is _ALONE:
            self.joint = Joint()
        return self.joint

    def ask(self, time_s: float) -> None:
        """Learn the capacity at a time."""
        self.capacity_bps, self.changes_at_s = self.capacity(time_s)

    @property
    def used_bps(self) -> float:
        """The rate of all flows that use it."""
        return sum(flow.rate_bps * flow.course.links.count(self) for flow in self.flows)

    @property
    def flows(self) -> "list[Flow]":
        """The flows that use it, in the order of their starts."""
        return [flow for flow in self.engine.flows if self in flow.course.links]

    @property
    def flow(self) -> "Flow | None":
        """The flow that has it for itself."""
        return self.engine.flow_on(self)

    @property
    def carried_bits(self) -> float:
        """Integral of its flows' rates over time; `FluidEngine.settle` brings it up to now."""
        tables, lane = self.engine.tables, self.engine.tables.lanes[self.lane]
        bits = self.joint.past_bits + float(lane["bits"])
        if self.at >= 0:
            return bits + float(tables.resources["carried"][self.at])
        flow = self.flow
        if flow is not None:
            return bits + float(lane["base_bits"]) - flow.remaining_bits
        riders = self.joint.riders
        return bits + sum(
            (flow.bits - flow.remaining_bits) * flow.course.links.count(self) for flow in riders
        )

    @property
    def busy_s(self) -> float:
        """Seconds in which bits crossed it."""
        tables, lane = self.engine.tables, self.engine.tables.lanes[self.lane]
        busy_s = self.joint.past_busy_s + float(lane["busy"])
        if self.at >= 0:
            return busy_s + float(tables.resources["busy"][self.at])
        now, flow = self.engine.now_s, self.flow
        if flow is not None:
            return busy_s + now - float(lane["base_s"]) - (flow.idle_s - float(lane["base_idle"]))
        return busy_s + (now - self.joint.base_s if self.joint.num_alive else 0.0)

    @property
    def sharing_s(self) -> float:
        """Seconds that flows have lost because this link, shared with others, held them back."""
        if self.at >= 0:
            return self.joint.past_sharing_s + float(self.engine.tables.resources["sharing"][self.at])
        aired_s = 0.0
        for flow in self.joint.riders:  # what was lost in cells: each crossing has its part
            crossings = flow.course.standing.cells
            aired_s += self.engine.aired_s(flow) * crossings.count(self) / len(crossings)
        return self.joint.past_sharing_s + aired_s


class GivenLink(FluidLink):
    """A link whose capacity somebody computes (see `FluidEngine.add_link`)."""

    __slots__ = ("capacity", "owner", "pieces")

    def __init__(
        self, engine: "FluidEngine", owner: object, segment: Segment, pieces: Ahead | None = None
    ) -> None:
        super().__init__(engine)
        self.owner, self.capacity, self.pieces = owner, segment, pieces  # type: ignore[assignment, method-assign]

    @property
    def name(self) -> str:
        return str(self.owner)

    def ahead(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        return super().ahead(time_s) if self.pieces is None else self.pieces(time_s)


class Standing(NamedTuple):
    """What of a course is shared at present: the same value for many courses, as a rule.

    ``special``: there is something to look at whenever a flow starts on it. ``number`` is the solver's class of
    flows that cross the same shared links, ``followed`` are those of them that change over time, ``varying``
    the private ones that do, and ``cells`` the links that lead through a radio cell: neither private nor shared.
    ``media`` are those cells, each once.
    """

    stale: bool = True
    special: bool = True
    number: int = NONE
    cap_bps: float = inf
    varying: tuple[FluidLink, ...] = ()
    followed: tuple[FluidLink, ...] = ()
    cells: tuple[FluidLink, ...] = ()
    media: "tuple[FluidCell, ...]" = ()


_UNKNOWN = Standing()


@dataclass(eq=False, repr=False, slots=True)
class Course:
    """Links that are crossed together (see `FluidEngine.course`)."""

    first: Any  # the first of its links, and the others: many courses have those in common
    rest: tuple[Any, ...] = ()
    row: int = NONE  # in the solver's table of courses
    standing: Standing = _UNKNOWN

    @property
    def links(self) -> tuple[FluidLink, ...]:
        """All of them, in order."""
        return (self.first, *self.rest)


class Flow:
    """Bits on their way over a course of links.

    ``began_s`` is when it first had a rate, ``lost_s`` the seconds it lost to others: the integral of
    ``1 - rate / alone`` where ``alone`` is the rate it would have had without them.

    Parameters
    ----------
    bits, course, done, owner, cap_bps, weight
        As `FluidEngine.start` says.
    """

    # Most flows keep these: a message costs what is set for it, so nothing is set that need not be.
    owner: object = None
    cap_bps: float = inf
    weight: float = 1.0
    slot = NONE
    order = 0
    moved: "tuple[FluidLink, ...] | None" = (
        None  # the links it has for itself, when they are not the course's
    )
    pace: "Pace | None" = None
    final_began_s = inf
    final_lost_s = 0.0

    def __init__(
        self,
        bits: float,
        course: Course,
        done: "Callable[[Any], None]",
        owner: object,
        cap_bps: float = inf,
        weight: float = 1.0,
    ) -> None:
        self.bits = bits
        self.course = course
        self.done = done
        self.owner = owner
        self.cap_bps = cap_bps
        self.weight = weight

    @property
    def engine(self) -> "FluidEngine":
        """Who moves it."""
        return self.course.first.engine  # type: ignore[no-any-return]

    @property
    def active(self) -> bool:
        """Whether it is on its way."""
        return self.slot >= 0

    @property
    def rate_bps(self) -> float:
        """Its rate now."""
        return self.engine.rate_bps(self) if self.slot >= 0 else 0.0

    @property
    def remaining_bits(self) -> float:
        """Bits that it has left."""
        if self.slot >= 0:
            return self.engine.left_bits(self)
        return 0.0 if self.slot == ENDED else self.bits

    @property
    def idle_s(self) -> float:
        """Seconds in which it had no rate (as long as it is active)."""
        return self.engine.idle_s(self)

    @property
    def began_s(self) -> float:
        """When it first had a rate; infinity: not yet."""
        return self.engine.began_s(self) if self.slot >= 0 else self.final_began_s

    @property
    def lost_s(self) -> float:
        """Seconds lost to others."""
        return self.engine.lost_s(self) if self.slot >= 0 else self.final_lost_s
