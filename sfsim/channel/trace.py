"""A channel that replays a recorded rate from a file."""

from math import inf
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.trace_files import Pieces, read_mahimahi, read_pantheon, read_rows
from sfsim.channel.trace_tables import Columns, read_table
from sfsim.declaration import declaration, misfit
from sfsim.errors import NetworkError
from sfsim.seeds import stream


@declaration
class Trace(Channel):
    """A recorded rate over time.

    Parameters
    ----------
    path : Path
        The file; relative to the TOML file that names it.
    format : "csv", "cooked", "mahimahi", "table" or "pantheon"
        Rows of time in s and rate in bit/s (times `scale`), with or without a header line; the same in Mbit/s
        (Pensieve); delivery opportunities in ms; a table read through `columns`; JSON with lists of timestamps
        and bandwidths. Whatever time the first row says, it is simulated time 0.
    columns : Columns, optional
        Which columns of a table hold time and rate.
    end : "wrap", "hold" or "error"
        What comes after the last row, which holds as long as the one before it (1 s if it is the only one): the
        first one, the last rate for ever, or a NetworkError.
    scale : float
        Multiplies all rates: 1e6 for files in Mbit/s.
    start : "beginning" or "random"
        Where in the trace simulated time 0 is; "random" gives each link its own place (needs "wrap").
    bin_s : float
        Width over which a Mahimahi file's delivery opportunities become a rate; wider is faster to simulate.
    """

    kind: Literal["trace"] = "trace"
    path: Path
    format: Literal["csv", "cooked", "mahimahi", "table", "pantheon"] = "csv"
    columns: Columns | None = None
    end: Literal["wrap", "hold", "error"] = "wrap"
    scale: Annotated[float, Field(gt=0)] = 1.0
    start: Literal["beginning", "random"] = "beginning"
    bin_s: Annotated[float, Field(ge=0.001)] = 0.001

    def __post_init__(self) -> None:
        if (self.format == "table") != (self.columns is not None):
            if self.columns is None:
                raise misfit("columns", "nothing", "a table that says which columns hold time and rate")
            raise misfit("columns", f"a mapping of columns for {self.format!r}", "format = 'table' with it")

    def words(self) -> str:
        return f"trace {self.path.name}"

    def pieces(self) -> Pieces:
        """Read the file; raises NetworkError when it is missing, empty or malformed."""
        if self.format == "mahimahi":
            return read_mahimahi(self.path, self.bin_s)
        if self.format == "pantheon":
            return read_pantheon(self.path)
        return read_rows(self.path) if self.columns is None else read_table(self.path, self.columns)

    def _realise(self, seed: int, name: str) -> "TraceRealisation":
        pieces = self.pieces()
        offset_s = 0.0
        if self.start == "random":
            if self.end != "wrap":
                raise NetworkError(f"{self.path}: start = 'random' needs end = 'wrap', found {self.end!r}")
            offset_s = float(stream(seed, "trace start", name).uniform(0, pieces.period_s))
        return TraceRealisation(self, pieces, offset_s)


class TraceRealisation(Realisation):
    """Looks a time up in the pieces of a trace."""

    def __init__(self, trace: Trace, pieces: Pieces, offset_s: float) -> None:
        super().__init__()
        self._path, self._end, self._offset_s = trace.path, trace.end, offset_s
        self._rates_bps = pieces.rates * (trace.scale * (1e6 if trace.format == "cooked" else 1.0))
        self._starts_s, self._period_s = pieces.starts_s, pieces.period_s
        self._constant = len(self._rates_bps) == 1 and self._end != "error"

    @property
    def period_s(self) -> float | None:
        return self._period_s

    def _segment(self, time_s: float) -> tuple[float, float]:
        if self._constant:
            return float(self._rates_bps[0]), inf
        _, piece, until_s = self._find(time_s)
        return float(self._rates_bps[piece]), until_s

    def _blocks(self, time_s: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        if self._constant:
            return np.array([inf]), self._rates_bps
        cycle, piece, until_s = self._find(time_s)
        last = len(self._starts_s)
        number = piece + np.arange(count if self._end == "wrap" else min(count, last - piece))
        cycles, pieces = cycle + (number + 1) // last, (number + 1) % last
        ends_s = cycles * self._period_s + self._starts_s[pieces] - self._offset_s
        ends_s[0] = until_s
        if self._end == "hold" and number[-1] == last - 1:
            ends_s[-1] = inf
        return ends_s, self._rates_bps[number % last]

    def _find(self, time_s: float) -> tuple[int, int, float]:
        """Return the cycle, the piece of it that holds at `time_s`, and until when."""
        last = len(self._starts_s) - 1
        cycle = int((time_s + self._offset_s) / self._period_s) if self._end == "wrap" else 0
        local_s = time_s + self._offset_s - cycle * self._period_s
        piece = max(0, int(np.searchsorted(self._starts_s, local_s, side="right")) - 1)
        # Whatever the additions above rounded to: a piece holds until a boundary later than `time_s`.
        while (until_s := self._boundary(cycle, piece + 1)) <= time_s:
            piece += 1
            if piece > last:
                cycle, piece = cycle + 1, 0
            if cycle and self._end == "error":
                raise NetworkError(
                    f"{self._path}: the trace ends at {self._period_s:g} s, asked for {time_s:g} s; "
                    "set end = 'wrap' or 'hold'"
                )
        return cycle, piece, until_s

    def _boundary(self, cycle: int, piece: int) -> float:
        """Return the simulated time at which `piece` of `cycle` begins."""
        if piece < len(self._starts_s):
            return float(cycle * self._period_s + self._starts_s[piece] - self._offset_s)
        if self._end == "hold":
            return inf
        return float((cycle + 1) * self._period_s - self._offset_s)
