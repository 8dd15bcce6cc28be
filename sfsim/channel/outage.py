"""Times at which a link is down: exponentially distributed stays, up and down in turn."""

from typing import Annotated

import numpy as np
from pydantic import Field

from sfsim.channel.growing import Growing
from sfsim.declaration import declaration
from sfsim.seeds import stream


@declaration
class Outage:
    """A link that fails and recovers; the share of time without rate is ``down / (up + down)``.

    Parameters
    ----------
    mean_up_s : float
        Mean time from a recovery to the next failure; each is drawn from an exponential law.
    mean_down_s : float
        Mean length of an outage, drawn likewise.

    Source: the alternating renewal process of reliability theory (Ross, *Introduction to Probability Models*,
    section 7.5); whether a link is up at time 0 is drawn from the stationary law.
    """

    mean_up_s: Annotated[float, Field(gt=0)]
    mean_down_s: Annotated[float, Field(gt=0)]


class Toggles:
    """The drawn stays of one link."""

    def __init__(self, outage: Outage, seed: int, name: str) -> None:
        self._outage, self._seed, self._name = outage, seed, name
        share_up = outage.mean_up_s / (outage.mean_up_s + outage.mean_down_s)
        self._first_up = bool(stream(seed, "outage at first", name).random() < share_up)
        self._stays = Growing(self._draw)

    def at(self, time_s: float) -> tuple[bool, float]:
        """Return whether the link is up at `time_s`, and until when that holds."""
        marks = self._stays.reach(time_s)
        stay = int(np.searchsorted(marks, time_s, side="right")) - 1
        return self._first_up == (stay % 2 == 0), float(marks[stay + 1])

    def up(self, time_s: np.ndarray) -> np.ndarray:
        """Return whether the link is up at each of the times."""
        marks = self._stays.reach(float(time_s.max()))
        return np.asarray((np.searchsorted(marks, time_s, side="right") % 2 == 1) == self._first_up)

    def after(self, time_s: float, until_s: float, most: int) -> np.ndarray:
        """Return the times of change after `time_s`: at most `most`, and one beyond `until_s` at most."""
        marks = self._stays.reach(time_s)
        first = int(np.searchsorted(marks, time_s, side="right"))
        while len(marks) < first + most and marks[-1] <= until_s:
            marks = self._stays.reach(float(marks[-1]))
        last = int(np.searchsorted(marks, until_s, side="right")) + 1
        return marks[first : min(first + most, last)]

    def _draw(self, chunk: int, count: int) -> np.ndarray:
        means = (self._outage.mean_up_s, self._outage.mean_down_s)
        stays = stream(self._seed, "outage", self._name, chunk).standard_exponential((count // 2, 2))
        return np.asarray(np.maximum(stays * (means if self._first_up else means[::-1]), 1e-6)).ravel()
