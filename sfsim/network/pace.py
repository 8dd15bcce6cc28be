"""A flow whose own links change their capacity: how far it comes by itself, many pieces of time at once.

Block fading changes a link's rate every few milliseconds. As long as nobody else can be in the way, a flow over
such a link needs no event for that: its bits are the integral of a step function, and the end of the message is
found by a search in the running sum.
"""

from math import inf

import numpy as np

from sfsim.errors import NetworkError
from sfsim.network.flow import Flow, FluidLink


class Pace:
    """The capacity ahead of one flow: the smallest of its varying links, and never more than `cap_bps`.

    ``start_s`` and ``ends_s`` (shape (n,)) are the pieces that are known, ``rates_bps`` (shape (n,)) what
    holds in them. ``own``: the flow runs through them by itself; otherwise piece by piece through the solver.
    """

    def __init__(self, flow: Flow, links: tuple[FluidLink, ...], cap_bps: float) -> None:
        self.flow, self.links, self.cap_bps = flow, links, cap_bps
        self.own = True
        self.due_s = inf  # its entry in the engine's queue
        self.first_s, self.idle_s = inf, 0.0
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
        self.crossed_bits = np.cumsum(self.rates_bps * np.diff(ends, prepend=now))

    def _ahead(self, link: FluidLink, now: float) -> tuple[np.ndarray, np.ndarray]:
        if link.ahead is not None:
            ends, rates = link.ahead(now)
        else:
            rate_bps, until_s = link.segment(now)
            ends, rates = np.array([until_s]), np.array([rate_bps])
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

    def note(self, time_s: float) -> None:
        """Count idle time and the first byte up to a time within the known pieces, running by itself."""
        starts = np.concatenate(([self.start_s], self.ends_s[:-1]))
        upto = int(np.searchsorted(starts, time_s, side="right"))
        dead = self.rates_bps[:upto] == 0
        if self.first_s == inf and not dead.all():
            self.first_s = float(starts[int(np.argmin(dead))])
        if dead.any():
            lengths = np.minimum(self.ends_s[:upto], time_s) - starts[:upto]
            self.idle_s += float(lengths[dead].sum())

    def first_until(self, time_s: float) -> float:
        """Return when the flow first had a rate, up to a time within the known pieces."""
        if self.first_s < inf or not self.own:
            return self.first_s
        starts = np.concatenate(([self.start_s], self.ends_s[:-1]))
        begun = starts[(self.rates_bps > 0) & (starts <= time_s)]
        return float(begun[0]) if len(begun) else inf
