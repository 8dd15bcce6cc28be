"""From TOML files to one resolved tree of tables: files named by a path are read in, short forms written out.

The types of the declarations say what a value means, so nothing here knows a key by name:

* a text where a table is expected is the path of a TOML file, relative to the file that says so, unless it is one
  of the words that may stand there too;
* ``profile = "file.toml"`` in a table takes that file's keys, and the table's own keys replace them;
* one table where a list of tables is expected is a list of one; the same for texts and numbers;
* a list (or a file of ``[[stage]]`` tables) where a codec is expected is a chain;
* a text where a path is expected becomes absolute, and must exist.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfsim.declaration import Loc, Origin, locate, no_such_file, read_toml
from sfsim.declaration.fields import (
    allowed,
    choose,
    classes,
    describe,
    element,
    keys,
    named,
    options,
    spell,
    tag,
    unwrap,
    words,
)
from sfsim.declaration.hints import of_name
from sfsim.errors import ConfigError, did_you_mean


@dataclass
class Tables:
    """A scenario's tree of tables while it is read, and where each part of it was written.

    Parameters
    ----------
    kind : type
        The declaration of the whole tree.
    file : Path
        The scenario file.
    """

    kind: Any
    file: Path
    tree: Any = None
    origins: dict[Loc, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The raw tree first: errors on the way name clients from it.
        self.tree = read_toml(self.file)
        self.tree = self._read(self.tree, self.kind, (), _Source(self.file, str(self.file), 0))

    def override(self, key: str, value: Any) -> None:
        """Replace one value, as if the scenario file had said so.

        Parameters
        ----------
        key : str
            Dotted key; an entry of a list by its ``name``, its index, or ``*`` for every entry:
            ``"clients.phone.uplink.rate_bps"``, ``"clients.*.uplink.latency_s"``.
        value : Any
            What the file would say there; paths are relative to the scenario file.
        """
        for loc in self._find(key):
            kind, parent = self.kind, self.tree
            for depth, part in enumerate(loc):
                kind = _kind_below(kind, part, parent)
                if depth < len(loc) - 1:
                    if isinstance(parent, dict):
                        parent = parent.setdefault(str(part), {})
                    else:
                        parent = parent[part]  # type: ignore[index]
            self.origins = {at: origin for at, origin in self.origins.items() if at[: len(loc)] != loc}
            # Behind a wildcard the place has to say which entry it is about.
            self.origins[loc] = (f"override of {key}", 0 if "*" in key.split(".") else len(loc))
            parent[loc[-1]] = self._read(value, kind, loc, _Source(self.file, f"override of {key}", len(loc)))

    def _find(self, key: str) -> list[Loc]:
        found: list[Loc] = [()]
        for word in key.split("."):
            found = [(*loc, part) for loc in found for part in self._parts(loc, word, key)]
        return found

    def _parts(self, loc: Loc, word: str, key: str) -> list[str | int]:
        value = self.tree
        for part in loc:
            value = value.get(part, {}) if isinstance(value, dict) else value[part]
        if isinstance(value, dict):
            return [word]
        if not isinstance(value, list):
            raise ConfigError(f"override of {key}", spell(value), f"a table that can have {word!r}")
        names = [item.get("name") if isinstance(item, dict) else None for item in value]
        if word == "*":
            return list(range(len(value)))
        if word in names:
            return [names.index(word)]
        if word.isdecimal() and int(word) < len(value):
            return [int(word)]
        said = ", ".join(str(name) for name in names)
        raise ConfigError(
            f"override of {key}", repr(word), f"one of {said}, an index below {len(value)}, or *"
        )

    def _read(self, value: Any, kind: Any, loc: Loc, source: "_Source") -> Any:
        """Return `value` with everything that it names by a path read in."""
        tables = classes(kind)
        bare = [unwrap(option)[0] for option in options(kind)]
        for cls in tables:
            if hasattr(cls, "from_short_form"):
                value = cls.from_short_form(value)
        if isinstance(value, str) and Path in bare:
            return self._existing(value, loc, source)
        if isinstance(value, str) and tables and str not in bare and value not in words(kind):
            path, table = self._open(value, kind, loc, source)
            self.origins[loc] = (str(path), len(loc))
            return self._read(table, kind, loc, _Source(path, str(path), len(loc), (*source.opened, path)))
        chain = next((cls for cls in tables if tag(cls) == "chain"), None)
        if chain is not None and isinstance(value, dict) and set(value) == {"stage"}:
            value = value["stage"]
        if chain is not None and isinstance(value, list):
            value = value[0] if len(value) == 1 else {"kind": "chain", "stages": value}
            return self._read(value, kind, loc, source)
        if chain is not None and isinstance(value, dict):
            self._check_stage(value, chain, tables, loc, source)
        entry = element(kind)
        if entry is not None and not isinstance(value, list):
            single = dict if classes(entry) else (int, float) if unwrap(entry)[0] is float else str
            value = [value] if isinstance(value, single) else value
        if isinstance(value, list) and entry is not None:
            return [
                self._read(item, element(kind, index), (*loc, index), source)
                for index, item in enumerate(value)
            ]
        if isinstance(value, dict) and named(kind) is not None:
            return {key: self._read(item, named(kind), (*loc, key), source) for key, item in value.items()}
        return self._read_table(value, kind, loc, source) if isinstance(value, dict) else value

    def _read_table(self, value: dict[str, Any], kind: Any, loc: Loc, source: "_Source") -> dict[str, Any]:
        sources = dict.fromkeys(value, source)
        if isinstance(value.get("profile"), str) and not any("profile" in keys(cls) for cls in classes(kind)):
            path, table = self._open(value["profile"], kind, (*loc, "profile"), source)
            changes = {key: item for key, item in value.items() if key != "profile"}
            within = _Source(path, str(path), len(loc), (*source.opened, path))
            sources = dict.fromkeys(table, within) | sources
            self.origins |= {(*loc, key): (within.shown, within.start) for key in table}
            self.origins |= {(*loc, key): (source.shown, source.start) for key in changes}
            value = table | changes
        cls = choose(kind, value)
        known = keys(cls) if cls else {}
        return {
            key: self._read(item, allowed(known[key]), (*loc, key), sources[key]) if key in known else item
            for key, item in value.items()
        }

    def _check_stage(
        self, value: dict[str, Any], chain: type, tables: list[type], loc: Loc, source: "_Source"
    ) -> None:
        stages = {tag(cls) for cls in classes(element(allowed(keys(chain)["stages"])))}
        if value.get("kind") in stages - {tag(cls) for cls in tables}:
            found = f"{value['kind']!r} by itself"
            hint = f"Write [{{ kind = 'cast', dtype = 'float32' }}, {{ kind = {value['kind']!r} }}]."
            expected = "a tensor codec before it"
            if value["kind"] == "error-feedback":
                expected = "a lossy codec behind it"
                hint = "Write [{ kind = 'error-feedback' }, { kind = 'topk', keep = 0.1 }]."
            raise ConfigError(self._place((*loc, "kind"), source), found, expected, hint)

    def _place(self, loc: Loc, source: "_Source") -> str:
        return locate(loc, str(self.file), self.tree, {loc[: source.start]: (source.shown, source.start)})

    def _open(self, name: str, kind: Any, loc: Loc, source: "_Source") -> tuple[Path, dict[str, Any]]:
        path = source.resolve(name)
        place = self._place(loc, source)
        if path in source.opened:
            raise ConfigError(place, repr(name), "a file that does not name itself")
        if not path.is_file():
            error = no_such_file(path, place, describe(kind))
            if path.is_dir():
                raise ConfigError(place, f"{name!r}, which is a directory", error.expected)
            meant = "/" in name or name.endswith(".toml")  # as a path; else it may be a misspelt value
            found = f"{name!r}, which does not exist" if meant else repr(name)
            like = did_you_mean(name, words(kind)) or of_name(name, kind, source.file.parent)
            hint = error.hint if meant else like
            raise ConfigError(place, found, error.expected, hint)
        # Any file may say what it is, also where the declaration has no such keys.
        own = {key for cls in classes(kind) for key in keys(cls)}
        table = read_toml(path)
        return path, {
            key: item for key, item in table.items() if key in own or key not in ("title", "source")
        }

    def _existing(self, name: str, loc: Loc, source: "_Source") -> str:
        path = source.resolve(name)
        if not path.exists():
            place = self._place(loc, source)
            error = no_such_file(path, place, "the path of a file that exists")
            raise ConfigError(place, f"{name!r}, which does not exist", error.expected, error.hint)
        return str(path.absolute())


@dataclass(frozen=True)
class _Source:
    """The file that a value stands in: its path, its name in errors, and the depth at which it begins."""

    file: Path
    shown: str
    start: int
    opened: tuple[Path, ...] = ()

    def resolve(self, name: str) -> Path:
        return Path(os.path.normpath(self.file.parent / name))


def _kind_below(kind: Any, part: str | int, value: Any) -> Any:
    if isinstance(part, int):
        return element(kind, part)
    if named(kind) is not None:
        return named(kind)
    cls = choose(kind, value)
    info = keys(cls).get(part) if cls else None
    return allowed(info) if info is not None else Any
