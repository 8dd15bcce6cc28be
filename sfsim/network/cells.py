"""Radio cells in the fluid engine: flows that share airtime instead of bit/s.

A cell's policy (`Policy` below) says who gets what. Where it is "weight times a common level", the cell is
one more resource of the solver, and an event costs what any event costs. Otherwise, and as long as a wired
link holds one of its members back, its rates are allocated as a whole whenever something changes, until what
the cell gives and what the rest of the routes lets through agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sfsim.errors import NetworkError
from sfsim.network.flow import Flow, FluidLink

if TYPE_CHECKING:
    from sfsim.network.fluid import FluidEngine

Weights = tuple[np.ndarray, np.ndarray, float]
_ROUNDS = 100
_REMEMBERED = 4096  # peak rates of which weight and cost are known; fading makes ever new ones
_PATIENCE = 256  # allocations before a cell is tried as a resource again


class Policy(Protocol):
    """What the engine asks of an access policy; see `sfsim.network.cell.policy`."""

    def weights(self, peak_bps: np.ndarray, n: int) -> Weights | None:
        """Return weight and cost of members with these peak rates, and the budget, when n are active."""

    def allocate(self, peak_bps: np.ndarray, cap_bps: np.ndarray, members: Any = ..., /) -> np.ndarray:
        """Return the rates of all members; `members`: what it wants to know of them besides."""


@dataclass(eq=False, repr=False, slots=True)
class Seat:
    """A flow in a cell, and what it would get alone on the air.

    ``others`` are the further crossings of a flow that crosses the cell more than once (from a client to another
    one, half duplex): it takes airtime for each. What holds for the whole flow stands in the first seat.
    """

    flow: Flow
    link: FluidLink
    peak_bps: float
    until_s: float
    weight: float = 1.0
    cost: float = 1.0
    solo_bps: float = 0.0
    given_bps: float = 0.0
    others: "tuple[Seat, ...]" = ()

    @property
    def crossings(self) -> "tuple[Seat, ...]":
        """All seats of the flow in the cell."""
        return (self, *self.others)


@dataclass(eq=False, repr=False, slots=True)
class FluidCell:
    """A medium that flows share.

    Parameters
    ----------
    engine : FluidEngine
        Who moves the flows.
    name : str
        What errors call it.
    policy : Policy
        How they share it.
    members : callable, optional
        Makes what the policy wants to know besides, from arrays of the members' traits (see `Joint`).
    """

    engine: "FluidEngine"
    name: str
    policy: Policy
    members: Any = None
    at: int = -1
    seats: dict[Flow, Seat] = field(default_factory=dict)
    num_crossings: int = 0  # of all flows: as many as contend for the air
    as_resource: bool = True
    by_number: dict[int, float] = field(default_factory=dict)  # budget by number of members
    by_peak: dict[object, tuple[float, float, float]] = field(default_factory=dict)  # what `rate` found
    given: float = -1.0  # the budget that the solver has
    depends: bool = False  # weights depend on the number of members
    allocations: int = 0
    changed: bool = False
    links: list[FluidLink] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.as_resource = self.policy.weights(np.array([1e6]), 1) is not None

    def add(self, link: FluidLink, **traits: Any) -> None:
        """Lead a link through the cell: its capacity is what a flow would get alone on the air.

        `traits` are what the policy wants to know of those who use it, besides.
        """
        joint = link.remember()
        joint.cell, joint.traits = self, traits
        self.links.append(link)

    def budget(self, number: int) -> float:
        """Return the budget of `number` members; learns whether their weights depend on the number."""
        known = self.by_number.get(number)
        if known is None:
            probe = np.array([1e6, 2e7])
            one, many = self.policy.weights(probe, 1), self.policy.weights(probe, number)
            assert one is not None and many is not None
            if not (np.array_equal(one[0], many[0]) and np.array_equal(one[1], many[1])):
                self.depends = True
                self.by_peak.clear()
            known = self.by_number[number] = float(many[2])
        return known

    def rate(self, seat: Seat) -> None:
        """Find weight, cost and rate alone of a member."""
        peaks = tuple([one.peak_bps for one in seat.crossings]) if seat.others else seat.peak_bps
        known = self.by_peak.get(peaks)
        if known is not None:
            seat.solo_bps, seat.weight, seat.cost = known
            return
        peak = np.atleast_1d(peaks)
        seat.solo_bps = self._alone_bps(seat, peak)
        now = self.policy.weights(peak, self.num_crossings)
        if now is None:
            return
        # Each crossing has its turn: the slowest decides, and each takes its airtime.
        seat.weight, seat.cost = float(now[0].min()), float(now[1].sum())
        if not self.depends and len(self.by_peak) < _REMEMBERED:
            self.by_peak[peaks] = (seat.solo_bps, seat.weight, seat.cost)

    def alone_bps(self, links: Sequence[FluidLink], now: float) -> float:
        """Return what a flow that crosses the cell over `links`, one after the other, gets alone on the air."""
        first, *others = (Seat(None, link, link.offered_bps(now), inf) for link in links)  # type: ignore[arg-type, attr-defined]
        first.others = tuple(others)
        return self._alone_bps(first, np.array([one.peak_bps for one in first.crossings]))

    def _alone_bps(self, seat: Seat, peak_bps: np.ndarray) -> float:
        alone = self.policy.weights(peak_bps, len(peak_bps))
        if alone is None:
            return float(self._ask(np.array([inf]), [seat])[0])
        _, cost, budget = alone
        return float(budget / cost.sum()) if cost.all() else 0.0

    def allocate(self, cap_bps: np.ndarray) -> np.ndarray:
        """Return the rates of all members; `cap_bps`: what the rest of each route lets through."""
        return self._ask(cap_bps, list(self.seats.values()))

    def _ask(self, cap_bps: np.ndarray, seats: list[Seat]) -> np.ndarray:
        counts = [1 + len(seat.others) for seat in seats]
        several = sum(counts) > len(seats)
        crossings = [one for seat in seats for one in seat.crossings] if several else seats
        peak_bps = np.array([one.peak_bps for one in crossings])
        if self.members is None and not several:
            return np.asarray(self.policy.allocate(peak_bps, cap_bps), float)
        if self.members is None:
            owner = next(seat.flow.owner for seat in seats if seat.others)
            raise NetworkError(f"cell {self.name!r} cannot serve {owner}, which crosses it more than once")
        names = seats[0].link.joint.traits
        traits = {name: np.array([one.link.joint.traits[name] for one in crossings]) for name in names}
        if not several:
            return np.asarray(self.policy.allocate(peak_bps, cap_bps, self.members(**traits)), float)
        flows = np.repeat(np.arange(len(seats)), counts)
        members = self.members(**traits, flows=flows)
        rates = np.asarray(self.policy.allocate(peak_bps, cap_bps[flows], members), float)
        return rates[np.append(0, np.cumsum(counts)[:-1])]


class Cells:
    """All cells of an engine: who joins and leaves, and what that changes."""

    def __init__(self, engine: "FluidEngine") -> None:
        self.engine = engine
        self.all: list[FluidCell] = []
        self._fresh: list[Flow] = []  # joined since the last solve

    def join(self, flow: Flow, now: float) -> None:
        """Let a new flow into the cells that it crosses, and into the solver."""
        links = flow.course.standing.cells
        media = flow.course.standing.media
        if len(media) > 1:
            for cell in media:
                if cell.as_resource:
                    self._switch(cell, False, now)
        for link in links:
            seat = Seat(flow, link, *link.capacity(now))
            link.capacity_bps, link.changes_at_s = seat.peak_bps, seat.until_s
            refuse_dead(seat, now)
            if seat.until_s < inf:
                self.engine.put(seat.until_s, seat)
            link.joint.riders[flow] = False
            medium = link.joint.cell
            assert medium is not None
            first = medium.seats.get(flow)
            if first is None:
                medium.seats[flow] = seat
            else:
                first.others += (seat,)
            medium.num_crossings += 1
            medium.changed = True
        for cell in media:
            seat = cell.seats[flow]
            cell.rate(seat)
            seat.given_bps = seat.solo_bps
        self._fresh.append(flow)
        if flow.course.standing.stale:
            self.engine.refresh(flow.course, now)
        cap, weight, cost, solo = self._terms(flow)
        _note_alive(flow, cap > 0, now)
        self.engine.enter_cell(
            self.engine.tables,
            flow.slot,
            flow.course.row,
            flow.course.standing.number,
            float(cap),
            float(weight),
            float(cost),
            float(solo),
            float(flow.order),
            flow.bits,
            now,
        )

    def leave(self, flow: Flow, now: float) -> None:
        """Note that a flow has ended."""
        _note_alive(flow, False, now)
        links = flow.course.standing.cells
        lost_s = self.engine.aired[flow.slot] / len(links)
        for link in links:
            joint = link.joint
            cell = joint.cell
            assert cell is not None
            cell.seats.pop(flow, None)
            cell.num_crossings -= 1
            cell.changed = True
            joint.riders.pop(flow, None)
            joint.past_bits += flow.bits
            joint.past_sharing_s += lost_s

    def follow(self, seat: Seat, now: float) -> None:
        """A member's rate alone has changed."""
        cell = seat.link.joint.cell
        assert cell is not None
        first = cell.seats.get(seat.flow)
        if first is None or seat not in first.crossings:
            return
        before = seat.peak_bps
        seat.peak_bps, seat.until_s = seat.link.capacity(max(now, seat.until_s))
        seat.link.capacity_bps, seat.link.changes_at_s = seat.peak_bps, seat.until_s
        refuse_dead(seat, now)
        if seat.until_s < inf:
            self.engine.put(seat.until_s, seat)
        if seat.peak_bps != before:
            cell.rate(first)
            cell.changed = True
            self._change([seat.flow], now)

    def change(self, flow: Flow, now: float) -> None:
        """Take over what has changed about a flow's way or cap."""
        self._change([flow], now)

    def tend(self, now: float) -> None:
        """Bring all cells in order after a step of the solver."""
        engine = self.engine
        stirred = False
        for cell in self.all:
            if cell.changed and cell.seats and cell.as_resource:
                stirred |= self._count(cell, now)
            cell.changed = False
        if stirred:
            engine.solve(now)
        if engine.has_crowds():
            for cell in self.all:
                if cell.as_resource and any(engine.is_crowded(flow.course) for flow in cell.seats):
                    self._switch(cell, False, now)
            engine.forget_crowds()
        whole = [cell for cell in self.all if cell.seats and not cell.as_resource]
        if whole:
            self._allocate(whole, now)
        for flow in self._fresh:
            if engine.entered(flow):
                engine.note_first(engine.tables, flow.slot, now)
        self._fresh.clear()

    def _count(self, cell: FluidCell, now: float) -> bool:
        """Adapt a cell to the number of its members; return whether that changes anything."""
        engine, number = self.engine, cell.num_crossings
        budget = cell.budget(number)
        changed = cell.given != budget
        if changed:
            cell.given = budget
            engine.steps.set_budget(engine.tables, cell.at, budget, now)
        if cell.depends:
            for seat in cell.seats.values():
                cell.rate(seat)
            self._change(list(cell.seats), now)
            changed = True
        return changed

    def _allocate(self, cells: list[FluidCell], now: float) -> None:
        for _ in range(_ROUNDS):
            moved: dict[Flow, None] = {}
            for cell in cells:
                seats = list(cell.seats.values())
                caps = np.array([self._rest(seat) for seat in seats])
                for seat, cap_bps, bps in zip(
                    seats, caps.tolist(), cell.allocate(caps).tolist(), strict=True
                ):
                    # Held back by the rest of its way: what the cell gives is no limit.
                    given_bps = inf if bps >= cap_bps * (1 - 1e-12) and cap_bps < inf else bps
                    if abs(given_bps - seat.given_bps) > 1e-12 * given_bps or (
                        (given_bps == inf) != (seat.given_bps == inf)
                    ):
                        seat.given_bps = given_bps
                        moved[seat.flow] = None
            if not moved:
                break
            self._change(list(moved), now)
            self.engine.solve(now)
        for cell in cells:
            cell.allocations += 1
            if cell.allocations >= _PATIENCE and self._may_be_resource(cell):
                self._switch(cell, True, now)

    def _rest(self, seat: Seat) -> float:
        """Return what the rest of a member's route lets through."""
        flow, course = seat.flow, seat.flow.course
        rest_bps = min(
            flow.cap_bps, course.standing.cap_bps, flow.weight * self._level(course.standing.number)
        )
        for link in course.standing.cells:
            cell = link.joint.cell
            assert cell is not None
            if cell is not seat.link.joint.cell:
                rest_bps = min(rest_bps, cell.seats[flow].given_bps)
        return rest_bps

    def _level(self, number: int) -> float:
        """Return the most that the shared links of a class give one flow now."""
        return float(self.engine.tables.classes["level"][number])

    def _may_be_resource(self, cell: FluidCell) -> bool:
        cell.allocations = 0
        alone = all(len(flow.course.standing.media) == 1 for flow in cell.seats)
        free = all(seat.given_bps < inf for seat in cell.seats.values())
        return alone and free and cell.policy.weights(np.array([1e6]), 1) is not None

    def _switch(self, cell: FluidCell, as_resource: bool, now: float) -> None:
        """Make a cell a resource of the solver, or something that is allocated as a whole."""
        cell.as_resource, cell.allocations = as_resource, 0
        for link in cell.links:
            self.engine.unsettle(link)
        for seat in cell.seats.values():
            seat.given_bps = seat.solo_bps
            if as_resource:
                cell.rate(seat)
        if as_resource and cell.seats:
            cell.given = cell.budget(cell.num_crossings)
            self.engine.steps.set_budget(self.engine.tables, cell.at, cell.given, now)
        self._change([flow for flow in cell.seats if self.engine.entered(flow)], now)
        self.engine.solve(now)

    def _terms(self, flow: Flow) -> tuple[float, float, float, float]:
        """Return cap, weight, cost and rate alone for the solver; an outage is a cap of nothing."""
        cap_bps = solo_bps = min(flow.cap_bps, flow.course.standing.cap_bps)
        weight, cost = flow.weight, 1.0
        for cell in flow.course.standing.media:
            seat = cell.seats[flow]
            solo_bps = min(solo_bps, seat.solo_bps)
            if not cell.as_resource:
                cap_bps = min(cap_bps, seat.given_bps)
            elif seat.weight == 0:
                cap_bps, cost = 0.0, 0.0
            else:
                weight, cost = flow.weight * seat.weight, seat.cost
        # Never more than alone: a tiny message must not pass at the rate of its wires before the first solve.
        return min(cap_bps, solo_bps), weight, cost, solo_bps

    def _change(self, flows: list[Flow], now: float) -> None:
        engine = self.engine
        for flow in flows:
            if flow.course.standing.stale:
                engine.refresh(flow.course, now)
        terms = np.array([self._terms(flow) for flow in flows]).reshape(-1, 4)
        for flow, cap_bps in zip(flows, terms[:, 0].tolist(), strict=True):
            _note_alive(flow, cap_bps > 0, now)
        engine.steps.change_cell(
            engine.tables,
            np.array([flow.slot for flow in flows], np.int64),
            np.array([flow.course.standing.number for flow in flows], np.int64),
            *(np.ascontiguousarray(column) for column in terms.T),
            now,
        )


def _note_alive(flow: Flow, alive: bool, now: float) -> None:
    """Note on the links through cells since when, or until when, bits cross them."""
    for link in flow.course.standing.cells:
        joint = link.joint
        if joint.riders.get(flow, alive) is alive:
            continue
        joint.riders[flow] = alive
        joint.num_alive += 1 if alive else -1
        if alive and joint.num_alive == 1:
            joint.base_s = now
        elif not alive and joint.num_alive == 0:
            joint.past_busy_s += now - joint.base_s


def refuse_dead(seat: Seat, now: float) -> None:
    """Raise NetworkError when a member's radio link is down for ever."""
    if seat.peak_bps == 0 and seat.until_s == inf:
        raise NetworkError(
            f"link {seat.link.name!r} is down for ever from {now:g} s on; {seat.flow.owner} waits for it"
        )
