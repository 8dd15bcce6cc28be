"""What a declaration allows at each key, in words: for error texts, for reading TOML, for the reference."""

from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_WORDS = {
    "gt": "greater than {}",
    "ge": "at least {}",
    "lt": "less than {}",
    "le": "at most {}",
}
_PLAIN = {float: "a number", int: "a whole number", bool: "true or false", str: "a text", Path: "a path"}


def keys(cls: type) -> dict[str, FieldInfo]:
    """Return the keys of a declaration and what may stand there, in the order of the class."""
    fields: dict[str, FieldInfo] = getattr(cls, "__pydantic_fields__", {})
    return fields


def allowed(info: FieldInfo) -> Any:
    """Return a field's type with its limits, as one ``Annotated`` type.

    >>> from sfsim.cost import Cost
    >>> describe(allowed(FieldInfo.from_annotation(Annotated[float, FieldInfo(gt=0)])))
    'a number greater than 0'
    """
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation  # type: ignore[misc]


def unwrap(kind: Any) -> tuple[Any, list[Any]]:
    """Return the bare type of `kind` and the limits that stood around it."""
    limits: list[Any] = []
    while get_origin(kind) is Annotated:
        kind, *extra = get_args(kind)
        for item in extra:
            limits += item.metadata if isinstance(item, FieldInfo) else [item]
    return kind, limits


def options(kind: Any) -> list[Any]:
    """Return the types that `kind` is a choice of, nested choices flattened, without None."""
    bare, limits = unwrap(kind)
    if get_origin(bare) in (Union, UnionType):
        return [option for member in get_args(bare) for option in options(member)]
    if bare is NoneType:
        return []
    return [kind if limits else bare]


def classes(kind: Any) -> list[type]:
    """Return the declarations among the options of `kind`."""
    return [bare for bare in (unwrap(option)[0] for option in options(kind)) if is_dataclass(bare)]  # type: ignore[misc]


def tag(cls: type) -> str | None:
    """Return the value of ``kind`` that tells a declaration from its neighbours, or None."""
    info = keys(cls).get("kind")
    return info.default if info is not None and isinstance(info.default, str) else None


def choose(kind: Any, value: Any) -> type | None:
    """Return the declaration that the table `value` is meant to be, or None when that cannot be said."""
    found = classes(kind)
    if len(found) == 1:
        return found[0]
    said = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return next((cls for cls in found if tag(cls) == said), None)


def element(kind: Any, index: int = 0) -> Any:
    """Return the type of an entry of the list or tuple type `kind`, or None."""
    for option in options(kind):
        bare = unwrap(option)[0]
        if get_origin(bare) in (tuple, list):
            entries = get_args(bare)
            if len(entries) == 2 and entries[1] is Ellipsis:
                return entries[0]
            return entries[min(index, len(entries) - 1)] if entries else None
    return None


def named(kind: Any) -> Any:
    """Return the type of what a table of names (``dict[str, X]``) holds, or None.

    >>> named(dict[str, int])
    <class 'int'>
    """
    for option in options(kind):
        bare = unwrap(option)[0]
        if get_origin(bare) is dict:
            return get_args(bare)[1]
    return None


def names(option: Any) -> set[str]:
    """Return the words by which pydantic may name one option of a choice in a place."""
    bare, limits = unwrap(option)
    given = {limit.tag for limit in limits if isinstance(getattr(limit, "tag", None), str)}
    label = tag(bare) if is_dataclass(bare) else None  # type: ignore[arg-type]
    return given | {label or getattr(bare, "__name__", str(bare))}


def words(kind: Any) -> list[str]:
    """Return the texts that may stand where `kind` is expected, where only some may.

    >>> words(Literal["a", "b"] | int)
    ['a', 'b']
    """
    literals = [
        bare for bare in (unwrap(option)[0] for option in options(kind)) if get_origin(bare) is Literal
    ]
    return [value for bare in literals for value in get_args(bare) if isinstance(value, str)]


def list_words(words: list[str], last: str = "or") -> str:
    """Join words for a sentence.

    >>> list_words(["a", "b", "c"])
    'a, b or c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def describe(kind: Any) -> str:
    """Say in words what may stand where `kind` is expected.

    >>> describe(Annotated[float, FieldInfo(gt=0, le=1)] | None)
    'a number greater than 0 and at most 1'
    >>> describe(Literal["a", "b"])
    "'a' or 'b'"
    """
    parts = [_describe_one(option) for option in options(kind) if not is_dataclass(unwrap(option)[0])]
    tables = classes(kind)
    if tables:
        tags = [repr(tag(cls)) for cls in tables if tag(cls)]
        which = f" with kind = {list_words(tags)}" if tags and len(tables) > 1 else ""
        parts.append(f"a table{which}, or the path of a TOML file")
    return list_words(parts)


def _describe_one(kind: Any) -> str:
    bare, limits = unwrap(kind)
    if get_origin(bare) is Literal:
        values = [spell(value) for value in get_args(bare)]
        return list_words(values)
    words = [
        text.format(f"{getattr(limit, name):.12g}")
        for limit in limits
        for name, text in _WORDS.items()
        if isinstance(getattr(limit, name, None), int | float)
    ]
    if get_origin(bare) in (tuple, list):
        entries = get_args(bare)
        if len(entries) > 1 and entries[1] is not Ellipsis:
            return f"a list of {len(entries)}, each {describe(entries[0])}"
        lengths = [limit for limit in limits if hasattr(limit, "min_length") or hasattr(limit, "max_length")]
        least = next((limit.min_length for limit in lengths if hasattr(limit, "min_length")), 0)
        most = next((limit.max_length for limit in lengths if hasattr(limit, "max_length")), None)
        size = f" of {least} to {most}" if most else f" of at least {least}" if least else ""
        return f"a list{size}, each {describe(entries[0])}" if entries else "a list"
    if get_origin(bare) is dict:
        return "a table"
    text = _PLAIN.get(bare, getattr(bare, "__name__", str(bare)))
    if bare is str and any(getattr(limit, "min_length", 0) for limit in limits):
        text = "a text that is not empty"
    if not words:
        return text
    return f"{text} {'of ' if words[0].startswith('at ') else ''}{' and '.join(words)}"


def spell(value: Any) -> str:
    """Write a value as its author would have, in TOML's spelling, shortened when long.

    >>> spell(True), spell(-5), spell("x"), spell({"a": 1}), spell([1, 2])
    ('true', '-5', "'x'", '{a = 1}', '[1, 2]')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {spell(item)}" for key, item in value.items()) + "}"
        return text if len(text) <= 60 else f"a table of {len(value)} keys"
    if isinstance(value, list | tuple):
        text = "[" + ", ".join(spell(item) for item in value) + "]"
        return text if len(text) <= 60 else f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
