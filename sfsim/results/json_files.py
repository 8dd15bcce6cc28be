"""The JSON files of a run directory: which keys its readers count on, and of which kinds these are."""

from collections.abc import Mapping
from typing import Any

from sfsim.checksums import Damaged, parsed
from sfsim.results.tables import DIRECTIONS

_NUMBER = (int, float)
_BYTES = dict.fromkeys(DIRECTIONS, (int,))
_TARGET = {"metric": (str,), "value": _NUMBER, "hold": (int,), "relative_to": (str, type(None))}
_SUMMARY = {
    "name": (str,),
    "scenario_hash": (str,),
    "end_s": _NUMBER,
    "messages": (int,),
    "payload_bytes": (dict,),
    "wire_bytes": (dict,),
    "target": (dict, type(None)),
    "notes": (list,),
}


def summary(content: bytes) -> dict[str, Any]:
    """Return what stands in ``summary.json``.

    Raises
    ------
    Damaged
        This is no JSON, lacks a key, or holds something of another kind: another version of sfsim wrote it.
    """
    table = parsed(content)
    _expect(table, _SUMMARY)
    notes = {str(at): note for at, note in enumerate(table["notes"])}
    _expect(notes, dict.fromkeys(notes, (str,)), "notes")
    for size in ("payload_bytes", "wire_bytes"):
        _expect(table[size], _BYTES, size)
    if table["target"] is not None:
        _expect(table["target"], _TARGET, "target")
    return table


def scenario(content: bytes) -> dict[str, Any]:
    """Return what stands in ``scenario.json``; who needs all of it validates it.

    Raises
    ------
    Damaged
        This is no JSON, or holds no tables where reports look for some.
    """
    table = parsed(content)
    _expect(table, {key: (dict,) for key in ("codecs", "codec_training", "data") if key in table})
    return table


def _expect(table: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], inside: str = "") -> None:
    for key, expected in kinds.items():
        place = f"{inside}.{key}" if inside else key
        if key not in table:
            raise Damaged(f"found no {place!r}")
        if not isinstance(table[key], expected):
            names = " or ".join(kind.__name__ for kind in expected)
            raise Damaged(f"found {place} = {table[key]!r}, expected {names}")
