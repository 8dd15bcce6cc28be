"""Trained codec weights in a file: safetensors with the declaration, so that a foreign file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim.errors import ConfigError
from sfsim.workload.learned.replica import load_weights

if TYPE_CHECKING:
    from sfsim.workload.learned.networks import Trainee


def save(file: Path, trainee: Trainee, about: dict[str, str]) -> None:
    """Write a trainee's weights; `about` says where they come from (data set, rounds, seed)."""
    from safetensors.torch import save_file

    weights = {name: weight.detach().cpu().contiguous() for name, weight in trainee.named_parameters()}
    save_file(weights, file, metadata={"codec": _network(trainee), **about})


def load(file: Path, trainee: Trainee) -> None:
    """Put the weights of a file into a trainee.

    Raises
    ------
    ConfigError
        When the file is no safetensors file, or holds weights of another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            found = (opened.metadata() or {}).get("codec", "no codec")
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ConfigError(
            f"weights {file.name}", f"no safetensors file ({error})", "what `sfsim codec train` wrote"
        ) from None
    wanted = _network(trainee)
    if found != wanted:
        raise ConfigError(f"weights {file.name}", found, wanted)
    load_weights(trainee, weights)


def _network(trainee: Trainee) -> str:
    """Name everything that decides which weights there are."""
    declared = trainee.declaration
    words = {
        "kind": declared.kind,
        "channels": declared.channels,
        "mixture": getattr(declared, "mixture", None),
    }
    words |= {"in_channels": trainee.in_channels, "stages": trainee.stages, "normalise": declared.normalise}
    return json.dumps({key: value for key, value in words.items() if value is not None})
