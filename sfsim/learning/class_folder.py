"""Pictures whose class is the folder that they lie in, or the diagnosis that a table names."""

from collections import Counter
from pathlib import Path

import numpy as np

from sfsim.errors import DataError, did_you_mean
from sfsim.learning.dataset import TEST, Dataset, assemble, draw_roles
from sfsim.learning.declarations import Ham10000Diagnoses, ImageClassFolder
from sfsim.learning.ham10000 import read_metadata
from sfsim.learning.locate import locate
from sfsim.learning.pictures import read_images

DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
_DOWNLOAD = (
    "download HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and HAM10000_metadata from "
    "https://doi.org/10.7910/DVN/DBW86T and unpack them into folders of these names there"
)


def load_class_folder(
    spec: ImageClassFolder, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load the pictures of the declared folders."""
    folder = locate(
        "the image folder", spec.path, root, spec.images, "put a folder of pictures for each class there"
    )
    notes: list[str] = []
    files, targets = _of_classes(folder, spec.images, spec, notes)
    tested: list[Path] = []
    test_targets = np.empty(0, np.int64)
    if spec.test_images is not None:
        tested, test_targets = _of_classes(folder, spec.test_images, spec, notes)
        if both := set(files) & set(tested):
            raise DataError(
                f"{min(both)}: found by images and by test_images, expected each picture in one of them"
            )
    files, targets = _kept(files, targets, spec.max_images, rng)
    roles = draw_roles(
        np.arange(len(files)), 0 if spec.test_images else spec.test_fraction, validation_fraction, rng
    )
    roles = np.concatenate([roles, np.full(len(tested), TEST)])
    inputs = read_images([*files, *tested], spec.image_size)
    labels = np.concatenate([targets, test_targets])
    return assemble(inputs, labels, roles, spec.task, spec.num_classes, notes=notes)


def _of_classes(
    folder: Path, pattern: str, spec: ImageClassFolder, notes: list[str]
) -> tuple[list[Path], np.ndarray]:
    """Return the pictures of a pattern in declared folders and their classes, and note what is left out."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    of_class = {name: number for number, name in enumerate(spec.classes)}
    counts = Counter(path.parent.name for path in found)
    for name in spec.classes:
        if name not in counts:
            hint = did_you_mean(name, counts)
            raise DataError(
                f"{folder}: found no picture of {pattern!r} in a folder {name!r}, expected some of each class "
                "([data] classes)" + (f". {hint}" if hint else "")
            )
    left_out = sum(number for name, number in counts.items() if name not in of_class)
    if left_out:
        others = ", ".join(sorted(name for name in counts if name not in of_class)[:5])
        notes.append(
            f"data: {left_out} of {len(found)} pictures lie in other folders ({others}) and are left out"
        )
    files = [path for path in found if path.parent.name in of_class]
    return files, np.array([of_class[path.parent.name] for path in files], dtype=np.int64)


def load_diagnoses(
    spec: Ham10000Diagnoses, root: Path | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """Load HAM10000's images with their diagnoses; those of one lesion stay together."""
    folder = locate("HAM10000 (official layout)", spec.path, root, "HAM10000_images_part_*", _DOWNLOAD)
    described = read_metadata(folder)
    found = sorted(path for path in folder.glob("HAM10000_images_part_*/*") if path.is_file())
    files = [path for path in found if path.stem in described]
    notes = []
    if unknown := len(found) - len(files):
        notes.append(f"data: {unknown} of {len(found)} images have no line in the metadata and are left out")
    twice = [name for name, number in Counter(path.stem for path in files).items() if number > 1]
    if twice:
        raise DataError(f"{folder}: found {twice[0]} in both parts, expected each image once")
    if not files:
        raise DataError(f"{folder}: no image has a line in the metadata: {_DOWNLOAD}")
    unheard = sorted({described[path.stem][1] for path in files} - set(DIAGNOSES))
    if unheard:
        raise DataError(
            f"{folder}: found the diagnosis {unheard[0]!r}, expected one of {', '.join(DIAGNOSES)}"
        )
    targets = np.array([DIAGNOSES.index(described[path.stem][1]) for path in files], dtype=np.int64)
    files, targets = _kept(files, targets, spec.max_images, rng)
    absent = [name for number, name in enumerate(DIAGNOSES) if not (targets == number).any()]
    if absent:
        notes.append(f"data: no image is of {', '.join(absent)}")
    lesions = np.array([described[path.stem][0] for path in files])
    roles = draw_roles(lesions, spec.test_fraction, validation_fraction, rng)
    return assemble(
        read_images(files, spec.image_size), targets, roles, spec.task, spec.num_classes, notes=notes
    )


def _kept(
    files: list[Path], targets: np.ndarray, most: int | None, rng: np.random.Generator
) -> tuple[list[Path], np.ndarray]:
    if most is None or most >= len(files):
        return files, targets
    kept = np.sort(rng.permutation(len(files))[:most])
    return [files[at] for at in kept], targets[kept]
