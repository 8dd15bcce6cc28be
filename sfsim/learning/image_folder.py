"""Pairs of an image and a mask: find them by name, and load any folder of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import Dataset, assemble, draw_roles
from sfsim.learning.declarations import ImageMaskFolder
from sfsim.learning.locate import locate
from sfsim.learning.mask_levels import LevelMap, never_there
from sfsim.learning.pictures import as_one_type, read_pair, resized

Pair = tuple[Path, Path]
Key = tuple[str, ...]
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True)
class Pairs:
    """Images with their masks, and what there is to say about the files that were left out."""

    pairs: list[Pair]
    notes: list[str]


def load_image_folder(
    spec: ImageMaskFolder, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load a folder of pairs, split at random."""
    download = f"put images ({spec.images}) and masks ({spec.masks}) there"
    folder = locate(f"The image-mask folder {spec.path!r}", spec.path, root, spec.images, download)
    found = find_pairs(keyed(folder, spec.images), keyed(folder, spec.masks), spec.mask_suffix)
    pairs = found.pairs
    if not pairs:
        name = f"X{spec.mask_suffix}"
        raise DataError(f"{folder}: no image X in {spec.images} has a mask {name} in {spec.masks}")
    if spec.max_pairs is not None and spec.max_pairs < len(pairs):
        pairs = [pairs[at] for at in np.sort(rng.permutation(len(pairs))[: spec.max_pairs])]
    inputs, masks, notes = read_pairs(pairs, spec.image_size, LevelMap(spec.grey_to_class))
    notes += never_there(masks, spec.grey_to_class.values())
    roles = draw_roles(np.arange(len(pairs)), spec.test_fraction, validation_fraction, rng)
    return assemble(inputs, masks, roles, spec.task, spec.num_classes, notes=[*found.notes, *notes])


def keyed(folder: Path, pattern: str) -> list[tuple[Key, Path]]:
    """List the files that match a pattern, each with its identity: what the wildcards of the pattern stand for.

    Folders that the pattern names literally tell nothing apart: ``p1/images/a.png`` of ``*/images/*`` is (p1, a).
    """
    parts = PurePath(pattern).parts
    rows = []
    for path in sorted(path for path in folder.glob(pattern) if path.is_file()):
        names = list(path.relative_to(folder).with_suffix("").parts)
        rows.append((tuple(_wild(names, parts)), path))
    return rows


def _wild(names: list[str], parts: Sequence[str]) -> list[str]:
    """Return the names that stand where the pattern has a wildcard, the file's own name always among them."""
    if "**" in parts:
        before = parts.index("**")
        after = len(parts) - 1 - parts[::-1].index("**")
        tail = len(parts) - after - 1
        middle = names[before : len(names) - tail]
        return (
            _wild(names[:before], parts[:before])
            + middle
            + _wild(names[len(names) - tail :], parts[after + 1 :])
        )
    last = len(parts) - 1
    return [
        name
        for at, (name, part) in enumerate(zip(names, parts, strict=True))
        if at == last or any(character in part for character in "*?[")
    ]


def find_pairs(
    images: Iterable[tuple[Key, Path]], masks: Iterable[tuple[Key, Path]], mask_suffix: str = ""
) -> Pairs:
    """Pair each image with the mask of the same identity, whose last name has `mask_suffix` more.

    No file is its own mask, and a mask is no image that lacks one: `images` and `masks` may overlap. Whatever is left
    out is counted in the notes.

    Raises
    ------
    DataError
        Two images or two masks have one identity; names them.
    """
    image_of, odd_images = _unique(images, "images")
    mask_of, odd_masks = _unique(masks, "masks")
    partners = {key: (*key[:-1], key[-1] + mask_suffix) for key in image_of}
    pairs = {
        key: (path, mask_of[partners[key]])
        for key, path in image_of.items()
        if mask_of.get(partners[key], path) != path
    }
    used = {mask for _, mask in pairs.values()}
    alone = [path for key, path in image_of.items() if key not in pairs and path not in used]
    taken = {path for path, _ in pairs.values()} | used
    spare = [path for path in mask_of.values() if path not in taken and path not in alone]
    notes = [
        f"data: {len(files)} {what} left out, the first is {files[0].name!r}"
        for files, what in (
            (alone, "images without a mask are" if len(alone) > 1 else "image without a mask is"),
            (spare, "masks without an image are" if len(spare) > 1 else "mask without an image is"),
            (sorted({*odd_images, *odd_masks}), "files that are no pictures by their ending are"),
        )
        if files
    ]
    return Pairs(list(pairs.values()), notes)


def _unique(rows: Iterable[tuple[Key, Path]], what: str) -> tuple[dict[Key, Path], list[Path]]:
    """Return the pictures by identity, and the files that are none."""
    found: dict[Key, Path] = {}
    odd = []
    for key, path in rows:
        if path.suffix.lower() not in _SUFFIXES:
            odd.append(path)
        elif found.setdefault(key, path) != path:
            raise DataError(
                f"{path.parent}: found two {what} {'/'.join(key)!r}, {found[key].name} and {path.name}"
                + ("" if found[key].parent == path.parent else f" ({found[key].parent} and {path.parent})")
                + ", expected one: a narrower pattern says which"
            )
    return found, odd


def read_pairs(
    pairs: Sequence[Pair], image_size: int, levels: LevelMap
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Decode pairs to squares of one size; images and masks may differ in size from each other.

    Parameters
    ----------
    pairs : sequence of (Path, Path)
        Image and mask.
    image_size : int
        Side in pixels; the aspect ratio is not kept, as in SplitFedZip. See `sfsim.learning.pictures.read_pair`.
    levels : LevelMap
        What levels of the masks mean.

    Returns
    -------
    images : array (N, 3, image_size, image_size)
        uint8, or float32 in [0, 1] where a file has more than 8 bits.
    masks : array of uint8 (N, image_size, image_size)
    notes : list of str

    Raises
    ------
    DataError
        A file that cannot be decoded or does not fit, or a mask with levels that mean nothing.
    """
    images, masks = [], np.empty((len(pairs), image_size, image_size), dtype=np.uint8)
    for at, (image, mask) in enumerate(pairs):
        values, found, exact = read_pair(image, mask, image_size)
        images.append(values)
        masks[at] = resized(levels.classes(found, mask, exact), image_size)
    inputs = as_one_type(images)
    notes = levels.notes()
    if inputs.dtype == np.float32 and inputs.size and inputs.max() < 1 / 8:
        brightest = f"data: the brightest value of all images is {inputs.max():.3g} of 1"
        notes.append(f"{brightest}: 16-bit files that use few of their levels?")
    return inputs, masks, notes
