"""Declarations of what is done to inputs before a model sees them: their normalisation (no torch here)."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from sfsim.declaration import declaration, misfit

PRESETS = {
    # torchvision's models; https://github.com/pytorch/examples/tree/main/imagenet
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # The training splits' own, rounded, as code for CIFAR has them.
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}

_Numbers = Annotated[tuple[Annotated[float, Field()], ...], Field(min_length=1)]
_Positive = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


@declaration
class Normalisation:
    """Inputs minus a mean, divided by a standard deviation, per channel.

    Parameters
    ----------
    mean : list of float
        One number per channel, of inputs in [0, 1].
    std : list of float
        One number per channel.
    """

    mean: _Numbers
    std: _Positive

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise misfit("std", f"{len(self.std)} numbers", f"{len(self.mean)}, as many as in mean")


NormalisationName = Literal["from-training-data", "imagenet", "cifar10", "cifar100"]


def _which(value: Any) -> str:
    return "Normalisation" if isinstance(value, dict | Normalisation) else "name"


AnyNormalisation = Annotated[
    Annotated[NormalisationName, Tag("name")] | Annotated[Normalisation, Tag("Normalisation")],
    Discriminator(_which),
]


def check_normalisation(value: AnyNormalisation | None, in_channels: int) -> None:
    """Raise a misfit unless there is one mean for each channel."""
    if isinstance(value, Normalisation):
        if len(value.mean) != in_channels:
            expected = f"one for each of the {in_channels} channels of the data"
            raise misfit(("normalisation", "mean"), f"{len(value.mean)} numbers", expected)
    elif value in PRESETS and in_channels != len(PRESETS[value][0]):
        expected = f"'from-training-data' or a table, because the data has {in_channels} channels"
        raise misfit("normalisation", f"{value!r}, which is for 3 channels", expected)
