"""Measured logs as traces: any table with a header, once it is said which columns hold time and rate."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sfsim import text
from sfsim.channel.trace_files import Gaps, Pieces, check_row, modified, pieces_of_rows
from sfsim.declaration import declaration
from sfsim.errors import NetworkError

_SECONDS = {"seconds": "1", "milliseconds": "1e-3", "microseconds": "1e-6", "nanoseconds": "1e-9"}


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
        ``"seconds"``, ``"milliseconds"``, ``"microseconds"``, ``"nanoseconds"`` (from any beginning, such as 1970),
        ``"iso"`` (2024-04-19 16:23:00.001, with or without Z or an offset), or a format of Python's strptime.
    where : table of texts
        Only rows that have these texts in these columns: ``{ State = "D" }``.
    missing : list of texts
        What stands for a value that is not known; such rows are left out, and their number is said.
    delimiter : str, optional
        What separates the columns. Default: the comma, semicolon, tab or bar that finds the columns.
    decimal : str
        The decimal mark of times and rates, "." or ",".

    A row holds until the next one that is chosen; rows of the same time share it alike.
    """

    time: str
    rate: str
    time_format: str = "seconds"
    where: dict[str, str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ("", "-", "nan", "NaN")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."


def read_table(path: Path, columns: Columns, gaps: Gaps = Gaps()) -> Pieces:
    """Read a table through its mapping; raises NetworkError that names the file and the line."""
    where = tuple(sorted(columns.where.items()))
    return _read_table(path, modified(path), columns.time, columns.rate, columns.time_format, where,
                       columns.missing, columns.delimiter, columns.decimal, gaps)  # fmt: skip


@lru_cache(maxsize=64)
def _read_table(
    path: Path,
    changed: int,
    time: str,
    rate: str,
    time_format: str,
    where: tuple[tuple[str, str], ...],
    missing: tuple[str, ...],
    delimiter: str | None,
    decimal: str,
    gaps: Gaps,
) -> Pieces:
    times: list[Decimal] = []
    rates: list[float] = []
    left_out, zoned = 0, None
    table = text.read_table(path, (time, rate, *(column for column, _ in where)), delimiter, NetworkError)
    for line, row in table:
        if any(row[column] != chosen for column, chosen in where):
            continue
        if row[rate] in missing:
            left_out += 1
            continue
        place = f"{path}, line {line}"
        moment, has_zone = _moment(place, row[time], time_format, decimal)
        if zoned not in (None, has_zone):
            raise NetworkError(
                f"{place}: found {row[time]!r}, expected all times with an offset or all without"
            )
        zoned = has_zone
        try:
            value = text.number(row[rate], decimal)
        except ValueError as error:
            raise NetworkError(f"{place}, column {rate!r}: {error}") from None
        if times and moment < times[-1]:
            raise NetworkError(
                f"{place}: time goes back by {times[-1] - moment:g} s; times must not decrease (cut the file, or "
                "choose rows with columns.where; local times without an offset go back when the clocks do)"
            )
        check_row(path, line, float(moment), value, None)
        times.append(moment)
        rates.append(value)
    if not times:
        chosen = " and ".join(f"{column} = {value!r}" for column, value in where)
        raise NetworkError(f"{path}: no row has a {rate!r}" + (f" where {chosen}" if chosen else ""))
    starts_s = np.array([float(moment - times[0]) for moment in times])
    found = pieces_of_rows(path, starts_s, np.array(rates), gaps)
    found = replace(found, rate_name=rate)
    if not left_out:
        return found
    note = f"{left_out} rows without a {rate!r} are left out, and the rate before them holds"
    return replace(found, notes=(note, *found.notes))


def _moment(place: str, cell: str, time_format: str, decimal: str) -> tuple[Decimal, bool]:
    """Return a time in s, exact to the nanosecond, and whether it says its offset."""
    try:
        if time_format in _SECONDS:
            text.number(cell, decimal)
            return Decimal(cell.replace(",", ".")) * Decimal(_SECONDS[time_format]), False
        finer = re.search(r"[.,]\d{6}(\d+)", cell) if time_format == "iso" else None
        moment = (
            datetime.fromisoformat(cell) if time_format == "iso" else datetime.strptime(cell, time_format)
        )
    except (ValueError, InvalidOperation) as error:
        raise NetworkError(
            f"{place}: found time {cell!r}, expected the time_format {time_format!r} ({error})"
        ) from None
    has_zone = moment.tzinfo is not None
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC if has_zone else None)) // timedelta(microseconds=1)
    rest = Decimal(f"0.000000{finer[1]}") if finer else Decimal(0)
    return Decimal(whole) / 1_000_000 + rest, has_zone
