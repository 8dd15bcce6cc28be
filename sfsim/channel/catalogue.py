"""Channels and losses from TOML: one file or table, one declaration."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sfsim.channel.constant import Constant
from sfsim.channel.fading import RayleighBlock, RicianBlock
from sfsim.channel.loss import Bernoulli, GilbertElliott
from sfsim.channel.realisation import Channel
from sfsim.channel.trace import Trace
from sfsim.declaration import read_toml, validate

AnyChannel = Annotated[Constant | RayleighBlock | RicianBlock | Trace, Field(discriminator="kind")]
AnyLoss = Annotated[Bernoulli | GilbertElliott, Field(discriminator="kind")]


def load(path: Path) -> Channel:
    """Read a channel from a TOML file; raises ConfigError."""
    return parse(read_toml(path), str(path), path.parent)


def parse(table: dict[str, Any], place: str, base: Path = Path()) -> Channel:
    """Build a channel from a table; a trace's relative path starts at the folder `base`."""
    if isinstance(table, dict) and isinstance(table.get("path"), str):
        table = table | {"path": str(base / table["path"])}
    channel: Channel = validate(AnyChannel, table, place)
    return channel


def load_loss(path: Path) -> Bernoulli | GilbertElliott:
    """Read a loss law from a TOML file; raises ConfigError."""
    return parse_loss(read_toml(path), str(path))


def parse_loss(table: dict[str, Any], place: str) -> Bernoulli | GilbertElliott:
    """Build a loss law from a table; raises ConfigError."""
    loss: Bernoulli | GilbertElliott = validate(AnyLoss, table, place)
    return loss
