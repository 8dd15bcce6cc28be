"""Small damages to texts and bytes, drawn from a seed: what editors, exports and disks do to files."""

import random
import re

NUMBERS = (
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-308",
    "0.1",
    "1e9",
    "3",
    "0.5",
    "9" * 30,
    "2.5e-9",
)
OTHERS = (
    '""',
    '"x"',
    "true",
    "[]",
    "{}",
    "[1]",
    '["a"]',
    "1979-05-27",
    '"1e6"',
    "{ kind = 3 }",
    '"../missing.toml"',
)
CELLS = ("", "nan", "NA", "-1", "1e400", "abc", "1,5", "0", "1e308", "inf", " ", "2026-01-01", "1;2")
_VALUE = re.compile(r"(?<==)[^=\n#]+")
_KEY = re.compile(r"^\s*([A-Za-z_]+)\s*=", re.M)


def text(rng: random.Random, lines: str) -> tuple[str, str]:
    """Damage a text of lines; return it and what was done, in a few words."""
    parts = lines.split("\n")
    at = rng.randrange(len(parts))
    match rng.randrange(12):
        case 0:
            return "\n".join(parts[:at] + parts[at + 1 :]), f"line {at + 1} left out: {parts[at]!r}"
        case 1:
            return "\n".join(parts[: at + 1] + parts[at:]), f"line {at + 1} twice: {parts[at]!r}"
        case 2:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
            return "\n".join(parts), f"lines {at + 1} and {other + 1} exchanged"
        case 3:
            cut = rng.randrange(len(lines) + 1)
            return lines[:cut], f"cut after {cut} characters"
        case 4:
            return "\ufeff" + lines, "a byte order mark in front"
        case 5:
            return lines.replace("\n", "\r\n"), "lines end as on Windows"
        case 6:
            here = rng.randrange(len(lines) + 1)
            extra = rng.choice("\"[]{}=,.;\t#-\u00e9\u2028$<>&'")
            return lines[:here] + extra + lines[here:], f"{extra!r} at character {here}"
        case 7:
            keys = list(_KEY.finditer(lines))
            if not keys:
                return _cell(rng, parts)
            key = rng.choice(keys)
            name = key[1]
            spot = rng.randrange(len(name))
            wrong = name[:spot] + rng.choice("abc_xyz") + name[spot + rng.randrange(2) :]
            return lines[: key.start(1)] + wrong + lines[key.end(1) :], f"key {name} spelt {wrong}"
        case _:
            values = list(_VALUE.finditer(lines))
            if not values:
                return _cell(rng, parts)
            value = rng.choice(values)
            new = rng.choice(NUMBERS if rng.random() < 0.7 else OTHERS)
            key = lines[: value.start()].rsplit("\n", 1)[-1].strip().removesuffix("=").strip()
            return lines[: value.start()] + f" {new} " + lines[value.end() :], f"{key} = {new}"


def _cell(rng: random.Random, parts: list[str]) -> tuple[str, str]:
    at = rng.randrange(len(parts))
    cells = re.split(r"([,;\t ]+)", parts[at])
    where = rng.randrange(0, len(cells), 2)
    old, cells[where] = cells[where], rng.choice(CELLS)
    parts[at] = "".join(cells)
    return "\n".join(parts), f"line {at + 1}: {old!r} replaced by {cells[where]!r}"


def data(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Damage bytes; return them and what was done, in a few words."""
    if not content:
        return b"\0", "one byte where none was"
    at = rng.randrange(len(content))
    match rng.randrange(5):
        case 0:
            return content[:at], f"cut after {at} bytes"
        case 1:
            return content + content[:at], f"its first {at} bytes again at the end"
        case 2:
            end = min(len(content), at + rng.randrange(1, 64))
            return content[:at] + bytes(end - at) + content[end:], f"bytes {at} to {end} zeroed"
        case _:
            bit = rng.randrange(8)
            return content[:at] + bytes([content[at] ^ 1 << bit]) + content[
                at + 1 :
            ], f"bit {bit} of byte {at} flipped"
