"""Measured logs as traces: any table with a header, once it is said which columns hold time and rate."""

import csv
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from sfsim.channel.trace_files import Pieces, check_row, merged, modified
from sfsim.declaration import declaration
from sfsim.errors import NetworkError, did_you_mean
from sfsim.text import read_text

_SECONDS = {"seconds": 1.0, "milliseconds": 1e-3}
_GAP_STEPS = 3  # no row for longer than this many usual steps: nothing was measured


@declaration
class Columns:
    """Which columns of a table with a header hold a trace.

    Parameters
    ----------
    time : str
        Name of the column with the time of a row.
    rate : str
        Name of the column with its rate; the trace's `scale` makes bit/s of it.
    time_format : str
        ``"seconds"``, ``"milliseconds"``, ``"iso"`` (2024-04-19 16:23:00.001), or a format of Python's
        strptime.
    where : table of texts
        Only rows that have these texts in these columns: ``{ State = "D" }``.
    missing : list of texts
        What stands for a value that is not known; such rows are left out.
    delimiter : str
        What separates the columns.

    A row holds until the next one that is chosen; rows of the same time share it alike. Where none follows
    for more than three usual steps (their median), nothing was measured: the row holds for one usual step,
    and the trace is closed up.
    """

    time: str
    rate: str
    time_format: str = "seconds"
    where: dict[str, str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ("", "-", "nan", "NaN")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","


def read_table(path: Path, columns: Columns) -> Pieces:
    """Read a table through its mapping; raises NetworkError that names the file and the line."""
    where = tuple(sorted(columns.where.items()))
    return _read_table(path, modified(path), columns.time, columns.rate, columns.time_format, where,
                       columns.missing, columns.delimiter)  # fmt: skip


@lru_cache(maxsize=64)
def _read_table(
    path: Path,
    changed: int,
    time: str,
    rate: str,
    time_format: str,
    where: tuple[tuple[str, str], ...],
    missing: tuple[str, ...],
    delimiter: str,
) -> Pieces:
    rows = csv.reader(read_text(path, "a trace", NetworkError).splitlines(), delimiter=delimiter)
    header = [name.strip() for name in next(rows, [])]
    places = [_place(path, header, name) for name in (time, rate, *(column for column, _ in where))]
    times: list[float] = []
    rates: list[float] = []
    for row in rows:
        if not row:
            continue
        if len(row) < len(header):
            raise NetworkError(
                f"{path}, line {rows.line_num}: found {len(row)} columns, expected {len(header)}"
            )
        wanted = all(row[place].strip() == text for place, (_, text) in zip(places[2:], where, strict=True))
        value = row[places[1]].strip()
        if not wanted or value in missing:
            continue
        time_s = _time_s(path, rows.line_num, row[places[0]].strip(), time_format)
        if times and time_s < times[-1]:
            raise NetworkError(
                f"{path}, line {rows.line_num}: time goes back by {times[-1] - time_s:g} s; times must not "
                "decrease (cut the file, or choose rows with columns.where)"
            )
        number = _number(path, rows.line_num, value, rate)
        check_row(path, rows.line_num, time_s, number, None)
        times.append(time_s)
        rates.append(number)
    if not times:
        chosen = " and ".join(f"{column} = {text!r}" for column, text in where)
        raise NetworkError(f"{path}: no row has a {rate!r}" + (f" where {chosen}" if chosen else ""))
    return _closed_up(np.array(times), np.array(rates))


def _closed_up(times_s: np.ndarray, rates: np.ndarray) -> Pieces:
    """Return rows as pieces: those of one time share it, and gaps are cut out."""
    at_s, row, count = np.unique(times_s, return_inverse=True, return_counts=True)
    steps_s = np.diff(at_s)
    usual_s = float(np.median(steps_s)) if len(steps_s) else 1.0
    steps_s = np.append(np.where(steps_s > _GAP_STEPS * usual_s, usual_s, steps_s), usual_s)
    ends_s = np.cumsum((steps_s / count)[row])
    return merged(np.append(0.0, ends_s[:-1]), rates, float(ends_s[-1]))


def _place(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        hint = did_you_mean(name, header)
        found = ", ".join(header[:30]) or "nothing"
        raise NetworkError(f"{path}: no column {name!r}; found {found}" + (f". {hint}" if hint else ""))
    return header.index(name)


def _number(path: Path, line: int, text: str, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise NetworkError(f"{path}, line {line}: found {text!r} in {column!r}, expected a number") from None


def _time_s(path: Path, line: int, text: str, time_format: str) -> float:
    try:
        if time_format in _SECONDS:
            return float(text) * _SECONDS[time_format]
        moment = (
            datetime.fromisoformat(text) if time_format == "iso" else datetime.strptime(text, time_format)
        )
    except ValueError:
        raise NetworkError(
            f"{path}, line {line}: found time {text!r}, expected the time_format {time_format!r}"
        ) from None
    return (moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)).total_seconds()
