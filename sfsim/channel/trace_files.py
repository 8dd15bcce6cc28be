"""Readers of trace files: Mahimahi delivery opportunities, and rows of time and rate (CSV, "cooked")."""

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

import numpy as np

from sfsim.errors import NetworkError, did_you_mean

_OPPORTUNITY_BITS = 1500 * 8


@dataclass(frozen=True, eq=False)
class Pieces:
    """A piecewise constant rate: each piece holds from its start to the next one, the last to the period."""

    starts_s: np.ndarray
    rates: np.ndarray
    period_s: float


def read_rows(path: Path) -> Pieces:
    """Read rows ``time, rate``, separated by commas or blanks, with or without one header line.

    The first row is time 0; a row holds until the next one. The last holds as long as the one before it
    (a single row: one second).
    """
    return _read_rows(path, _modified(path))


def read_mahimahi(path: Path, bin_s: float) -> Pieces:
    """Read whole milliseconds, one line per opportunity to deliver 1500 bytes; the last one is the period.

    The opportunity at ms t serves the bytes of (t - 1, t], so an integral over whole milliseconds is exact.

    Source: mm-link(1) of Mahimahi (Netravali et al., USENIX ATC 2015).
    """
    return _read_mahimahi(path, bin_s, _modified(path))


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        siblings = (file.name for file in path.parent.iterdir()) if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, siblings)
        raise NetworkError(f"{path}: no such trace file" + (f". {hint}" if hint else "")) from None


@lru_cache(maxsize=64)
def _read_rows(path: Path, modified: int) -> Pieces:
    rows: list[tuple[float, float]] = []
    lines = _lines(path)
    for number, line in lines:
        fields = line.replace(",", " ").split()
        try:
            time_s, rate = (float(field) for field in fields)
        except ValueError:
            if number == lines[0][0] and not _is_number(fields[0]):
                continue  # the header
            raise NetworkError(f"{path}, line {number}: found {line!r}, expected a time and a rate") from None
        if not (isfinite(time_s) and isfinite(rate)) or rate < 0:
            raise NetworkError(f"{path}, line {number}: found rate {rate:g}, expected a rate of at least 0")
        if rows and time_s <= rows[-1][0]:
            raise NetworkError(
                f"{path}, line {number}: time {time_s:g} is not after {rows[-1][0]:g}; times must increase"
            )
        rows.append((time_s, rate))
    if not rows:
        raise NetworkError(f"{path}: an empty trace; expected rows of time and rate")
    starts_s = np.array([row[0] - rows[0][0] for row in rows])
    last_s = starts_s[-1] - starts_s[-2] if len(rows) > 1 else 1.0
    return _merged(starts_s, np.array([row[1] for row in rows]), float(starts_s[-1] + last_s))


@lru_cache(maxsize=64)
def _read_mahimahi(path: Path, bin_s: float, modified: int) -> Pieces:
    times_ms: list[int] = []
    for number, line in _lines(path):
        if not line.isdecimal():
            raise NetworkError(
                f"{path}, line {number}: found {line!r}, expected a whole number of milliseconds"
            )
        if times_ms and int(line) < times_ms[-1]:
            raise NetworkError(
                f"{path}, line {number}: time {line} ms is before {times_ms[-1]} ms; times must not decrease"
            )
        times_ms.append(int(line))
    if not times_ms or times_ms[-1] == 0:
        raise NetworkError(
            f"{path}: an empty trace; expected delivery times in milliseconds, the last above 0"
        )
    period_s = times_ms[-1] / 1000
    num_bins = int(np.ceil(period_s / bin_s - 1e-9))
    starts_s = np.arange(num_bins) * bin_s
    covered_ms = np.maximum(np.array(times_ms) - 1, 0) + 0.5  # the middle of the millisecond that is served
    counts = np.bincount((covered_ms / 1000 / bin_s).astype(int), minlength=num_bins)
    rates = counts * _OPPORTUNITY_BITS / np.diff(np.append(starts_s, period_s))
    return _merged(starts_s, rates, period_s)


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise NetworkError(f"{path}: not a readable text file, expected a trace") from None
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _merged(starts_s: np.ndarray, rates: np.ndarray, period_s: float) -> Pieces:
    """Join neighbours of equal rate: fewer changes to simulate, and a trace of zeros is seen to be dead."""
    keep = np.append(True, rates[1:] != rates[:-1])
    return Pieces(starts_s[keep], rates[keep], period_s)
