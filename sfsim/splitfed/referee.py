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
    on_round : callable
        Called with the round at its end, after a measurement has been written down.
    """

    def __init__(
        self,
        env: simpy.Environment,
        workload: Workload,
        ledger: Ledger,
        every_rounds: int,
        last_round: int,
        on_round: Callable[[int], None],
    ) -> None:
        self.env, self.workload, self.ledger = env, workload, ledger
        self.every_rounds, self.last_round, self.on_round = every_rounds, last_round, on_round
        self._halves: Counter[int] = Counter()

    def model_ready(self, round: int, half: str, client: str = "") -> None:
        """One half, ``"client-side"`` or ``"server-side"``, of a round's global model is ready (SL: there)."""
        self.workload.keep(half, round, client)
        self._halves[round] += 1
        if self._halves[round] < 2:
            return
        if round % self.every_rounds == 0 or round == self.last_round:
            for measured in self.workload.evaluate(round):
                self.ledger.evaluations.append(EvaluationRecord(round, self.env.now, *measured))
        self.on_round(round)
