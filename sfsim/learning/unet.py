"""SplitFedZip's U-Net as a chain of stages.

At width 32 and 256x256 inputs, cut after ``enc2a`` and ``dec2a``, the parts have 28,768, 7,661,248 and 73,157
(five classes) or 73,058 (two classes) parameters, and both smashed tensors are 64x128x128.

Source: SplitFedZip, arXiv 2412.17150.
"""

from torch import nn

from sfsim.learning.chain import Chain, Stage


def unet(in_channels: int, num_classes: int, width: int = 32) -> Chain:
    """Return the U-Net; the sides of its input must be multiples of 16.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the image and of the output (logits of shape (N, num_classes, H, W)).
    width : int
        Channels at full resolution; they double at each of the four halvings.
    """
    w = width
    return Chain(
        {
            "enc1a": Stage(_conv(in_channels, w)),
            "enc1b": Stage(_conv(w, w), saves="e1"),
            "enc2a": Stage(nn.Sequential(nn.MaxPool2d(2), *_conv(w, 2 * w))),
            "enc2b": Stage(_conv(2 * w, 2 * w), saves="e2"),
            "enc3": Stage(_down(2 * w, 4 * w), saves="e3"),
            "enc4": Stage(_down(4 * w, 8 * w), saves="e4"),
            "middle": Stage(_down(8 * w, 16 * w)),
            "dec4": Stage(nn.Sequential(*_conv(16 * w, 8 * w), *_conv(8 * w, 8 * w)), _up(16 * w), uses="e4"),
            "dec3": Stage(nn.Sequential(*_conv(8 * w, 4 * w), *_conv(4 * w, 4 * w)), _up(8 * w), uses="e3"),
            "dec2a": Stage(_conv(4 * w, 2 * w), _up(4 * w), uses="e2"),
            "dec2b": Stage(_conv(2 * w, 2 * w)),
            "dec1a": Stage(_conv(2 * w, w), _up(2 * w), uses="e1"),
            "dec1b": Stage(_conv(w, w)),
            "head": Stage(nn.Conv2d(w, num_classes, 1)),
        }
    )


def _conv(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


def _down(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.MaxPool2d(2), *_conv(channels, out), *_conv(out, out))


def _up(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
