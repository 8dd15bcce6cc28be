"""What every channel is: a declaration, and its realisation, a function of simulated time."""

from math import inf

import numpy as np

from sfsim.channel.outage import Outage, Toggles
from sfsim.declaration import declaration


class Realisation:
    """One drawn channel: piecewise constant and right-open in simulated time.

    Asking changes nothing (besides the counter ``queries``), and an answer does not depend on what
    was asked before: two codecs meet the same channel.
    """

    def __init__(self) -> None:
        self.queries = 0

    def segment(self, time_s: float) -> tuple[float, float]:
        """Return ``(rate_bps, valid_until_s)`` of the piece that holds at `time_s`; the end is > `time_s`.

        A rate of 0 with an end of infinity means: down for ever.
        """
        self.queries += 1
        return self._segment(time_s)

    def blocks(self, time_s: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return about `count` pieces from `time_s` on at once: ``(ends_s, rates_bps)``.

        Piece 0 holds from `time_s` to ``ends_s[0]``, piece i from ``ends_s[i - 1]`` to ``ends_s[i]``; the
        ends increase, and the last one may be infinite. It is the same function of time that `segment` tells.
        When no piece has a rate, there is one piece only, as long as the outage.

        Returns
        -------
        tuple of two float64 arrays of the same length, at least 1
        """
        self.queries += 1
        ends_s, rates_bps = self._blocks(time_s, count)
        if not rates_bps.any():
            until_s = time_s
            while until_s < ends_s[-1]:
                until_s = self._segment(until_s)[1]
            return np.array([until_s]), np.zeros(1)
        return ends_s, rates_bps

    def snr_db(self, time_s: np.ndarray) -> np.ndarray | None:
        """Return the signal-to-noise ratio in dB at times `time_s`; None for a channel that knows none."""
        return None

    @property
    def period_s(self) -> float | None:
        """How long the channel is before it repeats itself; None when it never does."""
        return None

    def _segment(self, time_s: float) -> tuple[float, float]:
        raise NotImplementedError

    def _blocks(self, time_s: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        ends_s: list[float] = []
        rates_bps: list[float] = []
        while len(ends_s) < count and time_s < inf:
            rate_bps, time_s = self._segment(time_s)
            ends_s.append(time_s)
            rates_bps.append(rate_bps)
        return np.array(ends_s), np.array(rates_bps)


@declaration
class Channel:
    """Base of all channel declarations.

    Parameters
    ----------
    title : str
        One line for tables and reports.
    source : str
        Where the numbers come from.
    outage : Outage, optional
        Times without any rate, on top of the channel.
    """

    title: str = ""
    source: str = ""
    outage: Outage | None = None

    def realise(self, seed: int, name: str) -> Realisation:
        """Draw the channel of the link called `name`; the same seed and name give the same channel."""
        drawn = self._realise(seed, name)
        return drawn if self.outage is None else _Interrupted(drawn, Toggles(self.outage, seed, name))

    def words(self) -> str:
        """Say the channel in a few words."""
        raise NotImplementedError

    def _realise(self, seed: int, name: str) -> Realisation:
        raise NotImplementedError


class _Interrupted(Realisation):
    """Another channel, with rate 0 while the link is down."""

    def __init__(self, channel: Realisation, toggles: Toggles) -> None:
        super().__init__()
        self._channel, self._toggles = channel, toggles

    def snr_db(self, time_s: np.ndarray) -> np.ndarray | None:
        return self._channel.snr_db(time_s)

    def _segment(self, time_s: float) -> tuple[float, float]:
        up, until_s = self._toggles.at(time_s)
        rate_bps, changes_s = self._channel.segment(time_s)
        if (rate_bps, changes_s) == (0.0, inf):
            return 0.0, inf
        return (rate_bps, min(changes_s, until_s)) if up else (0.0, until_s)

    def _blocks(self, time_s: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        ends_s, rates_bps = self._channel.blocks(time_s, count)
        if not rates_bps.any() and ends_s[-1] == inf:
            return ends_s, rates_bps
        marks_s = self._toggles.after(time_s, ends_s[-1], count)
        last_s = min(ends_s[-1], marks_s[-1])
        both_s = np.unique(np.minimum(np.concatenate([ends_s, marks_s]), last_s))
        starts_s = np.append(time_s, both_s[:-1])
        rates = rates_bps[np.searchsorted(ends_s, starts_s, side="right")]
        return both_s, rates * self._toggles.up(starts_s)
