"""How every declaration is made: a frozen, strict pydantic dataclass, checked alike from Python and TOML."""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sfsim.errors import ConfigError, did_you_mean

T = TypeVar("T")

_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def declaration(cls: type[T]) -> type[T]:
    """Make `cls` a declaration: frozen, keyword-only, no extra keys, no silent conversion."""
    return dataclass(cls, frozen=True, kw_only=True, config=_CONFIG)  # type: ignore[call-overload, no-any-return]


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; a missing or malformed one is a ConfigError that names it."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file", "a TOML file", _neighbours(path)) from None
    except IsADirectoryError:
        raise ConfigError(str(path), "a directory", "a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"text that is not TOML ({error})", "a TOML file") from None


def validate(kind: Any, table: Any, place: str) -> Any:
    """Build the declaration `kind` (a class or a union) from a TOML table, or raise one ConfigError.

    Parameters
    ----------
    kind : type
        A declaration, or an annotated union of declarations told apart by their key ``kind``.
    table : Any
        What `tomllib` read.
    place : str
        Where it stands, for the error.
    """
    try:
        # JSON mode is strict about values (no "3" for 3, no true for 1) and lax about containers.
        return TypeAdapter(kind).validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise translate(error, kind, place) from None


def translate(error: ValidationError, kind: Any, place: str) -> ConfigError:
    """Turn pydantic's first complaint into place, found, expected and a did-you-mean."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    found = "nothing" if first["type"] == "missing" else repr(first["input"])
    return ConfigError(f"{place}, {where}" if where else place, found, first["msg"])


def _neighbours(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    return did_you_mean(path.name, _names(path.parent.iterdir()))


def _names(paths: Iterable[Path]) -> list[str]:
    return sorted(path.name for path in paths)
