"""HAM10000: skin lesions with binary masks, in the official layout or in SplitFedZip's client folders.

Source: Tschandl et al., doi:10.7910/DVN/DBW86T; client folders as the code of SplitFedZip (arXiv 2412.17150)
reads them.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sfsim.errors import DataError
from sfsim.learning.dataset import TEST, TRAIN, VALIDATION, Dataset, assemble, draw_roles
from sfsim.learning.declarations import Ham10000
from sfsim.learning.image_folder import Key, Pair, Pairs, find_pairs, read_pairs
from sfsim.learning.locate import locate
from sfsim.learning.mask_levels import LevelMap, never_there
from sfsim.text import read_table

_MASKS = "HAM10000_segmentations_lesion_tschandl"
_DOWNLOAD = (
    "download HAM10000_images_part_1.zip, HAM10000_images_part_2.zip, HAM10000_metadata and "
    f"{_MASKS}.zip from https://doi.org/10.7910/DVN/DBW86T and unpack them into folders of these names there"
)
_DOWNLOAD_FOLDERS = (
    "sort HAM10000 (https://doi.org/10.7910/DVN/DBW86T) into client_1, client_2, ... with "
    "train_img, train_mask, test_img, test_mask, and mutual_img, mutual_mask"
)


def load_ham10000(
    spec: Ham10000, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load HAM10000 in the layout that `spec` names."""
    if spec.layout == "official":
        return _official(spec, root, validation_fraction, rng)
    return _client_folders(spec, root)


def _official(
    spec: Ham10000, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    folder = locate("HAM10000 (official layout)", spec.folder, root, _MASKS, _DOWNLOAD)
    images, masks = _named(folder.glob("HAM10000_images_part_*/*")), _named((folder / _MASKS).iterdir())
    found = find_pairs(images, masks, "_segmentation")
    described, notes = read_metadata(folder), found.notes
    pairs = [pair for pair in found.pairs if pair[0].stem in described]
    if unknown := len(found.pairs) - len(pairs):
        notes.append(
            f"data: {unknown} of {len(found.pairs)} pairs have no line in the metadata and are left out"
        )
    if not pairs:
        raise DataError(f"{folder}: no image has a mask and a line in the metadata: {_DOWNLOAD}")
    lesions = np.array([described[image.stem][0] for image, _ in pairs])
    diagnoses = np.array([described[image.stem][1] for image, _ in pairs])
    if spec.max_pairs is not None and spec.max_pairs < len(pairs):
        kept = np.sort(rng.permutation(len(pairs))[: spec.max_pairs])
        pairs, lesions, diagnoses = [pairs[at] for at in kept], lesions[kept], diagnoses[kept]
    inputs, targets, more = read_pairs(pairs, spec.image_size, _map(127))
    # Several images show one lesion: it must not be trained and tested on.
    roles = draw_roles(lesions, spec.test_fraction, validation_fraction, rng)
    labels = np.unique(diagnoses, return_inverse=True)[1]
    notes += [*more, *never_there(targets, (0, 1))]
    return assemble(inputs, targets, roles, spec.task, spec.num_classes, labels=labels, notes=notes)


def _map(above: int) -> LevelMap:
    return LevelMap({0: 0, 255: 1}, above)


def _named(paths: Iterable[Path]) -> list[tuple[Key, Path]]:
    """Pair files with their names: an image is known by its id, whichever part it lies in."""
    return [((path.stem,), path) for path in sorted(paths) if path.is_file()]


def read_metadata(folder: Path) -> dict[str, tuple[str, str]]:
    """Image name -> lesion and diagnosis; the Dataverse names the file without a suffix, or .tab."""
    for name in ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab"):
        if (folder / name).is_file():
            described: dict[str, tuple[str, str]] = {}
            for line, row in read_table(folder / name, ("image_id", "lesion_id", "dx")):
                place, image = f"{folder / name}, line {line}", row["image_id"]
                empty = next((key for key in ("image_id", "lesion_id", "dx") if not row[key]), None)
                if empty is not None:
                    raise DataError(f"{place}: found no {empty}, expected one for every image")
                if described.setdefault(image, (row["lesion_id"], row["dx"])) != (
                    row["lesion_id"],
                    row["dx"],
                ):
                    raise DataError(f"{place}: found another lesion or diagnosis of {image!r} than before")
            return described
    raise DataError(f"{folder} has no HAM10000_metadata.csv, which says which images show one lesion")


def _client_folders(spec: Ham10000, root: Path | None) -> Dataset:
    """One client per folder: its train_* are trained on, its test_* validated on, mutual_* tested on."""
    folder = locate("HAM10000 (SplitFedZip's layout)", spec.folder, root, "client_*", _DOWNLOAD_FOLDERS)
    found: list[tuple[Pair, int, int]] = []
    notes: list[str] = []

    def pairs_of(images: str, masks: str) -> list[Pair]:
        some = _pairs(folder / images, folder / masks)
        notes.extend(f"{note} (in {images})" for note in some.notes)
        return some.pairs

    names = sorted(folder.glob("client_*"), key=lambda path: (len(path.name), path.name))
    for client, path in enumerate(names):
        for kind, role in (("train", TRAIN), ("test", VALIDATION)):
            inside = f"{path.name}/{kind}"
            found += [(pair, role, client) for pair in pairs_of(f"{inside}_img", f"{inside}_mask")]
    found += [(pair, TEST, -1) for pair in pairs_of("mutual_img", "mutual_mask")]
    if spec.max_pairs is not None and spec.max_pairs < len(found):
        # Evenly over the list, so that every folder keeps its share.
        found = [found[at] for at in np.linspace(0, len(found) - 1, spec.max_pairs).round().astype(int)]
    roles = np.array([role for _, role, _ in found], dtype=np.int64)
    clients = np.array([client for _, _, client in found], dtype=np.int64)
    for client, path in enumerate(names):
        if not ((clients == client) & (roles == TRAIN)).any():
            hint = "; a larger max_pairs may help" if spec.max_pairs else ""
            raise DataError(f"{path}: no pair of train_img/X.jpg and train_mask/X.png{hint}")
    inputs, masks, more = read_pairs([pair for pair, _, _ in found], spec.image_size, _map(100))
    notes += [*more, *never_there(masks, (0, 1))]
    return assemble(inputs, masks, roles, spec.task, spec.num_classes, clients=clients, notes=notes)


def _pairs(images: Path, masks: Path) -> Pairs:
    return find_pairs(_named(images.glob("*")), _named(masks.glob("*")))
