"""From pydantic's complaint to one line that a user can act on: place, found, expected, and a way out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from sfsim.declaration.fields import (
    allowed,
    classes,
    describe,
    element,
    keys,
    list_words,
    named,
    names,
    options,
    spell,
    tag,
)
from sfsim.declaration.hints import of_key
from sfsim.errors import ConfigError, did_you_mean
from sfsim.names import shown

# A place in a tree of tables (keys and list indices), and the file it was written in: its name, and how many
# leading parts of the place lie outside that file.
Loc = tuple[str | int, ...]
Origin = tuple[str, int]

_STANDARD = frozenset(get_args(ErrorType))
_EXTRA = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def misfit(at: str | Loc, found: str, expected: str, hint: str | None = None) -> PydanticCustomError:
    """Return what a declaration's ``__post_init__`` raises when its keys do not fit together.

    Parameters
    ----------
    at : str or tuple
        The key (or keys and list indices), relative to the declaration that raises.
    found, expected : str
        As in `sfsim.errors.ConfigError`.
    hint : str, optional
        A way out.
    """
    where = (at,) if isinstance(at, str) else tuple(at)
    context = {"at": where, "found": found, "expected": expected, "hint": hint}
    return PydanticCustomError("misfit", "expected {expected}", context)


def translate(
    error: ValidationError,
    kind: Any,
    place: str,
    table: Any = None,
    origins: Mapping[Loc, Origin] | None = None,
) -> ConfigError:
    """Turn pydantic's most telling complaint into a ConfigError.

    Parameters
    ----------
    error : ValidationError
        What pydantic raised.
    kind : type
        What was validated against.
    place : str
        The file or class that the values stand in.
    table : dict, optional
        What was validated, to name list entries by their ``name``.
    origins : mapping, optional
        Where values came from another file than `place`.
    """
    details = error.errors(include_url=False)
    # A misspelt key also makes the right one missing: the misspelt one tells more.
    # A list whose entries are all wrong is too short besides, since pydantic counts the right ones.
    first = min(details, key=lambda item: _rank(item["type"], item["loc"], details))
    loc, expected_kind, parent = _walk(kind, first["loc"])
    loc, found, expected, hint = _sentence(first, loc, expected_kind, parent, kind)
    if first["type"] == "misfit" and origins and not origins.get(loc, ("",))[0].startswith("override"):
        # It is about what the key says, not about the inside of the file that the key names.
        origins = {at: origin for at, origin in origins.items() if at != loc}
    return ConfigError(locate(loc, place, table, origins), found, expected, hint)


def locate(loc: Loc, place: str, table: Any = None, origins: Mapping[Loc, Origin] | None = None) -> str:
    """Say where `loc` stands: the file it was really written in, the table, the key.

    >>> locate(("clients", 0, "uplink", "rate_bps"), "a.toml", {"clients": [{"name": "phone"}]})
    'a.toml, [clients "phone" uplink] rate_bps'
    >>> locate(("cut_layers", 1), "a.toml"), locate(("seed",), "a.toml"), locate((), "a.toml")
    ('a.toml, cut_layers[1]', 'a.toml, seed', 'a.toml')
    """
    for length in range(len(loc), -1, -1):
        if origins and loc[:length] in origins:
            place, start = origins[loc[:length]]
            if length == len(loc) and place.startswith("override"):
                return place  # its key says it all
            table, loc = _below(table, loc[:start]), loc[start:]
            break
    if not loc:
        return place
    end = len(loc)
    while end > 1 and isinstance(loc[end - 1], int):
        end -= 1
    key = str(loc[end - 1]) + "".join(f"[{index}]" for index in loc[end:])
    header = ""
    for depth, part in enumerate(loc[: end - 1]):
        if isinstance(part, int):
            name = _below(table, (*loc[:depth], part, "name"))
            header += f' "{shown(name, 40)}" ' if isinstance(name, str) else f"[{part}]."
        else:
            header += part if not header or header[-1] in " ." else f".{part}"
    header = header.strip(" .")
    return f"{place}, [{header}] {key}" if header else f"{place}, {key}"


def _rank(code: str, loc: Loc, details: list[ErrorDetails]) -> int:
    """Return how little a complaint tells beside the others; the least is shown."""
    within = any(item["loc"][: len(loc)] == loc and len(item["loc"]) > len(loc) for item in details)
    if code == "too_short" and within:
        return 3
    return 0 if code in _EXTRA else 2 if code in _MISSING else 1


def _below(value: Any, loc: Iterable[str | int]) -> Any:
    for part in loc:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = getattr(value, str(part), None)
    return value


def _walk(kind: Any, loc: Loc) -> tuple[Loc, Any, type | None]:
    """Follow a place through the types: drop the union tags in it; return the last type and its table."""
    clean: list[str | int] = []
    parent: type | None = None
    chosen = False
    for part in loc:
        choices = options(kind) if kind is not None else []
        chosen_one = next((option for option in choices if part in names(option)), None)
        if not chosen and len(choices) > 1 and chosen_one is not None:
            kind, chosen = chosen_one, True
            continue
        chosen = False
        clean.append(part)
        if isinstance(part, int):
            kind, parent = element(kind, part), None
            continue
        if kind is not None and named(kind) is not None:
            kind, parent = named(kind), None
            continue
        found = classes(kind) if kind is not None else []
        parent = found[0] if len(found) == 1 else None
        info = keys(parent).get(part) if parent else None
        kind = allowed(info) if info is not None else None
    return tuple(clean), kind, parent


def _sentence(
    item: ErrorDetails, loc: Loc, kind: Any, parent: type | None, root: Any
) -> tuple[Loc, str, str, str | None]:
    """Return the place, what was found, what was expected and a hint."""
    code, context, value = item["type"], item.get("ctx", {}), item["input"]
    if code == "misfit":
        return (*loc, *context["at"]), context["found"], context["expected"], context["hint"]
    if code in _EXTRA:
        return loc, "an unknown key", *of_key(str(loc[-1]), value, parent, root)
    if code == "union_tag_invalid":
        tags = re.findall(r"'([^']*)'", context["expected_tags"])
        expected = list_words([repr(tag) for tag in tags])
        said = value.get("kind") if isinstance(value, dict) else context["tag"]
        return (*loc, "kind"), spell(said), expected, did_you_mean(context["tag"], tags)
    if code == "union_tag_not_found" and isinstance(value, dict):
        tags = [repr(tag(cls)) for cls in classes(kind)]
        return (*loc, "kind"), "nothing", list_words(tags), None
    found = "nothing" if code in _MISSING else spell(value)
    if code == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(value, words) if isinstance(value, str) else None
        return loc, found, describe(kind) if kind else context["expected"], hint
    if code == "finite_number":
        return loc, found, "a finite number", None
    # A complaint that a class formulated itself (a validator) is about its whole table: take its words.
    own = code in ("value_error", "assertion_error") or code not in _STANDARD
    if own or kind is None:
        text = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return loc, "values" if "ArgsKwargs" in found else found, text, None
    return loc, found, describe(kind), None
