"""Channels, losses and latencies from TOML: one file or table, one declaration."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sfsim.channel.constant import Constant
from sfsim.channel.fading import Awgn, RayleighBlock, RicianBlock
from sfsim.channel.latency import AnyLatency, Latency
from sfsim.channel.loss import Bernoulli, GilbertElliott, Loss, LossTrace
from sfsim.channel.markov import MarkovChannel
from sfsim.channel.realisation import Channel
from sfsim.channel.speeds import UserSpeeds
from sfsim.channel.trace import Trace
from sfsim.declaration import read_toml, validate

AnyChannel = Annotated[
    Constant | Awgn | RayleighBlock | RicianBlock | MarkovChannel | Trace | UserSpeeds,
    Field(discriminator="kind"),
]
AnyLoss = Annotated[Bernoulli | GilbertElliott | LossTrace, Field(discriminator="kind")]


def load(path: Path) -> Channel:
    """Read a channel from a TOML file; raises ConfigError."""
    return parse(read_toml(path), str(path), path.parent)


def parse(table: dict[str, Any], place: str, base: Path = Path()) -> Channel:
    """Build a channel from a table; a trace's relative path starts at the folder `base`."""
    channel: Channel = validate(AnyChannel, _based(table, base), place)
    return channel


def load_loss(path: Path) -> Loss:
    """Read a loss law from a TOML file; raises ConfigError."""
    return parse_loss(read_toml(path), str(path), path.parent)


def parse_loss(table: dict[str, Any], place: str, base: Path = Path()) -> Loss:
    """Build a loss law from a table; raises ConfigError."""
    loss: Loss = validate(AnyLoss, _based(table, base), place)
    return loss


def parse_either(table: dict[str, Any], place: str, base: Path = Path()) -> Channel | Loss:
    """Build a channel or a loss law, whichever the table's ``kind`` says; raises ConfigError."""
    kind = Annotated[AnyChannel | AnyLoss, Field(discriminator="kind")]
    entry: Channel | Loss = validate(kind, _based(table, base), place)
    return entry


def load_latency(path: Path) -> Latency:
    """Read a latency law from a TOML file; raises ConfigError."""
    return parse_latency(read_toml(path), str(path), path.parent)


def parse_latency(table: dict[str, Any], place: str, base: Path = Path()) -> Latency:
    """Build a latency law from a table; raises ConfigError."""
    latency: Latency = validate(AnyLatency, _based(table, base), place)
    return latency


def _based(table: Any, base: Path) -> Any:
    if isinstance(table, dict) and isinstance(table.get("path"), str):
        return table | {"path": str(base / table["path"])}
    return table
