"""The scenario reference: Markdown for every table and key, written from the declarations.

``python -m sfsim.scenario.reference docs/scenario.md`` renews the part of that file below its marker.
"""

import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from sfsim.declaration.fields import (
    allowed,
    classes,
    describe,
    element,
    keys,
    list_words,
    named,
    options,
    spell,
    tag,
)
from sfsim.network.declarations import FRAMINGS
from sfsim.scenario.networks import NetworkTable
from sfsim.scenario.words import about, about_keys, all_tables, first_place

MARKER = "<!-- From here on written by `python -m sfsim.scenario.reference`; a test keeps it true. -->"
_UNITS = {
    "_bytes_per_s": "bytes/s",
    "_symbols_per_s": "symbols/s",
    "symbols_per_s": "symbols/s",
    "_flops": "FLOP/s",
    "_bps": "bit/s",
    "_bits_per_hz": "bit/s/Hz",
    "_hz": "Hz",
    "_db": "dB",
    "_bytes": "bytes",
    "_w": "W",
    "_dbm": "dBm",
    "_m_per_s": "m/s",
    "_m": "m",
    "_s": "s",
}


def markdown() -> str:
    """Return the tables of the reference."""
    parts = []
    for path, tables in all_tables().items():
        place = ".".join(path)
        parts.append(f"## `[{place}]`" if place else "## The scenario itself")
        for cls in tables:
            if tag(cls):
                parts.append(f"### `kind = {tag(cls)!r}`".replace("'", '"'))
            parts.append(about(cls).replace("``", "`"))
            if set(keys(cls)) - {"kind"}:
                parts.append(_table(cls))
            stages = getattr(cls, "stages", None)
            if isinstance(stages, tuple):
                names = ", ".join(f"`{stage}`" for stage in stages)
                parts.append(f"Stages, for `cut_layers`, in order: {names}.")
            if cls is NetworkTable:
                parts.append(_framings())
    return "\n\n".join(parts) + "\n"


def renew(file: Path) -> None:
    """Rewrite what stands below the marker of a Markdown file."""
    head = file.read_text(encoding="utf-8").partition(MARKER)[0]
    file.write_text(f"{head}{MARKER}\n\n{markdown()}", encoding="utf-8")


def _table(cls: type) -> str:
    texts = about_keys(cls)
    rows = ["| key | what may stand there | unit | default | meaning |", "|---|---|---|---|---|"]
    for key, info in keys(cls).items():
        if key == "kind":
            continue
        cells = [f"`{key}`", _kind(info), unit(key), _default(info), texts.get(key, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("``", "`") for cell in cells) + " |")
    return "\n".join(rows)


def _framings() -> str:
    rows = ["| framing | payload of a full frame | headers of each frame | they are |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {entry.payload_bytes} bytes | {entry.overhead_bytes} bytes | {entry.source} |"
        for name, entry in FRAMINGS.items()
    ]
    return "\n".join(rows)


def unit(key: str) -> str:
    """Return the unit that the name of a key says.

    >>> unit("latency_s"), unit("rate_bps"), unit("speed_m_per_s"), unit("bits")
    ('s', 'bit/s', 'm/s', '')
    """
    return next((word for ending, word in _UNITS.items() if key.endswith(ending)), "")


def _kind(info: FieldInfo) -> str:
    kind = allowed(info)
    tables, entry = classes(kind), element(kind)
    if tables:
        plain = [describe(option) for option in options(kind) if not classes(option)]
        return list_words([*plain, f"a table or path: `[{first_place(tables[0])}]`"])
    if named(kind) is not None and classes(named(kind)):
        return f"tables by name: `[{first_place(classes(named(kind))[0])}]`"
    if entry is not None and classes(entry):
        return f"a list of tables: `[[{first_place(classes(entry)[0])}]]`"
    return describe(kind)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**needed**"
    value = info.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None or value == "" else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if is_dataclass(value):
        given = {key: getattr(value, key) for key in keys(type(value))}
        shown = {key: _toml(item) for key, item in given.items() if item is not None and item != ""}
        return "{ " + ", ".join(f"{key} = {item}" for key, item in shown.items()) + " }"
    return spell(value).replace("'", '"')


if __name__ == "__main__":
    renew(Path(sys.argv[1]))
