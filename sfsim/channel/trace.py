"""A channel that replays a recorded rate from a file."""

import re
from math import inf
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim.channel.realisation import Channel, Realisation
from sfsim.channel.trace_files import Gaps, Pieces, read_mahimahi, read_pantheon, read_rows
from sfsim.channel.trace_tables import Columns, read_table
from sfsim.declaration import declaration, misfit
from sfsim.errors import NetworkError
from sfsim.seeds import stream

_UNITS = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9, "byte/s": 8.0, "kB/s": 8e3, "MB/s": 8e6}
# A mean rate outside is more likely in another unit: Mbit/s of any link, and kbit/s of most, are below as bit/s.
PLAUSIBLE_BPS = 1e5, 1e12
_UNIT = re.compile(
    r"(?<![A-Za-z])(k|K|kilo|M|m|mega|G|g|giga)?(bits?|b|bytes?|B)(ps|/s(ec)?|[_ ]?per[_ ]s(ec(ond)?)?)(?![A-Za-z])"
)


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
        Multiplies all rates, besides their unit.
    rate_unit : str, optional
        The unit of the file's rates, such as "Mbit/s" or "byte/s"; default: that of the format (bit/s for csv and
        table). A file that names another one in its header is refused, unless `scale` converts it; and without it,
        a file with a mean that hardly any link has: below 100 kbit/s or above 1 Tbit/s.
    gaps : "hold", "cut" or "error"
        Where no row follows for more than `gap_s`: the last rate holds; it holds for `gap_s` and the rest of the wait
        is cut out of time; or the trace is refused. Not for Mahimahi's files.
    gap_s : float, optional
        The longest wait that is no gap, for "cut" and "error"; nothing decides it by itself.
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
    rate_unit: Literal["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "byte/s", "kB/s", "MB/s"] | None = None
    gaps: Literal["hold", "cut", "error"] = "hold"
    gap_s: Annotated[float, Field(gt=0)] | None = None
    start: Literal["beginning", "random"] = "beginning"
    bin_s: Annotated[float, Field(ge=0.001)] = 0.001

    def __post_init__(self) -> None:
        if (self.format == "table") != (self.columns is not None):
            if self.columns is None:
                raise misfit("columns", "nothing", "a table that says which columns hold time and rate")
            raise misfit("columns", f"a mapping of columns for {self.format!r}", "format = 'table' with it")

        if self.gaps != "hold" and self.gap_s is None:
            raise misfit(
                "gap_s", "nothing", f"the longest wait in s that is no gap, with gaps = {self.gaps!r}"
            )
        if self.format == "mahimahi" and (self.gaps != "hold" or self.gap_s is not None):
            raise misfit("gaps", repr(self.gaps), "nothing: a Mahimahi trace has no rows that hold")
        if self.format in ("mahimahi", "cooked", "pantheon") and self.rate_unit is not None:
            raise misfit(
                "rate_unit", repr(self.rate_unit), f"nothing: format = {self.format!r} has its own unit"
            )

    @property
    def _factor(self) -> float:
        return self.scale * (1e6 if self.format == "cooked" else _UNITS[self.rate_unit or "bit/s"])

    def notes(self) -> list[str]:
        """Return what was done to the file's rows; reads the file.

        Raises
        ------
        NetworkError
            Besides what `pieces` raises: its rates are in another unit, or seem to be.
        """
        pieces = self.pieces()
        lines = [f"{self.path.name}: {note}" for note in pieces.notes]
        lengths_s = np.diff(np.append(pieces.starts_s, pieces.period_s))
        mean_bps = float(pieces.rates @ lengths_s / pieces.period_s) * self._factor
        named = unit_in(pieces.rate_name)
        if self.scale == 1 and named not in (None, self.rate_unit or "bit/s"):
            raise NetworkError(
                f"{self.path}: found rates called {pieces.rate_name!r}, expected {self.rate_unit or 'bit/s'}. "
                f"Write rate_unit = {named!r}, or another scale than 1 if the name is wrong"
            )
        least_bps, most_bps = PLAUSIBLE_BPS
        if mean_bps and not least_bps <= mean_bps <= most_bps:
            if self.rate_unit is None and self.format in ("csv", "table"):
                guess = _likely(mean_bps)
                raise NetworkError(
                    f"{self.path}: found a mean rate of {mean_bps:.4g} bit/s, expected {least_bps / 1e3:g} kbit/s to "
                    f"{most_bps / 1e12:g} Tbit/s, as links have. "
                    f"Write rate_unit = {guess}, or rate_unit = 'bit/s' if it is right"
                )
            lines.append(f"{self.path.name}: a mean rate of {mean_bps:.4g} bit/s is hardly meant")
        return lines

    def words(self) -> str:
        return f"trace {self.path.name}"

    def pieces(self) -> Pieces:
        """Read the file; raises NetworkError when it is missing, empty or malformed."""
        if self.format == "mahimahi":
            return read_mahimahi(self.path, self.bin_s)
        if self.format == "pantheon":
            return read_pantheon(self.path, Gaps(self.gaps, self.gap_s))
        gaps = Gaps(self.gaps, self.gap_s)
        return (
            read_rows(self.path, gaps) if self.columns is None else read_table(self.path, self.columns, gaps)
        )

    def _realise(self, seed: int, name: str) -> "TraceRealisation":
        pieces = self.pieces()
        offset_s = 0.0
        if self.start == "random":
            if self.end != "wrap":
                raise NetworkError(f"{self.path}: start = 'random' needs end = 'wrap', found {self.end!r}")
            offset_s = float(stream(seed, "trace start", name).uniform(0, pieces.period_s))
        return TraceRealisation(self, pieces, offset_s)


def unit_in(name: str) -> str | None:
    """Return the unit of rate that a column's name tells; None: none, or one that can be read in two ways.

    >>> unit_in("DL_rate (Mbps)"), unit_in("throughput_mbit/s"), unit_in("kBps"), unit_in("rate"), unit_in("MBPS")
    ('Mbit/s', 'Mbit/s', 'kB/s', None, None)
    """
    found = _UNIT.search(name)
    if found is None:
        return None
    prefix = {"k": "k", "m": "M", "g": "G"}.get((found[1] or "")[:1].lower(), "")
    unit = (
        f"{prefix}{'B/s' if prefix else 'byte/s'}"
        if found[2][0] == "B" or found[2] in ("byte", "bytes")
        else ""
    )
    unit = unit or f"{prefix}bit/s"
    return unit if unit in _UNITS else None


def _likely(mean_bps: float) -> str:
    """Return the units in which a mean of so many is that of a link, as text."""
    units = [unit for unit, bps in _UNITS.items() if 1e6 <= mean_bps * bps <= 1e10 and unit != "bit/s"]
    return " or ".join(map(repr, units)) or "the file's"


class TraceRealisation(Realisation):
    """Looks a time up in the pieces of a trace."""

    def __init__(self, trace: Trace, pieces: Pieces, offset_s: float) -> None:
        super().__init__()
        self._path, self._end, self._offset_s = trace.path, trace.end, offset_s
        self._rates_bps = pieces.rates * trace._factor
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
