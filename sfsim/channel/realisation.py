"""What every channel is: a declaration, and its realisation, a function of simulated time."""

from math import inf

import numpy as np

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
    """

    title: str = ""
    source: str = ""

    def realise(self, seed: int, name: str) -> Realisation:
        """Draw the channel of the link called `name`; the same seed and name give the same channel."""
        raise NotImplementedError
