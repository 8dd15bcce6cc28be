"""Declarations of the augmentation of training images (no torch here).

Each kind is a transform of torchvision v2 of the same arithmetic (`sfsim.learning.augmenting`).
"""

from typing import Annotated, Literal

from pydantic import Field

from sfsim.declaration import declaration, misfit

_Probability = Annotated[float, Field(gt=0, le=1)]
_Strength = Annotated[float, Field(ge=0)]
_Rise = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


@declaration
class RandomCrop:
    """The image is padded with zeros on all sides, and cut back to its size at a random place.

    Parameters
    ----------
    padding : int
        Pixels on each side; 4 is usual on CIFAR.
    """

    kind: Literal["random-crop"] = "random-crop"
    padding: Annotated[int, Field(ge=1)]


@declaration
class HorizontalFlip:
    """Left and right are exchanged.

    Parameters
    ----------
    probability : float
        Of each image.
    """

    kind: Literal["horizontal-flip"] = "horizontal-flip"
    probability: _Probability = 0.5


@declaration
class VerticalFlip:
    """Top and bottom are exchanged.

    Parameters
    ----------
    probability : float
        Of each image.
    """

    kind: Literal["vertical-flip"] = "vertical-flip"
    probability: _Probability = 0.5


@declaration
class Rotation:
    """The image is rotated around its middle; corners that open are zero, and background in a mask.

    Images are interpolated linearly, masks take the nearest pixel.

    Parameters
    ----------
    degrees : float
        At most, either way; every angle is as likely.
    """

    kind: Literal["rotation"] = "rotation"
    degrees: Annotated[float, Field(gt=0, le=180)]


@declaration
class ResizedCrop:
    """A random part of the image, enlarged to the image's size; masks take the nearest pixel.

    Parameters
    ----------
    area : list of float
        Smallest and largest share of the image's area.
    aspect : list of float
        Smallest and largest ratio of the part's width to its height.
    """

    kind: Literal["resized-crop"] = "resized-crop"
    area: tuple[_Probability, _Probability] = (0.08, 1.0)
    aspect: _Rise = (0.75, 4 / 3)

    def __post_init__(self) -> None:
        for key in ("area", "aspect"):
            low, high = getattr(self, key)
            if low > high:
                raise misfit(key, f"[{low:g}, {high:g}]", "the smaller number first")


@declaration
class ColourJitter:
    """Colours are changed, in random order; masks are not.

    Parameters
    ----------
    brightness : float
        All values are multiplied with a factor of 1 minus this (at least 0) to 1 plus this.
    contrast : float
        The same for their distance to the image's mean grey.
    saturation : float
        The same for their distance to the pixel's grey.
    hue : float
        Hues are turned by at most this share of the colour circle, either way.
    """

    kind: Literal["colour-jitter"] = "colour-jitter"
    brightness: _Strength = 0.0
    contrast: _Strength = 0.0
    saturation: _Strength = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0

    def __post_init__(self) -> None:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise misfit("brightness", "nothing to change", "one of the four greater than 0")


AnyAugmentation = Annotated[
    RandomCrop | HorizontalFlip | VerticalFlip | Rotation | ResizedCrop | ColourJitter,
    Field(discriminator="kind"),
]


def check_augmentation(steps: tuple[AnyAugmentation, ...] | None, in_channels: int) -> None:
    """Raise a misfit for a change of colours that images of so many channels do not have."""
    for index, step in enumerate(steps or ()):
        if isinstance(step, ColourJitter) and in_channels != 3:
            if in_channels != 1:
                expected = f"images of 1 or 3 channels; these have {in_channels}"
                raise misfit(("augmentation", index, "kind"), "'colour-jitter'", expected)
            for key in ("saturation", "hue"):
                if getattr(step, key):
                    found, expected = f"{getattr(step, key):g}", "0, because the images are grey"
                    raise misfit(("augmentation", index, key), found, expected)
