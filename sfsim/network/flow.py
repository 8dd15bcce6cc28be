"""Flows, links and routes as the fluid engine sees them: state only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sfsim.network.fluid import FluidEngine
    from sfsim.network.pace import Pace

Segment = Callable[[float], tuple[float, float]]
Ahead = Callable[[float], tuple[np.ndarray, np.ndarray]]
NONE = -1


@dataclass(eq=False, slots=True)
class FluidLink:
    """A link as the engine sees it; ``segment(time_s)`` answers ``(capacity_bps, valid_until_s)``.

    While at most one flow uses it, it is a part of that flow's cap (``flow``); from the second on it is a
    resource of the solver (``at``).
    """

    engine: "FluidEngine"
    name: str
    segment: Segment
    ahead: Ahead | None = None
    at: int = NONE
    flow: "Flow | None" = None
    routes: "list[Route]" = field(default_factory=list)
    capacity_bps: float = 0.0
    changes_at_s: float = -inf
    queued: bool = False  # its next change is in the engine's queue
    # What had crossed it before it was the part or the resource that it is now, and since when it is.
    past_bits: float = 0.0
    past_busy_s: float = 0.0
    past_sharing_s: float = 0.0
    base_bits: float = 0.0
    base_s: float = 0.0
    base_idle_s: float = 0.0

    def ask(self, time_s: float) -> None:
        """Learn the capacity at a time."""
        self.capacity_bps, self.changes_at_s = self.segment(time_s)

    @property
    def used_bps(self) -> float:
        """The rate of all flows that use it."""
        return sum(flow.rate_bps for flow in self.flows)

    @property
    def flows(self) -> "list[Flow]":
        """The flows that use it, in the order of their starts."""
        return [flow for flow in self.engine.flows if self in flow.route.links]

    @property
    def carried_bits(self) -> float:
        """Integral of its flows' rates over time; `FluidEngine.settle` brings it up to now."""
        if self.at >= 0:
            return self.past_bits + float(self.engine.tables.resources["carried"][self.at])
        if self.flow is not None:
            return self.past_bits + self.base_bits - self.flow.remaining_bits
        return self.past_bits

    @property
    def busy_s(self) -> float:
        """Seconds in which something crossed it."""
        if self.at >= 0:
            return self.past_busy_s + float(self.engine.tables.resources["busy"][self.at])
        if self.flow is not None:
            return self.past_busy_s + self.engine.now_s - self.base_s - (self.flow.idle_s - self.base_idle_s)
        return self.past_busy_s

    @property
    def sharing_s(self) -> float:
        """Seconds that flows have lost because this link, shared with others, held them back."""
        if self.at >= 0:
            return self.past_sharing_s + float(self.engine.tables.resources["sharing"][self.at])
        return self.past_sharing_s


@dataclass(eq=False, slots=True)
class Route:
    """Links that are crossed together, and what of them is shared at present (see `FluidEngine.route`)."""

    links: tuple[FluidLink, ...]
    stale: bool = True
    special: bool = True  # there is something to look at whenever a flow starts on it
    number: int = NONE  # the solver's class of flows that cross the same shared links
    private: tuple[FluidLink, ...] = ()
    cap_bps: float = inf
    varying: tuple[FluidLink, ...] = ()  # private links whose capacity changes over time
    followed: tuple[FluidLink, ...] = ()  # shared ones


class Flow:
    """Bits on their way over a route of links.

    ``first_s`` is when it first had a rate, ``sharing_s`` the seconds it lost to others: the integral of
    ``1 - rate / alone`` where ``alone`` is the rate it would have had without them.

    Parameters
    ----------
    engine, bits, route, done, owner, cap_bps, weight
        As `FluidEngine.start` says.
    """

    # Most flows keep these: a message costs what is set for it, so nothing is set that need not be.
    slot = NONE
    order = 0
    private: tuple[FluidLink, ...] = ()
    pace: "Pace | None" = None
    ended = False
    final_first_s = inf
    final_sharing_s = 0.0

    def __init__(
        self,
        engine: "FluidEngine",
        bits: float,
        route: Route,
        done: "Callable[[Any], None]",
        owner: object,
        cap_bps: float,
        weight: float,
    ) -> None:
        self.engine = engine
        self.bits = bits
        self.route = route
        self.done = done
        self.owner = owner
        self.cap_bps = cap_bps
        self.weight = weight

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
        return 0.0 if self.ended else self.bits

    @property
    def idle_s(self) -> float:
        """Seconds in which it had no rate (as long as it is active)."""
        return self.engine.idle_s(self)

    @property
    def first_s(self) -> float:
        """When it first had a rate; infinity: not yet."""
        return self.engine.first_s(self) if self.slot >= 0 else self.final_first_s

    @property
    def sharing_s(self) -> float:
        """Seconds lost to others."""
        return self.engine.sharing_s(self) if self.slot >= 0 else self.final_sharing_s
