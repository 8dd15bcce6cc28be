"""Pictures with one mask for each object: where any of them is, there is foreground.

Source: Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods
16 (2019), for the layout.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import Dataset, assemble, draw_roles
from sfsim.learning.declarations import ImageObjectsFolder
from sfsim.learning.locate import locate
from sfsim.learning.pictures import read_images, read_shape, resized

_MIDDLE = 127
_DOWNLOAD = "put a folder for each image there, with images/ and masks/ inside"


def load_objects_folder(
    spec: ImageObjectsFolder, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load the pictures, and of each the union of its objects."""
    folder = locate("the image folder", spec.path, root, "*/images/*", _DOWNLOAD)
    found = sorted(path for path in folder.glob("*/images/*") if path.is_file())
    for one, other in pairwise(found):
        if one.parent == other.parent:
            raise DataError(f"{one.parent}: found {one.name} and {other.name}, expected one picture")
    if spec.max_images is not None and spec.max_images < len(found):
        found = [found[at] for at in np.sort(rng.permutation(len(found))[: spec.max_images])]
    inputs = read_images(found, spec.image_size)
    masks, overlaps = [], 0
    for picture in found:
        objects = _objects(picture)
        masks.append(resized((objects > 0).astype(np.uint8), spec.image_size))
        overlaps += bool((objects > 1).any())
    notes = [f"data: in {overlaps} of {len(found)} pictures objects overlap"] if overlaps else []
    roles = draw_roles(np.arange(len(found)), spec.test_fraction, validation_fraction, rng)
    return assemble(inputs, np.stack(masks), roles, spec.task, spec.num_classes, notes=notes)


def _objects(picture: Path) -> np.ndarray:
    """Return how many objects are at each pixel of a picture, shape (H, W)."""
    from PIL import Image

    files = sorted(path for path in (picture.parents[1] / "masks").glob("*") if path.is_file())
    if not files:
        raise DataError(f"{picture.parents[1]}: found no mask, expected one for each object in masks/")
    with Image.open(picture) as image:
        width, height = image.size
    count = np.zeros((height, width), np.int64)
    for file in files:
        levels = read_shape(file)
        if levels.shape != count.shape:
            raise DataError(
                f"{file}: found {levels.shape[1]} x {levels.shape[0]} pixels, expected the picture's {width} x {height}"
            )
        if levels.max(initial=0) in range(1, _MIDDLE + 1):
            raise DataError(f"{file}: found levels up to {levels.max()}, expected 0 and 255")
        count += levels > _MIDDLE
    return count
