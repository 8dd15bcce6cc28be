"""Where a chain of named stages may be cut (no torch here, so that a scenario is checked without it)."""

from collections.abc import Mapping, Sequence

from sfsim.errors import ConfigError, did_you_mean
from sfsim.learning.declarations import AnyModel, ResNet18, ResNet34


def check_model_cuts(model: AnyModel, cuts: Sequence[str], place: str) -> None:
    """Raise ConfigError unless `model` can be cut after the stages `cuts`; see `check_cuts`."""
    check_cuts(model.stages, model.skips, cuts, place)


def check_image_size(model: AnyModel, image_size: int, place: str) -> None:
    """Raise ConfigError unless `model` can take square images of `image_size` pixels a side.

    The U-Net halves its input four times and doubles it back, so that sides are multiples of 16. The smallest
    map of any model must be 2x2 or more: BatchNorm cannot train on one value per channel, which is what a
    last minibatch of one example would leave.
    """
    if model.kind == "unet" and (image_size % 16 or image_size < 32):
        nearest = max(32, round(image_size / 16) * 16)
        expected = "a multiple of 16, at least 32, for the U-Net"
        raise ConfigError(
            place, f"images of {image_size} pixels a side", expected, f"The nearest is {nearest}."
        )
    smallest = {"cnn": 8, "unet": 32, "vgg19": 32}.get(model.kind, 9)
    if isinstance(model, ResNet18 | ResNet34) and model.stem == "imagenet":
        smallest = 33
    if image_size < smallest:
        expected = f"at least {smallest} for the {model.kind}"
        raise ConfigError(place, f"images of {image_size} pixels a side", expected)


def check_cuts(
    names: Sequence[str], skips: Mapping[str, tuple[str, str]], cuts: Sequence[str], place: str
) -> None:
    """Raise ConfigError unless a chain of stages can be cut after the stages `cuts`.

    Parameters
    ----------
    names : sequence of str
        All stages, in order.
    skips : mapping of str to (str, str)
        For each skip, the stage that saves it and the stage that uses it.
    cuts : sequence of str
        One name (label-sharing) or two (U-shaped).
    place : str
        Where the cuts were written, for the error.

    Raises
    ------
    ConfigError
        Unknown name, wrong number or order, a part without a stage, a skip between two machines.
    """
    listed = ", ".join(names)
    if len(cuts) not in (1, 2):
        raise ConfigError(place, f"{len(cuts)} names", "one (label-sharing) or two (U-shaped) stage names")
    for cut in cuts:
        if cut not in names:
            raise ConfigError(place, repr(cut), f"one of the stages {listed}", did_you_mean(cut, names))
    at = [names.index(cut) for cut in cuts]
    found = repr(list(cuts))
    if at[-1] == len(names) - 1:
        last = "back end" if len(cuts) == 2 else "server-side model"
        raise ConfigError(place, found, f"a cut before the last stage {names[-1]!r}", f"The {last} is empty.")
    if len(at) == 2 and at[0] == at[1]:
        expected = f"two different stages of {listed}"
        raise ConfigError(place, found, expected, "The server-side model is empty.")
    if len(at) == 2 and at[0] > at[1]:
        raise ConfigError(place, found, f"cuts in the order of the stages {listed}", "Swap them.")

    def machine(stage: str) -> str:
        # Front end and back end are both on the client; only the middle is elsewhere.
        part = sum(names.index(stage) > cut for cut in at)
        return "server" if part == 1 else "client"

    for skip, (source, user) in skips.items():
        if machine(source) != machine(user):
            crossing = f"the skip {skip!r} from {source!r} ({machine(source)}) to {user!r} ({machine(user)})"
            raise ConfigError(
                place,
                f"{found}, which sends {crossing} across the network",
                f"cuts that keep both ends of every skip on one machine; the stages are {listed}",
            )
