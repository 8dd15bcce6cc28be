"""ResNet18 and ResNet34 as chains of stages: a stem, eight or sixteen residual blocks and a head.

Source: He et al., arXiv 1512.03385; initialisation as in torchvision.
"""

from typing import Literal

from torch import Tensor, nn

from sfsim.learning.chain import Chain, Stage

# Blocks of each layer.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class Block(nn.Module):
    """A basic residual block: two 3x3 convolutions and a shortcut, 1x1 where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = (
            nn.Identity() if channels == out and stride == 1 else _projection(channels, out, stride)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, out, H / stride, W / stride)."""
        return self.relu(self.conv(x) + self.shortcut(x))  # type: ignore[no-any-return]


def resnet(
    depth: Literal[18, 34],
    in_channels: int,
    num_classes: int,
    width: int = 64,
    stem: Literal["cifar", "imagenet"] = "cifar",
) -> Chain:
    """Return a ResNet of basic blocks.

    With three channels, ten classes and the CIFAR stem ResNet18 has 11,173,962 parameters, ResNet34 21,282,122.

    Parameters
    ----------
    depth : int
        Which one.
    in_channels, num_classes : int
        Channels of the image and number of logits.
    width : int
        Channels of the first layer, doubled by each of the next three.
    stem : str
        ``"cifar"``: one 3x3 convolution; ``"imagenet"``: 7x7 of stride 2 and a max-pool of stride 2.
    """
    if stem == "cifar":
        first: list[nn.Module] = [nn.Conv2d(in_channels, width, 3, padding=1, bias=False)]
        last: list[nn.Module] = []
    else:
        first = [nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)]
        last = [nn.MaxPool2d(3, stride=2, padding=1)]
    stages = {"stem": Stage(nn.Sequential(*first, nn.BatchNorm2d(width), nn.ReLU(inplace=True), *last))}
    channels = width
    for layer, blocks in enumerate(BLOCKS[depth], start=1):
        out = width * 2 ** (layer - 1)
        for letter in "abcdef"[:blocks]:
            stride = 2 if letter == "a" and layer > 1 else 1
            stages[f"layer{layer}{letter}"] = Stage(Block(channels, out, stride))
            channels = out
    stages["head"] = Stage(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    )
    for stage in stages.values():
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Chain(stages)


def _projection(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
