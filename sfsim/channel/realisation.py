"""What every channel is: a declaration, and its realisation, a function of simulated time."""

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

    def ahead(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the pieces from `time_s` on, as many as come cheaply: ends in s and rates, shape (n,) each.

        They say what `segment` says; n is at least 1.
        """
        self.queries += 1
        return self._ahead(time_s)

    def _ahead(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        rate_bps, until_s = self._segment(time_s)
        return np.array([until_s]), np.array([rate_bps])

    def _segment(self, time_s: float) -> tuple[float, float]:
        raise NotImplementedError


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
