"""Trained codec weights in a file: safetensors that name their network, so that foreign ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sfsim.errors import ConfigError
from sfsim.workload.learned.replica import load_weights

if TYPE_CHECKING:
    from sfsim.codec import Learned
    from sfsim.workload.learned.networks import Trainee
    from sfsim.workload.replica import State


def save(
    file: Path, codec: Learned, tensor_shape: tuple[int, ...], state: State, about: dict[str, str]
) -> None:
    """Write weights.

    Parameters
    ----------
    tensor_shape : (int, int, int)
        Channels, height and width of the tensors that the codec was made for.
    about : dict of str to str
        Where the weights come from.
    """
    from safetensors.torch import save_file

    channels, height, width = tensor_shape
    network = _network(codec, channels, codec.stages_for(height, width))
    weights = {name: weight.detach().cpu().contiguous() for name, weight in state.items()}
    save_file(weights, file, metadata={"codec": network, **about})


def load(file: Path, trainee: Trainee) -> None:
    """Put the weights of a file into a trainee.

    Raises
    ------
    ConfigError
        When the file is no safetensors file, or holds weights of another network.
    """
    from safetensors import SafetensorError, safe_open

    place = f"weights {file.name}"
    try:
        with safe_open(file, framework="pt") as opened:
            found = (opened.metadata() or {}).get("codec", "no codec")
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ConfigError(place, f"no safetensors file ({error})", "what `sfsim codec train` wrote") from None
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


def _network(declared: Learned, in_channels: int, stages: int) -> str:
    """Name everything that decides which weights there are, and what they were trained on."""
    words = {
        "kind": declared.kind,
        "channels": declared.channels,
        "mixture": getattr(declared, "mixture", None),
    }
    words |= {"in_channels": in_channels, "stages": stages, "normalise": declared.normalise}
    return json.dumps({key: value for key, value in words.items() if value is not None})
