"""Loading: a codec from a TOML file of the catalogue, or from a table of a scenario."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sfsim.codec.base import Codec
from sfsim.codec.chain import OTHER_STAGES, Chain
from sfsim.codec.learned import Ae, ChengAt, Hyperprior, MeanScale, SeriesAe
from sfsim.codec.plain import PLAIN_KINDS, AnyPlain
from sfsim.declaration import read_toml, validate
from sfsim.errors import ConfigError, did_you_mean

AnyCodec = Annotated[
    AnyPlain | Ae | ChengAt | Hyperprior | MeanScale | SeriesAe | Chain, Field(discriminator="kind")
]
"""Every codec that a slot can name, told apart by `kind`."""

# "chain" is what a list is called inside; a user writes the list, and byte stages stand in lists only.
_LEARNED = ("ae", "cheng-at", "hyperprior", "mean-scale", "series-ae")
_KINDS = (*PLAIN_KINDS, *_LEARNED)


def load(path: Path) -> Codec:
    """Read a codec file: one table, or ``[[stage]]`` tables; ``title`` and ``source`` are for readers.

    Raises
    ------
    ConfigError
        When the file is missing, is no TOML, or declares no codec; names file, key, value and expectation.
    """
    table = read_toml(path, AnyCodec)
    for key in ("title", "source"):
        text = table.pop(key, "")
        if not isinstance(text, str):
            raise ConfigError(f"{path}, {key}", repr(text), "a text")
    if "stage" not in table:
        return parse(table, str(path))
    if len(table) > 1:
        other = next(key for key in table if key != "stage")
        raise ConfigError(
            f"{path}, {other}", repr(table[other]), "nothing beside [[stage]], title and source"
        )
    return parse(table["stage"], f"{path}, stage")


def parse(table: Any, place: str) -> Codec:
    """Build a codec from a TOML table, or a chain from a list of tables; a list of one is that one."""
    if isinstance(table, list) and len(table) == 1:
        table = table[0]
    if isinstance(table, list):
        table = {"kind": "chain", "stages": table}
    elif not isinstance(table, dict):
        raise ConfigError(place, repr(table), "a table with a key kind, or a list of such tables")
    elif table.get("kind") in OTHER_STAGES:
        found = f"{table['kind']!r} alone"
        raise ConfigError(f"{place}, kind", found, "a list of tables with a tensor codec in it")
    elif table.get("kind") not in (*_KINDS, "chain"):
        kind = table.get("kind")
        expected = f"one of {', '.join(_KINDS)}"
        found = "nothing" if kind is None else repr(kind)
        raise ConfigError(f"{place}, kind", found, expected, did_you_mean(str(kind), _KINDS))
    return validate(AnyCodec, table, place)  # type: ignore[no-any-return]
