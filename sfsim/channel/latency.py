"""How long a message travels on a link: laws of latency and its jitter.

The luck of message i on a link depends on (seed, link, whose messages, i) only, so two codecs meet the same
jitter.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.trace_files import modified
from sfsim.declaration import declaration, misfit
from sfsim.errors import NetworkError
from sfsim.seeds import stream
from sfsim.text import number as cell_number
from sfsim.text import read_lines

_LONGEST_RTT_S = 5.0  # a geostationary hop and back takes 0.5 s
_CHUNK = 256  # messages drawn together; part of what a seed means, so never change it
Seconds = Annotated[float, Field(ge=0)]


class LatencyRealisation:
    """The latencies of one link, one per message."""

    def __init__(self, law: "Latency", seed: int, name: str, whose: tuple[str, ...] = ()) -> None:
        self._law, self._seed, self._name, self._whose = law, seed, name, whose
        self._chunk, self._drawn = -1, np.empty(0)

    def at(self, message_index: int) -> float:
        """Return the one-way latency in s of message `message_index`."""
        chunk, within = divmod(message_index, _CHUNK)
        if chunk != self._chunk:
            rng = stream(self._seed, "latency", self._name, *self._whose, chunk)
            self._drawn, self._chunk = self._law.draw(rng, self._seed, self._name, _CHUNK), chunk
        return float(self._drawn[within])


@declaration
class Latency:
    """Base of all latency declarations; ``title`` and ``source`` as for channels."""

    title: str = ""
    source: str = ""

    def realise(self, seed: int, name: str, whose: tuple[str, ...] = ()) -> LatencyRealisation:
        """Draw the latencies of the link called `name`; `whose`: who exchanges the messages, if that matters."""
        return LatencyRealisation(self, seed, name, whose)

    def mean(self, seed: int, name: str) -> float:
        """Return the mean latency in s of the link called `name`."""
        raise NotImplementedError

    def sample(self, seed: int, link_name: str, message_index: int) -> float:
        """Return the latency of one message in s; of many, `realise` once is faster."""
        return self.realise(seed, link_name).at(message_index)

    def draw(self, rng: np.random.Generator, seed: int, name: str, count: int) -> np.ndarray:
        """Return `count` latencies in s."""
        raise NotImplementedError


@declaration
class ConstantLatency(Latency):
    """The same for every message.

    Parameters
    ----------
    latency_s : float
        One way.

    Examples
    --------
    >>> ConstantLatency(latency_s=0.02).sample(7, "a->b", 3)
    0.02
    """

    kind: Literal["constant"] = "constant"
    latency_s: Seconds

    def mean(self, seed: int, name: str) -> float:
        return self.latency_s

    def draw(self, rng: np.random.Generator, seed: int, name: str, count: int) -> np.ndarray:
        return np.full(count, self.latency_s)


@declaration
class UniformLatency(Latency):
    """Equally likely anywhere between two bounds, such as the wait for a periodic grant.

    Parameters
    ----------
    low_s : float
        The least.
    high_s : float
        The most.
    """

    kind: Literal["uniform"] = "uniform"
    low_s: Seconds
    high_s: Seconds

    def __post_init__(self) -> None:
        if self.high_s < self.low_s:
            raise misfit("high_s", f"{self.high_s:g}", f"at least low_s = {self.low_s:g}")

    def mean(self, seed: int, name: str) -> float:
        return (self.low_s + self.high_s) / 2

    def draw(self, rng: np.random.Generator, seed: int, name: str, count: int) -> np.ndarray:
        return rng.uniform(self.low_s, self.high_s, count)


@declaration
class _Skewed(Latency):
    """A law with a least value and a tail.

    Parameters
    ----------
    mean_s : float
        Mean of the whole latency.
    std_s : float
        Standard deviation of the whole latency.
    least_s : float
        What no message stays below: propagation. The law describes what comes on top.
    """

    mean_s: Annotated[float, Field(gt=0)]
    std_s: Seconds
    least_s: Seconds = 0.0

    def __post_init__(self) -> None:
        if self.mean_s <= self.least_s:
            raise misfit("mean_s", f"{self.mean_s:g}", f"more than least_s = {self.least_s:g}")

    def mean(self, seed: int, name: str) -> float:
        return self.mean_s


@declaration
class LognormalLatency(_Skewed):
    """`least_s` plus a log-normal delay: the logarithm is normal, seldom messages take several times as long.

    Source: the usual law of wide-area delays (Downey, "Lognormal and Pareto distributions in the Internet",
    2005).
    """

    kind: Literal["lognormal"] = "lognormal"

    def draw(self, rng: np.random.Generator, seed: int, name: str, count: int) -> np.ndarray:
        mean_s = self.mean_s - self.least_s
        variance = np.log1p((self.std_s / mean_s) ** 2)
        return self.least_s + np.exp(
            np.log(mean_s) - variance / 2 + np.sqrt(variance) * rng.standard_normal(count)
        )


@declaration
class GammaLatency(_Skewed):
    """`least_s` plus a gamma-distributed delay, as a few queues in a row make it.

    Source: Mukherjee, "On the dynamics and significance of low frequency components of Internet load", 1994.
    """

    kind: Literal["gamma"] = "gamma"

    def draw(self, rng: np.random.Generator, seed: int, name: str, count: int) -> np.ndarray:
        mean_s = self.mean_s - self.least_s
        if self.std_s == 0:
            return np.full(count, self.mean_s)
        shape = (mean_s / self.std_s) ** 2
        return np.asarray(self.least_s + rng.gamma(shape, mean_s / shape, count))


@declaration
class RttMatrixLatency(Latency):
    """Half of a measured round-trip time between two nodes.

    Parameters
    ----------
    path : Path
        A square matrix of round-trip times, rows of numbers between blanks or tabs; or a folder of such
        files (slices of time), of which each message draws one. 0 between two nodes stands for no measurement: such
        a slice is left out for the pair, and a pair that no slice has is refused (or not drawn).
    scale : float
        Multiplies the file's numbers to s: 1e-3 for ms.
    pair : list of two whole numbers, optional
        Row and column; default: each link draws its own pair of different nodes.

    Source of the format: NetLatency data, Zhu et al., IEEE/ACM Trans. Networking 25(2), 2017.
    """

    kind: Literal["rtt-matrix"] = "rtt-matrix"
    path: Path
    scale: Annotated[float, Field(gt=0)] = 1.0
    pair: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None

    def mean(self, seed: int, name: str) -> float:
        return float(self._rtt_s(seed, name).mean() / 2)

    def draw(self, rng: np.random.Generator, seed: int, name: str, count: int) -> np.ndarray:
        rtt_s = self._rtt_s(seed, name)
        return np.asarray(rtt_s[rng.integers(len(rtt_s), size=count)] / 2)

    def _rtt_s(self, seed: int, name: str) -> np.ndarray:
        """Return the round-trip times of the link's two nodes, one for each slice."""
        slices = self.slices()
        nodes = len(slices[0])
        if self.pair is not None:
            row, column = self.pair
            if row == column:
                raise NetworkError(
                    f"{self.path}: found pair = [{row}, {column}], expected two different nodes"
                )
            if max(self.pair) >= nodes:
                raise NetworkError(f"{self.path}: found {nodes} nodes, pair = [{row}, {column}] needs more")
        else:
            place = "<->".join(sorted(name.split("->")))
            rng = stream(seed, "nodes", place)
            measured = np.any(slices, axis=0)
            if not measured[~np.eye(nodes, dtype=bool)].any():
                raise NetworkError(
                    f"{self.path}: found only 0 between different nodes, which is no measurement"
                )
            row, column = rng.choice(nodes, 2, replace=False)
            while not measured[row, column]:
                row, column = rng.choice(nodes, 2, replace=False)
        rtt_s = self.scale * np.array([matrix[row, column] for matrix in slices])
        if not rtt_s.any():
            raise NetworkError(
                f"{self.path}: found 0 between nodes {row} and {column} (in {len(slices)} of {len(slices)} files), "
                "which is no measurement; choose another pair"
            )
        if rtt_s.max() > _LONGEST_RTT_S:
            raise NetworkError(
                f"{self.path}: found a round trip of {rtt_s.max():g} s between nodes {row} and {column}, expected at "
                f"most {_LONGEST_RTT_S:g} s; scale = 1e-3 reads a file in ms"
            )
        return rtt_s[rtt_s > 0]

    def notes(self) -> list[str]:
        """Return how many pairs the files do not have, or have too long or unlike in both directions."""
        slices = np.array(self.slices()) * self.scale
        apart = slices[:, ~np.eye(slices.shape[1], dtype=bool)]
        unlike = np.count_nonzero(np.triu((slices != slices.transpose(0, 2, 1)).any(axis=0)))
        counts = {
            "0 between different nodes, taken as not measured": np.count_nonzero(apart == 0),
            f"more than {_LONGEST_RTT_S:g} s, refused where a link takes them": np.count_nonzero(
                apart > _LONGEST_RTT_S
            ),
        }
        lines = [
            f"{self.path.name}: {n} of {apart.size} round trips are {words}"
            for words, n in counts.items()
            if n
        ]
        if unlike:
            lines.append(
                f"{self.path.name}: {unlike} pairs of nodes have another round trip one way than the other"
            )
        return lines

    def slices(self) -> list[np.ndarray]:
        """Return the matrices as the files have them, shape (nodes, nodes) each; raises NetworkError."""
        files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
        matrices = [read_matrix(file, modified(file)) for file in files]
        if not matrices:
            raise NetworkError(f"{self.path}: an empty folder; expected files of round-trip times")
        odd = next(
            (file for file, matrix in zip(files, matrices, strict=True) if matrix.shape != matrices[0].shape),
            None,
        )
        if odd is not None:
            raise NetworkError(f"{odd}: another number of nodes than in {files[0].name}")
        return matrices


@lru_cache(maxsize=64)
def read_matrix(path: Path, changed: int) -> np.ndarray:
    """Read one square matrix of numbers of at least 0."""
    rows: list[list[float]] = []
    for number, line in read_lines(path, "round-trip times", NetworkError):
        try:
            row = [cell_number(cell) for cell in line.replace(",", " ").split()]
        except ValueError as error:
            raise NetworkError(f"{path}, line {number}: {error} (round-trip times, in rows)") from None
        if rows and len(row) != len(rows[0]):
            raise NetworkError(
                f"{path}, line {number}: found {len(row)} numbers, expected {len(rows[0])} as before"
            )
        if not all(0 <= value < float("inf") for value in row):
            raise NetworkError(f"{path}, line {number}: expected round-trip times of at least 0")
        rows.append(row)
    if len(rows) < 2 or len(rows) != len(rows[0]):
        raise NetworkError(f"{path}: found {len(rows)} rows, expected a square matrix of round-trip times")
    return np.array(rows)


AnyLatency = Annotated[
    ConstantLatency | UniformLatency | LognormalLatency | GammaLatency | RttMatrixLatency,
    Field(discriminator="kind"),
]
