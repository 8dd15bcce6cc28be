"""Augment training images with torchvision v2: each example by a random stream of its own, its mask along with it."""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from sfsim.learning.augmentations import (
    AnyAugmentation,
    ColourJitter,
    HorizontalFlip,
    RandomCrop,
    ResizedCrop,
    Rotation,
    VerticalFlip,
)

# torchvision draws from torch's global generator, which several threads would share.
_GLOBAL_GENERATOR = threading.Lock()


class Augmentation:
    """The augmentations of a scenario, in order, as one function of a minibatch.

    Parameters
    ----------
    declared : sequence of AnyAugmentation
    image_size : (int, int)
        Height and width of the images, before and after.
    """

    def __init__(self, declared: Sequence[AnyAugmentation], image_size: tuple[int, int]) -> None:
        # Two seconds of imports, for those who use it.
        from torchvision.transforms import v2

        self._transform = v2.Compose([_transform(step, image_size) for step in declared])

    def __call__(self, inputs: Tensor, targets: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augment a minibatch on the CPU; the global random state is left as it was.

        Parameters
        ----------
        inputs : Tensor of float32 (B, C, H, W)
            In [0, 1].
        targets : Tensor (B,) or (B, H, W)
            Classes stay; masks go where their image goes.
        seeds : sequence of int
            One per example, which alone decides what happens to it.
        """
        from torchvision import tv_tensors

        images, masks = [], []
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
            for image, target, seed in zip(inputs, targets, seeds, strict=True):
                torch.default_generator.manual_seed(seed)
                if target.ndim == 0:
                    images.append(self._transform(tv_tensors.Image(image)))
                    continue
                changed, mask = self._transform(tv_tensors.Image(image), tv_tensors.Mask(target))
                images.append(changed)
                masks.append(mask)
        stacked = torch.stack([image.as_subclass(Tensor) for image in images])
        return stacked, torch.stack([mask.as_subclass(Tensor) for mask in masks]) if masks else targets


def _transform(step: AnyAugmentation, image_size: tuple[int, int]) -> torch.nn.Module:
    from torchvision.transforms import v2

    if isinstance(step, RandomCrop):
        return v2.RandomCrop(image_size, padding=step.padding)  # type: ignore[no-any-return]
    if isinstance(step, HorizontalFlip):
        return v2.RandomHorizontalFlip(step.probability)  # type: ignore[no-any-return]
    if isinstance(step, VerticalFlip):
        return v2.RandomVerticalFlip(step.probability)  # type: ignore[no-any-return]
    if isinstance(step, Rotation):
        return v2.RandomRotation(step.degrees, v2.InterpolationMode.BILINEAR)  # type: ignore[no-any-return]
    if isinstance(step, ResizedCrop):
        return v2.RandomResizedCrop(image_size, step.area, step.aspect)  # type: ignore[no-any-return]
    assert isinstance(step, ColourJitter)
    return v2.ColorJitter(step.brightness, step.contrast, step.saturation, step.hue)  # type: ignore[no-any-return]
