"""VGG19 for small images as a chain of stages: sixteen convolutions in five blocks, and one linear layer.

Source: Simonyan and Zisserman, arXiv 1409.1556, configuration E, in the form that CIFAR is trained with: BatchNorm,
and global average pooling in front of one linear layer. Initialisation as in torchvision.

Left out: the two hidden layers of 4,096 with dropout that ImageNet's classifier has.
"""

from typing import Literal

from torch import nn

from sfsim.learning.chain import Chain, Stage

# Convolutions of each block, and their channels in multiples of the width.
_BLOCKS = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))


def vgg19(
    in_channels: int, num_classes: int, width: int = 64, norm: Literal["batch", "none"] = "batch"
) -> Chain:
    """Return VGG19; with three channels, ten classes and BatchNorm it has 20,040,522 parameters.

    The last convolution of each block is followed by a halving max-pool, in the same stage.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the image and number of logits.
    width : int
        Channels of the first block; the others have 2, 4, 8 and 8 times as many.
    norm : str
        ``"batch"`` for BatchNorm after each convolution, or ``"none"``.
    """
    stages, channels = {}, in_channels
    for block, (depth, factor) in enumerate(_BLOCKS, start=1):
        out = factor * width
        for letter in "abcd"[:depth]:
            layers: list[nn.Module] = [nn.Conv2d(channels, out, 3, padding=1)]
            layers += [nn.BatchNorm2d(out)] if norm == "batch" else []
            layers.append(nn.ReLU(inplace=True))
            if letter == "abcd"[depth - 1]:
                layers.append(nn.MaxPool2d(2))
            stages[f"conv{block}{letter}"] = Stage(nn.Sequential(*layers))
            channels = out
    linear = nn.Linear(channels, num_classes)
    stages["head"] = Stage(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear))
    for stage in stages.values():
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    nn.init.normal_(linear.weight, 0, 0.01)
    nn.init.zeros_(linear.bias)
    return Chain(stages)
