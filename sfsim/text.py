"""The one opener of text files that other people's tools wrote: marks, separators, cells; nothing is guessed."""

import csv
import io
import json
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsim.errors import DataError, SfsimError, did_you_mean

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
MAX_BYTES = 1 << 30
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)
# Spellings of a value that is not there; never a number, and never left out without a word.
NO_VALUE = frozenset({"", "-", "--", "?", "na", "n/a", "#n/a", "nan", "nil", "none", "null", "inf", "-inf"})


def read_text(path: Path, expected: str = "a text file", error: type[SfsimError] = DataError) -> str:
    """Return the text of a file: UTF-8, or UTF-16 that begins with its mark; the mark is no part of it.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        For the error: what the file should have been.
    error : type of SfsimError
        Raised with one text that names the file.
    """
    try:
        return decoded(content_of(path))
    except (FileNotFoundError, NotADirectoryError):
        siblings = (file.name for file in path.parent.iterdir()) if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, siblings)
        raise error(f"{path}: no such file, expected {expected}" + (f". {hint}" if hint else "")) from None
    except OSError as refusal:
        found = refusal.strerror or refusal
        raise error(f"{path}: not a readable text file ({found}), expected {expected}") from None
    except ValueError as refusal:
        raise error(f"{path}: not a readable text file ({refusal}), expected {expected}") from None


def content_of(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file; raises OSError for pipes and devices, which may never end, and large ones."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(
        status.st_mode
    ):  # a folder has an error of its own
        raise OSError("a pipe or a device, expected a regular file")
    if status.st_size > most:
        raise OSError(f"{status.st_size:,} bytes, expected at most {most:,}")
    return path.read_bytes()


def decoded(content: bytes) -> str:
    """Return the text of bytes in UTF-8, or UTF-16 with a mark; raises ValueError that says where it is none.

    >>> decoded(b"\\xef\\xbb\\xbfa"), decoded("a".encode("utf-16"))
    ('a', 'a')
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as refusal:
        line = content.count(b"\n", 0, refusal.start) + 1
        raise ValueError(f"line {line} is not {encoding.upper().removesuffix('-SIG')}") from None
    if "\0" in text:
        raise ValueError("it holds NUL: binary, or UTF-16 without a byte order mark")
    return text


def read_lines(
    path: Path, expected: str = "a text file", error: type[SfsimError] = DataError
) -> list[tuple[int, str]]:
    """Return (number, line) of all lines that are neither empty nor a comment (#), blanks at their ends cut."""
    lines = re.split(r"\r\n|\r|\n", read_text(path, expected, error))
    numbered = enumerate((line.strip() for line in lines), start=1)
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def read_json(path: Path, expected: str, error: type[SfsimError] = DataError) -> Any:
    """Return what a JSON file holds; `error` says what was `expected`."""
    try:
        return json.loads(read_text(path, expected, error))
    except (ValueError, RecursionError):
        raise error(f"{path}: not JSON, expected {expected}") from None


@dataclass(frozen=True)
class Table:
    """A table with a header; iterating gives each row's line and its cells by the columns' names.

    Cells are the texts that stand there, blanks at their ends cut. Rows that are shorter or longer than the header
    are refused; empty lines are passed over.
    """

    path: Path
    columns: tuple[str, ...]
    separator: str
    text: str
    error: type[SfsimError]

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        rows = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator, strict=True)
        try:
            next(rows)
            for row in rows:
                if not row or (len(self.columns) > 1 and len(row) == 1 and not row[0].strip()):
                    continue
                if len(row) != len(self.columns):
                    wrong = f"found {len(row)} columns, expected {len(self.columns)}"
                    raise self.error(f"{self.path}, line {rows.line_num}: {wrong}")
                yield rows.line_num, dict(zip(self.columns, map(str.strip, row), strict=True))
        except csv.Error as refusal:
            raise self.error(f"{self.path}, line {rows.line_num}: no row of a table ({refusal})") from None


def read_table(
    path: Path,
    needed: Collection[str],
    separator: str | None = None,
    error: type[SfsimError] = DataError,
) -> Table:
    """Open a table with a header (CSV and its kin).

    Parameters
    ----------
    path : Path
        The file.
    needed : collection of str
        Columns that must be there, as they are spelt.
    separator : str, optional
        Between columns. Default: the comma, semicolon, tab or bar with which the header has all that is `needed`.
    error : type of SfsimError
        Raised with one text that names the file and the line.
    """
    text = read_text(path, "a table with a header", error)
    header, _, rest = re.sub(r"\A(\s*\n)+", "", text).partition("\n")
    choices = [separator] if separator is not None else list(_SEPARATORS)
    headers = {choice: _header(header, choice) for choice in choices}
    chosen = next((choice for choice, names in headers.items() if set(needed) <= set(names)), None)
    if chosen is None:
        names = max(headers.values(), key=len)
        missing = next(name for name in needed if name not in names)
        hint = did_you_mean(missing, names)
        other = next(
            (words for choice, words in _SEPARATORS.items() if set(needed) <= set(_header(header, choice))),
            None,
        )
        if other is not None:
            hint = f"The columns are separated by {other}"
        found = ", ".join(names[:30]) or "nothing"
        raise error(f"{path}: no column {missing!r}; found {found}" + (f". {hint}" if hint else ""))
    twice = next((name for name in needed if headers[chosen].count(name) > 1), None)
    if twice is not None:
        raise error(f"{path}: found column {twice!r} twice, expected columns with names of their own")
    return Table(path, tuple(headers[chosen]), chosen, text[len(text) - len(rest) - len(header) - 1 :], error)


def number(text: str, decimal: str = ".") -> float:
    """Return the finite number that a cell holds; raises ValueError with what was found and expected.

    Parameters
    ----------
    text : str
        The cell.
    decimal : str
        The decimal mark.

    Examples
    --------
    >>> number("-1.5e3"), number("1,5", decimal=",")
    (-1500.0, 1.5)
    >>> number("1,5")
    Traceback (most recent call last):
        ...
    ValueError: found '1,5', expected a number; it has a decimal comma
    >>> number("NA")
    Traceback (most recent call last):
        ...
    ValueError: found 'NA', expected a number; no value stands there
    >>> number("1.2 MB")
    Traceback (most recent call last):
        ...
    ValueError: found '1.2 MB', expected a number without the unit 'MB'
    """
    cell = text.strip()
    plain = cell.replace(",", ".") if decimal == "," and "." not in cell else cell
    if _NUMBER.fullmatch(plain) and abs(value := float(plain)) < float("inf"):
        return value
    found = f"found {cell[:60]!r}, expected a number"
    if cell.casefold() in NO_VALUE:
        raise ValueError(f"{found}; no value stands there")
    if _DECIMAL_COMMA.fullmatch(cell):
        raise ValueError(f"{found}; it has a decimal comma")
    begun = _NUMBER.match(plain)
    unit = plain[begun.end() :].strip() if begun else ""
    if unit and not unit[0].isdigit() and unit[0] not in ".,_-+:":
        found += f" without the unit {unit!r}"
    raise ValueError(found)


def _header(line: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []
