"""Flows and links as the fluid engine sees them: state only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

Segment = Callable[[float], tuple[float, float]]


@dataclass(eq=False, slots=True)
class FluidLink:
    """A link as the engine sees it; ``segment(time_s)`` answers ``(capacity_bps, valid_until_s)``."""

    name: str
    segment: Segment
    flows: "dict[Flow, None]" = field(default_factory=dict)
    capacity_bps: float = 0.0
    changes_at_s: float = -inf
    used_bps: float = 0.0
    carried_bits: float = 0.0
    busy_s: float = 0.0


@dataclass(eq=False, slots=True)
class Flow:
    """Bits on their way over a route of links."""

    label: str
    route: tuple[FluidLink, ...]
    remaining_bits: float
    done: "Callable[[Flow], None]"
    rate_bps: float = 0.0
    alone_bps: float = 0.0
    first_s: float = inf
    sharing_s: float = 0.0
