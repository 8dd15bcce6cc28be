"""Build the model that a scenario declares, from a seed and without touching the global random state."""

import os
from typing import Literal

import torch

from sfsim import seeds
from sfsim.errors import ConfigError
from sfsim.learning.chain import Chain
from sfsim.learning.cnn import cnn
from sfsim.learning.cnn1d import cnn1d
from sfsim.learning.declarations import AnyModel, Cnn, Cnn1d, ResNet18, ResNet34, Vgg19
from sfsim.learning.resnet import resnet
from sfsim.learning.unet import unet
from sfsim.learning.vgg import vgg19


def build(model: AnyModel, in_channels: int, num_classes: int, seed: int) -> Chain:
    """Return the declared model as a chain of stages, in training mode, on the CPU.

    Parameters
    ----------
    model : AnyModel
        Which network, how wide.
    in_channels, num_classes : int
        From the data set.
    seed : int
        Decides the first weights, the same on every machine.

    Raises
    ------
    ConfigError
        The weights are larger than this machine's memory.

    Examples
    --------
    >>> chain = build(Cnn(width=4), in_channels=1, num_classes=10, seed=7)
    >>> chain(torch.zeros(2, 1, 8, 8))[0].shape
    torch.Size([2, 10])
    """
    _check_memory(model, in_channels, num_classes)
    # torch's layers draw from the global generator: seed it inside a fork (the CPU's alone; torch.manual_seed
    # would reseed every accelerator too).
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds.integer(seed, "model"))
        return _chain(model, in_channels, num_classes)


def _chain(model: AnyModel, in_channels: int, num_classes: int) -> Chain:
    if isinstance(model, Cnn):
        return cnn(in_channels, num_classes, model.width, model.norm)
    if isinstance(model, Cnn1d):
        return cnn1d(in_channels, num_classes, model.width)
    if isinstance(model, ResNet18 | ResNet34):
        depth: Literal[18, 34] = 18 if isinstance(model, ResNet18) else 34
        return resnet(depth, in_channels, num_classes, model.width, model.stem)
    if isinstance(model, Vgg19):
        return vgg19(in_channels, num_classes, model.width, model.norm)
    return unet(in_channels, num_classes, model.width)


def _check_memory(model: AnyModel, in_channels: int, num_classes: int) -> None:
    with torch.device("meta"):  # shapes only
        outline = _chain(model, in_channels, num_classes)
    needed = sum(value.numel() * value.element_size() for value in outline.state_dict().values())
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > present:
        raise ConfigError(
            "[model] width",
            f"{model.width}, with which the weights take {needed:,} bytes",
            f"at most the {present:,} bytes of this machine's memory",
        )
