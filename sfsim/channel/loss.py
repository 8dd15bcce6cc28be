"""Which packets a link loses: independently, or in bursts.

The luck of packet i depends on (seed, link, message, attempt, i) only. Two messages of different
size, say from two codecs, therefore meet the same luck on the packets that both have.
"""

from functools import lru_cache
from math import ceil, log
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.trace_files import modified
from sfsim.declaration import declaration, misfit
from sfsim.errors import NetworkError
from sfsim.seeds import stream
from sfsim.text import read_lines

MAX_MEAN_LOSS = 0.99  # a packet then needs 100 attempts on average; beyond that a run would never end


@declaration
class Loss:
    """Base of all loss declarations; ``title`` and ``source`` as for channels."""

    title: str = ""
    source: str = ""

    @property
    def memory(self) -> int:
        """Packet times after which this law has forgotten its state: the chain moves on while nobody sends."""
        return 0

    def lost(
        self, seed: int, link_name: str, message_index: int, attempt: int, num_packets: int
    ) -> np.ndarray:
        """Return which of `num_packets` packets are lost: bool, shape (num_packets,).

        A shorter message gets a prefix of what a longer one gets.
        """
        rng = stream(seed, "loss", link_name, message_index, attempt)
        return self._draw(rng, num_packets)

    def _draw(self, rng: np.random.Generator, num_packets: int) -> np.ndarray:
        raise NotImplementedError


@declaration
class Bernoulli(Loss):
    """Each packet is lost with the same probability, whatever happened to the others.

    Parameters
    ----------
    probability : float
        Of the loss of a packet; at 0.99 a packet needs 100 attempts on average.
    """

    kind: Literal["bernoulli"] = "bernoulli"
    probability: Annotated[float, Field(ge=0, le=MAX_MEAN_LOSS)]

    def _draw(self, rng: np.random.Generator, num_packets: int) -> np.ndarray:
        return rng.random(num_packets) < self.probability


@declaration
class GilbertElliott(Loss):
    """Bursts of loss: a two-state Markov chain, one step per packet time.

    Parameters
    ----------
    p : float
        Probability to go from the good to the bad state at a packet. The defaults lose 2 % in bursts of 10.
    r : float
        Probability to go back from the bad to the good state.
    good_loss : float
        Loss probability in the good state.
    bad_loss : float
        Loss probability in the bad state.

    The chain of every message starts from its stationary law ``p / (p + r)``. It moves on while a transport waits (for
    a time-out, a back-off, a round trip): one step for each packet that the line could have carried meanwhile, so that
    bursts end although nobody sends.
    Mean loss ``(r * good_loss + p * bad_loss) / (p + r)``, at most 0.99; mean stay in the bad state ``1 / r`` packets.

    Source: Gilbert 1960; Elliott 1963.
    Left out: memory from one message to the next.
    """

    kind: Literal["gilbert-elliott"] = "gilbert-elliott"
    p: Annotated[float, Field(ge=0, le=1)] = 0.002
    r: Annotated[float, Field(gt=0, le=1)] = 0.1
    good_loss: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bad_loss: Annotated[float, Field(ge=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        mean = (self.r * self.good_loss + self.p * self.bad_loss) / (self.p + self.r)
        if mean > MAX_MEAN_LOSS:
            attempts = f"{1 / (1 - mean):,.0f}" if mean < 1 else "endless"
            found = f"a mean loss of {mean:.6g}, with which a packet needs {attempts} attempts on average"
            raise misfit("p", found, f"a mean loss of at most {MAX_MEAN_LOSS} (a smaller p or a larger r)")

    @property
    def memory(self) -> int:
        """Steps after which the last state changes no probability by more than 1e-9: each shrinks it by 1 - p - r."""
        kept = abs(1 - self.p - self.r)
        return ceil(log(1e-9) / log(kept)) if 0 < kept < 1 else int(kept == 0)

    def _draw(self, rng: np.random.Generator, num_packets: int) -> np.ndarray:
        draws = rng.random((num_packets, 2))  # rows, so that a prefix stays a prefix
        bad = self._bad(draws[:, 0])
        return np.asarray(draws[:, 1] < np.where(bad, self.bad_loss, self.good_loss))

    def _bad(self, steps: np.ndarray) -> np.ndarray:
        """Run the chain without a loop: each uniform forces a state, keeps it, or flips it.

        With u < p the good state turns bad, and with u < 1 - r the bad one stays bad. So u below both forces
        "bad", u above both forces "good", and between them the state is kept (p < 1 - r) or flipped.
        """
        low, high = sorted((self.p, 1 - self.r))
        forced = (steps < low) | (steps >= high)
        state = steps < low
        if len(steps):
            forced[0] = True
            state[0] = steps[0] < self.p / (self.p + self.r)
        last_forced = np.maximum.accumulate(np.where(forced, np.arange(len(steps)), 0))
        bad = state[last_forced]
        if self.p > 1 - self.r:
            bad = bad ^ ((np.arange(len(steps)) - last_forced) % 2 == 1)
        return np.asarray(bad)


@declaration
class LossTrace(Loss):
    """Losses as they were measured: every attempt of a message begins somewhere in the record.

    Parameters
    ----------
    path : Path
        Lines ``sequence-number signal-strength`` of the packets that arrived, as the Rutgers traces have
        them; a number that is absent was lost.
    packets : int
        How many were sent, numbered from 0; higher numbers are ignored.
    invalid : int
        A signal strength that means "received, but broken": lost too.

    Source of the format: CRAWDAD rutgers/noise (Kaul, Seskar, Gruteser 2007).
    Left out: what happened between the last packet of the record and the first, which follows it.
    """

    kind: Literal["loss-trace"] = "loss-trace"
    path: Path
    packets: Annotated[int, Field(ge=1)] = 300
    invalid: int = 128

    @property
    def memory(self) -> int:
        """The length of the record: a wait skips as many of its packets as would have been sent, at most all."""
        return self.packets

    def record(self) -> np.ndarray:
        """Return which packets were lost: bool, shape (packets,); NetworkError when all of them were."""
        return _read_record(self.path, self.packets, self.invalid, modified(self.path))

    def _draw(self, rng: np.random.Generator, num_packets: int) -> np.ndarray:
        record = self.record()
        return np.resize(np.roll(record, -int(rng.integers(len(record)))), num_packets)


@lru_cache(maxsize=64)
def _read_record(path: Path, packets: int, invalid: int, changed: int) -> np.ndarray:
    lost = np.ones(packets, dtype=bool)
    for number, line in read_lines(path, "a record of packets", NetworkError):
        fields = line.split()
        if len(fields) != 2 or not fields[0].isdecimal() or not fields[1].lstrip("-").isdecimal():
            raise NetworkError(
                f"{path}, line {number}: found {line!r}, expected a sequence number and a signal strength"
            )
        if int(fields[0]) < packets and int(fields[1]) != invalid:
            lost[int(fields[0])] = False
    if lost.all():
        raise NetworkError(f"{path}: all {packets} packets were lost; no message would ever arrive")
    return lost
