"""Who takes part in a global round, and in which order: known to all parties from the scenario's seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sfsim.seeds import stream


@dataclass(frozen=True, slots=True)
class Schedule:
    """The draw of clients.

    Parameters
    ----------
    clients : sequence of str
        All clients, in the order of the scenario.
    fraction : float
        Share of clients per global round; at least one takes part.
    global_rounds : int
        Rounds count from 1.
    seed : int
        Training seed.

    Examples
    --------
    >>> schedule = Schedule(("a", "b", "c", "d"), fraction=0.5, global_rounds=2, seed=7)
    >>> len(schedule.selected(1)), schedule.selected(1) == schedule.selected(1)
    (2, True)
    >>> sorted(schedule.permutation(1)) == sorted(schedule.selected(1))
    True
    """

    clients: Sequence[str]
    fraction: float
    global_rounds: int
    seed: int

    @property
    def rounds(self) -> range:
        """All global rounds."""
        return range(1, self.global_rounds + 1)

    def selected(self, round: int) -> list[str]:
        """Clients of a round, in the order of the scenario."""
        count = max(1, round_half_up(self.fraction * len(self.clients)))
        if count == len(self.clients):
            return list(self.clients)
        drawn = stream(self.seed, "selection", round).permutation(len(self.clients))[:count]
        return [self.clients[index] for index in sorted(drawn.tolist())]

    def permutation(self, round: int) -> list[str]:
        """Clients of a round in a fresh random order (SplitFedV2)."""
        chosen = self.selected(round)
        order = stream(self.seed, "server order", round).permutation(len(chosen))
        return [chosen[index] for index in order.tolist()]

    def rounds_of(self, client: str) -> list[int]:
        """Rounds in which a client takes part."""
        return [round for round in self.rounds if client in self.selected(round)]


def round_half_up(value: float) -> int:
    """Round to the nearest whole number, halves up.

    >>> round_half_up(2.5), round_half_up(0.4)
    (3, 0)
    """
    return int(value + 0.5)
