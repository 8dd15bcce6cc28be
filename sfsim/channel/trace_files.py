"""Readers of trace files that need no explanation: Mahimahi, rows of time and rate, Pantheon's JSON."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from sfsim.errors import NetworkError, did_you_mean
from sfsim.text import NO_VALUE, number, read_json, read_lines

_OPPORTUNITY_BITS = 1500 * 8
_WIDE_STEPS = 3  # a wait of more than so many usual ones is remarked
_LAST_S = 1e11  # later than the year 5000: no time in seconds


@dataclass(frozen=True, eq=False)
class Pieces:
    """A piecewise constant rate: each piece holds from its start to the next one, the last to the period."""

    starts_s: np.ndarray
    rates: np.ndarray
    period_s: float
    notes: tuple[str, ...] = ()  # what was done to the rows of the file, with its count
    rate_name: str = ""  # what the file calls its rates


@dataclass(frozen=True)
class Gaps:
    """What becomes of a wait for the next row that is longer than `longest_s` (None: of any)."""

    rule: Literal["hold", "cut", "error"] = "hold"
    longest_s: float | None = None


def read_rows(path: Path, gaps: Gaps = Gaps()) -> Pieces:
    """Read rows ``time, rate``, separated by commas, semicolons or blanks, with or without one header line.

    The first row is time 0; a row holds until the next one; rows of one time share it alike. The last holds as long
    as the one before it (a single row: one second).
    """
    return _read_rows(path, gaps, modified(path))


def read_mahimahi(path: Path, bin_s: float) -> Pieces:
    """Read whole milliseconds, one line per opportunity to deliver 1500 bytes; the last one is the period.

    The opportunity at ms t serves the bytes of (t - 1, t], so an integral over whole milliseconds is exact; a
    message may use a part of an opportunity, and the rest of it is lost unless another message takes it.

    Source: mm-link(1) of Mahimahi (Netravali et al., USENIX ATC 2015).
    """
    return _read_mahimahi(path, bin_s, modified(path))


def read_pantheon(path: Path, gaps: Gaps = Gaps()) -> Pieces:
    """Read JSON with lists ``timestamps`` in s and ``bandwidths`` in Mbit/s; the rates are in bit/s.

    Its delays, loss and queue are not rates: say them in the link. The last row holds as long as the one
    before.

    Source: traces of the Genet authors from Pantheon runs (Yan et al., USENIX ATC 2018).
    """
    return _read_pantheon(path, gaps, modified(path))


def modified(path: Path) -> int:
    """Return when `path` last changed (for caches); raises NetworkError when it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        siblings = (file.name for file in path.parent.iterdir()) if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, siblings)
        raise NetworkError(f"{path}: no such trace file" + (f". {hint}" if hint else "")) from None


@lru_cache(maxsize=64)
def _read_rows(path: Path, gaps: Gaps, changed: int) -> Pieces:
    times: list[float] = []
    rates: list[float] = []
    rate_name = ""
    lines = read_lines(path, "a trace", NetworkError)
    for line, text in lines:
        cells = [cell.strip() for cell in re.split(r"[,;]|(?<![,;\s])\s+(?![,;\s])", text)]
        try:
            time_s, rate = (number(cell) for cell in cells)
        except ValueError as error:
            if line == lines[0][0] and not _begins_as_number(cells[0]):
                rate_name = " ".join(cells[1:])
                continue  # the header
            why = str(error).partition("expected ")[2]
            if len(cells) == 2:
                of = "time" if _is_no_number(cells[0]) else "rate"
                why = f"a time and a rate ({of}: {error})"
            else:
                why = "a time and a rate"
            raise NetworkError(f"{path}, line {line}: found {text!r:.80}, expected {why}") from None
        check_row(path, line, time_s, rate, times[-1] if times else None)
        times.append(time_s)
        rates.append(rate)
    if not times:
        raise NetworkError(f"{path}: an empty trace; expected rows of time and rate")
    return replace(pieces_of_rows(path, np.array(times), np.array(rates), gaps), rate_name=rate_name)


def check_row(path: Path, line: int, time_s: float, rate: float, before_s: float | None) -> None:
    """Refuse a row that goes back in time, or whose time or rate cannot be one."""
    if not isfinite(time_s) or abs(time_s) > _LAST_S:
        hint = "" if not isfinite(time_s) else " (a moment in ms, us or ns? read it with time_format)"
        raise NetworkError(f"{path}, line {line}: found time {time_s:g} s, expected a time in s{hint}")
    if not isfinite(rate) or rate < 0:
        raise NetworkError(f"{path}, line {line}: found rate {rate:g}, expected a rate of at least 0")
    if before_s is not None and time_s < before_s:
        raise NetworkError(
            f"{path}, line {line}: time goes back by {before_s - time_s:g} s; times must not decrease"
        )


def pieces_of_rows(path: Path, times_s: np.ndarray, rates: np.ndarray, gaps: Gaps) -> Pieces:
    """Return rows as pieces: each holds until the next, the last as long as the one before it; and what was done."""
    at_s, row, count = np.unique(times_s - times_s[0], return_inverse=True, return_counts=True)
    steps_s = np.diff(at_s)
    notes = []
    if len(rates) > len(at_s):
        shared = int(count[count > 1].sum())
        notes.append(f"{shared} of {len(rates)} rows have the time of another one, and share it alike")
    longest_s = gaps.longest_s if gaps.longest_s is not None else inf
    wide = steps_s > longest_s
    if wide.any():
        first = int(np.argmax(wide))
        words = f"{int(wide.sum())} waits of more than {longest_s:g} s for the next row"
        beyond_s = float((steps_s[wide] - longest_s).sum())
        if gaps.rule == "error":
            raise NetworkError(
                f"{path}: {words}, the first {at_s[first]:g} s after the first row; gaps = 'hold' or 'cut' takes them"
            )
        if gaps.rule == "cut":
            steps_s = np.where(wide, longest_s, steps_s)
            notes.append(f"{words}: {beyond_s:g} s of {at_s[-1]:g} s are cut out (gaps = 'cut')")
        else:
            notes.append(f"{words}: the last rate holds over {steps_s[wide].sum():g} s of {at_s[-1]:g} s")
    elif gaps.longest_s is None and len(steps_s) > 1:
        usual_s = float(np.median(steps_s))
        wide = steps_s > _WIDE_STEPS * usual_s
        if wide.any():
            notes.append(
                f"{int(wide.sum())} of {len(steps_s)} waits for the next row take more than {_WIDE_STEPS} times the "
                f"median of {usual_s:g} s: the last rate holds over {steps_s[wide].sum():g} s of {at_s[-1]:g} s "
                "(gaps = 'cut' with gap_s cuts them)"
            )
    last_s = float(steps_s[-1]) if len(steps_s) else 1.0
    if len(at_s) == len(rates) and not (gaps.rule == "cut" and wide.any()):
        return merged(at_s, rates, float(at_s[-1] + last_s), notes)
    ends_s = np.cumsum((np.append(steps_s, last_s) / count)[row])
    return merged(np.append(0.0, ends_s[:-1]), rates, float(ends_s[-1]), notes)


@lru_cache(maxsize=64)
def _read_mahimahi(path: Path, bin_s: float, changed: int) -> Pieces:
    times_ms: list[int] = []
    for place, line in read_lines(path, "a trace", NetworkError):
        if not line.isdecimal():
            raise NetworkError(
                f"{path}, line {place}: found {line!r}, expected a whole number of milliseconds"
            )
        if times_ms and int(line) < times_ms[-1]:
            raise NetworkError(
                f"{path}, line {place}: time {line} ms is before {times_ms[-1]} ms; times must not decrease"
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
def _read_pantheon(path: Path, gaps: Gaps, changed: int) -> Pieces:
    expected = "an object with lists 'timestamps' (s) and 'bandwidths' (Mbit/s)"
    table = read_json(path, expected, NetworkError)
    try:
        times_s = np.array(table["timestamps"], dtype=np.float64)
        rates_bps = np.array(table["bandwidths"], dtype=np.float64) * 1e6
    except (KeyError, TypeError, ValueError):
        raise NetworkError(f"{path}: expected {expected}") from None
    if times_s.ndim != 1 or times_s.shape != rates_bps.shape or not len(times_s):
        raise NetworkError(f"{path}: expected {expected}, alike long and not empty")
    for line, (time_s, rate) in enumerate(zip(times_s, rates_bps, strict=True), start=1):
        check_row(path, line, time_s, rate, times_s[line - 2] if line > 1 else None)
    return pieces_of_rows(path, times_s, rates_bps, gaps)


def _begins_as_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in "+-.," or cell.casefold() in NO_VALUE


def _is_no_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return True
    return False


def merged(starts_s: np.ndarray, rates: np.ndarray, period_s: float, notes: Iterable[str] = ()) -> Pieces:
    """Join neighbours of equal rate: fewer changes to simulate, and a trace of zeros is seen to be dead."""
    keep = np.append(True, rates[1:] != rates[:-1])
    return Pieces(starts_s[keep], rates[keep], period_s, tuple(notes))
