"""A small convolutional network as a chain of stages, for images of 8x8 to 32x32."""

from typing import Literal

from torch import nn

from sfsim.learning.chain import Chain, Stage


def cnn(
    in_channels: int, num_classes: int, width: int = 16, norm: Literal["batch", "none"] = "batch"
) -> Chain:
    """Return three convolutions of `width`, 2 and 4 times `width` channels, global average, one linear layer.

    The first two convolutions are followed by a halving max-pool, so that ``conv1`` of width 16 turns an
    8x8 digit into 16x4x4.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the image and number of logits.
    width : int
        Channels of the first convolution.
    norm : str
        ``"batch"`` for BatchNorm after each convolution (which then has no bias), or ``"none"``.
    """

    def conv(channels: int, out: int, *after: nn.Module) -> Stage:
        normed = norm == "batch"
        middle = [nn.BatchNorm2d(out)] if normed else []
        first = nn.Conv2d(channels, out, 3, padding=1, bias=not normed)
        return Stage(nn.Sequential(first, *middle, nn.ReLU(inplace=True), *after))

    return Chain(
        {
            "conv1": conv(in_channels, width, nn.MaxPool2d(2)),
            "conv2": conv(width, 2 * width, nn.MaxPool2d(2)),
            "conv3": conv(2 * width, 4 * width),
            "head": Stage(
                nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))
            ),
        }
    )
