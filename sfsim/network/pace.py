"""A flow whose own links change their capacity: how far it comes by itself, many pieces of time at once.

Block fading changes a link's rate every few milliseconds. As long as nobody else can be in the way, a flow
over such a link needs no event for that: its bits are the integral of a step function, and the end of the
message is found by a search in the running sum.
"""

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from sfsim.errors import NetworkError
from sfsim.network.flow import TOLERANCE_S, Flow, FluidLink

if TYPE_CHECKING:
    from sfsim.network.fluid import FluidEngine


class Pace:
    """The capacity ahead of one flow: the smallest of its varying links, and never more than `cap_bps`.

    ``start_s`` and ``ends_s`` (shape (n,)) are the pieces that are known, ``rates_bps`` (shape (n,)) what
    holds in them. ``own``: the flow runs through them by itself; otherwise piece by piece through the solver.
    """

    def __init__(self, flow: Flow, links: tuple[FluidLink, ...], cap_bps: float) -> None:
        self.flow, self.links, self.cap_bps = flow, links, cap_bps
        self.own = True
        self.due_s = inf  # its entry in the engine's queue
        self.start_s, self.start_bits = 0.0, 0.0
        self.credited_bits = 0.0
        self.ends_s = self.rates_bps = self.crossed_bits = np.empty(0)

    @property
    def peak_bps(self) -> float:
        """The largest rate in the known pieces."""
        return float(self.rates_bps.max())

    def look_ahead(self, now: float, bits: float) -> None:
        """Ask the links for the pieces from now on; the flow has `bits` left.

        Raises NetworkError when one of them is down for ever.
        """
        pieces = [self._ahead(link, now) for link in self.links]
        # Nothing for ever is no piece to integrate over: it is met, and refused, when it begins.
        pieces = [(e[:-1], r[:-1]) if e[-1] == inf and r[-1] == 0 else (e, r) for e, r in pieces]
        horizon_s = min(ends[-1] for ends, _ in pieces)
        if len(pieces) == 1:
            ends, rates = pieces[0]
        else:
            ends = np.unique(np.concatenate([ends[ends <= horizon_s] for ends, _ in pieces]))
            rates = np.min([r[np.searchsorted(e, ends)] for e, r in pieces], axis=0)
        self.start_s, self.start_bits, self.credited_bits = now, bits, bits
        self.ends_s, self.rates_bps = ends, np.minimum(rates, self.cap_bps)
        lengths_s = ends.copy()  # np.diff takes twice as long for so few
        lengths_s[1:] -= ends[:-1]
        lengths_s[0] -= now
        self.crossed_bits = np.cumsum(self.rates_bps * lengths_s)

    def _ahead(self, link: FluidLink, now: float) -> tuple[np.ndarray, np.ndarray]:
        ends, rates = link.ahead(now)
        link.capacity_bps, link.changes_at_s = float(rates[0]), float(ends[0])
        if rates[0] == 0 and ends[0] == inf:
            raise NetworkError(
                f"link {link.name!r} is down for ever from {now:g} s on; {self.flow.owner} waits for it"
            )
        return ends, rates

    def end_s(self) -> float:
        """Return when the last bit leaves, or when the known pieces end."""
        place = int(np.searchsorted(self.crossed_bits, self.start_bits))
        if place == len(self.ends_s):
            return float(self.ends_s[-1])
        before_bits = self.crossed_bits[place - 1] if place else 0.0
        before_s = self.ends_s[place - 1] if place else self.start_s
        return float(before_s + (self.start_bits - before_bits) / self.rates_bps[place])

    def left_bits(self, time_s: float) -> float:
        """Return what is left at a time within the known pieces, running by itself."""
        place = min(int(np.searchsorted(self.ends_s, time_s)), len(self.ends_s) - 1)
        before_bits = self.crossed_bits[place - 1] if place else 0.0
        before_s = self.ends_s[place - 1] if place else self.start_s
        rate = self.rates_bps[place]
        return float(self.start_bits - before_bits - (rate * (time_s - before_s) if rate else 0.0))

    def rate_at(self, time_s: float) -> tuple[float, float]:
        """Return the capacity at a time and until when it holds."""
        place = int(np.searchsorted(self.ends_s, time_s, side="right"))
        place = min(place, len(self.ends_s) - 1)
        return float(self.rates_bps[place]), float(self.ends_s[place])

    def until(self, time_s: float) -> tuple[float, float]:
        """Return when it first had a rate, and how long it had none, in the known pieces up to a time."""
        begun = 1 + int(np.searchsorted(self.ends_s[:-1], time_s, side="right"))
        rates_bps, ends_s = self.rates_bps[:begun], self.ends_s[:begun]
        if rates_bps.all():
            return self.start_s, 0.0
        starts_s = np.concatenate(([self.start_s], ends_s[:-1]))
        dead = rates_bps == 0
        alive_s = starts_s[~dead]
        lengths_s = np.minimum(ends_s, time_s) - starts_s
        return float(alive_s[0]) if len(alive_s) else inf, float(lengths_s[dead].sum())


class Pacer:
    """All paced flows of an engine."""

    def __init__(self, engine: "FluidEngine") -> None:
        self.engine = engine

    def start(self, flow: Flow, now: float) -> None:
        """Let a flow in: by itself first; the solver calls it in when its way may become full."""
        engine, course = self.engine, flow.course
        flow.pace = pace = Pace(flow, course.standing.varying, min(flow.cap_bps, course.standing.cap_bps))
        pace.look_ahead(now, flow.bits)
        engine.steps.enter_paced(
            engine.tables,
            flow.slot,
            course.row,
            course.standing.number,
            pace.peak_bps,
            flow.weight,
            float(flow.order),
            flow.bits,
            now,
        )
        pace.due_s = pace.end_s()
        engine.put(pace.due_s, pace)

    def go_on(self, pace: Pace, now: float) -> bool:
        """A flow has come to the end of what it knew, or of its bits; return whether of its bits."""
        engine, flow = self.engine, pace.flow
        bits = flow.remaining_bits
        if pace.own:
            self._close(flow, bits, now)
            if bits <= pace.rate_at(now - TOLERANCE_S)[0] * 2 * TOLERANCE_S + 1e-9:
                self.credit(flow, 0.0)
                engine.steps.drop(engine.tables, flow.slot, now)
                return True
        if pace.own or now >= pace.ends_s[-1]:
            pace.look_ahead(now, bits)
        self._run(flow, now, bits, bool(engine.steps.is_roomy(engine.tables, flow.course.standing.number)))
        return False

    def renew(self, flow: Flow, now: float) -> None:
        """The links of a flow, or its cap, have changed."""
        engine, course, old = self.engine, flow.course, flow.pace
        bits = flow.remaining_bits
        if old is not None and old.own:
            self._close(flow, bits, now)
        cap_bps = min(flow.cap_bps, course.standing.cap_bps)
        if not course.standing.varying:
            flow.pace = None
            engine.steps.change(
                engine.tables, flow.slot, course.standing.number, cap_bps, cap_bps, False, now
            )
            return
        flow.pace = pace = Pace(flow, course.standing.varying, cap_bps)
        pace.look_ahead(now, bits)
        self._run(flow, now, bits, False)

    def call_in(self, flows: list[Flow], now: float) -> None:
        """Make flows go through the solver: their way may become full."""
        for flow in flows:
            bits = flow.remaining_bits
            self._close(flow, bits, now)
            self._run(flow, now, bits, False)

    def credit(self, flow: Flow, bits: float) -> None:
        """Tell the shared links of a flow at its own pace what has crossed them since the last time."""
        pace = flow.pace
        assert pace is not None
        self.engine.steps.credit(self.engine.tables, flow.slot, pace.credited_bits - bits)
        pace.credited_bits = bits

    def _close(self, flow: Flow, bits: float, now: float) -> None:
        """Write down what a flow did by itself."""
        pace, row = flow.pace, self.engine.tables.flows[flow.slot]
        assert pace is not None
        self.credit(flow, bits)
        first_s, idle_s = pace.until(now)
        row["first"] = min(row["first"], first_s)
        row["idle"] += idle_s
        row["bits"] = bits

    def _run(self, flow: Flow, now: float, bits: float, own: bool) -> None:
        engine, pace = self.engine, flow.pace
        assert pace is not None
        if own and pace.start_s != now:
            pace.look_ahead(now, bits)
        peak_bps, cap_bps = pace.peak_bps, pace.peak_bps
        pace.own = own
        if own:
            engine.tables.flows["bits"][flow.slot] = bits
            pace.due_s = pace.end_s()
        else:
            cap_bps, pace.due_s = pace.rate_at(now)
        engine.steps.change(
            engine.tables, flow.slot, flow.course.standing.number, cap_bps, peak_bps, own, now
        )
        engine.put(pace.due_s, pace)
