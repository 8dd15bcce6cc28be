"""Progress: where a running simulation stands, for whoever shows it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running simulation stands, for whoever shows it.

    Parameters
    ----------
    round, rounds : int
        Global rounds finished, and to do in all.
    time_s : float
        Simulated seconds so far.
    metric : str
        Name of the newest measured metric (empty when nothing was measured yet).
    value : float
        Its value, on the validation split with the codec on.
    note : str
        What there is to say before the first round.
    """

    round: int
    rounds: int
    time_s: float
    metric: str = ""
    value: float = math.nan
    note: str = ""
