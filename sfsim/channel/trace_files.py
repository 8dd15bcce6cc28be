"""Readers of trace files that need no explanation: Mahimahi, rows of time and rate, Pantheon's JSON."""

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path

import numpy as np

from sfsim.errors import NetworkError, did_you_mean
from sfsim.text import read_json, read_lines

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
    return _read_rows(path, modified(path))


def read_mahimahi(path: Path, bin_s: float) -> Pieces:
    """Read whole milliseconds, one line per opportunity to deliver 1500 bytes; the last one is the period.

    The opportunity at ms t serves the bytes of (t - 1, t], so an integral over whole milliseconds is exact; a
    message may use a part of an opportunity, and the rest of it is lost unless another message takes it.

    Source: mm-link(1) of Mahimahi (Netravali et al., USENIX ATC 2015).
    """
    return _read_mahimahi(path, bin_s, modified(path))


def read_pantheon(path: Path) -> Pieces:
    """Read JSON with lists ``timestamps`` in s and ``bandwidths`` in Mbit/s; the rates are in bit/s.

    Its delays, loss and queue are not rates: say them in the link. The last row holds as long as the one
    before.

    Source: traces of the Genet authors from Pantheon runs (Yan et al., USENIX ATC 2018).
    """
    return _read_pantheon(path, modified(path))


def modified(path: Path) -> int:
    """Return when `path` last changed (for caches); raises NetworkError when it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        siblings = (file.name for file in path.parent.iterdir()) if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, siblings)
        raise NetworkError(f"{path}: no such trace file" + (f". {hint}" if hint else "")) from None


@lru_cache(maxsize=64)
def _read_rows(path: Path, changed: int) -> Pieces:
    times: list[float] = []
    rates: list[float] = []
    lines = read_lines(path, "a trace", NetworkError)
    for number, line in lines:
        fields = line.replace(",", " ").split()
        try:
            time_s, rate = (float(field) for field in fields)
        except ValueError:
            if number == lines[0][0] and not _is_number(fields[0]):
                continue  # the header
            raise NetworkError(f"{path}, line {number}: found {line!r}, expected a time and a rate") from None
        check_row(path, number, time_s, rate, times[-1] if times else None)
        times.append(time_s)
        rates.append(rate)
    if not times:
        raise NetworkError(f"{path}: an empty trace; expected rows of time and rate")
    return pieces_of_rows(np.array(times), np.array(rates))


def check_row(path: Path, number: int, time_s: float, rate: float, before_s: float | None) -> None:
    """Refuse a row that is no time after the last one with a rate of at least 0."""
    if not (isfinite(time_s) and isfinite(rate)) or rate < 0:
        raise NetworkError(f"{path}, line {number}: found rate {rate:g}, expected a rate of at least 0")
    if before_s is not None and time_s <= before_s:
        raise NetworkError(
            f"{path}, line {number}: time {time_s:g} is not after {before_s:g}; times must increase"
        )


def pieces_of_rows(times_s: np.ndarray, rates: np.ndarray) -> Pieces:
    """Return rows as pieces: each holds until the next, the last as long as the one before it."""
    starts_s = times_s - times_s[0]
    last_s = starts_s[-1] - starts_s[-2] if len(starts_s) > 1 else 1.0
    return merged(starts_s, rates, float(starts_s[-1] + last_s))


@lru_cache(maxsize=64)
def _read_mahimahi(path: Path, bin_s: float, changed: int) -> Pieces:
    times_ms: list[int] = []
    for number, line in read_lines(path, "a trace", NetworkError):
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
    return merged(starts_s, rates, period_s)


@lru_cache(maxsize=64)
def _read_pantheon(path: Path, changed: int) -> Pieces:
    expected = "an object with lists 'timestamps' (s) and 'bandwidths' (Mbit/s)"
    table = read_json(path, expected, NetworkError)
    try:
        times_s = np.array(table["timestamps"], dtype=np.float64)
        rates_bps = np.array(table["bandwidths"], dtype=np.float64) * 1e6
    except (KeyError, TypeError, ValueError):
        raise NetworkError(f"{path}: expected {expected}") from None
    if times_s.ndim != 1 or times_s.shape != rates_bps.shape or not len(times_s):
        raise NetworkError(f"{path}: expected {expected}, alike long and not empty")
    for number, (time_s, rate) in enumerate(zip(times_s, rates_bps, strict=True)):
        check_row(path, number + 1, time_s, rate, times_s[number - 1] if number else None)
    return pieces_of_rows(times_s, rates_bps)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def merged(starts_s: np.ndarray, rates: np.ndarray, period_s: float) -> Pieces:
    """Join neighbours of equal rate: fewer changes to simulate, and a trace of zeros is seen to be dead."""
    keep = np.append(True, rates[1:] != rates[:-1])
    return Pieces(starts_s[keep], rates[keep], period_s)
