"""The referee: when both halves of a round's global model exist, it is measured, outside simulated time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from sfsim.ledger import EvaluationRecord

if TYPE_CHECKING:
    import simpy

    from sfsim.ledger import Ledger
    from sfsim.workload.work import Workload


class Referee:
    """Measures the global model and stamps it with the time at which it existed on both servers.

    Parameters
    ----------
    every_rounds : int
        Rounds between measurements; the last round is always measured.
    on_measured : callable
        Called with (round, simulated seconds) after each measurement has been written down.
    """

    def __init__(
        self,
        env: simpy.Environment,
        workload: Workload,
        ledger: Ledger,
        every_rounds: int,
        last_round: int,
        on_measured: Callable[[int, float], None],
    ) -> None:
        self.env, self.workload, self.ledger = env, workload, ledger
        self.every_rounds, self.last_round, self.on_measured = every_rounds, last_round, on_measured
        self._halves: Counter[int] = Counter()

    def model_ready(self, round: int) -> None:
        """One half of the global model of a round is ready; called twice for each round."""
        self._halves[round] += 1
        if self._halves[round] < 2:
            return
        if round % self.every_rounds == 0 or round == self.last_round:
            for split, codec, metric, client, value in self.workload.evaluate(round)():
                self.ledger.evaluations.append(
                    EvaluationRecord(round, 0, self.env.now, split, codec, metric, value, client)
                )
        self.on_measured(round, self.env.now)
