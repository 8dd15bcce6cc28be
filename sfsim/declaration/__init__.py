"""How every declaration is made: a frozen, strict pydantic dataclass, checked alike from Python and TOML."""

import json
import tomllib
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sfsim.declaration.complaint import Loc, Origin, locate, misfit, translate
from sfsim.declaration.hints import of_name
from sfsim.errors import ConfigError, did_you_mean
from sfsim.text import content_of, decoded

__all__ = [
    "Loc",
    "Origin",
    "declaration",
    "locate",
    "misfit",
    "no_such_file",
    "read_toml",
    "translate",
    "validate",
    "validate_json",
]

T = TypeVar("T")

_MAX_TOML_BYTES = 1 << 24
_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def declaration(cls: type[T]) -> type[T]:
    """Make `cls` a declaration: frozen, keyword-only, no extra keys, no silent conversion.

    A wrong value raises ConfigError, whether it comes from Python (the place is then the class) or from a
    file (`validate`). What one field cannot check, ``__post_init__`` does by raising `misfit`.

    >>> @declaration
    ... class Speed:
    ...     rate_bps: float
    >>> Speed(rate_mbps=3)
    Traceback (most recent call last):
        ...
    sfsim.errors.ConfigError: Speed, rate_mbps: found an unknown key, expected a key of this table. \
Units are part of the key: write rate_bps = 3000000
    """
    built = dataclass(cls, frozen=True, kw_only=True, config=_CONFIG)  # type: ignore[call-overload]
    check = built.__init__

    @wraps(check)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            check(self, *args, **kwargs)
        except ValidationError as error:
            raise translate(error, built, built.__name__, kwargs) from None

    built.__init__ = __init__  # type: ignore[method-assign]
    return built  # type: ignore[return-value]


def read_toml(path: Path, kind: Any = None) -> dict[str, Any]:
    """Read a TOML file; a missing or malformed one is a ConfigError that names it.

    Of a file that is to hold the declaration `kind`, and is named by a bare word, the catalogue knows the likely one.
    """
    try:
        return tomllib.loads(decoded(content_of(path, _MAX_TOML_BYTES)))
    except (FileNotFoundError, NotADirectoryError):
        error = no_such_file(path, str(path), "a TOML file")
        if kind is not None and path.name == str(path) and (hint := of_name(path.stem, kind, Path(), False)):
            error = ConfigError(error.place, error.found, error.expected, hint)
        raise error from None
    except OSError as refusal:
        found = (
            "a directory"
            if isinstance(refusal, IsADirectoryError)
            else f"a file that cannot be read ({refusal})"
        )
        raise ConfigError(str(path), found, "a TOML file") from None
    except RecursionError:
        raise ConfigError(str(path), "tables or lists nested too deeply", "a TOML file") from None
    except ValueError as refusal:
        raise ConfigError(str(path), f"text that is not TOML ({refusal})", "a TOML file") from None


def no_such_file(path: Path, place: str, expected: str) -> ConfigError:
    """Return the error for a file that does not exist, with the closest name beside it."""
    found = "no such file" if str(path) == place else f"{str(path)!r}, which does not exist"
    if not path.parent.is_dir():
        return ConfigError(place, found, expected, f"The folder {str(path.parent)!r} does not exist either.")
    return ConfigError(
        place, found, expected, did_you_mean(path.name, sorted(p.name for p in path.parent.iterdir()))
    )


def validate(kind: Any, table: Any, place: str, origins: Mapping[Loc, Origin] | None = None) -> Any:
    """Build the declaration `kind` (a class or a union) from a TOML table, or raise one ConfigError.

    Parameters
    ----------
    kind : type
        A declaration, or an annotated union of declarations told apart by their key ``kind``.
    table : Any
        What `tomllib` read.
    place : str
        Where it stands, for the error.
    origins : mapping, optional
        Where values came from another file than `place`: (file, how many leading parts lie outside it).
    """
    try:
        # JSON mode is strict about values (no "3" for 3, no true for 1) and lax about containers.
        return TypeAdapter(kind).validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise translate(error, kind, place, table, origins) from None


def validate_json(kind: Any, table: Any, place: str, form: str) -> Any:
    """Build the declaration `kind` from what a JSON file holds; its errors show the `form` of the file."""
    try:
        return validate(kind, table, place)
    except ConfigError as error:
        expected = error.expected.replace(", or the path of a TOML file", "")  # as a scenario may have it
        raise ConfigError(error.place, error.found, expected, error.hint or f"The form: {form}") from None
