"""Checksums of all that is read back: SHA-256, verified before anything is made of what was read.

A JSON file that may change by itself is *sealed*: its last key is the checksum of all the others. The files of a
finished run stand in a sealed list beside them, ``checksums.json``, which is written last. Equal runs have equal
lists. A checkpoint's pointer is sealed and names the checksum of its state (`sfsim.workload.checkpoint`); weights
of codecs, which travel alone, carry theirs with them (`sfsim.workload.learned.stored`).
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LIST = "checksums.json"
_KEY = "sha256"


class Damaged(ValueError):
    """What was read is not what was written."""


def sealed(table: dict[str, Any]) -> str:
    """Return the text of a JSON file that carries its own checksum."""
    return json.dumps({**table, _KEY: _of_table(table)}, indent=1) + "\n"


def unsealed(content: bytes) -> dict[str, Any]:
    """Return the table in the text of a sealed JSON file.

    Raises
    ------
    Damaged
        The checksum is another one, or there is none, or this is no JSON.
    """
    table = parsed(content)
    if _KEY not in table:
        raise Damaged("it carries no checksum")
    if table.pop(_KEY) != _of_table(table):
        raise Damaged("its checksum does not fit")
    return table


def parsed(content: bytes) -> dict[str, Any]:
    """Return the table in the text of a JSON file.

    Raises
    ------
    Damaged
        This is no JSON, or no table.
    """
    try:
        table = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged(str(error)) from None
    if not isinstance(table, dict):
        raise Damaged(f"found {type(table).__name__}, expected a table")
    return table


def of_file(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, checksum: str) -> bytes:
    """Return what stands in a file.

    Raises
    ------
    Damaged
        The checksum is another one.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise Damaged("its checksum does not fit")
    return content


def write_list(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of some files of a folder into its list."""
    files = {name: of_file(folder / name) for name in sorted(names)}
    (folder / LIST).write_text(sealed({"files": files}))


def _of_table(table: dict[str, Any]) -> str:
    text = json.dumps(table, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
