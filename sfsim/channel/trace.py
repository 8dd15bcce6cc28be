"""A channel that replays a recorded rate: a Mahimahi file, or rows of time and rate."""

from math import inf
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.trace_files import Pieces, read_mahimahi, read_rows
from sfsim.declaration import declaration
from sfsim.errors import NetworkError
from sfsim.seeds import stream


@declaration
class Trace(Channel):
    """A recorded rate over time.

    Parameters
    ----------
    path : Path
        The file; relative to the TOML file that names it.
    format : "csv" or "mahimahi"
        See `sfsim.channel.trace_files`.
    end : "wrap", "hold" or "error"
        What comes after the last row: the first one, the last rate for ever, or a NetworkError.
    scale : float
        Multiplies all rates: 1e6 for files in Mbit/s.
    start : "beginning" or "random"
        Where in the trace simulated time 0 is; "random" gives each link its own place (needs "wrap").
    bin_s : float
        Width over which a Mahimahi file's delivery opportunities become a rate; wider is faster to simulate.
    """

    kind: Literal["trace"] = "trace"
    path: Path
    format: Literal["csv", "mahimahi"] = "csv"
    end: Literal["wrap", "hold", "error"] = "wrap"
    scale: Annotated[float, Field(gt=0)] = 1.0
    start: Literal["beginning", "random"] = "beginning"
    bin_s: Annotated[float, Field(ge=0.001)] = 0.001

    def realise(self, seed: int, name: str) -> "TraceRealisation":
        """Read the file; raises NetworkError when it is missing, empty or malformed."""
        if self.format == "mahimahi":
            pieces = read_mahimahi(self.path, self.bin_s)
        else:
            pieces = read_rows(self.path)
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
        self._rates_bps = pieces.rates * trace.scale
        self._starts_s, self._period_s = pieces.starts_s, pieces.period_s
        self._constant = len(self._rates_bps) == 1 and self._end != "error"

    def _segment(self, time_s: float) -> tuple[float, float]:
        if self._constant:
            return float(self._rates_bps[0]), inf
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
        return float(self._rates_bps[piece]), until_s

    def _boundary(self, cycle: int, piece: int) -> float:
        """Return the simulated time at which `piece` of `cycle` begins."""
        if piece < len(self._starts_s):
            return float(cycle * self._period_s + self._starts_s[piece] - self._offset_s)
        if self._end == "hold":
            return inf
        return float((cycle + 1) * self._period_s - self._offset_s)
