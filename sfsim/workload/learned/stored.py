"""Trained codec weights in a file: safetensors that name their network and carry their checksum.

So foreign ones, and damaged ones, are refused: such a file travels alone (`sfsim.checksums` for all others). Its
metadata are one entry: safetensors writes several in another order each time, and equal weights are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim.errors import ConfigError
from sfsim.workload.learned.replica import load_weights

if TYPE_CHECKING:
    from sfsim.codec import Learned
    from sfsim.workload.learned.networks import Trainee
    from sfsim.workload.replica import State

_ENTRY = "sfsim"
_EXPECTED = "what `sfsim codec train` wrote"


def save(
    file: Path, codec: Learned, tensor_shape: tuple[int, ...], state: State, about: dict[str, str]
) -> None:
    """Write weights.

    Parameters
    ----------
    tensor_shape : tuple of int
        Channels, height and width (or length) of the tensors that the codec was made for.
    about : dict of str to str
        Where the weights come from.
    """
    from safetensors.torch import save_file

    channels, *sides = tensor_shape
    described = {"codec": _network(codec, channels, codec.stages_for(*sides)), **about}
    weights = {name: weight.detach().cpu().contiguous() for name, weight in state.items()}
    described["sha256"] = _checksum(weights, described)
    save_file(weights, file, metadata={_ENTRY: json.dumps(described)})


def load(file: Path, trainee: Trainee) -> None:
    """Put the weights of a file into a trainee.

    Raises
    ------
    ConfigError
        When the file is no safetensors file, is damaged, or holds weights of another network.
    """
    from safetensors import SafetensorError, safe_open

    place = f"weights {file.name}"
    try:
        with safe_open(file, framework="pt") as opened:
            described = json.loads((opened.metadata() or {}).get(_ENTRY, "{}"))
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(place, f"no safetensors file ({error})", _EXPECTED) from None
    if not isinstance(described, dict) or not {"codec", "sha256"} <= described.keys():
        raise ConfigError(place, "weights without a checksum", _EXPECTED)
    if described.pop("sha256") != _checksum(weights, described):
        raise ConfigError(place, "damaged weights (their checksum does not fit)", _EXPECTED)
    found = described["codec"]
    wanted = _network(trainee.declaration, trainee.in_channels, trainee.stages)
    if found != wanted:
        raise ConfigError(place, found, wanted)
    for name, weight in trainee.named_parameters():
        if name not in weights:
            raise ConfigError(place, f"no {name}", "all weights of the codec")
        if weights[name].shape != weight.shape:
            shape = tuple(weights[name].shape)
            raise ConfigError(place, f"{name} of shape {shape}", str(tuple(weight.shape)))
    load_weights(trainee, weights)


def _checksum(weights: State, described: dict[str, str]) -> str:
    """The checksum of all that a reader is told: names, types, shapes and bytes of the weights, and what they are."""
    digest = hashlib.sha256(json.dumps(described).encode())
    for name in sorted(weights):
        weight = weights[name]
        digest.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def _network(declared: Learned, in_channels: int, stages: int) -> str:
    """Name everything that decides which weights there are, and what they were trained on."""
    words = {
        "kind": declared.kind,
        "channels": declared.channels,
        "mixture": getattr(declared, "mixture", None),
    }
    words |= {"in_channels": in_channels, "stages": stages, "normalise": declared.normalise}
    return json.dumps({key: value for key, value in words.items() if value is not None})
