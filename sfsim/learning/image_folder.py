"""Pairs of an image and a mask: read them, and load any folder of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import Dataset, assemble, draw_roles
from sfsim.learning.declarations import ImageMaskFolder
from sfsim.learning.locate import locate

Pair = tuple[Path, Path]
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif"}


def load_image_folder(
    spec: ImageMaskFolder, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load a folder of pairs, split at random."""
    download = f"put images ({spec.images}) and masks ({spec.masks}) there"
    folder = locate(f"The image-mask folder {spec.path!r}", spec.path, root, spec.images, download)
    pairs = find_pairs(sorted(folder.glob(spec.images)), sorted(folder.glob(spec.masks)), spec.mask_suffix)
    if not pairs:
        name = f"X{spec.mask_suffix}"
        raise DataError(f"{folder}: no image X in {spec.images} has a mask {name} in {spec.masks}")
    if spec.max_pairs is not None and spec.max_pairs < len(pairs):
        pairs = [pairs[at] for at in np.sort(rng.permutation(len(pairs))[: spec.max_pairs])]
    inputs, masks = read_pairs(pairs, spec.image_size, grey_levels(spec.grey_to_class))
    roles = draw_roles(np.arange(len(pairs)), spec.test_fraction, validation_fraction, rng)
    return assemble(inputs, masks, roles, spec.task, spec.num_classes)


def find_pairs(images: Sequence[Path], masks: Sequence[Path], mask_suffix: str = "") -> list[Pair]:
    """Pair each image X with the mask whose stem is X plus `mask_suffix`.

    Files without a partner are left out, and no file is its own mask: `images` and `masks` may overlap.
    """
    mask_of = {path.stem: path for path in masks if path.suffix.lower() in _SUFFIXES}
    return [
        (image, mask_of[image.stem + mask_suffix])
        for image in images
        if image.suffix.lower() in _SUFFIXES and mask_of.get(image.stem + mask_suffix, image) != image
    ]


def grey_levels(grey_to_class: Mapping[int, int]) -> np.ndarray:
    """Return the class of each of the 256 grey levels, uint8: that of the nearest level in the map.

    Half-way between two levels the lower one counts.

    >>> grey_levels({0: 0, 128: 1, 255: 2})[[0, 64, 65, 129, 254]]
    array([0, 0, 1, 1, 2], dtype=uint8)
    """
    levels = np.array(sorted(grey_to_class))
    nearest = np.abs(np.arange(256)[:, None] - levels).argmin(axis=1)
    return np.array([grey_to_class[int(level)] for level in levels], dtype=np.uint8)[nearest]


def threshold(above: int) -> np.ndarray:
    """Return the class of each of the 256 grey levels: 1 for those greater than `above`, else 0."""
    return (np.arange(256) > above).astype(np.uint8)


def read_pairs(
    pairs: Sequence[Pair], image_size: int, class_of_grey: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decode pairs to squares of one size; images and masks may differ in size from each other.

    Parameters
    ----------
    pairs : sequence of (Path, Path)
        Image and mask; either may have any PIL mode.
    image_size : int
        Side in pixels. Images are resized bilinearly (area-weighted when shrinking, as PIL does), masks to
        the nearest pixel; the aspect ratio is not kept, as in SplitFedZip.
    class_of_grey : array of uint8 (256,)
        Class of each grey level of a mask.

    Returns
    -------
    array of uint8 (N, 3, image_size, image_size), array of uint8 (N, image_size, image_size)

    Raises
    ------
    DataError
        A file that cannot be decoded.
    """
    from PIL import Image

    images = np.empty((len(pairs), 3, image_size, image_size), dtype=np.uint8)
    masks = np.empty((len(pairs), image_size, image_size), dtype=np.uint8)

    def decode(path: Path, mode: str, resample: Image.Resampling) -> np.ndarray:
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert(mode).resize((image_size, image_size), resample))
        except (OSError, SyntaxError) as error:  # PIL raises SyntaxError for some broken PNGs
            raise DataError(f"{path} cannot be decoded as an image ({error})") from None

    for at, (image_path, mask_path) in enumerate(pairs):
        images[at] = decode(image_path, "RGB", Image.Resampling.BILINEAR).transpose(2, 0, 1)
        masks[at] = class_of_grey[decode(mask_path, "L", Image.Resampling.NEAREST)]
    return images, masks
