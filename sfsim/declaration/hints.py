"""Ways out of a wrong key or a wrong name: the unit, the table, the file of the catalogue that was meant."""

import os
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sfsim.declaration.fields import allowed, choose, classes, element, keys, named, tag
from sfsim.errors import closest, did_you_mean

_CHECKOUT = (
    Path(__file__).resolve().parents[2]
)  # where codecs/ and channels/ lie, of an editable installation
_MOST_FILES = 500  # looked at
_MOST_NAMES = 12  # said
_MOST_BYTES = 1 << 16  # of a declaration
_DEEPEST = 4  # tables within tables
_ABOVE = "It belongs to the whole: move it above the first [table]."
_FOR_READERS = {"title", "source"}
# Endings that say another unit than ours: the right ending, and what to multiply the number by.
_UNITS = {
    "ns": ("s", 1e-9),
    "us": ("s", 1e-6),
    "ms": ("s", 1e-3),
    "sec": ("s", 1.0),
    "seconds": ("s", 1.0),
    "min": ("s", 60.0),
    "minutes": ("s", 60.0),
    "h": ("s", 3600.0),
    "kbps": ("bps", 1e3),
    "mbps": ("bps", 1e6),
    "gbps": ("bps", 1e9),
    "kbit": ("bps", 1e3),
    "mbit": ("bps", 1e6),
    "gbit": ("bps", 1e9),
    "khz": ("hz", 1e3),
    "mhz": ("hz", 1e6),
    "ghz": ("hz", 1e9),
    "kb": ("bytes", 1e3),
    "mb": ("bytes", 1e6),
    "gb": ("bytes", 1e9),
    "mib": ("bytes", 2.0**20),
    "gib": ("bytes", 2.0**30),
    "mw": ("w", 1e-3),
    "kw": ("w", 1e3),
    "km": ("m", 1e3),
    "percent": ("fraction", 1e-2),
    "gflops": ("flops", 1e9),
    "tflops": ("flops", 1e12),
}


def of_key(key: str, value: Any, parent: type | None, root: Any) -> tuple[str, str | None]:
    """Return what may stand instead of an unknown key, and the likely way out.

    Parameters
    ----------
    key : str
        The unknown key.
    value : Any
        What stands there.
    parent : type or None
        The declaration of the table that it stands in.
    root : type
        The declaration that was read: where else the key could belong.
    """
    known = list(keys(parent)) if parent else []
    hint = (
        _unit(key, value, known)
        or _other_kind(key, parent, root)
        or _elsewhere(key, parent, root)
        or did_you_mean(key, known)
    )
    if (
        not hint
        and parent not in classes(root)
        and (close := closest(key, [name for cls in classes(root) for name in keys(cls)]))
    ):
        hint = f"Did you mean {close!r}? {_ABOVE}"
    return "a key of this table" if hint else f"one of {', '.join(known)}", hint


def of_name(name: str, kind: Any, folder: Path, inline: bool = True) -> str | None:
    """Return the kind or the file of the catalogue that a text is likely to mean where it names no file.

    Parameters
    ----------
    name : str
        What was written.
    kind : type
        The declaration, or choice of them, that the file should hold.
    folder : Path
        The folder of the file that says so; what is returned is relative to it.
    inline : bool
        A table could stand there as well.

    Examples
    --------
    >>> from sfsim.learning.declarations import AnyModel
    >>> of_name("unet", AnyModel, Path("."))
    "Write { kind = 'unet' }."
    """
    tags = [word for cls in classes(kind) if (word := tag(cls))] if inline else []
    if name in tags:
        return f"Write {{ kind = {name!r} }}."
    files: dict[str, str] = {}
    for path in _fitting(kind, folder):
        files.setdefault(path.stem, os.path.relpath(path, folder))  # the nearest of one name
    close = closest(name, files)
    if close:
        return f"Did you mean {files[close]!r}?"
    if not files:
        return did_you_mean(name, tags)
    more = "" if len(files) <= _MOST_NAMES else f" and {len(files) - _MOST_NAMES} more"
    return f"There are {', '.join(islice(files.values(), _MOST_NAMES))}{more}."


def _fitting(kind: Any, folder: Path) -> Iterator[Path]:
    """Yield the TOML files nearby whose keys are those of `kind`: around `folder`, and of the catalogue."""
    near = (folder, folder.parent, _CHECKOUT, _CHECKOUT / "scenarios")
    found = (path for top in near for pattern in ("*.toml", "*/*.toml") for path in sorted(top.glob(pattern)))
    seen: set[Path] = set()
    for path in islice(found, _MOST_FILES):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            if path.stat().st_size > _MOST_BYTES:
                continue
            table = tomllib.loads(path.read_text())
        except (OSError, ValueError):
            continue
        table = {key: value for key, value in table.items() if key not in _FOR_READERS}
        if set(table) == {"stage"}:
            fits = any(tag(cls) == "chain" for cls in classes(kind))
        else:
            cls = choose(kind, table)
            fits = cls is not None and bool(table) and set(table) <= set(keys(cls))
        if fits:
            yield path


def _other_kind(key: str, parent: type | None, root: Any) -> str | None:
    """Return which other kinds of the table that a key was found in have that key."""
    if parent is None or tag(parent) is None:
        return None
    others = [tag(cls) for cls in _neighbours(parent, root) if key in keys(cls)]
    if not others:
        return None
    words = [repr(kind) for kind in others[:3]] + ([f"{len(others) - 3} more"] if len(others) > 3 else [])
    return f"It belongs to kind = {' or '.join(words)}, not to {tag(parent)!r}."


def _neighbours(parent: type, root: Any, inside: tuple[type, ...] = ()) -> list[type]:
    """Return the declarations that can stand where `parent` stands, `parent` among them."""
    if parent in classes(root):
        return classes(root)
    for cls in classes(root):
        for info in keys(cls).values() if cls not in inside and len(inside) < _DEEPEST else ():
            kind = allowed(info)
            for place in (kind, element(kind), named(kind)):
                if place is not None and (found := _neighbours(parent, place, (*inside, cls))):
                    return found
    return []


def _elsewhere(key: str, parent: type | None, root: Any) -> str | None:
    """Return where a key that this table does not have would be right: further in, at the top, anywhere."""
    places = _nearest(parent, key) if parent else []
    if not places and parent not in classes(root) and any(key in keys(cls) for cls in classes(root)):
        return _ABOVE
    places = places or [place for cls in classes(root) for place in _nearest(cls, key)]
    return f"Did you mean {' or '.join(places[:3])}?" if places else None


def _nearest(cls: type, key: str) -> list[str]:
    places = _places(cls, key)
    return [place for place in places if place.count(".") == places[0].count(".")]


def _places(cls: type, key: str, inside: tuple[type, ...] = ()) -> list[str]:
    """Return the dotted places below a table at which `key` is known, nearest first."""
    found: dict[str, None] = {}
    for name, info in keys(cls).items():
        kind = allowed(info)
        entries = element(kind)
        tables = classes(kind) or (classes(entries) if entries is not None else [])
        path = name
        if named(kind) is not None:
            tables, path = classes(named(kind)), f"{name}.NAME"
        for table in tables:
            if key in keys(table):
                found[f"{path}.{key}"] = None
            if table not in inside and len(inside) < _DEEPEST:
                found |= dict.fromkeys(f"{path}.{place}" for place in _places(table, key, (*inside, table)))
    return sorted(found, key=lambda place: place.count("."))


def _unit(key: str, value: Any, known: list[str]) -> str | None:
    stem, _, ending = key.lower().rpartition("_")
    if ending not in _UNITS:
        return None
    right, factor = _UNITS[ending]
    name = f"{stem}_{right}"
    if name not in known:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"Units are part of the key: write {name} = {value * factor:.12g}"
    return f"Units are part of the key: write {name}"
